"""What `gradients.parameters: all` asks of the settings in other sections."""

from collections.abc import Iterable

from g2is.config.gradients import GradientsConfig
from g2is.config.model import ModelConfig
from g2is.config.parts import WarmupConfig
from g2is.config.selection import SelectionConfig


def check_parameters(
    gradients: GradientsConfig, warmup: WarmupConfig, model: ModelConfig, selections: Iterable[SelectionConfig]
) -> None:
    """Raise ValueError where gradients of all linear layers are asked for beside what they cannot be taken with.

    `selections` are all that look at them.
    """
    if gradients.parameters == "lora":
        return
    if warmup.adapter is not None:
        raise ValueError(
            "gradients.parameters: expected lora beside an adapter (--adapter, warmup.adapter), whose gradients these"
            " are, found all; leave one of the two out"
        )
    if model.dtype == "float16":
        raise ValueError(
            "gradients.parameters: expected model.dtype: bfloat16, float32 or auto beside all, found float16, in which"
            " weights cannot be trained; leave one of the two out"
        )
    if model.quantization is not None:
        raise ValueError(
            "gradients.parameters: expected no model.quantization beside all, for rounded weights have no gradient,"
            f" found {model.quantization}; leave one of the two out"
        )
    if model.device_map is not None:
        raise ValueError(
            "gradients.parameters: expected no model.device_map beside all, whose gradients are taken on one device,"
            f" found {model.device_map}; leave one of the two out"
        )
    for selection in selections:
        for name in ("warmup_seeds", "rounds"):
            if (found := getattr(selection, name)) > 1:
                raise ValueError(
                    f"gradients.parameters: expected selection.{name}: 1 beside all, since more than one is of adapters"
                    f" alone, found {found}; leave one of the two out"
                )
