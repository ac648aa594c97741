"""`g2is report`, and the last stage of `g2is select`: the page that shows a selection, and its map as a table."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from g2is.config import Config, SelectionConfig
from g2is.errors import InputError, StoreError
from g2is.examples.dataset import Examples
from g2is.jobs.read_data import plan_for
from g2is.jobs.report_about import about_run
from g2is.jobs.report_rows import Looked, looked_at
from g2is.jobs.report_texts import read_examples_of_targets, read_shown
from g2is.jobs.representation import MadeBy
from g2is.jobs.run_folder import WALK
from g2is.outputs.tables import SCORES, SELECTION, read_reasons, read_scores, stored_metadata
from g2is.progress import Progress, Reporter
from g2is.report.map_table import write_map
from g2is.report.page import as_page
from g2is.report.plane import Method, fit_plane
from g2is.report.relations import Relating, Relations, Trails
from g2is.report.selection import Beside, Chosen, Map, selection_data
from g2is.selection.rules import WalkSettings
from g2is.selection.selectors.design import DesignSettings
from g2is.store.digests import damaged_files, record_digests, unnoted_files
from g2is.store.files import read_json, remove, write_atomically, write_text
from g2is.store.lock import locked
from g2is.store.manifest import Store

REPORT, MAP = REPORTED = "report.html", "map.parquet"
MOST_SHOWN = 40_000  # rows on a page: of a larger pool some are drawn
MOST_CHOSEN = 20_000  # of them, selected ones
_SEED = 0
_AT_ONCE = 1024  # rows placed at a time


@dataclass(frozen=True)
class Effort:
    """How much time a report may take: rows that are laid out themselves, steps of that, chosen rows compared."""

    num_landmarks: int
    num_steps: int
    num_compared: int


IN_PASSING = Effort(1_000, 500, 500)  # of select: seconds
AT_LEISURE = Effort(5_000, 1_000, 2_000)  # of `g2is report`: a minute


def write_report(
    config: Config,
    store: Store,
    examples: Examples,
    made_by: MadeBy,
    run: Path,
    reporter: Reporter,
    effort: Effort = IN_PASSING,
    method: Method = "tsne",
    out: Path | None = None,
    notes: Sequence[str] = (),
    beside: Beside | None = None,
) -> Path:
    """Write the page of the selection in the folder `run`, and its map beside it; returns where the page lies.

    Reads what is stored and computes nothing of a model. `out` is another place than report.html in the run's folder;
    `beside` what the comparison says that the selection belongs to.
    """
    page = run / REPORT if out is None else out
    table = run / MAP if out is None else out.with_suffix(".map.parquet")
    pool, columns = examples.pool, read_reasons(run / SELECTION)
    num_chosen, trails, target_of = len(columns["row"]), _trails(config, run, columns), columns["target"]
    columns = {name: values[:MOST_CHOSEN] for name, values in columns.items()}
    chosen_places = np.searchsorted(pool.rows, np.array(columns["row"], np.int64))
    with reporter.stage("report", "rows") as progress, threadpool_limits(1):
        looked = looked_at(config, store, examples, made_by)
        scores = read_scores(run / SCORES)
        places = _drawn(len(pool), chosen_places, scores)
        at = np.searchsorted(places, chosen_places)
        shown, whole = read_shown(config, examples, places)
        targets = read_examples_of_targets(config, examples)
        notes = (*notes, *_notes(len(pool), len(places), num_chosen, looked))
        about = about_run(config, run, examples, looked, places, notes, beside)
        relations, drawn = None, None
        if looked is not None:
            relations, drawn = _compared(
                *(config, looked, examples, places, at, target_of, trails, effort, method, progress)
            )
        chosen = Chosen(at, columns, _scored(scores, list(examples.targets), places))
        data, _ = selection_data(shown, chosen, targets, whole, relations, drawn, about)
        if relations is not None and drawn is not None:
            groups = [data["groups"][group]["name"] for group in data["chosen"]["group"]]
            made_from, xy = stored_metadata(run / SELECTION), drawn.xy
            write_atomically(table, lambda path: write_map(path, shown, xy, at, groups, relations, made_from))
        else:
            remove(table)
        write_text(page, as_page(data))  # last: where it is, all is
    if out is None:
        record_digests(run, REPORTED)
    return page


@contextmanager
def held(path: Path, what: str, out: Path | None) -> Iterator[None]:
    """Hold the folder `path` while its page is written, there or to `out`.

    One that cannot be written to does not change: it is not held, and its page goes elsewhere. Raises StoreError if it
    is to go there all the same, or another process works in the folder; InputError if `out` is a folder, or another
    file of this one.
    """
    _check_is_page(path, out)
    if os.access(path, os.W_OK):
        with locked(path, what):
            yield
        return
    if out is None:
        raise StoreError(f"{path}: expected a folder that can be written to, found none; name a place with --out")
    yield


def _check_is_page(path: Path, out: Path | None) -> None:
    if out is None:
        return
    if out.is_dir():
        raise InputError(
            f"--out {out}: expected a file for the page, found a folder; name a file, such as {out / REPORT}"
        )
    if out.exists() and out.suffix != Path(REPORT).suffix and out.resolve().is_relative_to(path.resolve()):
        raise InputError(f"--out {out}: expected a place for the page, found a file of {path} itself; name another")


def is_there(run: Path) -> bool:
    """Whether the folder has an undamaged page of the very selection that is in it."""
    page = run / REPORT
    if not page.is_file() or damaged_files(run, REPORTED) or unnoted_files(run, REPORTED):
        return False
    with page.open(encoding="utf-8") as text:
        return f'content="{stored_metadata(run / SELECTION).get("digest")}"' in text.read(2000)  # in its head


def remove_report(run: Path) -> None:
    """Remove the page of an earlier selection, and its map."""
    if any((run / name).exists() for name in REPORTED):
        for name in REPORTED:
            remove(run / name)
        record_digests(run, REPORTED)


def _drawn(num_rows: int, chosen: NDArray[np.int64], scores: Mapping[str, np.ndarray]) -> NDArray[np.int64]:
    """The places of the rows on the page, ascending: all; of a large pool those chosen, the nearest, and a draw."""
    if num_rows <= MOST_SHOWN:
        return np.arange(num_rows)
    wanted = [chosen]
    for column in scores.values():
        wanted.append(np.argsort(-np.nan_to_num(column, nan=-np.inf), kind="stable")[: MOST_SHOWN // 20])
    first = np.unique(np.concatenate(wanted))
    others = np.setdiff1d(np.arange(num_rows), first, assume_unique=True)
    num_more = max(0, MOST_SHOWN - len(first))
    drawn = np.random.default_rng(_SEED).choice(others, num_more, replace=False)
    return np.sort(np.concatenate([first, drawn]))


def _scored(scores: Mapping[str, np.ndarray], names: Sequence[str], places: NDArray[np.int64]) -> np.ndarray | None:
    """What the method itself scored the shown rows for each target (P, G); None where it scored none."""
    columns = [scores.get(f"similarity.{name}", scores.get(f"similarity_to_core.{name}")) for name in names]
    known = [column[places] for column in columns if column is not None]
    return np.stack(known, 1) if known and len(known) == len(names) else None


def _notes(num_rows: int, num_shown: int, num_chosen: int, looked: Looked | None) -> Iterator[str]:
    if num_chosen > MOST_CHOSEN:
        yield f"{num_chosen:,} rows are selected. This page shows the first {MOST_CHOSEN:,} of them."
    if num_shown < num_rows:
        yield (
            f"The pool has {num_rows:,} rows. This page shows {num_shown:,} of them: those selected, those nearest to"
            " the target, and others drawn at random. What is counted over the pool is counted over all of it."
        )
    if looked is None:
        yield "This method looked at no rows, so there is no map, and nothing is known of agreement and conflict."
    elif looked.noise is None:
        yield (
            "This method scored terms. Rows are compared here by their terms, rare ones counting more; such rows agree"
            " or have nothing in common, so none conflicts."
        )


def _compared(
    config: Config,
    looked: Looked,
    examples: Examples,
    places: NDArray[np.int64],
    at: NDArray[np.int64],
    target_of: Sequence[str | None],
    trails: Trails | None,
    effort: Effort,
    method: Method,
    progress: Progress,
) -> tuple[Relations, Map | None]:
    """What is related to what, and the map; `target_of` and `trails` are of all chosen rows, also those not shown."""
    names = list(examples.targets)
    group_of = np.repeat(np.arange(len(names)), [len(of) for of in examples.targets.values()])
    num_chosen = min(len(at), effort.num_compared)
    chosen_group = np.array([-1 if of is None else names.index(of) for of in target_of], np.int64)
    settings = config.selection
    compared = places[at[:num_chosen]]
    noise = None
    if settings.selector == "design" and settings.rounds == 1 and num_chosen == len(target_of):
        noise = _noises(settings, examples, compared, chosen_group)
    relating = Relating(
        *(len(places), looked.rows(compared), at[:num_chosen], looked.targets, group_of, chosen_group, noise, trails)
    )
    landmarks = _landmarks(places, at, effort.num_landmarks)
    plane = fit_plane(np.concatenate([looked.rows(places[landmarks]), looked.targets]), method, effort.num_steps)
    xy = np.zeros((len(places), 2), np.float32)
    done = 0
    for where, rows in looked.blocks(places):
        relating.look(where, rows)
        if plane is not None:
            for low in range(0, len(where), _AT_ONCE):
                xy[where[low : low + _AT_ONCE]] = plane.place(rows[low : low + _AT_ONCE])
        done += len(where)
        progress(done, len(places))
    if plane is None:
        return relating.found(), None
    xy[landmarks] = plane.xy[: len(landmarks)]
    by = {"tsne": "t\N{NON-BREAKING HYPHEN}SNE", "umap": "UMAP"}[method]  # else a line of the page may end at "t-"
    told = [f"Places are made by {by} of the {looked.what} rows that the method looked at: near means alike."]
    if len(landmarks) < len(places):
        told.append(
            f"{by} placed {len(landmarks):,} rows and the target's examples. The other"
            f" {len(places) - len(landmarks):,} stand beside those of them that they are most like."
        )
    if num_chosen < len(at):
        told.append(f"Agreement and conflict are with the first {num_chosen:,} of the {len(at):,} selected rows.")
    return relating.found(), Map(xy, plane.xy[len(landmarks) :], told)


def _noises(
    settings: SelectionConfig, examples: Examples, chosen: NDArray[np.int64], chosen_group: NDArray[np.int64]
) -> list[float]:
    """What the selector `design` took for the noise of each target, whose rows `chosen` (n,) of the pool are.

    It may go by the budget that a target had when its turn came, with what those before it left over.
    """
    plan, num_rows = plan_for(settings, examples), len(examples.pool)
    costs = plan.limits.costs(num_rows)[chosen]
    spent = {name: int(costs[chosen_group == group].sum()) for group, name in enumerate(examples.targets)}
    return [settings.part(DesignSettings).noise_at(share) for share in plan.shares(num_rows, spent).values()]


def _trails(config: Config, run: Path, columns: Mapping[str, Sequence[Any]]) -> Trails | None:
    """By what the walk in the folder `run` refused rows that conflict; None of another selector.

    None, too, where trails shared their conflicts and some component had several: each round of them began with none.
    """
    if not (run / WALK).exists():
        return None
    of = np.array([-1 if trail is None else trail for trail in columns["trail"]], np.int64)
    are_shared = config.selection.part(WalkSettings).cross_component_conflicts
    walked = zip(columns["target"], columns["component"], columns["trail"], strict=True)
    trails = {step for step in walked if step[2] is not None}
    if are_shared and len({step[:2] for step in trails}) < len(trails):
        return None
    return Trails(read_json(run / WALK)["conflict_tolerance"], of, are_shared)


def _landmarks(places: NDArray[np.int64], at: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Which shown rows are laid out themselves: all, or the first chosen ones for a half, and others drawn."""
    if len(places) <= most:
        return np.arange(len(places))
    first = at[: most // 4]
    others = np.setdiff1d(np.arange(len(places)), first)
    drawn = np.random.default_rng(_SEED).choice(others, most - len(first), replace=False)
    return np.sort(np.concatenate([first, drawn]))
