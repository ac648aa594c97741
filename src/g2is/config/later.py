"""Settings that came later than folders first said all of their settings, and what a folder means that lacks one.

Stores, runs and comparisons of before do not say them. So nothing says them where they are at the value that was meant:
fingerprints, identities and manifests stay what they were, and what was made before is still accepted. A new setting
goes here with the value that folders of before were made with, whatever its default becomes. But for those that come
with a new selector or representation, which no folder of before can have been made by:
`tests/unit/config/test_later.py` lists these, and the settings there were from the start.
"""

from collections.abc import Mapping
from typing import Any

LATER: Mapping[str, str | int | bool | None] = {
    "model.quantization": None,
    "model.device_map": None,
    "model.activation_checkpointing": False,
    "gradients.parameters": "lora",
    "gradients.second_moments": None,
    "gradients.storage": "float16",
    "selection.candidates": None,
    "selection.precondition": None,
    "selection.rounds": 1,
    "selection.warmup_seeds": 1,
    "evaluation.numeric": "exact",
}
# These came with another one of the table, and are read beside it alone: where that goes unsaid, so do they.
READ_BESIDE = {
    "selection.precondition_damping": "selection.precondition",
    "selection.precondition_mix": "selection.precondition",
}
_NOTHING = object()


def without_unsaid(values: Mapping[str, Any], section: str = "") -> dict[str, Any]:
    """Those of the settings `values` that a folder says: all but what came later and is as it was meant before.

    `section` is what their names lack, as "gradients."; without it they are whole, as "gradients.storage".
    """
    unsaid = {name for name in values if LATER.get(section + name, _NOTHING) == values[name]}
    read_beside = {name: READ_BESIDE.get(section + name, "").removeprefix(section) for name in values}
    return {name: of for name, of in values.items() if name not in unsaid and read_beside[name] not in unsaid}
