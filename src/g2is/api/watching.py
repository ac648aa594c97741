"""Who is told of the course of a function, where the caller names nobody."""

import os
import sys

from g2is.cli.progress import TerminalReporter
from g2is.progress import Reporter
from g2is.progress import Silent as Silent

_STANDARD_ERROR = 2  # where progress is drawn


def watched(reporter: Reporter | None) -> Reporter:
    """`reporter`; else one that draws where a person looks on, in a terminal or a notebook; else one that is silent.

    A notebook runs its cells in ipykernel, whose standard error is no terminal.
    """
    if reporter is not None:
        return reporter
    return TerminalReporter() if os.isatty(_STANDARD_ERROR) or "ipykernel" in sys.modules else Silent()
