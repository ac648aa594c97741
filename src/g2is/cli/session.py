"""What every command runs in: Ctrl-C, progress, and libraries that keep quiet."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from g2is.cli.terminal import complain
from g2is.progress import Reporter


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C ends a run with one line. It is caught here because typer would turn it into a bare exit before `main`."""
    try:
        yield
    except KeyboardInterrupt:
        complain("stopped; the same command goes on from here")
        raise typer.Exit(130) from None


def reporter() -> Reporter:
    """Who draws the course of a run."""
    from g2is.cli.progress import TerminalReporter

    return TerminalReporter()


def quiet_libraries() -> None:
    """The stages report their own progress: transformers' bars and advice would only interrupt it."""
    import warnings

    from transformers.utils import logging

    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
