"""What every command runs in: progress, and libraries that keep quiet."""

from g2is.progress import Reporter


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
