"""Progress on a terminal (bars with the time left) and in a pipe (a plain line now and then)."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from g2is.cli import terminal
from g2is.progress import Progress as Report

_SECONDS_BETWEEN_LINES = 10.0
_TITLE_WIDTH = 24


class TerminalReporter:
    """Draws stages on standard error: standard output stays for results."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or terminal.console(stderr=True)

    @contextmanager
    def stage(self, title: str, unit: str) -> Iterator[Report]:
        """Show a stage while it runs, and the time it took when it is done."""
        begin = time.monotonic()
        show = self._bar if self._console.is_terminal else self._lines
        with show(title, unit) as report:
            yield report
        self._console.print(f"{title:<{_TITLE_WIDTH}} done in {_duration(time.monotonic() - begin)}", style="green")

    def notice(self, text: str) -> None:
        """Print a notice."""
        self._console.print(f"note: {text}", style="yellow", markup=False)

    @contextmanager
    def _bar(self, title: str, unit: str) -> Iterator[Report]:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as bars:
            task = bars.add_task(terminal.visible(f"{title:<{_TITLE_WIDTH}}"), total=None)
            yield lambda done, total: bars.update(task, completed=done, total=total)

    @contextmanager
    def _lines(self, title: str, unit: str) -> Iterator[Report]:
        begin = last = time.monotonic()
        first: int | None = None

        def report(done: int, total: int) -> None:
            nonlocal last, first
            now = time.monotonic()
            first = done if first is None else first  # what an earlier run did says nothing about this one's speed
            if now - last >= _SECONDS_BETWEEN_LINES:
                last = now
                left = (now - begin) * (total - done) / (done - first) if done > first else None
                ahead = f", about {_duration(left)} left" if left is not None else ""
                self._console.print(f"{title}: {done:,} of {total:,} {unit} ({done / max(total, 1):.0%}){ahead}")

        yield report


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
