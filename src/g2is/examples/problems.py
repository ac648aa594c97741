"""What is wrong with rows and files, collected so that the user sees it all at once."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from g2is.errors import G2isError
from g2is.examples.sources import Source

MAX_SHOWN = 20
MAX_OTHER_KINDS = 5


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used: where it is, its `id` if it could be read, its bytes, and why."""

    origin: Source
    line: int
    id: str | None
    raw: bytes
    problem: G2isError


class NotesProblems(Protocol):
    """What is told of rows and files that cannot be used."""

    def add(self, row: BadRow, /) -> None:
        """Note a bad row."""

    def add_file(self, problem: G2isError, /) -> None:
        """Note a file that cannot be read at all, or not to its end."""


class Problems:
    """The problems of one list of files, each with its place; keeps the first MAX_SHOWN and counts the rest.

    Of the rest it keeps the first of each other kind, too, at most MAX_OTHER_KINDS: else 20 empty answers would hide
    that a later line is no JSON.

    `label` names the files. Each bad row is passed on to `keep`, if that is given.
    """

    def __init__(self, label: str, keep: Callable[[BadRow], None] | None = None) -> None:
        self.label = label
        self._keep = keep
        self.shown: list[str] = []
        self._of_other_kinds: list[str] = []
        self._expected: set[str] = set()
        self._kind: type[G2isError] = G2isError
        self.num_rows = 0
        self.num_files = 0

    def __len__(self) -> int:
        return self.num_rows + self.num_files

    def add(self, row: BadRow) -> None:
        """Note a bad row."""
        name = "" if row.id is None else f" ({row.id})"
        self._note(row.problem, f"{row.origin.place(row.line)}{name}: {row.problem}")
        self.num_rows += 1
        if self._keep is not None:
            self._keep(row)

    def add_file(self, problem: G2isError) -> None:
        """Note a file that cannot be read at all, or not to its end; `problem` names it."""
        self._note(problem, str(problem))
        self.num_files += 1

    def raise_if_any(self, remedy: str, num_read: int | None = None) -> None:
        """Raise one error, of the first problem's kind, that lists the problems and says what to do.

        `num_read` is how many rows there are, bad ones among them.
        """
        if not len(self):
            return
        if self.num_files == len(self) == 1:
            raise self._kind(self.shown[0])
        counts = [(self.num_rows, "row"), (self.num_files, "file")]
        of_rows = "" if num_read is None else f" of {num_read}"
        named = [(num, "" if name == "file" else of_rows, name) for num, name in counts if num]
        what = " and ".join(f"{num}{of} {name}{'s' * (num != 1 or bool(of))}" for num, of, name in named)
        raise self._kind(f"{self.label}: {what} cannot be used:\n  " + "\n  ".join(self.lines()) + f"\n{remedy}")

    def lines(self) -> list[str]:
        """The problems shown, how many more there are, and which of those are of other kinds."""
        rest, others = len(self) - len(self.shown), self._of_other_kinds
        if not rest:
            return self.shown
        return [*self.shown, f"… and {rest} more" + (", among them of other kinds:" if others else ""), *others]

    def _note(self, problem: G2isError, text: str) -> None:
        if not len(self):
            self._kind = type(problem)
        kind = _kind(str(problem))
        if len(self.shown) < MAX_SHOWN:
            self.shown.append(text)
        elif kind not in self._expected and len(self._of_other_kinds) < MAX_OTHER_KINDS:
            self._of_other_kinds.append(text)
        else:
            return
        self._expected.add(kind)


def _kind(text: str) -> str:
    """What was expected, wherever it was."""
    return re.sub(r"\d+", "", text.partition(", found")[0])
