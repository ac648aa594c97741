"""What became of the columns of files: which are read, which are not, and which were mapped in vain."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from g2is.errors import ConfigError
from g2is.examples.schemas import COLUMNS_READ, SCHEMAS

TEST_COLUMNS = ("references", "answer")  # read of test files beside those of their layout
_MAX_TOLD = 20


@dataclass(frozen=True)
class Seen:
    """What was seen of a list of files: their columns and layouts, and what became of the columns.

    `columns` are all by the files' own names; `unread` those, and keys of turns such as `messages[].name`, that say
    something and are not read; `mapped` the standard columns that the configuration maps and that a layout reads.
    """

    columns: tuple[str, ...]
    layouts: tuple[str, ...]
    unread: tuple[str, ...]
    mapped: tuple[str, ...]


def check_columns(columns: Mapping[str, str], seen: Sequence[Seen], also_read: Container[str] = ()) -> None:
    """Raise ConfigError if a column that `columns` maps is in none of the files, or is read in none that it is in.

    `also_read` are the standard columns that are read beside the layout's own.
    """
    found = {name: None for of in seen for name in of.columns}
    absent = {standard: theirs for standard, theirs in columns.items() if theirs not in found}
    if absent:
        raise ConfigError(f"{_flags(absent)}: expected columns of the files, found only {', '.join(found)}")
    read = {name for of in seen for name in of.mapped}
    lost = {name: theirs for name, theirs in columns.items() if name not in read and name not in also_read}
    layouts = {name: None for of in seen for name in of.layouts}
    if lost and layouts:
        known = "; ".join(
            f"{name} reads {', '.join(sorted(COLUMNS_READ[name]))}" for name in SCHEMAS if name in layouts
        )
        raise ConfigError(f"{_flags(lost)}: expected columns that the files' layout reads, found others: {known}")


def describe_unread(names: Sequence[str]) -> str:
    """Say which columns, or keys of turns, are not read: the first of them, and how many more."""
    rest = len(names) - _MAX_TOLD
    told = ", ".join(name or "''" for name in names[:_MAX_TOLD]) + (f" and {rest} more" if rest > 0 else "")
    return f"column{'s' * (len(names) > 1)} {told} {'are' if len(names) > 1 else 'is'} not read"


def _flags(columns: Mapping[str, str]) -> str:
    return f"examples.columns (--column) {', '.join(f'{standard}={theirs}' for standard, theirs in columns.items())}"
