"""What `gradients.parameters: all` asks of the settings in other sections."""

from g2is.config.gradients import GradientsConfig
from g2is.config.parts import ModelConfig, WarmupConfig


def check_parameters(gradients: GradientsConfig, warmup: WarmupConfig, model: ModelConfig) -> None:
    """Raise ValueError where gradients of all linear layers are asked for beside what they cannot be taken with."""
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
