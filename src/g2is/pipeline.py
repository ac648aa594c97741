"""The whole job, in order. Reading this file tells the story.

    prepare            find the model, its tokenizer and template; fingerprint what will be stored   prepare.py
    tokenize           pool and target to tokens and learned positions                               examples/
    warm_up            a short LoRA training: adapter and Adam's moments                             warmup/
    extract_gradients  Γ of every pool and target example, as unit rows                              gradients/ engine/
    select_rows        core knowledge of the target, walk over the pool                              selection/
    export             the files a user takes away                                                   export/

Every stage keeps what it makes in the store or the run folder and, called again, goes on from there. `run` is all
stages up to the one asked for, so a stage's own command can be given at any time.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from g2is.config import Config, GammaForm, load, parse
from g2is.engine.local import missing_rows, run_shards
from g2is.errors import SelectionError, StoreError
from g2is.examples.table import ExampleTable, tokenize_file
from g2is.export.examples import write_selected
from g2is.export.tables import selected_rows, stored_digest, write_scores, write_selection
from g2is.gradients.extract import Extractor, load_extractor
from g2is.gradients.rows import GradientRows, read_rows
from g2is.prepare import Prepared, prepare
from g2is.progress import Progress, Reporter, Silent
from g2is.run import RunFolder, Selection, open_run, selection_digest
from g2is.selection.budget import parse_budget
from g2is.selection.core import core_knowledge
from g2is.selection.scores import nearest_target, scores
from g2is.selection.similarity import UnitRows
from g2is.selection.walk import walk
from g2is.store.manifest import Store, open_store
from g2is.store.matrix import Shard
from g2is.warmup.train import Checkpoint, draw_rows, finished_warmup, train_warmup

StageName = Literal["warmup", "gradients", "walk", "export"]

TARGET = "target"  # the one target's name, in the tables' columns


@dataclass(frozen=True)
class Examples:
    """Both files as tokens."""

    pool: ExampleTable
    target: ExampleTable


@dataclass(frozen=True)
class Gradients:
    """All rows of a run in the files' order: `pool` (N, C·k) float16 unit rows, `target` (M, C·k) float32 unnormalised.

    Rows that are set aside are zeros in `pool` and left out of `target`.
    """

    pool: np.ndarray
    target: np.ndarray
    pool_ids: Sequence[str]
    target_ids: Sequence[str]


@dataclass(frozen=True)
class Results:
    """What a run came to: the kept checkpoints, and the selection if it went so far."""

    checkpoints: Sequence[Checkpoint]
    selection: Selection | None = None


def select(config: Config, reporter: Reporter | None = None) -> Selection:
    """Run the whole job, or what is left of it, and return the selection.

    Raises a G2isError for everything a user can mend.
    """
    selection = run(config, "export", reporter).selection
    assert selection is not None
    return selection


def run(config: Config, last: StageName, reporter: Reporter | None = None) -> Results:
    """Run every stage up to `last`."""
    with _open(config, reporter) as (prepared, store, folder):
        with folder.removed_on_error(), store.removed_on_error():
            examples = tokenize(prepared, store, folder)
            parse_budget(config.selection.budget, len(examples.pool))  # a wrong one shows before the hours of work
        checkpoints = warm_up(prepared, store, examples.pool, folder)
        selection = None
        if last != "warmup":
            extract_gradients(prepared, store, examples, checkpoints, folder)
        if last in ("walk", "export"):
            selection = select_rows(prepared, store, examples, checkpoints, folder)
        if last == "export" and selection is not None:
            export(config, selection, folder)
        folder.write_summary()
        return Results(checkpoints, selection)


@contextmanager
def _open(config: Config, reporter: Reporter | None) -> Iterator[tuple[Prepared, Store, RunFolder]]:
    with open_run(config.out, config, reporter or Silent()) as folder:
        with folder.removed_on_error():
            prepared = prepare(config)
        with open_store(config.store, prepared.fingerprint, config.gradients.shard_rows) as store:
            yield prepared, store, folder


def tokenize(prepared: Prepared, store: Store, folder: RunFolder) -> Examples:
    """Pool and target as tokens; kept in the store, by content."""
    config = prepared.config
    tables = {}
    for kind, path in (("pool", config.pool), ("target", config.target)):
        with folder.stage(f"read {kind}", "bytes") as progress:
            table = tokenize_file(path, prepared.renderer, store.examples, progress)
        tables[kind] = table
        folder.counts[kind] = {
            "rows": len(table),
            "tokens": int(table.num_tokens.sum()),
            "answer_tokens": int(table.num_answer_tokens.sum()),
            "truncated": table.num_truncated,
            "duplicates": table.num_duplicates,
        }
        if table.num_truncated:
            folder.notice(
                f"{path}: {table.num_truncated} of {len(table)} examples are longer than the model's or the configured"
                f" length and lose what examples.truncation = {config.examples.truncation} says"
            )
    return Examples(tables["pool"], tables["target"])


def warm_up(prepared: Prepared, store: Store, pool: ExampleTable, folder: RunFolder) -> list[Checkpoint]:
    """The store's adapter and moments, trained now if this store has none yet."""
    config = prepared.config
    finished = finished_warmup(store.warmup)
    if finished is not None:
        return finished
    rows = draw_rows(store.warmup, pool.keys, config.warmup.fraction, config.warmup.seed)
    with folder.stage("warm up", "steps") as progress:
        sample = [(example.input_ids, example.label_mask) for example in pool.take(rows)]
        return train_warmup(
            prepared.model, sample, store.warmup, config.warmup, config.execution, prepared.pad_id, progress
        )


def extract_gradients(
    prepared: Prepared, store: Store, examples: Examples, checkpoints: Sequence[Checkpoint], folder: RunFolder
) -> None:
    """Store the gradient rows of every pool and target example that the store does not hold yet."""
    config = prepared.config
    extractor: Extractor | None = None
    digests = [checkpoint.digest for checkpoint in checkpoints]
    target_form: tuple[GammaForm, ...] = (config.gradients.target_form,)
    for kind, table, stored, forms in (
        ("target", examples.target, store.table("target", digests), target_form),
        ("pool", examples.pool, store.table("pool", digests), config.gradients.forms),
    ):
        stored.sweep()
        missing = missing_rows(table.keys, stored)
        if not len(missing):
            continue
        if extractor is None:
            extractor = load_extractor(
                prepared.model,
                {checkpoint.name: checkpoint.folder for checkpoint in checkpoints},
                config.gradients.projection,
                config.execution,
                prepared.pad_id,
                folder.notice,
            )
        with folder.stage(f"gradients of {kind}", "tokens") as progress:
            total = int(table.num_tokens[missing].sum()) * len(checkpoints)
            run_shards(_shard_work(extractor, table, forms, total, progress), missing, stored)


def select_rows(
    prepared: Prepared, store: Store, examples: Examples, checkpoints: Sequence[Checkpoint], folder: RunFolder
) -> Selection:
    """Core knowledge and walk; the selection that the run already holds, if it was made from the same data."""
    config = prepared.config
    pool, target = examples.pool, examples.target
    digests = [checkpoint.digest for checkpoint in checkpoints]
    digest = selection_digest(
        config.selection, config.walked_form, *digests, "\n".join(pool.ids), pool.keys.tobytes(), target.keys.tobytes()
    )
    table = folder.path / "selection.parquet"
    if stored_digest(table) == digest and stored_digest(folder.path / "scores.parquet") == digest:
        return _selection(table)
    with folder.stage("read gradients", "rows"):
        of_target, of_pool = _read_both(config, store, examples, checkpoints)
    _report_set_aside(folder, examples, of_pool, of_target)
    target_rows = of_target.rows[of_target.usable] if config.selection.normalize_targets else of_target.unnormalized()
    core = core_knowledge(target_rows, config.selection)
    budget = parse_budget(config.selection.budget, len(pool))
    with folder.stage("walk", "rows") as progress:
        rows = UnitRows(of_pool.rows)
        walked = walk(rows, {TARGET: core}, budget, config.selection, progress=progress, keep_zero_rows=False)
    if walked.ran_out:
        folder.notice(f"{len(walked.steps)} of {budget} rows selected: {walked.ran_out}")
    folder.write_walk(walked)
    nearest, _ = nearest_target(of_pool.rows[walked.rows], of_target.rows)
    write_scores(
        folder.path / "scores.parquet", pool.ids, {TARGET: scores(rows, core).core_score}, of_pool.usable, digest
    )
    write_selection(table, walked, pool.ids, [target.ids[row] for row in nearest], digest)
    return _selection(table)


def export(config: Config, selection: Selection, folder: RunFolder) -> None:
    """Write the selected examples as their original lines and as messages."""
    with folder.stage("export", "bytes") as progress:
        write_selected(config.pool, selection.rows.tolist(), folder.path, progress)


def read_gradients(config: Config, reporter: Reporter | None = None) -> Gradients:
    """The stored gradients of a run, as arrays. Raises StoreError if they are not all there."""
    with _open(config, reporter) as (prepared, store, folder):
        examples = tokenize(prepared, store, folder)
        checkpoints = finished_warmup(store.warmup) or []
        of_target, of_pool = _read_both(config, store, examples, checkpoints)
        target_ids = [examples.target.ids[row] for row in np.flatnonzero(of_target.usable)]
        return Gradients(of_pool.rows, of_target.unnormalized(), examples.pool.ids, target_ids)


def export_run(path: Path, reporter: Reporter | None = None) -> Selection:
    """Write the files of a finished walk again: `export` for a run folder. Raises StoreError if it holds no selection."""
    record, table = path / "config.yaml", path / "selection.parquet"
    if not record.exists() or not table.exists():
        raise StoreError(
            f"{path}: expected a run folder with config.yaml and selection.parquet, found"
            f" {'no folder' if not path.is_dir() else 'one without'}; run `g2is select` or `g2is walk` first"
        )
    config: Config = parse(Config, load(record), str(record))
    with open_run(path, config, reporter or Silent()) as folder:
        selection = _selection(table)
        export(config, selection, folder)
    return selection


def _shard_work(
    extractor: Extractor, table: ExampleTable, forms: Sequence[GammaForm], total: int, progress: Progress
) -> Callable[[np.ndarray], Shard]:
    """The function of a shard's rows that an engine runs; `total` is the tokens of all its shards."""
    done = 0

    def add(num_tokens: int) -> None:
        nonlocal done
        done += num_tokens
        progress(done, total)

    def work(rows: np.ndarray) -> Shard:
        examples = [(example.input_ids, example.label_mask) for example in table.take(rows)]
        return extractor.extract(examples, table.keys[rows], forms, add)

    return work


def _read_both(
    config: Config, store: Store, examples: Examples, checkpoints: Sequence[Checkpoint]
) -> tuple[GradientRows, GradientRows]:
    digests = [checkpoint.digest for checkpoint in checkpoints]
    weights = [(checkpoint.name, checkpoint.weight) for checkpoint in checkpoints]
    of_target, of_pool = store.table("target", digests), store.table("pool", digests)
    return (
        read_rows(of_target, of_target.places(examples.target.keys), weights, config.gradients.target_form),
        read_rows(of_pool, of_pool.places(examples.pool.keys), weights, config.walked_form),
    )


def _report_set_aside(folder: RunFolder, examples: Examples, of_pool: GradientRows, of_target: GradientRows) -> None:
    folder.write_set_aside(examples.pool.ids, of_pool.reasons())
    if not of_pool.usable.all():
        folder.notice(f"{(~of_pool.usable).sum()} pool rows have no usable gradient: listed in set_aside.jsonl")
    for row, reason in of_target.reasons().items():
        folder.notice(f"target example {examples.target.ids[row]} is left out: {reason}")
    if not of_target.usable.any():
        raise SelectionError(
            f"expected at least one target example with a usable gradient, found none of {len(of_target.rows)}; the"
            " model or its adapter gives NaN or zero gradients: try a lower warmup.learning_rate or model.dtype float32"
        )


def _selection(table: Path) -> Selection:
    rows, ids = selected_rows(table)
    return Selection(table.parent, np.array(rows, np.int64), ids)
