"""What is said of an adapter before it is trained or taken: on how many layers it is, and in how many blocks."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from g2is.config import LoraConfig
from g2is.model.adapter import adapted_layers, target_modules
from g2is.model.folder import ModelFolder
from g2is.model.layers import Reach, reach
from g2is.progress import Reporter


def reach_of(model: ModelFolder, config: LoraConfig, adapter: Path | None, section: str = "warmup") -> dict[str, Any]:
    """How far the saved `adapter` reaches, or that which `config` asks for, as summary.json keeps it.

    The model's layers are made for that, which takes seconds. Raises ModelError as `target_modules`.
    """
    layers = model.without_weights()
    paths = target_modules(layers, config, section) if adapter is None else adapted_layers(adapter)
    found = reach(layers, paths)
    return {**asdict(found), "beside_text": list(found.beside_text)}


def say_reach(found: Mapping[str, Any], reporter: Reporter) -> None:
    """Say how far an adapter reaches, as `reach_of` found it."""
    reporter.notice(str(Reach(**{**found, "beside_text": tuple(found["beside_text"])})))
