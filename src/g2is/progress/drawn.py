"""Progress on a terminal (bars with the time left), in a pipe (a line now and then) and in a notebook (one line)."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime

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

from g2is.progress import Progress as Report
from g2is.progress import terminal

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_LINES_OF_A_CELL = 0.5
_TITLE_WIDTH = 24


class TerminalReporter:
    """Draws stages on standard error: standard output stays for results.

    A stage within another has a bar below that one's. One that is `verbose` also says when each begins, by the clock.
    """

    def __init__(self, console: Console | None = None, verbose: bool = False) -> None:
        self._console = console or terminal.console(stderr=True)
        self._verbose = verbose
        self._bars: Progress | None = None  # of the stages that run

    @contextmanager
    def stage(self, title: str, unit: str) -> Iterator[Report]:
        """Show a stage while it runs, and the time it took when it is done."""
        begin = time.monotonic()
        if self._verbose:
            self._console.print(f"{datetime.now():%H:%M:%S} {title} begins", style="dim", markup=False)
        show = self._bar if self._console.is_terminal else self._lines
        with show(title, unit) as report:
            yield report
        self._console.print(f"{title:<{_TITLE_WIDTH}} done in {_duration(time.monotonic() - begin)}", style="green")

    def notice(self, text: str) -> None:
        """Print a notice."""
        # piped, a note is one line: whoever searches the log finds it
        self._console.print(f"note: {text}", style="yellow", markup=False, soft_wrap=not self._console.is_terminal)

    @contextmanager
    def _bar(self, title: str, unit: str) -> Iterator[Report]:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        outermost = self._bars is None
        bars = self._bars = self._bars or Progress(*columns, console=self._console, transient=True)
        with bars if outermost else nullcontext():  # a terminal is drawn on by one at a time
            task = bars.add_task(terminal.visible(f"{title:<{_TITLE_WIDTH}}"), total=None, unit=unit)
            try:
                yield lambda done, total: bars.update(task, completed=done, total=total)
            finally:
                if outermost:
                    self._bars = None
                else:
                    bars.remove_task(task)

    @contextmanager
    def _lines(self, title: str, unit: str) -> Iterator[Report]:
        course = _Course(title, unit, _SECONDS_BETWEEN_LINES)

        def report(done: int, total: int) -> None:
            if line := course.line(done, total):
                self._console.print(line)

        yield report


class NotebookReporter:
    """Draws each stage as a line of a notebook's cell, which is written over while it runs."""

    @contextmanager
    def stage(self, title: str, unit: str) -> Iterator[Report]:
        """Show a stage while it runs, and the time it took when it is done."""
        begin = time.monotonic()
        course = _Course(title, unit, _SECONDS_BETWEEN_LINES_OF_A_CELL)
        terminal.write_over(title)

        def report(done: int, total: int) -> None:
            if line := course.line(done, total):
                terminal.write_over(line)

        yield report
        terminal.write_over(f"{title}: done in {_duration(time.monotonic() - begin)}", ends=True)

    def notice(self, text: str) -> None:
        """Print a notice."""
        terminal.write_over(f"note: {text}", ends=True)


class _Course:
    """Says in words how far a stage is, at most once in so many seconds."""

    def __init__(self, title: str, unit: str, seconds_between: float) -> None:
        self._title, self._unit, self._seconds_between = title, unit, seconds_between
        self._begin = self._last = time.monotonic()
        self._first: int | None = None  # what an earlier run did says nothing about this one's speed

    def line(self, done: int, total: int) -> str:
        """How far the stage is and how long it takes yet; empty if it was said just before."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._begin = done, now  # what was before, such as loading a model, is not what is left
        if now - self._last < self._seconds_between:
            return ""
        self._last = now
        made = done - self._first
        ahead = f", about {_duration((now - self._begin) * (total - done) / made)} left" if made > 0 else ""
        return f"{self._title}: {done:,} of {total:,} {self._unit} ({done / max(total, 1):.0%}){ahead}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
