"""Loading a model's weights: in which type, rounded to how many bits, and onto which devices."""

from typing import TYPE_CHECKING, Any

import torch

from g2is.errors import ModelError, first_line, pass_on_too_little_memory
from g2is.model.bars import without_bars
from g2is.model.causal import auto_class
from g2is.model.devices import check_all_on_devices, device_map, leave_positions
from g2is.model.quantized import bitsandbytes_config, compute_by_reading_back, layers_to_round
from g2is.model.recompute import recompute_blocks
from g2is.model.settings_file import FP8

if TYPE_CHECKING:  # the code of models takes seconds to import
    from transformers import PreTrainedModel

    from g2is.model.folder import ModelFolder


def load_model(folder: "ModelFolder", device: torch.device, dtype: torch.dtype) -> "PreTrainedModel":
    """Load the model of `folder`, in eval mode, with its plain weights in `dtype`. Raises ModelError if that fails."""
    to_round = None if folder.config.quantization is None else folder.without_weights()
    rounding = _rounding(folder, to_round, dtype)
    places = device_map(folder.config, device)
    places_itself = bool(rounding) or folder.rounded_by is not None or places == "auto"
    try:
        with without_bars():
            model, report = auto_class(folder.hf_config).from_pretrained(
                folder.path,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=folder.config.trust_remote_code,
                output_loading_info=True,
                **rounding,
                **({"device_map": places} if places_itself else {}),
            )
    except Exception as error:  # a cut-off file, other shapes than config.json says, a missing package …
        pass_on_too_little_memory(error)
        raise ModelError(
            f"{folder.path}: expected a causal language model with safetensors weights, but it cannot be loaded:"
            f" {first_line(error)}"
        ) from None
    folder.check_unchanged()
    missing = sorted(report["missing_keys"])
    if missing:  # transformers would go on with random numbers there
        raise ModelError(
            f"{folder.path}: expected weights for every parameter, found none for {len(missing)}: "
            + ", ".join(missing[:5])
        )
    if hasattr(model.config, "rescale_every"):
        # RWKV would halve weights in place when it does not train, and not what LoRA adds to them
        model.config.rescale_every = 0
    if places == "auto":
        check_all_on_devices(model, folder.path)
        leave_positions(model)
    elif places_itself:
        vars(model).pop("hf_device_map", None)  # PEFT would spread anew what has one that names a CPU
    else:
        model = model.to(device)
    compute_by_reading_back(model, None if to_round is None else layers_to_round(to_round))
    if folder.config.activation_checkpointing:
        recompute_blocks(model)
    found: PreTrainedModel = model.eval()
    return found


def _rounding(folder: "ModelFolder", to_round: "PreTrainedModel | None", dtype: torch.dtype) -> dict[str, Any]:
    """What transformers is told of how weights are, or are to be, rounded; `to_round` is the model without them."""
    if to_round is not None:
        assert folder.config.quantization is not None
        return {"quantization_config": bitsandbytes_config(folder.config.quantization, to_round, dtype)}
    if folder.rounded_by == FP8:
        from transformers import FineGrainedFP8Config

        return {"quantization_config": FineGrainedFP8Config(dequantize=True)}
    return {}
