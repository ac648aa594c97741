"""What is wrong with a file's rows, collected so that the user sees it all at once."""

from pathlib import Path

from g2is.errors import G2isError

MAX_SHOWN = 20


class Problems:
    """The problems of one file, each with its place; keeps the first MAX_SHOWN and counts the rest."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shown: list[str] = []
        self._kind: type[G2isError] = G2isError
        self._num = 0

    def __len__(self) -> int:
        return self._num

    def add(self, line: int, example_id: str | None, problem: G2isError) -> None:
        """Note `problem` of the row at 1-based `line`."""
        if self._num == 0:
            self._kind = type(problem)
        self._num += 1
        if len(self._shown) < MAX_SHOWN:
            name = "" if example_id is None else f" ({example_id})"
            self._shown.append(f"{self._path}:{line}{name}: {problem}")

    def raise_if_any(self, remedy: str) -> None:
        """Raise one error, of the first problem's kind, that lists the problems and says what to do."""
        if self._num == 0:
            return
        rest = self._num - len(self._shown)
        lines = self._shown + ([f"… and {rest} more"] if rest else [])
        rows = "1 row" if self._num == 1 else f"{self._num} rows"
        raise self._kind(f"{self._path}: {rows} cannot be used:\n  " + "\n  ".join(lines) + f"\n{remedy}")
