"""Which setting is meant by a name that is none: what other programs call it, or the one nearest in letters."""

import difflib
import types
from collections.abc import Sequence
from typing import Any, Union, get_args, get_origin

from g2is.methods import Section

# What people of the field call a setting -> what it is called here; where there is none of the first name, the next.
OTHER_NAMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("lr", "learningrate", "step_size"), ("learning_rate",)),
    **dict.fromkeys(("bs", "batch", "batchsize", "train_batch_size", "global_batch_size"), ("batch_size",)),
    **dict.fromkeys(
        ("per_device_train_batch_size", "per_device_batch_size", "micro_batch_size", "micro_batch", "mbs"),
        ("device_batch_size",),
    ),
    **dict.fromkeys(("epoch", "num_epochs", "n_epochs", "num_train_epochs"), ("epochs",)),
    **dict.fromkeys(
        ("max_len", "maxlen", "max_seq_len", "max_seq_length", "seq_len", "seq_length", "sequence_len"),
        ("max_length",),
    ),
    **dict.fromkeys(
        ("sequence_length", "cutoff_len", "context_length", "model_max_length", "block_size"), ("max_length",)
    ),
    **dict.fromkeys(("r", "lora_r", "lora_rank"), ("rank",)),
    **dict.fromkeys(("lora_alpha", "scaling"), ("alpha",)),
    **dict.fromkeys(("lora_dropout", "dropout_rate"), ("dropout",)),
    **dict.fromkeys(("lora_target", "lora_targets", "lora_target_modules", "modules"), ("target_modules",)),
    **dict.fromkeys(("wd", "decay"), ("weight_decay",)),
    **dict.fromkeys(("grad_clip", "clip", "gradient_clipping", "max_norm", "clip_grad_norm"), ("max_grad_norm",)),
    **dict.fromkeys(("warmup_ratio", "lr_warmup_ratio", "warmup_steps", "warmup_fraction"), ("lr_warmup_fraction",)),
    **dict.fromkeys(("scheduler", "lr_scheduler", "lr_scheduler_type", "lr_schedule"), ("schedule",)),
    **dict.fromkeys(("adam_beta1", "b1"), ("beta1",)),
    **dict.fromkeys(("adam_beta2", "b2"), ("beta2",)),
    **dict.fromkeys(("random_seed", "data_seed", "random_state"), ("seed",)),
    **dict.fromkeys(("k", "proj_dim", "projection_dim", "dimension"), ("dim",)),
    **dict.fromkeys(("gamma", "gradient_type", "gradient_form"), ("form", "forms")),
    **dict.fromkeys(("precision", "torch_dtype", "mixed_precision", "fp16"), ("dtype", "bf16")),
    **dict.fromkeys(("gpu", "gpus", "devices", "cuda"), ("device",)),
    **dict.fromkeys(("num_workers", "n_workers", "num_proc", "jobs", "processes"), ("workers",)),
    **dict.fromkeys(("max_tokens", "max_gen_toks", "max_new_token", "generation_length"), ("max_new_tokens",)),
    **dict.fromkeys(("pct", "percent", "percentage", "ratio", "size", "top_k", "n"), ("budget", "fraction")),
    **dict.fromkeys(("dedup", "dedup_threshold", "threshold"), ("duplicate_threshold",)),
    **dict.fromkeys(("prompt_template", "chat"), ("template", "chat_template")),
    **dict.fromkeys(("branch", "commit"), ("revision",)),
    **dict.fromkeys(("model_name", "model_name_or_path", "name_or_path", "base_model", "path"), ("name",)),
    **dict.fromkeys(("logger", "logging", "log_to", "report"), ("report_to",)),
    **dict.fromkeys(("algorithm", "strategy"), ("method",)),
    **dict.fromkeys(("output_dir", "output", "out_dir"), ("out",)),
    **dict.fromkeys(("test_file", "tests"), ("test", "tests")),
    **dict.fromkeys(("train_file", "dataset", "data"), ("data", "pool")),
    **dict.fromkeys(("target",), ("targets",)),
    **dict.fromkeys(("seeds",), ("num_seeds",)),
    **dict.fromkeys(("train", "training", "trainer", "finetune", "finetuning", "sft"), ("tuning", "warmup")),
    **dict.fromkeys(("grad", "grads", "gradient"), ("gradients",)),
    **dict.fromkeys(("example",), ("examples",)),
    **dict.fromkeys(("select", "selector_settings"), ("selection",)),
    **dict.fromkeys(("eval",), ("evaluation",)),
    **dict.fromkeys(("runtime", "hardware", "exec"), ("execution",)),
    **dict.fromkeys(("proj",), ("projection",)),
    **dict.fromkeys(("peft", "adapter_config"), ("lora",)),
}
_MOST = 3  # settings that are named


def keys_of(model: type[Section], prefix: str = "") -> list[str]:
    """All settings of `model`, as --set has them; `command` is none."""
    keys = []
    for name, field in model.model_fields.items():
        section = section_of(field.annotation)
        if name == "command":
            continue
        keys += [prefix + name] if section is None else keys_of(section, f"{prefix}{name}.")
    return keys


def section_of(annotation: Any) -> type[Section] | None:
    """The section that a setting is, if it is one."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)


def section_at(model: type[Section], name: object) -> type[Section] | None:
    """The section that the setting `name` of `model` is, if it is one."""
    field = model.model_fields.get(name) if isinstance(name, str) else None
    return None if field is None else section_of(field.annotation)


def meant(model: type[Section], key: str) -> list[str]:
    """The settings and sections of `model` that may be meant by `key`, which is none of them; the likeliest alone."""
    known = keys_of(model)
    sections = list(dict.fromkeys(part for name in known for part in _above(name)))
    section, _, last = key.rpartition(".")
    if found := called(last, [*known, *sections], section):
        return found
    if section not in sections:
        return difflib.get_close_matches(key, [*known, *sections], n=1)
    inside = [name.removeprefix(f"{section}.") for name in known if name.rpartition(".")[0] == section]
    return [f"{section}.{near}" for near in difflib.get_close_matches(last, inside, n=1)]


def called(name: str, known: Sequence[str], section: str = "") -> list[str]:
    """Those of the settings `known` that are called `name`, here or by others: in `section`, else below or anywhere."""
    plain = name.lower().replace("-", "_")
    for own in (plain, *OTHER_NAMES.get(plain, ())):
        of_name = [key for key in known if key.rpartition(".")[2] == own]
        nearest = [key for key in of_name if key.rpartition(".")[0] == section] or [
            key for key in of_name if key.startswith(f"{section}.")
        ]
        if nearest or of_name:
            return (nearest or of_name)[:_MOST]
    return []


def _above(key: str) -> list[str]:
    """The sections that a setting is in: warmup and warmup.lora of warmup.lora.rank."""
    parts = key.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]
