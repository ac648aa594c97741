"""Settings under which base6m, of six million parameters, learns: those of the main job and of every run beside it."""

SETTINGS = {
    "warmup.learning_rate": "1e-3",
    "warmup.lora.rank": "32",
    "warmup.lora.alpha": "128",
    "gradients.forms": "[less, momentum-free]",
}
