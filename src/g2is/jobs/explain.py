"""`g2is explain RUN ID…`: why a row was or was not selected, from what the run and its store hold.

The run says of every row whether it was taken, in which order, and how near it is to the target; and which rows were
left out, and why. The store has the rows themselves: with them it is said which taken row covers this one, which
conflict with it, and what it was worth when it was not taken (`explain_rules.py`).
"""

import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from g2is.config import Config
from g2is.config.home import at_home
from g2is.errors import InputError, StoreError
from g2is.examples.filter import EXCLUDED
from g2is.jobs.explain_rules import Taken, explain_rows
from g2is.jobs.run_folder import PICKS, SET_ASIDE, WALK, settings_of
from g2is.jobs.stored_vectors import Stored, read_stored
from g2is.jobs.work_folder import BAD_ROWS
from g2is.outputs.columns import ABOUT, OF_SCORES
from g2is.outputs.tables import SCORES, SELECTION, read_steps, read_table
from g2is.store.files import read_json

_MOST_CLOSE = 3  # ids that are named where one is unknown


@dataclass(frozen=True)
class _Run:
    """What a run's folder says. `places` are those of ids in scores.parquet, `left_out` rows that are not in it.

    `unusable` are the names in `left_out` of rows that cannot be used, by file and line.
    """

    config: Config
    record: dict[str, Any]
    scores: dict[str, list[Any]]
    places: dict[str, int]
    taken: Taken
    left_out: dict[str, dict[str, Any]]
    unusable: dict[str, str]


def explain(run: str | Path, ids: str | int | np.integer | Sequence[str | int] | np.ndarray) -> list[dict[str, Any]]:
    """Why each of the rows `ids` was or was not selected: a text is an id, or a record number that is no id; an integer
    is a record number, such as those of `Selection.rows`. A text or integer by itself is one row.

    A mapping for each: `row`, `id`, `state` (selected, not selected, set aside, excluded, cannot be used), `reason`,
    and what is known beside; `unknown` says what is not, and why. Raises StoreError if `run` holds no selection of
    examples, InputError naming every id that no row has, with close ones.
    """
    run = at_home(Path(run))
    found = _read(run)
    asked = _found(found, run, [ids] if isinstance(ids, str | int) else _each(ids))
    in_pool = [row for row in asked if row["state"] in ("selected", "not selected")]
    stored = read_stored(found.config) if asked else Stored()
    for row in asked:
        _add_lengths(row, stored)
    for row in in_pool:
        row |= _scores(found, found.places[row["id"]])
    explain_rows(in_pool, found.taken, found.record, stored)
    return asked


def _each(ids: np.integer | Sequence[str | int] | np.ndarray) -> list[str | int]:
    if isinstance(ids, np.integer):
        return [int(ids)]
    return [of.item() if isinstance(of, np.generic) else of for of in ids]


def _read(run: Path) -> _Run:
    config = settings_of(run)
    scores = read_table(run / SCORES).to_pydict()
    places = {id_: place for place, id_ in enumerate(scores["id"])}
    record = next((read_json(run / name) for name in (WALK, PICKS) if (run / name).is_file()), {})
    left_out, unusable = dict[str, dict[str, Any]](), dict[str, str]()
    for name, state in ((EXCLUDED, "excluded"), (SET_ASIDE, "set aside")):
        for row in _lines(run / name):
            left_out[row["id"]] = {"row": row["row"], "id": row["id"], "state": state, "reason": row["reason"]}
    for row in _lines(run / BAD_ROWS):
        place = f"{row['file']}:{row['line']}"
        values = {"row": None, "id": row["id"], "state": "cannot be used", "reason": row["problem"], "place": place}
        # a row of a target, which is listed there too, may have the id of one of the pool
        is_known = row["id"] is None or row["id"] in places or row["id"] in left_out
        unusable[place] = place if is_known else row["id"]
        left_out[unusable[place]] = values
    return _Run(config, record, scores, places, Taken(read_steps(run / SELECTION)), left_out, unusable)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise StoreError(
                        f"{path}:{number}: expected a line of JSON as g2is writes it, found another ({error}). Put a"
                        " whole copy back"
                    ) from None


def _found(run: _Run, folder: Path, ids: Sequence[str | int]) -> list[dict[str, Any]]:
    """What is known of each row from the run's lists alone. A text is an id before it is a record number."""
    by_number = {str(number): id_ for number, id_ in zip(run.scores["row"], run.scores["id"], strict=True)}
    by_number |= {str(of["row"]): id_ for id_, of in run.left_out.items() if of["row"] is not None}
    known = run.places.keys() | run.left_out.keys()
    others = by_number | run.unusable
    names = [asked if isinstance(asked, str) and asked in known else others.get(str(asked)) for asked in ids]
    if missing := [asked for asked, name in zip(ids, names, strict=True) if name is None]:
        lines = []
        for asked in missing:
            close = difflib.get_close_matches(str(asked), known, n=_MOST_CLOSE)
            lines.append(f"{asked}" + (f" (close ones: {', '.join(close)})" if close else ""))
        raise InputError(
            f"{folder}: expected ids or record numbers of the pool's rows, found {len(missing)} that no row has:\n  "
            + "\n  ".join(lines)
        )
    rows = []
    for name in dict.fromkeys(names):
        assert name is not None
        if name in run.left_out:
            rows.append(dict(run.left_out[name]))
            continue
        number = run.scores["row"][run.places[name]]
        step = run.taken.steps.get(name)
        state = "not selected" if step is None else "selected"
        rows.append({"row": number, "id": name, "state": state, **({} if step is None else _step(step, run.taken))})
    return rows


def _step(step: dict[str, Any], taken: Taken) -> dict[str, Any]:
    """What selection.parquet says of a row, without what it leaves empty."""
    values = {key: of for key, of in step.items() if key not in ("row", "id", *ABOUT) and of is not None}
    return {**values, "of": len(taken.steps)}


def _scores(run: _Run, place: int) -> dict[str, Any]:
    """The row's scores, and its rank by each among the rows that have one: 1 is the highest."""
    scores, ranks = {}, {}
    for name, column in run.scores.items():
        if name in OF_SCORES:
            continue
        values = np.array([np.nan if value is None else value for value in column])
        if np.isnan(values[place]):
            continue
        scores[name] = float(values[place])
        ranks[name] = {"rank": int((values > values[place]).sum()) + 1, "of": int((~np.isnan(values)).sum())}
    return {"scores": scores, "ranks": ranks}


def _add_lengths(row: dict[str, Any], stored: Stored) -> None:
    """How long the row is, and how much of it was cut."""
    if stored.examples is None or row["row"] is None:
        return
    read = stored.examples.filtered.read
    at = int(np.searchsorted(read.rows, row["row"]))
    if at >= len(read) or read.rows[at] != row["row"]:
        return
    row["source"], row["tokens"] = read.sources[at], int(read.num_tokens[at])
    if read.num_dropped[at]:
        row["cut"] = {"tokens": int(read.num_dropped[at]), "learned": int(read.num_answer_dropped[at])}
