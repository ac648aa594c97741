"""Where a model's parts lie: on one device, or its blocks on all visible ones (`model.device_map: auto`)."""

from typing import Any

import torch
from torch import nn

from g2is.config import ExecutionConfig, ModelConfig
from g2is.errors import ConfigError, ModelError
from g2is.machine.ranks import team

_MOVED = "cuda"  # the only kind of which a machine has several


def device_map(config: ModelConfig, device: torch.device) -> Any:
    """What transformers is told of where to put the parts of a model: all on `device`, or spread over its kind."""
    if _spreads(config, device):
        return "auto"
    # by its number: the threads that transformers loads weights in have the first one as `cuda`
    return {"": torch.device(_MOVED, torch.cuda.current_device()) if device == torch.device(_MOVED) else device}


def devices_taken(config: ModelConfig, device: torch.device) -> list[str]:
    """The devices that a model spread over several takes, by what tells each from all others; none if it is not."""
    if not _spreads(config, device):
        return []
    return sorted(str(torch.cuda.get_device_properties(number).uuid) for number in range(torch.cuda.device_count()))


def _spreads(config: ModelConfig, device: torch.device) -> bool:
    return config.device_map == "auto" and device.type == _MOVED and torch.cuda.device_count() > 1


def check_all_on_devices(model: Any, name: object) -> None:
    """Raise ModelError where some of a spread `model` was left in main memory or on disk, for want of room."""
    if left := [path for path, place in model.hf_device_map.items() if str(place) in ("cpu", "disk", "meta")]:
        raise ModelError(
            f"{name}: expected devices that hold the whole model together, found no room on them for {len(left)} of its"
            f" parts: {', '.join(left[:3])}{' …' * (len(left) > 3)}. Set model.quantization to nf4 or int8, or use more"
            " devices"
        )


def leave_positions(model: Any) -> None:
    """Let the hook around a spread `model` leave `logits_to_keep` in main memory, from where it serves any device."""
    model._hf_hook.skip_keys = [*(getattr(model, "_skip_keys_device_placement", None) or ()), "logits_to_keep"]


def is_spread(model: nn.Module) -> bool:
    """Whether `model`, or what an adapter is on, lies on several devices."""
    places = getattr(model, "hf_device_map", None) or {}
    return len({str(place) for place in places.values()}) > 1


def check_spread(config: ModelConfig, execution: ExecutionConfig) -> None:
    """Raise ConfigError where a model that takes all devices is to be held by several processes of this machine."""
    if config.device_map is None:
        return
    if (others := team()) is not None:
        raise ConfigError(
            f"model.device_map: expected one process, since a model that is spread takes all of its devices, found"
            f" {others.place.count} of torchrun. Start g2is without torchrun, or leave model.device_map out"
        )
    if execution.engine == "local" and (execution.workers or 1) > 1:
        raise ConfigError(
            "execution.workers: expected 1 beside model.device_map, since a model that is spread takes all devices,"
            f" found {execution.workers}. Leave one of the two out"
        )


def frozen_dtype(model: nn.Module) -> torch.dtype:
    """The type in which the frozen weights are computed with: rounded ones are held in whole numbers."""
    return next(parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
