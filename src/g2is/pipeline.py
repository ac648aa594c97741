"""The whole job, in order. Reading this file tells the story.

    prepare            find the model, its tokenizer and template; fingerprint what will be stored   prepare.py
    tokenize           pool and target to tokens and learned positions                               examples/
    warm_up            a short LoRA training: adapter and Adam's moments                             warmup/
    extract_gradients  Γ of every pool and target example, as unit rows                              gradients/ engine/
    select_rows        core knowledge of the target, walk over the pool                              selection/
    export             the files a user takes away                                                   outputs/

Every stage keeps what it makes in the store or the run folder and, called again, goes on from there. `run` is all
stages up to the one asked for, so a stage's own command can be given at any time.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from g2is.config import Config, GammaForm
from g2is.config_io import load, parse
from g2is.engine.local import missing_rows, run_shards, shard_work
from g2is.errors import InputError, ModelError, SelectionError, StoreError
from g2is.examples.make_table import describe_losses, tokenize_files
from g2is.examples.read import check_columns
from g2is.examples.sources import describe, find_sources, source_sha256
from g2is.examples.table import ExampleTable
from g2is.gradients.extract import Extractor, load_extractor
from g2is.gradients.rows import GradientRows
from g2is.model.adapter import attach_adapter
from g2is.model.folder import resolve_device
from g2is.outputs.examples import remove_selected, write_selected
from g2is.outputs.tables import SCORES, SELECTION, selected_rows, stored_metadata, write_tables
from g2is.prepare import Prepared, prepare
from g2is.progress import Reporter, Silent
from g2is.run import TARGET, RunFolder, Selection, open_run, selection_digest
from g2is.selection.budget import parse_budget
from g2is.selection.core import core_knowledge
from g2is.selection.similarity import UnitRows
from g2is.selection.walk import walk
from g2is.store.files import remove
from g2is.store.manifest import Store, open_store
from g2is.walk_input import Examples, Gradients, read_both, target_rows
from g2is.warmup.train import Checkpoint, draw_rows, finished_warmup, train_warmup

StageName = Literal["warmup", "gradients", "walk", "export"]


@dataclass(frozen=True)
class Results:
    """What a run came to: the kept checkpoints, the selection if it went so far, counts and times of this sitting."""

    checkpoints: Sequence[Checkpoint]
    selection: Selection | None
    summary: dict[str, Any]


def select(config: Config, reporter: Reporter | None = None) -> Selection:
    """Run the whole job, or what is left of it, and return the selection.

    Raises a G2isError for everything a user can mend.
    """
    selection = run(config, "export", reporter).selection
    assert selection is not None
    return selection


def run(config: Config, last: StageName, reporter: Reporter | None = None) -> Results:
    """Run every stage up to `last`."""
    selects = last in ("walk", "export")
    with _open(config, reporter, selects) as (prepared, store, folder):
        with folder.removed_on_error(), store.removed_on_error():
            examples = tokenize(prepared, store, folder)
            if selects:  # a wrong budget shows before the hours of work
                parse_budget(config.selection.budget, len(examples.pool))
        checkpoints = warm_up(prepared, store, examples.pool, folder)
        selection = None
        if last != "warmup":
            extract_gradients(prepared, store, examples, checkpoints, folder)
        if selects:
            selection = select_rows(prepared, store, examples, checkpoints, folder)
        if last == "export" and selection is not None:
            export(config, selection, folder)
        return Results(checkpoints, selection, folder.write_summary())


@contextmanager
def _open(config: Config, reporter: Reporter | None, selects: bool) -> Iterator[tuple[Prepared, Store, RunFolder]]:
    with ExitStack() as held:
        folder = held.enter_context(open_run(config.out, config, reporter or Silent(), selects=selects))
        with folder.removed_on_error():
            prepared = prepare(config, folder)
            store = held.enter_context(open_store(config.store, prepared.fingerprint, config.execution.shard_rows))
        yield prepared, store, folder


def tokenize(prepared: Prepared, store: Store, folder: RunFolder) -> Examples:
    """Pool and target as tokens; kept in the store, by content."""
    config = prepared.config
    tables = {}
    for kind, locations in (("pool", config.pool), ("target", config.target)):
        with folder.stage(f"read {kind}", "bytes") as progress:
            sources = find_sources(locations)
            table = tokenize_files(sources, prepared.renderer, config.examples, store.examples, progress)
        tables[kind] = table
        folder.counts[kind] = {
            "rows": len(table),
            "tokens": int(table.num_tokens.sum()),
            "answer_tokens": int(table.num_answer_tokens.sum()),
            "truncated": table.num_truncated,
            "duplicates": table.num_duplicates,
            "bad_rows": table.num_bad_rows,
        }
        for loss in describe_losses(kind, table, config.examples.truncation):
            folder.notice(loss)
    check_columns(config.examples.columns, [name for table in tables.values() for name in table.columns])
    folder.write_bad_rows(chain.from_iterable(table.bad_rows() for table in tables.values()))
    return Examples(tables["pool"], tables["target"])


def warm_up(prepared: Prepared, store: Store, pool: ExampleTable, folder: RunFolder) -> list[Checkpoint]:
    """The store's adapter and moments, trained now if this store has none yet."""
    config = prepared.config
    finished = finished_warmup(store.warmup)
    if finished is not None:
        return finished
    with folder.stage("warm up", "steps") as progress:
        base = prepared.model.load(resolve_device(config.execution.device))
        model = attach_adapter(base, config.warmup.lora, config.warmup.seed)
        rows = draw_rows(store.warmup, pool.keys, config.warmup.fraction, config.warmup.seed)
        sample = [(example.input_ids, example.label_mask) for example in pool.take(rows)]
        try:
            return train_warmup(model, sample, store.warmup, config.warmup, config.execution, progress)
        except ModelError:
            remove(store.warmup)  # nothing in it serves: other settings may be tried on the same store
            raise


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
            for checkpoint in checkpoints:
                checkpoint.check()
            extractor = load_extractor(
                prepared.model,
                {checkpoint.name: checkpoint.folder for checkpoint in checkpoints},
                config.gradients.projection,
                config.execution,
                folder.notice,
            )
        with folder.stage(f"gradients of {kind}", "tokens") as progress:
            total = int(table.num_tokens[missing].sum()) * len(checkpoints)
            run_shards(shard_work(extractor, table, forms, total, progress), missing, stored)


def select_rows(
    prepared: Prepared, store: Store, examples: Examples, checkpoints: Sequence[Checkpoint], folder: RunFolder
) -> Selection:
    """Core knowledge and walk; what the run already holds, if it was made from the same data."""
    config, pool, target = prepared.config, examples.pool, examples.target
    digests = [checkpoint.digest for checkpoint in checkpoints]
    made_of = selection_digest(
        config.selection,
        config.walked_form,
        *digests,
        "\n".join([*pool.ids, *target.ids]),
        pool.keys.tobytes(),
        target.keys.tobytes(),
    )
    made_from = {"digest": made_of, "pool_sha256": pool.source_sha256}
    tables = [folder.path / name for name in (SELECTION, SCORES)]
    if all(stored_metadata(table) == made_from for table in tables):
        return _selection(folder.path)
    remove_selected(folder.path)
    with folder.stage("read gradients", "rows"):
        of_target, of_pool = read_both(config, store, examples, checkpoints)
    _report_set_aside(folder, examples, of_pool, of_target)
    core = core_knowledge(target_rows(config, of_target), config.selection)
    budget = parse_budget(config.selection.budget, len(pool))
    # zero rows are here because they were set aside: no nodes, whatever the preset says of a matrix given by hand
    walk_settings = config.selection.model_copy(update={"keep_zero_rows": False})
    with folder.stage("walk", "rows") as progress:
        rows = UnitRows(of_pool.rows)
        walked = walk(rows, {TARGET: core}, budget, walk_settings, progress=progress)
    if walked.ran_out:
        folder.notice(f"{len(walked.steps)} of {budget} rows selected: {walked.ran_out}")
    folder.write_walk(walked, core)
    write_tables(
        *(folder.path, walked, of_pool.rows, rows, pool.rows, {TARGET: core}, pool.ids),
        *(of_target.rows, target.ids, made_from),
    )
    return _selection(folder.path)


def export(config: Config, selection: Selection, folder: RunFolder) -> None:
    """Write the selected examples as their original lines and as messages."""
    with folder.stage("export", "bytes") as progress:
        ids = dict(zip(selection.rows.tolist(), selection.ids, strict=True))
        write_selected(find_sources(config.pool), config.examples, ids, folder.path, progress)


def read_gradients(config: Config, reporter: Reporter | None = None) -> Gradients:
    """The stored gradients of a run, as arrays. Raises StoreError if they are not all there."""
    with _open(config, reporter, selects=False) as (prepared, store, folder):
        examples = tokenize(prepared, store, folder)
        of_target, of_pool = read_both(config, store, examples, finished_warmup(store.warmup) or [])
        target_ids = [examples.target.ids[row] for row in np.flatnonzero(of_target.usable)]
        return Gradients(of_pool.rows, target_rows(config, of_target), examples.pool.ids, target_ids)


def export_run(path: Path, reporter: Reporter | None = None) -> Selection:
    """Write the files of a finished walk again: `export` for a run folder.

    Raises StoreError if it holds no selection of examples, InputError if the pool's file has changed since.
    """
    record, table = path / "config.yaml", path / SELECTION
    values = load(record) if record.exists() and table.exists() else {}
    if "pool" not in values:
        found = "a walk on matrices, which has no examples" if values else "none such"
        raise StoreError(
            f"{path}: expected a run folder with config.yaml and {SELECTION} as `g2is select` and `g2is walk POOL"
            f" TARGET` write them, found {found}"
        )
    config: Config = parse(Config, values, str(record))
    pool = find_sources(config.pool)
    if stored_metadata(table).get("pool_sha256") != source_sha256(pool):
        raise InputError(
            f"{describe(pool)}: expected the pool that {table} was selected from, found the file changed. Put the old"
            " one back, or select again with another --out"
        )
    with open_run(path, config, reporter or Silent()) as folder:
        selection = _selection(path)
        export(config, selection, folder)
    return selection


def _report_set_aside(folder: RunFolder, examples: Examples, of_pool: GradientRows, of_target: GradientRows) -> None:
    folder.write_set_aside(examples.pool.rows, examples.pool.ids, of_pool.reasons())
    if not of_pool.usable.all():
        folder.notice(f"{(~of_pool.usable).sum()} pool rows have no usable gradient: listed in set_aside.jsonl")
    for row, reason in of_target.reasons().items():
        folder.notice(f"target example {examples.target.ids[row]} is left out: {reason}")
    for kind, rows in (("target", of_target), ("pool", of_pool)):
        if not rows.usable.any():
            raise SelectionError(
                f"expected at least one {kind} example with a usable gradient, found none of {len(rows.rows)}: the"
                " model or its adapter gives NaN or zero. Lower warmup.learning_rate, or set model.dtype to float32"
            )


def _selection(folder: Path) -> Selection:
    rows, ids = selected_rows(folder / SELECTION)
    return Selection(folder, np.array(rows, np.int64), ids)
