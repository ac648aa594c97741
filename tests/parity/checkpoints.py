"""Tiny LoRA checkpoints, trained by the real Trainer, as a user would bring them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
from architectures import ARCHITECTURES, VOCABULARY
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, Trainer, TrainingArguments

from g2is.config import ModelConfig
from g2is.model.folder import ModelFolder, find_model
from g2is.model.parameters import trainable_parameters
from g2is.store.moments import Moments
from g2is.warmup.moments import moments_of

STEPS = 3


@dataclass(frozen=True)
class Trained:
    """A checkpoint's folder, the base model's, the adapted model as the training left it, and its true moments."""

    folder: Path
    base: ModelFolder
    model: PeftModel
    moments: Moments


def save_base(name: str, place: Path, **settings: Any) -> ModelFolder:
    """A random model of architecture `name`, saved as a model folder."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(name.removesuffix("-tied"), **{**ARCHITECTURES[name][0], **settings})
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(place)
    return find_model(ModelConfig(name=str(place)))


def train(
    base: ModelFolder,
    out: Path,
    lora: dict[str, Any],
    make_optimizer: Callable[[PeftModel], torch.optim.Optimizer] | None = None,
    change: Callable[[PeftModel], None] = lambda _: None,
    **arguments: Any,
) -> Trained:
    """Train a LoRA adapter on random tokens; every parameter's moments end up different from every other's."""
    torch.manual_seed(1)
    model = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(base.path), peft.LoraConfig(task_type="CAUSAL_LM", **lora)
    )
    change(model)
    ids = torch.randint(1, VOCABULARY, (2 * STEPS, 11), generator=torch.Generator().manual_seed(2))
    settings: dict[str, Any] = {
        **{"learning_rate": 1e-2, "weight_decay": 0.1, "optim": "adamw_torch", "save_strategy": "steps"},
        **{"per_device_train_batch_size": 2, "max_steps": STEPS, "save_steps": STEPS, "use_cpu": True},
        **{"report_to": [], "disable_tqdm": True, "logging_steps": 100, "adam_beta1": 0.8, "adam_beta2": 0.95},
    }
    trainer = Trainer(
        model=model,
        args=TrainingArguments(output_dir=str(out), **(settings | arguments)),
        train_dataset=[{"input_ids": row, "labels": row} for row in ids],
        optimizers=(make_optimizer(model) if make_optimizer else None, None),
    )
    trainer.train()
    inner = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    moments = moments_of(inner, trainable_parameters(model))
    return Trained(out / f"checkpoint-{STEPS}", base, model, moments)
