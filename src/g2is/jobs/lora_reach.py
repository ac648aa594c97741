"""What is said of an adapter before it is trained or taken: on how many layers it is, and in how many blocks."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from g2is.config import LoraConfig
from g2is.model.adapter import adapted_layers, target_modules
from g2is.model.folder import ModelFolder
from g2is.model.layers import reach
from g2is.progress import Reporter


def say_reach(
    model: ModelFolder, config: LoraConfig, adapter: Path | None, reporter: Reporter, section: str = "warmup"
) -> dict[str, Any]:
    """Say how far the saved `adapter` reaches, or that which `config` asks for; returns it as summary.json keeps it.

    Raises ModelError as `target_modules`.
    """
    layers = model.without_weights()
    paths = target_modules(layers, config, section) if adapter is None else adapted_layers(adapter)
    found = reach(layers, paths)
    reporter.notice(str(found))
    return {**asdict(found), "beside_text": list(found.beside_text)}
