"""The settings of the model: which one, and how its frozen weights are held."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from g2is.config.section import Section

Quantization = Literal["nf4", "int8"]


class ModelConfig(Section):
    """The causal language model to measure gradients on."""

    name: str = Field(description="local folder or hub name")
    revision: str | None = Field(None, description="of a hub model: branch, tag or commit")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of the frozen weights; auto: bfloat16 on CUDA, else float32. Gradients are float32 always"
    )
    quantization: Quantization | None = Field(
        None,
        description="round the frozen weights of the blocks' linear layers to so many bits (bitsandbytes); the adapter"
        " and its gradients stay in float32 (docs/how_to/large_model.md)",
    )
    device_map: Literal["auto"] | None = Field(
        None, description="auto: spread the blocks over all visible CUDA devices; by default one device holds all"
    )
    activation_checkpointing: bool = Field(
        False,
        description="keep each block's input alone for the backward pass, which computes the rest anew: less memory,"
        " about a third slower; rows and adapters stay the same",
    )
    trust_remote_code: bool = Field(False, description="run code that comes with the model")

    @field_validator("name")
    @classmethod
    def _absolute_if_a_folder(cls, name: str) -> str:
        return str(Path(name).absolute()) if Path(name).is_dir() else name
