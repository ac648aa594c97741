"""What is said of an adapter before it is trained or taken: on how many layers it is, and in how many blocks.

Where gradients are of all linear layers in place of an adapter's, what is said is which layers these are.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from g2is.config import LoraConfig
from g2is.model.adapter import adapted_layers, target_modules
from g2is.model.all_linear import all_linear
from g2is.model.folder import ModelFolder
from g2is.model.layers import Reach, reach
from g2is.progress import Reporter

_LEFT_OUT = "left_out"  # layers by path, with why; only where gradients are of all linear layers
_MOST_NAMED = 5


def reach_of(model: ModelFolder, config: LoraConfig, adapter: Path | None, section: str = "warmup") -> dict[str, Any]:
    """How far the saved `adapter` reaches, or that which `config` asks for, as summary.json keeps it.

    The model's layers are made for that, which takes seconds. Raises ModelError as `target_modules`.
    """
    layers = model.without_weights()
    paths = target_modules(layers, config, section) if adapter is None else adapted_layers(adapter)
    found = reach(layers, paths)
    return {**asdict(found), "beside_text": list(found.beside_text)}


def reach_of_all(model: ModelFolder) -> dict[str, Any]:
    """The same of all linear layers, and which of them are left out. Raises ModelError as `all_linear`."""
    layers = model.without_weights()
    paths, left_out = all_linear(layers)
    found = reach(layers, paths)
    return {**asdict(found), "beside_text": list(found.beside_text), _LEFT_OUT: left_out}


def say_reach(found: Mapping[str, Any], reporter: Reporter) -> None:
    """Say how far an adapter reaches, as `reach_of` found it, or of which layers gradients are."""
    if _LEFT_OUT not in found:
        reporter.notice(str(Reach(**{**found, "beside_text": tuple(found["beside_text"])})))
        return
    text = (
        f"gradients of {found['layers']} linear layers, weights and biases, in {found['blocks_reached']} of"
        f" {found['blocks']} blocks; not of embeddings, norms and what else is no linear layer. warmup.lora is not used"
    )
    by_reason = Counter(found[_LEFT_OUT].values())
    for reason in by_reason:
        names = [path for path, why in found[_LEFT_OUT].items() if why == reason]
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        text += f". Left out, for {reason}: {', '.join(names[:_MOST_NAMED])}{more}"
    reporter.notice(text)
