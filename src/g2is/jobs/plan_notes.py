"""What a plan counts otherwise than it will be, and does not count, in words."""

from g2is.config import Config
from g2is.machine.memory import available_memory, fits_in_memory
from g2is.model.folder import ModelFolder
from g2is.selection.precondition import bytes_to_decompose

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


def notes_of(
    config: Config, folder: ModelFolder, row_length: int, *, exact: bool, can_look: bool, named: bool
) -> list[str]:
    """What is said beside the figures. Rows of gradients have `row_length` numbers; 0 if there are none.

    `exact` whether tokens are counted as they are, `can_look` whether the store can be looked into, `named` whether
    times are of devices that were named.
    """
    notes = []
    if not exact:
        notes.append(
            "there is no tokenizer beside config.json: tokens are a quarter of the texts' bytes, and duplicates are not"
            " looked for"
        )
    if any(getattr(folder.hf_config.get_text_config(), name, None) for name in _EXPERTS):
        and_times = " and times" if named else ""
        notes.append(
            f"the model has experts, of which a token goes through some: operations{and_times} count all of them, and"
            " so do activations where each is a layer of its own, which is too many"
        )
    if getattr(folder.hf_config, "quantization_config", None) is not None:
        notes.append("the checkpoint's weights are quantised: memory is counted as if they were not")
    model = config.model
    if model.activation_checkpointing:
        notes.append("model.activation_checkpointing: activations are counted as if they were kept, which is too many")
    gradients = config.gradients
    if named and gradients.parameters == "all":
        beside = (
            "the projection's own products are not among them"
            if gradients.projection.kind == "two-sided"
            else "Γ and the projection go over every weight for each row, by the speed of memory"
        )
        notes.append(
            f"gradients.parameters: all: times are those of operations alone, so the least there can be: {beside}"
        )
    if named and model.quantization is not None:
        notes.append("model.quantization: times are those of plain weights, which are faster")
    if config.selection.precondition is not None and row_length:
        num_bytes = bytes_to_decompose(row_length)
        lacking = "" if named or fits_in_memory(num_bytes) else f"; here are {available_memory() / 2**30:.1f} GiB"
        notes.append(
            f"selection.precondition: choosing takes {num_bytes / 2**30:.2f} GiB of main memory to decompose a second"
            f" moment, and stops where there is less{lacking}"
        )
    if not can_look:
        notes.append("a store at a URL is not looked into: it is taken to hold no rows")
    return notes
