"""Where a model begins to turn positions by other angles: rows on both sides of that length share no batch."""

from collections.abc import Mapping
from typing import Any


def length_of_other_angles(config: Any) -> int | None:
    """The most tokens of a row that a model sees by its own angles, by its `config`; None if they never change.

    LongRoPE takes its long angles for a whole batch as soon as one row is longer than the model was first trained for.
    Dynamic NTK takes those of the longest row that there was, until a batch comes that is shorter than that length.
    """
    of_text = config.get_text_config() if hasattr(config, "get_text_config") else config
    given = getattr(of_text, "rope_parameters", None)
    if not isinstance(given, Mapping):
        return None
    found = []
    for rope in (given, *given.values()):  # some models have angles of their own for each kind of layer
        kind = rope.get("rope_type") if isinstance(rope, Mapping) else None
        if kind in ("longrope", "dynamic"):
            length = int(rope.get("original_max_position_embeddings") or of_text.max_position_embeddings)
            found.append(length if kind == "longrope" else length - 1)
    return min(found, default=None)
