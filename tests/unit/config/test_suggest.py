"""Which setting is meant by a name that is none, on the command line, in a file and in Python alike."""

import pytest

from g2is.api import select
from g2is.config import Config, EvaluateConfig, TrainConfig
from g2is.config.commands import COMMANDS
from g2is.config.compare import CompareConfig
from g2is.config.io import parse
from g2is.config.suggest import OTHER_NAMES, keys_of, meant
from g2is.errors import ConfigError


@pytest.mark.parametrize(
    ("model", "key", "expected"),
    [
        (Config, "warmup.lr", ["warmup.learning_rate"]),
        (Config, "lr", ["warmup.learning_rate"]),
        (CompareConfig, "lr", ["warmup.learning_rate", "tuning.learning_rate"]),
        (TrainConfig, "tuning.lora_r", ["tuning.lora.rank"]),
        (TrainConfig, "tuning.lora.r", ["tuning.lora.rank"]),
        (TrainConfig, "tuning.lora.lora_alpha", ["tuning.lora.alpha"]),
        (TrainConfig, "tuning.per_device_train_batch_size", ["tuning.device_batch_size"]),
        (TrainConfig, "tuning.bs", ["tuning.batch_size"]),
        (Config, "examples.max_seq_length", ["examples.max_length"]),
        (Config, "cutoff_len", ["examples.max_length"]),
        (Config, "gradients.k", ["gradients.projection.dim"]),
        (Config, "gradients.proj_dim", ["gradients.projection.dim"]),
        (Config, "model.torch_dtype", ["model.dtype"]),
        (Config, "model_name_or_path", ["model.name"]),
        (Config, "training", ["warmup"]),
        (TrainConfig, "training", ["tuning"]),
        (Config, "peft", ["warmup.lora"]),
        (EvaluateConfig, "evaluation.max_gen_toks", ["evaluation.max_new_tokens"]),
        (Config, "selection.percentage", ["selection.budget"]),
        (Config, "Warmup", ["warmup"]),
        (Config, "warmup.Learning-Rate", ["warmup.learning_rate"]),
        (Config, "warmup.epochz", ["warmup.epochs"]),
        (Config, "warmup.wramup", []),  # near only to what is common to all: their section
        (Config, "wramup", ["warmup"]),
        (Config, "budget", ["selection.budget"]),
        (Config, "zzzzzz", []),
    ],
)
def test_the_setting_that_is_meant(model: type[Config], key: str, expected: list[str]) -> None:
    assert meant(model, key) == expected


def test_every_other_name_leads_to_settings_and_is_none_itself() -> None:
    leaves = {part for model in COMMANDS.values() for key in keys_of(model) for part in key.split(".")}
    leaves |= {"num_seeds", "methods"}
    for name, own in OTHER_NAMES.items():
        assert set(own) & leaves, f"{name}: none of {own} is a setting"


def test_python_names_it_too() -> None:
    with pytest.raises(ConfigError, match=r"warmup\.lr: unknown; did you mean warmup\.learning_rate\?"):
        select(pool="p", target="t", model="m", out="o", warmup={"lr": 1e-3})  # type: ignore[typeddict-unknown-key]
    with pytest.raises(ConfigError, match=r"wramup: unknown; did you mean warmup\?"):
        select(pool="p", target="t", model="m", out="o", wramup={"epochs": 1})  # type: ignore[call-arg]


def test_a_comparisons_methods_and_selection_name_it_too() -> None:
    values = {
        **{"pool": "p", "targets": "t", "tests": "x", "out": "o", "model": {"name": "m"}},
        "methods": {"mine": {"method": "less", "dedup_threshold": 0.9}},
    }
    with pytest.raises(ConfigError, match=r"methods: mine: dedup_threshold: unknown; did you mean duplicate_thr"):
        parse(CompareConfig, values, "x")
    values |= {"methods": ["less"], "selection": {"threshold": 0.9}}
    with pytest.raises(ConfigError, match=r"selection: threshold: unknown; did you mean duplicate_threshold\?"):
        parse(CompareConfig, values, "x")
