"""Which rows of the pool stay, and which of those are selected whatever the walk says: `--exclude` and `--include`.

An id list is a UTF-8 text file with one id a line; blank lines and repeated ids count for nothing.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from g2is.config.strict import read_text_file
from g2is.errors import InputError
from g2is.examples.table import ExampleTable
from g2is.store.files import remove, write_text

EXCLUDED = "excluded.jsonl"

_MOST_SHOWN = 20


@dataclass(frozen=True)
class Filtered:
    """A pool without the rows that were left out of it.

    read      the pool as it was read
    pool      the rows that stay, in its order
    included  positions in `pool` of the rows that are selected anyway, in the order of their lists (n,) int64
    reasons   position in `read` of each row that was left out -> why
    """

    read: ExampleTable
    pool: ExampleTable
    included: np.ndarray
    reasons: Mapping[int, str]


def filter_pool(
    pool: ExampleTable,
    included: Mapping[str, str],
    excluded: Mapping[str, str],
    dropped: Mapping[int, str] | None = None,
) -> Filtered:
    """Take the `excluded` rows, and those whose positions are in `dropped` (with the reason), out of `pool`.

    `included` and `excluded` are ids -> where they are listed (`read_lists`). Raises InputError if the pool does not
    have them (they are listed), if a row is to be included and left out at once, or no row is left.
    """
    problems = {row["id"]: row["problem"] for row in pool.bad_rows()} if included or excluded else {}
    set_aside = problems.keys() - set(pool.ids)
    excluded = {id_: place for id_, place in excluded.items() if id_ not in set_aside}  # it is left out already
    if unusable := [f"{id_} ({place}): {problems[id_]}" for id_, place in included.items() if id_ in set_aside]:
        raise InputError(
            f"expected rows to include that can be used, found {_some(unusable)}. Mend them, or take them off the list"
        )
    _check_ids_are_known(pool, {**included, **excluded})
    if both := [f"{id_} ({included[id_]}, {excluded[id_]})" for id_ in included if id_ in excluded]:
        raise InputError(
            f"expected ids either to include or to exclude, found in both lists: {_some(both)}; take each off one"
            " of them"
        )
    position_of = {id_: position for position, id_ in enumerate(pool.ids) if id_ in included or id_ in excluded}
    reasons = dict(dropped or {})
    if kept_out := [f"{id_} ({place})" for id_, place in included.items() if position_of[id_] in reasons]:
        raise InputError(
            f"expected rows to include that do not overlap with the test set, found {_some(kept_out)}. Take them off"
            " the list, or do without --exclude-overlap"
        )
    reasons |= {position_of[id_]: f"listed in {place}" for id_, place in excluded.items()}
    if len(reasons) == len(pool):
        raise InputError(
            f"expected at least one row of the pool to stay, found all {len(pool)} left out; exclude fewer"
        )
    rows = np.array([position_of[id_] for id_ in included], np.int64)
    if not reasons:
        return Filtered(pool, pool, rows, {})
    stays = np.ones(len(pool), bool)
    stays[list(reasons)] = False
    place_among_kept = np.cumsum(stays) - 1
    return Filtered(pool, pool.subset(np.flatnonzero(stays)), place_among_kept[rows], dict(sorted(reasons.items())))


def write_excluded(filtered: Filtered, folder: Path) -> None:
    """List in `folder` the rows that were left out, each with its reason; no file where there are none."""
    read = filtered.read
    lines = [
        json.dumps({"row": int(read.rows[position]), "id": read.ids[position], "reason": reason}, ensure_ascii=False)
        for position, reason in filtered.reasons.items()
    ]
    if lines:
        write_text(folder / EXCLUDED, "\n".join(lines) + "\n")
    else:
        remove(folder / EXCLUDED)


def read_lists(paths: Iterable[Path]) -> dict[str, str]:
    """The ids of all lists, in their order -> file:line of the first mention.

    Raises InputError if a list cannot be read or is empty.
    """
    places: dict[str, str] = {}
    for path in paths:
        for line, id_ in _read_list(path):
            places.setdefault(id_, f"{path}:{line}")
    return places


def _read_list(path: Path) -> list[tuple[int, str]]:
    if path.is_dir():
        raise InputError(f"{path}: expected a list of ids, one a line, found a folder; name a file in it")
    try:
        text = read_text_file(path).removeprefix("\ufeff")
    except FileNotFoundError:
        raise InputError(f"{path}: expected a list of ids, one a line, found no such file; check the path") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: expected a list of ids in UTF-8, found byte 0x{error.object[error.start]:02x} at byte"
            f" {error.start + 1}; save it as UTF-8 text"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: expected a readable list of ids, found: {reason}") from None
    found = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not found:
        raise InputError(f"{path}: expected a list of ids, one a line, found none; leave the list out or fill it")
    return found


def _check_ids_are_known(pool: ExampleTable, places: Mapping[str, str]) -> None:
    if not places:
        return
    unknown = places.keys() - set(pool.ids)
    if unknown:
        listed = [f"{place}: {id_}" for id_, place in places.items() if id_ in unknown]
        shown = listed[:_MOST_SHOWN] + (["…"] if len(listed) > _MOST_SHOWN else [])
        raise InputError(
            f"expected ids of the pool's rows, one a line, found {len(listed)} that no row has (the pool's first is"
            f" {pool.ids[0]}):\n  " + "\n  ".join(shown) + "\nCorrect them or take them off the list."
        )


def _some(items: Sequence[str]) -> str:
    rest = len(items) - _MOST_SHOWN
    return ", ".join(items[:_MOST_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
