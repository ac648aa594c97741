"""Reads what a run is about: the pool without what is excluded, and the targets by name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from g2is.config import Config
from g2is.errors import InputError
from g2is.examples.table import ExampleTable, tokenize_file
from g2is.examples.tokenize import Renderer
from g2is.progress import Reporter
from g2is.screen import screen
from g2is.targets import TARGET
from g2is.walk_input import Examples, Joined, overlap


def read_inputs(config: Config, renderer: Renderer, cache: Path, reporter: Reporter) -> Examples:
    """Pool and targets as tokens, kept in the folder `cache` by content.

    Raises InputError or ModelError where a file or id list cannot be used, or a target is the pool or another target.
    """

    def read(path: Path, what: str) -> ExampleTable:
        with reporter.stage(f"read {what}", "bytes") as progress:
            table = tokenize_file(path, renderer, cache, progress)
        if table.num_truncated:
            reporter.notice(
                f"{path}: {table.num_truncated} of {len(table)} examples are longer than the model's or the configured"
                f" length and lose what examples.truncation = {config.examples.truncation} says"
            )
        return table

    pool = read(config.pool, "pool")
    tables = {name: [read(path, titled(name)) for path in paths] for name, paths in config.targets.items()}
    _check_targets_differ(config, pool, tables)
    screened = screen(pool, config.selection.include, config.selection.exclude)
    targets = {name: _join(config.targets[name], tables[name]) for name in tables}
    for name, target in targets.items():
        if num_shared := int(overlap(screened.pool.keys, target.keys).sum()):
            reporter.notice(f"{num_shared} of the pool's {len(screened.pool)} rows are also in {titled(name)}")
    return Examples(screened, targets)


def titled(name: str) -> str:
    """What stages and notices call a target."""
    return TARGET if name == TARGET else f"target {name}"


def count_examples(examples: Examples) -> dict[str, Any]:
    """Counts of pool and targets, for the run's summary."""
    screened = examples.screened
    return {
        "pool": {**_counts([screened.pool]), "read": len(screened.read), "excluded": len(screened.reasons)},
        "targets": {name: _counts(target.tables) for name, target in examples.targets.items()},
    }


def _counts(tables: Sequence[ExampleTable]) -> dict[str, int]:
    return {
        "rows": sum(len(table) for table in tables),
        "tokens": sum(int(table.num_tokens.sum()) for table in tables),
        "answer_tokens": sum(int(table.num_answer_tokens.sum()) for table in tables),
        "truncated": sum(table.num_truncated for table in tables),
        "duplicates": sum(table.num_duplicates for table in tables),
    }


def _check_targets_differ(config: Config, pool: ExampleTable, tables: Mapping[str, Sequence[ExampleTable]]) -> None:
    seen: dict[str, str] = {}
    for name, of_target in tables.items():
        for path, table in zip(config.targets[name], of_target, strict=True):
            if table.source_sha256 == pool.source_sha256:
                raise InputError(
                    f"{titled(name)}: expected a small set of examples of what to learn, found {path} with the very"
                    f" content of the pool {config.pool}"
                )
            if table.source_sha256 in seen:
                raise InputError(
                    f"{titled(name)}: expected other examples than those of {seen[table.source_sha256]}, found {path}"
                    " with the same content; name each file once"
                )
            seen[table.source_sha256] = f"{titled(name)} ({path})"


def _join(paths: Sequence[Path], tables: Sequence[ExampleTable]) -> Joined:
    ids = [id_ for table in tables for id_ in table.ids]
    if len(set(ids)) < len(ids):  # rows without an id are named by their number, in every file anew
        ids = [f"{path.name}:{id_}" for path, table in zip(paths, tables, strict=True) for id_ in table.ids]
    return Joined(tables, ids)
