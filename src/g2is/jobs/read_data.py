"""Reads what a run is about: the pool without what is excluded, and the targets by name."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from g2is.config import Config, SelectionConfig
from g2is.config.targets import titled
from g2is.errors import InputError
from g2is.examples.dataset import Examples
from g2is.examples.filter import filter_pool, read_lists
from g2is.examples.keys import overlap
from g2is.examples.make_table import describe_losses, tokenize_files
from g2is.examples.overlap import OverlapIndex
from g2is.examples.read import Example, read_examples
from g2is.examples.sources import Source, describe, find_sources
from g2is.examples.table import ExampleTable
from g2is.jobs.prepare import Prepared
from g2is.progress import Reporter
from g2is.selection.budget import check_form, check_quota
from g2is.selection.plan import Plan, Pool, plan_selection

_MOST_WORDS = 16  # of a shared run that are listed


def read_inputs(prepared: Prepared, cache: Path | None, reporter: Reporter, also_in: Path | None = None) -> Examples:
    """Pool and targets as tokens, kept in the folder `cache` by content; what is `also_in` another is not made anew.

    Without a cache nothing is, and NoTokensError says that something would have to be. A pool may take hours, so all
    else is read before it. Raises InputError or ModelError where a file or id list cannot be used, or a target is the
    pool or another target; SelectionError for a budget of no known form. Whether each column that is mapped stands in
    a file is left to whoever knows all files.
    """
    config, tables = prepared.config, dict[str, ExampleTable]()
    check_form(config.selection.budget)
    for source, most in config.selection.quotas.items():
        check_quota(source, most)
    included, excluded = read_lists(config.selection.include), read_lists(config.selection.exclude)
    files = {titled(name): find_sources(locations) for name, locations in config.targets.items()}
    files["pool"] = find_sources(config.pool)
    tests = find_sources(config.selection.exclude_overlap)
    index = _index_of(tests, config, reporter) if tests else None
    for title, sources in files.items():
        with reporter.stage(f"read {title}", "bytes") as progress:
            renderer = prepared.renderer if title == "pool" else prepared.target_renderer
            tables[title] = tokenize_files(sources, renderer, config.examples, cache, progress, also_in)
        for loss in describe_losses(title, tables[title], config.examples.truncation):
            reporter.notice(loss)
    pool = tables["pool"]
    targets = {name: tables[titled(name)] for name in config.targets}
    check_targets_differ({title: table.source_sha256 for title, table in tables.items()})
    overlapping: dict[int, str] = {}
    if index is not None:
        with reporter.stage("find overlaps", "bytes") as progress:
            rows = read_examples(files["pool"], config.examples, progress)
            overlapping = _overlapping(rows, pool, index, describe(tests))
        if overlapping:
            reporter.notice(
                f"{len(overlapping)} of the pool's {len(pool)} rows share 13 words in a row with {describe(tests)} and"
                " are left out (listed in excluded.jsonl)"
            )
    filtered = filter_pool(pool, included, excluded, overlapping)
    for name, target in targets.items():
        keys = keys_in_pool(prepared, config.targets[name], target, cache, also_in)
        if num_shared := int(overlap(filtered.pool.keys, keys).sum()):
            reporter.notice(f"{num_shared} of the pool's {len(filtered.pool)} rows are also in {titled(name)}")
    return Examples(filtered, targets)


def keys_in_pool(
    prepared: Prepared, files: Sequence[str], table: ExampleTable, cache: Path | None, also_in: Path | None = None
) -> np.ndarray:
    """The keys (n, 16) uint8 that the rows of `table`, of `files`, would have in the pool.

    Their own may differ, since targets and tests may learn other of their tokens than the pool. Without rows that the
    pool could not have.
    """
    config = prepared.config.examples
    if config.learn_end_of_turn == "all":
        return table.keys
    config = config.model_copy(update={"on_bad_row": "skip"})
    as_pool = tokenize_files(find_sources(files), prepared.renderer, config, cache, also_in=also_in)
    return np.asarray(as_pool.keys[np.isin(as_pool.rows, table.rows)])


def _index_of(tests: Sequence[Source], config: Config, reporter: Reporter) -> OverlapIndex:
    """The runs of words of `selection.exclude_overlap`."""
    with reporter.stage("read test", "bytes") as progress:
        return OverlapIndex(read_examples(tests, config.examples, progress))


def _overlapping(rows: Iterable[Example], pool: ExampleTable, index: OverlapIndex, tests: str) -> dict[int, str]:
    """Positions of the pool `rows` that share a run of words with the `tests` -> what they share."""
    position_of = {int(row): position for position, row in enumerate(pool.rows)}
    reasons: dict[int, str] = {}
    for example in rows:
        found = index.find(example.conversation.turns)
        if found is not None and example.row in position_of:
            words = " ".join(found.words[:_MOST_WORDS]) + (" …" if len(found.words) > _MOST_WORDS else "")
            reasons[position_of[example.row]] = f"shares with {found.id} of {tests}: {words}"
    return reasons


def plan_for(settings: SelectionConfig, examples: Examples) -> Plan:
    """What `settings` ask for of these examples. Raises as `plan_selection`."""
    pool, filtered = examples.pool, examples.filtered
    sources_read = set(filtered.read.sources) if settings.quotas else set()
    of_pool = Pool(len(filtered.read), pool.num_tokens, pool.sources, sources_read, filtered.included)
    return plan_selection(settings, of_pool, list(examples.targets))


def count_examples(examples: Examples) -> dict[str, Any]:
    """Counts of pool and targets, for the run's summary."""
    filtered = examples.filtered
    return {
        "pool": {**_counts(filtered.pool), "read": len(filtered.read), "excluded": len(filtered.reasons)},
        "targets": {name: _counts(target) for name, target in examples.targets.items()},
    }


def _counts(table: ExampleTable) -> dict[str, int]:
    return {
        "rows": len(table),
        "tokens": int(table.num_tokens.sum()),
        "answer_tokens": int(table.num_answer_tokens.sum()),
        "truncated": table.num_truncated,
        "duplicates": table.num_duplicates,
        "bad_rows": table.num_bad_rows,
    }


def check_targets_differ(sources: Mapping[str, str]) -> None:
    """Raise InputError where a target has the content of the pool or of another; `sources` are digests by title."""
    seen: dict[str, str] = {}
    for title, digest in sources.items():
        if title == "pool":
            continue
        if digest == sources["pool"]:
            raise InputError(
                f"{title}: expected a small set of examples of what to learn, found the very content of the pool; give"
                " it a file of its own"
            )
        if digest in seen:
            raise InputError(
                f"{title}: expected other examples than those of {seen[digest]}, found the same content; name each file"
                " once"
            )
        seen[digest] = title
