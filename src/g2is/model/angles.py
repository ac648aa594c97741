"""Where a model begins to turn positions by other angles: rows on both sides of that length share no batch."""

from collections.abc import Mapping
from typing import Any

# LongRoPE takes its long angles for a whole batch as soon as one row is longer than the model was first trained for;
# dynamic NTK takes those of the longest row.
_BY_LENGTH = ("longrope", "dynamic")


def length_of_other_angles(config: Any) -> int | None:
    """The most tokens of a row that is seen by a model's own angles, by its `config`; None if they never change.

    A padded row of at most as many tokens would be seen by others, beside a longer one.
    """
    of_text = config.get_text_config() if hasattr(config, "get_text_config") else config
    given = getattr(of_text, "rope_parameters", None)
    if not isinstance(given, Mapping):
        return None
    found = []
    for rope in (given, *given.values()):  # some models have angles of their own for each kind of layer
        if isinstance(rope, Mapping) and rope.get("rope_type") in _BY_LENGTH:
            length = rope.get("original_max_position_embeddings")
            found.append(int(length or of_text.max_position_embeddings))
    return min(found, default=None)
