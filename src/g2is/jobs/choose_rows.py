"""A selection among a run's examples, from stored rows to tables (`select_matrices.py` does it for matrices)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from g2is.config import Config
from g2is.config.targets import titled
from g2is.errors import SelectionError
from g2is.examples.dataset import Examples
from g2is.examples.sources import find_sources
from g2is.jobs.gradient_rows import target_rows
from g2is.jobs.preconditioned import rows_looked_at
from g2is.jobs.representation import MadeBy, ScoresOf, UnitRowsOf, read_pool_and_targets
from g2is.jobs.run_folder import RunFolder
from g2is.jobs.stages import Stage
from g2is.methods import selector_kind
from g2is.outputs.examples import read_beginnings
from g2is.outputs.tables import nearest_ids, write_tables
from g2is.progress import counter
from g2is.representations.maker import Maker
from g2is.selection.apply import apply_selector
from g2is.selection.narrowed import num_candidates
from g2is.selection.nearest import Nearest
from g2is.selection.plan import Plan
from g2is.selection.problem import Renew, Selected, Selector, TargetRows
from g2is.selection.similarity import UnitRows
from g2is.store.manifest import Store

Found = UnitRowsOf | ScoresOf | None  # nothing where nothing is looked at


@dataclass(frozen=True)
class _LookedAt:
    """The pool's rows as the selectors take them: `unit` (n, k), which are those at `places` (n,); None: all."""

    unit: UnitRows | None = None
    places: np.ndarray | None = None


def choose_rows(
    config: Config,
    store: Store,
    examples: Examples,
    plan: Plan,
    made_by: MadeBy,
    made_from: Mapping[str, str],
    folder: RunFolder,
    own: Selector | None,
    renew: Renew | None = None,
) -> None:
    """Choose among the pool's examples and write the tables, which keep `made_from`; `own` may be the selector.

    `renew` gives a target's gradients anew between rounds, if the settings ask for any.

    Raises SelectionError where no row is usable, a target has no core knowledge, or no row fits the budget.
    """
    pool = examples.pool
    # zero rows are here because they were set aside: no nodes, whatever the method says of a matrix given by hand
    settings = config.selection.model_copy(update={"keep_zero_rows": False})
    found, rows = _read(config, store, examples, plan, made_by, folder)
    stage = selector_kind(settings.selector).stage
    with folder.stage(stage, plan.budget.unit, Stage(stage)) as progress:
        selected = apply_selector(
            len(pool),
            rows.unit,
            _targets(config, examples, found, plan),
            settings,
            plan.limits,
            progress,
            own=own,
            usable=found.pool_usable if isinstance(found, ScoresOf) else None,
            keys=pool.keys,
            places=rows.places,
            renew=renew,
        )
    _report(folder, plan, selected, is_together=selector_kind(settings.selector).together)
    nearest = _nearest_ids(selected, examples, found, rows)
    about = _about(config, examples, selected, folder)
    write_tables(
        *(folder.path, selected.record, pool.ids, pool.rows, selected.scored, nearest, settings, made_from),
        about=about,
    )


def _read(
    config: Config, store: Store, examples: Examples, plan: Plan, made_by: MadeBy, folder: RunFolder
) -> tuple[Found, _LookedAt]:
    """What is looked at, and the pool's rows of it, if they are vectors: all, or the candidates alone."""
    if made_by is None:
        return None, _LookedAt()
    title, stage, times = "read rows", Stage.READ_ROWS, 1
    if not isinstance(made_by, Maker):
        title, stage, times = "read gradients", Stage.READ_GRADIENTS, len(made_by)  # once for each checkpoint
    with folder.stage(title, "rows", stage) as progress:
        found: UnitRowsOf | ScoresOf
        if isinstance(made_by, Maker):
            found = read_pool_and_targets(made_by, store, examples)
        else:
            found = rows_looked_at(config, store, examples, made_by)
        _report_set_aside(folder, examples, found)
        if isinstance(found, ScoresOf):
            return found, _LookedAt()
        num_rows = len(examples.pool)
        num = num_candidates(config.selection, num_rows)
        most = num_rows if num is None else min(num_rows, num * len(found.targets) + len(plan.limits.included))
        # out of the store, and once more for their norms; before that all of them, where candidates are to be found
        add = counter(most * (times + 1) + (0 if num is None else num_rows * times), progress)
        places = None if num is None else _candidates(found, num, plan, add)
        held = found.pool.read(places, add)
        if isinstance(held.rows, np.memmap):
            folder.notice(
                f"the pool's rows, {held.rows.nbytes / 2**30:.1f} GiB, do not fit into memory: they are read from"
                f" a file in {store.path} for as long as this runs"
            )
        coarse = selector_kind(config.selection.selector).coarse
        return found, _LookedAt(UnitRows(held.rows, progress=add, coarse=coarse, usable=held.held_usable), places)


def _candidates(found: UnitRowsOf, num: int, plan: Plan, progress: Callable[[int], None]) -> np.ndarray:
    """The places (n,) of the `num` pool rows nearest to each target, and of those that are in anyway."""
    nearest = Nearest(len(found.pool), {name: of.rows[of.usable] for name, of in found.targets.items()})
    for places, block in found.pool.blocks(progress=progress):
        nearest.look(places, UnitRows(block, quantise=False, usable=found.pool.usable[places]))
    return nearest.rows(num, plan.limits.included)


def _targets(config: Config, examples: Examples, found: Found, plan: Plan) -> dict[str, TargetRows]:
    targets = {}
    for name, budget in plan.target_budgets.items():
        groups = np.array(examples.targets[name].groups, object)
        if isinstance(found, UnitRowsOf):
            of_target = found.targets[name]
            rows = target_rows(config, of_target)
            targets[name] = TargetRows(budget, rows=rows, groups=groups[of_target.usable].tolist())
        elif isinstance(found, ScoresOf):
            usable = found.target_usable[name]
            similarity = found.targets[name][:, usable]
            targets[name] = TargetRows(budget, similarity=similarity, groups=groups[usable].tolist())
        else:
            targets[name] = TargetRows(budget)
    return targets


def _report_set_aside(folder: RunFolder, examples: Examples, found: UnitRowsOf | ScoresOf) -> None:
    pool = examples.pool
    if isinstance(found, UnitRowsOf):
        reasons, of_targets = found.pool.reasons(), {name: rows.reasons() for name, rows in found.targets.items()}
    else:
        reasons = dict.fromkeys(np.flatnonzero(~found.pool_usable).tolist(), f"no {found.what}")
        of_targets = {
            name: dict.fromkeys(np.flatnonzero(~usable).tolist(), f"no {found.what}")
            for name, usable in found.target_usable.items()
        }
    what = found.pool.what if isinstance(found, UnitRowsOf) else found.what
    folder.write_set_aside(pool.rows, pool.ids, reasons)
    if reasons:
        folder.notice(f"{len(reasons)} pool rows have no usable {what}: listed in set_aside.jsonl")
    for name, of_target in of_targets.items():
        for row, reason in of_target.items():
            folder.notice(f"{titled(name)} example {examples.targets[name].ids[row]} is left out: {reason}")
    counts = {titled(name): (len(examples.targets[name]), len(of)) for name, of in of_targets.items()}
    for kind, (num_rows, num_unusable) in (counts | {"pool": (len(pool), len(reasons))}).items():
        if num_rows == num_unusable:
            remedy = (
                ": the model or its adapter gives NaN or zero. Lower warmup.learning_rate, or set model.dtype to"
                " float32"
                if what == "gradient"
                else "; use another representation"
            )
            raise SelectionError(
                f"expected at least one {kind} example with a usable {what}, found none of {num_rows}{remedy}"
            )


def _report(folder: RunFolder, plan: Plan, selected: Selected, *, is_together: bool) -> None:
    record = selected.record
    for name, budget in plan.target_budgets.items():
        if all(step.target != name for step in record.steps):
            if is_together:
                why = f": the budget of {record.budget} {record.unit} is one for all targets"
            elif budget:
                why = f" for its {budget} {record.unit}"
            else:
                why = f", for its share of the budget is 0 {record.unit}"
            folder.notice(f"{titled(name)} got no row{why}")
    for text in selected.told():
        folder.notice(text)
    if record.ran_out:
        folder.notice(f"{record.spent} of {record.budget} {record.unit} selected: {record.ran_out}")
    folder.write_record(record, selected.core)


def _nearest_ids(selected: Selected, examples: Examples, found: Found, rows: _LookedAt) -> list[str | None]:
    steps = selected.record.steps
    if isinstance(found, UnitRowsOf):
        assert rows.unit is not None
        of_targets = {name: (of.rows, examples.targets[name].ids) for name, of in found.targets.items()}
        return nearest_ids(steps, rows.unit, of_targets, rows.places)
    if found is None or not found.by_example:
        return [None] * len(steps)
    return [
        None
        if step.target is None
        else examples.targets[step.target].ids[int(found.targets[step.target][step.row].argmax())]
        for step in steps
    ]


def _about(
    config: Config, examples: Examples, selected: Selected, folder: RunFolder
) -> dict[str, Sequence[Any] | np.ndarray]:
    """What the table says of the selected rows themselves, so that it can be read without the pool."""
    pool, rows = examples.pool, selected.record.rows
    ids = {int(pool.rows[row]): pool.ids[row] for row in rows}
    with folder.stage("read texts", "bytes", Stage.READ_TEXTS) as progress:
        texts, num_characters = read_beginnings(find_sources(config.pool), config.examples, ids, progress)
    return {
        "text": texts,
        "source": [pool.sources[row] for row in rows],
        "tokens": pool.num_tokens[rows],
        "answer_tokens": pool.num_answer_tokens[rows],
        "characters": num_characters,
    }
