"""The settings by which the same bytes are other examples, beside those that make tokens of them."""

from typing import Any

from g2is.config import ExamplesConfig
from g2is.examples.lines import MAX_ROW_BYTES

HOW_READ = frozenset(("layout", "columns", "on_bad_row", "max_row_bytes"))


def how_read(config: ExamplesConfig) -> dict[str, Any]:
    """The settings of HOW_READ, as records keep them.

    `max_row_bytes` only where it is not the default, so that what was made before it was there is still known.
    """
    values = config.model_dump(mode="json", include=set(HOW_READ))
    if config.max_row_bytes == MAX_ROW_BYTES:
        del values["max_row_bytes"]
    return values
