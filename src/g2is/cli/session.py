"""What every command runs in: progress, and libraries that keep quiet."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from g2is.cli.stopping import stoppable
from g2is.progress import Reporter
from g2is.store.lock import waiting


def reporter() -> Reporter:
    """Who draws the course of a run."""
    from g2is.progress.drawn import TerminalReporter

    return TerminalReporter()


@contextmanager
def working(keeps: Path | str, wait: bool) -> Iterator[None]:
    """Do work in the folder or URL `keeps` that a signal may stop; where others use it, `wait` for their end."""
    with stoppable(keeps), waiting(reporter() if wait else None):
        yield


def quiet_libraries() -> None:
    """The stages report their own progress: transformers' bars and advice would only interrupt it."""
    import warnings

    from transformers.utils import logging

    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")
    warnings.filterwarnings("ignore", category=UserWarning, module="joblib")  # of limits that g2is does not meet
    logging.set_verbosity_error()
    logging.disable_progress_bar()
