"""The whole job, in order. Reading this file tells the story.

    prepare            find the model, its tokenizer and template; fingerprint what will be stored   prepare.py
    tokenize           pool and targets to tokens and learned positions                              examples/
    filter             leave out what is excluded                                                    examples/filter.py
    warm_up            a short LoRA training, or the user's own: adapter and Adam's moments  warm_up.py warmup/
                       (or of all linear layers: their weights and moments)
    extract_gradients  Γ of every pool and target example, as unit rows                              store_rows.py
    (store_rows        other rows in place of the last two, if the method looks at others            store_rows.py)
    (keep_second_moments  what gradients are multiplied by, if the settings ask for it           preconditioned.py)
    select_rows        core knowledge and walk, or another selector; in rounds (rounds.py) or not    choose_rows.py
    export             the files a user takes away                                                   export.py outputs/
    report             the page that shows the selection                                             report.py report/

Every stage keeps what it makes in the store or the run folder and, called again, goes on from there. `run` is all
stages up to the one asked for, so a stage's own command can be given at any time.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from g2is.config import Config
from g2is.config.passed_over import without_use
from g2is.examples.columns import TEST_COLUMNS, Seen, check_columns
from g2is.examples.dataset import Examples
from g2is.examples.filter import EXCLUDED, write_excluded
from g2is.jobs.choose_rows import choose_rows
from g2is.jobs.custom import BUILT_IN_ONLY, Own
from g2is.jobs.engines import check_not_shared_twice
from g2is.jobs.export import check_pool, export, selection_in
from g2is.jobs.gradient_rows import Gradients, read_gradient_rows, target_rows, wanted_gradients
from g2is.jobs.lora_reach import reach_of, reach_of_all, say_reach
from g2is.jobs.pinned import pin
from g2is.jobs.preconditioned import keep_second_moments
from g2is.jobs.prepare import Prepared, prepare
from g2is.jobs.read_data import count_examples, plan_for, read_inputs
from g2is.jobs.report import REPORTED, is_there, remove_report, write_report
from g2is.jobs.representation import MadeBy, maker_of, represented_by
from g2is.jobs.rounds import ROUNDS, renewing
from g2is.jobs.run_folder import CHOSEN, RunFolder, Selection, open_run, selection_digest, unvouched
from g2is.jobs.same_rows import CONTENT, content_digest, content_of, tell_of_other_rows
from g2is.jobs.stages import Stage
from g2is.jobs.store_rows import extract_gradients, store_rows
from g2is.jobs.warm_up import warm_up
from g2is.machine.ranks import check_alone, let_others_end
from g2is.methods import GRADIENT, NONE
from g2is.outputs.examples import remove_selected
from g2is.outputs.lengths import compare_lengths, compare_sources
from g2is.outputs.tables import SCORES, SELECTION, stored_metadata
from g2is.progress import Reporter, Silent
from g2is.selection.plan import Plan
from g2is.selection.similarity import screened_as
from g2is.store.digests import damaged_files, record_digests
from g2is.store.files import remove
from g2is.store.manifest import Store, open_store
from g2is.store.reach import reached
from g2is.warmup.imported import adapter_notices, imported_summary, keep_checkpoint, read_checkpoint
from g2is.warmup.train import Checkpoint, finished_warmup, kept_reach

StageName = Literal["warmup", "plan", "gradients", "walk", "export"]


@dataclass(frozen=True)
class Results:
    """What a run came to: the kept checkpoints, the selection if it went so far, counts and times of this sitting."""

    checkpoints: Sequence[Checkpoint]
    selection: Selection | None
    summary: dict[str, Any]


def select(config: Config, reporter: Reporter | None = None, own: Own = BUILT_IN_ONLY) -> Selection:
    """Run the whole job, or what is left of it, and return the selection.

    Raises a G2isError for everything a user can mend.
    """
    selection = run(config, "export", reporter, own).selection
    assert selection is not None
    return selection


def run(
    config: Config,
    last: StageName,
    reporter: Reporter | None = None,
    own: Own = BUILT_IN_ONLY,
    beside: Sequence[Seen] = (),
) -> Results:
    """Run every stage up to `last`. `own` holds what the settings name `own:NAME`.

    `beside` is what was seen of other files that `examples.columns` is for: those of the comparison around the run.
    """
    own.check(config.selection)
    check_not_shared_twice(config.execution)
    config = pin(config, reporter or Silent())
    selects = last in ("walk", "export")
    measures = not selects or config.selection.representation == GRADIENT
    if selects and config.selection.rounds > 1:
        check_alone("selection.rounds")  # `gradients` may be several processes' work, before
    with _open(config, reporter, selects, measures) as (prepared, store, folder):
        config = prepared.config
        with folder.removed_on_error(), store.removed_on_error():
            if measures:
                take_adapter(prepared, store, folder)
                found = _reach(prepared, finished_warmup(store.warmup), store)
                say_reach(found, folder)
                folder.counts["lora" if config.gradients.parameters == "lora" else "all_linear"] = found
            examples = tokenize(prepared, store, folder)
            check_columns(config.examples.columns, [*examples.seen, *beside], TEST_COLUMNS if beside else ())
            store = store.with_shards_for(len(examples.filtered.read))
            plan = None
            if selects:  # a wrong budget shows before the hours of work
                for text in without_use(config.selection.model_dump()):
                    folder.notice(text)
                plan = plan_for(config.selection, examples)
                tell_of_other_rows(config, examples, plan, folder)
                write_excluded(examples.filtered, folder.path)
                record_digests(folder.path, [EXCLUDED])
        checkpoints = warm_up(prepared, store, examples.filtered, folder) if measures else []
        made_by: MadeBy = checkpoints if measures else None
        selection = None
        if measures and last == "plan":  # for processes that make a part of it each (part.py)
            for wanted in wanted_gradients(config, store, examples, checkpoints):
                wanted.plan(folder.notice)
        elif measures and last != "warmup":
            extract_gradients(prepared, store, examples, checkpoints, folder)
        elif not measures and config.selection.representation != NONE:
            made_by = maker_of(config.selection.representation, prepared, folder, own.representation, examples)
            store_rows(made_by, prepared, store, examples, folder, own.representation)
        let_others_end()
        if plan is not None:
            if measures:
                keep_second_moments(config, store, examples, checkpoints, folder)
            selection = select_rows(prepared, store, examples, plan, made_by, folder, own)
        if last == "export" and selection is not None:
            check_pool(config, folder.path / SELECTION)  # it may have been replaced since it was read
            export(config, selection, folder)
            folder.write_summary()  # which the page shows
            if config.execution.report and not is_there(config.out):
                write_report(config, store, examples, made_by, config.out, folder)
            elif not config.execution.report:
                record_digests(folder.path, REPORTED)  # a kill may have come before, or the page was taken away
        return Results(checkpoints, selection, folder.write_summary())


@contextmanager
def _open(
    config: Config, reporter: Reporter | None, selects: bool, measures: bool = True
) -> Iterator[tuple[Prepared, Store, RunFolder]]:
    """Open run and store; one for a run that `measures` no gradients does not bind what they are made with."""
    with ExitStack() as held:
        folder = held.enter_context(open_run(config.out, config, reporter or Silent(), selects=selects))
        with folder.removed_on_error():
            path = held.enter_context(reached(config.store, folder))
            prepared = prepare(config.model_copy(update={"store": path}), folder)
            made_with = prepared.fingerprint if measures else None
            store = held.enter_context(open_store(path, made_with, config.execution.shard_rows))
        if not store.writable:
            folder.notice(f"{store.name}: read-only; it is used as it is, and nothing is written to it")
        yield prepared, store, folder


def tokenize(prepared: Prepared, store: Store, folder: RunFolder) -> Examples:
    """Pool and targets as tokens, kept in the store, by content; the pool without what the settings exclude.

    Beside a store that cannot be written to, the run keeps what that has not.
    """
    cache = store.examples if store.writable else folder.path / "examples"
    examples = read_inputs(prepared, cache, folder, store.examples)
    folder.counts |= count_examples(examples)
    folder.write_bad_rows(examples.bad_rows())
    return examples


def take_adapter(prepared: Prepared, store: Store, folder: RunFolder) -> None:
    """Keep the user's own checkpoint as the store's finished warm-up, if the run is to take one."""
    if prepared.checkpoint is None:
        return
    if finished_warmup(store.warmup) is None:
        store.check_writable("a finished warm-up")
        with folder.stage("take adapter", "files", Stage.TAKE_ADAPTER):
            imported = read_checkpoint(prepared.checkpoint, prepared.model)
            reach = reach_of(prepared.model, prepared.config.warmup.lora, prepared.checkpoint.folder)
            keep_checkpoint(imported, store.warmup, reach)
    taken = imported_summary(store.warmup)
    folder.counts["adapter"] = {"folder": str(prepared.checkpoint.folder), **taken}
    for text in adapter_notices(prepared.checkpoint.folder, taken, prepared.config.model.name):
        folder.notice(text)


def _reach(prepared: Prepared, finished: Sequence[Checkpoint] | None, store: Store) -> dict[str, Any]:
    """How far the adapter of the run reaches, or of which layers its gradients are.

    As a finished warm-up noted it, else as the model's layers say.
    """
    adapter = finished[0].folder if finished else None
    if prepared.config.gradients.parameters == "all":
        return kept_reach(store.warmup) or reach_of_all(prepared.model)
    return kept_reach(store.warmup) or reach_of(prepared.model, prepared.config.warmup.lora, adapter)


def _is_made_from(table: Path, made_from: Mapping[str, str]) -> bool:
    """Whether a table there was made from this; of an older version it says less of it."""
    stored = stored_metadata(table)
    return {**made_from, **stored} == made_from and stored.keys() >= made_from.keys() - {CONTENT}


def select_rows(
    prepared: Prepared,
    store: Store,
    examples: Examples,
    plan: Plan,
    made_by: MadeBy,
    folder: RunFolder,
    own: Own = BUILT_IN_ONLY,
) -> Selection:
    """Core knowledge and walk, or another selector; what the run already holds, if it was made from the same data."""
    config, pool = prepared.config, examples.pool
    # what the lists and test files came to is in the plan and the pool, wherever they lie
    settings = config.selection.model_copy(update={"include": (), "exclude": (), "exclude_overlap": ()})
    made_of = selection_digest(
        settings,
        config.pool_form,
        *own.versions,
        *represented_by(prepared, made_by),
        *content_of(examples, plan),
    )
    made_from = {"digest": made_of, "pool_sha256": pool.source_sha256, CONTENT: content_digest(examples, plan)}
    damaged = damaged_files(folder.path, CHOSEN)
    if damaged:
        folder.notice(f"{folder.path}: found {', '.join(damaged)} damaged; the selection is made anew from stored rows")
    elif damaged := unvouched(folder.path, CHOSEN):
        folder.notice(
            f"{folder.path}: found no word in digests.json of what {', '.join(damaged)} held; the selection is made"
            " anew from stored rows"
        )
    elif (there := stored_metadata(folder.path / SELECTION)).get(CONTENT) == made_from[CONTENT] and (
        there["digest"] != made_of
    ):
        folder.notice(
            f"{folder.path}: its selection was made by other weights or another selector of yours: it is made anew"
        )
    if damaged or not all(_is_made_from(folder.path / name, made_from) for name in (SELECTION, SCORES)):
        remove_selected(folder.path)
        remove_report(folder.path)
        renew = renewing(prepared, examples, made_by, folder)
        with screened_as(config.execution.device):
            choose_rows(config, store, examples, plan, made_by, made_from, folder, own.selector, renew)
    record_digests(folder.path, CHOSEN)  # in any case: a kill may have come just before
    remove(folder.path / ROUNDS)
    selection = selection_in(folder.path)
    chosen = np.searchsorted(pool.rows, selection.rows)
    folder.counts |= {
        "budget": {plan.budget.unit: plan.budget.amount},
        "selected": {
            "rows": len(chosen),
            "tokens": int(pool.num_tokens[chosen].sum()),
            "answer_tokens": int(pool.num_answer_tokens[chosen].sum()),
        },
        "lengths": compare_lengths(pool.num_tokens, pool.num_answer_tokens, chosen),
        "sources": compare_sources(pool.sources, chosen),
    }
    return selection


def read_gradients(config: Config, reporter: Reporter | None = None) -> Gradients:
    """The gradients of a run, as arrays, as they are stored. Raises StoreError if they are not all there."""
    with _open(config, reporter, selects=False) as (prepared, store, folder):
        config, examples = prepared.config, tokenize(prepared, store, folder)
        of_targets, of_pool = read_gradient_rows(config, store, examples, finished_warmup(store.warmup) or [])
        return Gradients(
            of_pool.read().units(),
            {name: target_rows(config, rows) for name, rows in of_targets.items()},
            examples.pool.ids,
            {
                name: [examples.targets[name].ids[row] for row in np.flatnonzero(rows.usable).tolist()]
                for name, rows in of_targets.items()
            },
        )
