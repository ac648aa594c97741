"""Who is told of the course of a function, where the caller names nobody."""

import sys

from g2is.cli.progress import TerminalReporter
from g2is.progress import Reporter
from g2is.progress import Silent as Silent


def watched(reporter: Reporter | None) -> Reporter:
    """`reporter`; else one that draws where a person looks on, in a terminal or a notebook; else one that is silent.

    A notebook runs its cells in ipykernel, whose standard error is no terminal.
    """
    if reporter is not None:
        return reporter
    is_terminal = sys.stderr is not None and sys.stderr.isatty()  # a program without a console has none
    return TerminalReporter() if is_terminal or "ipykernel" in sys.modules else Silent()
