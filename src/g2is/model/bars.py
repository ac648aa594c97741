"""No bars of transformers while it loads a model: what is shown of that is the caller's own progress, or nothing."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_bars() -> Iterator[None]:
    """Within this transformers draws no bars; whoever has them in their own program has them again afterwards."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars
    from transformers.utils import logging

    if not logging.is_progress_bar_enabled():
        yield
        return
    of_hub = not are_progress_bars_disabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()  # the hub's too
        if not of_hub:
            disable_progress_bars()
