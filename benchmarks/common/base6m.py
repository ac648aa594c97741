"""Settings under which base6m, of six million parameters, learns: those of the main job and of every run beside it."""

from g2is.api.settings import ExecutionSettings, TuningSettings, WarmupSettings

WARMUP: WarmupSettings = {"learning_rate": 1e-3, "lora": {"rank": 32, "alpha": 128}}
# Dropout costs a quarter of the time here and does little for a model of 6 M parameters, and float32 a fifth: losses of
# bfloat16 agree with its to 1e-4.
TUNING: TuningSettings = {
    "learning_rate": 2e-3,
    "batch_size": 16,
    "lora": {"rank": 32, "alpha": 128, "dropout": 0.0},
    "bf16": True,
}
# A small model's batches fit a CPU's cache: twice as fast as 8192.
EXECUTION: ExecutionSettings = {"batch_tokens": 1024}

SETTINGS = {
    "warmup.learning_rate": "1e-3",
    "warmup.lora.rank": "32",
    "warmup.lora.alpha": "128",
    "gradients.forms": "[less, momentum-free]",
}
