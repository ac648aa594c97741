"""A selection among a run's examples, from stored rows to tables (`select_matrices.py` does it for matrices)."""

from collections.abc import Mapping

import numpy as np

from g2is.config import Config
from g2is.config.targets import titled
from g2is.errors import SelectionError
from g2is.examples.dataset import Examples
from g2is.jobs.gradient_rows import read_gradient_rows, target_rows
from g2is.jobs.representation import MadeBy, ScoresOf, UnitRowsOf, read_pool_and_targets
from g2is.jobs.run_folder import RunFolder
from g2is.jobs.stages import Stage
from g2is.methods import selector_kind
from g2is.outputs.tables import nearest_ids, write_tables
from g2is.progress import counter
from g2is.representations.maker import Maker
from g2is.selection.apply import apply_selector
from g2is.selection.plan import Plan
from g2is.selection.problem import Selected, Selector, TargetRows
from g2is.selection.similarity import UnitRows
from g2is.store.manifest import Store

Found = UnitRowsOf | ScoresOf | None  # nothing where nothing is looked at


def choose_rows(
    config: Config,
    store: Store,
    examples: Examples,
    plan: Plan,
    made_by: MadeBy,
    made_from: Mapping[str, str],
    folder: RunFolder,
    own: Selector | None,
) -> None:
    """Choose among the pool's examples and write the tables, which keep `made_from`; `own` may be the selector.

    Raises SelectionError where no row is usable, a target has no core knowledge, or no row fits the budget.
    """
    pool = examples.pool
    # zero rows are here because they were set aside: no nodes, whatever the method says of a matrix given by hand
    settings = config.selection.model_copy(update={"keep_zero_rows": False})
    found, rows = _read(config, store, examples, made_by, folder)
    _report_set_aside(folder, examples, found)
    stage = selector_kind(settings.selector).stage
    with folder.stage(stage, plan.budget.unit, Stage(stage)) as progress:
        targets = _targets(config, examples, found, plan)
        selected = apply_selector(
            len(pool),
            rows,
            targets,
            settings,
            plan.limits,
            progress,
            own=own,
            usable=found.pool_usable if isinstance(found, ScoresOf) else None,
            keys=pool.keys,
        )
    _report(folder, plan, selected)
    nearest = _nearest_ids(selected, examples, found)
    write_tables(folder.path, selected.record, pool.ids, pool.rows, selected.scored, nearest, made_from)


def _read(
    config: Config, store: Store, examples: Examples, made_by: MadeBy, folder: RunFolder
) -> tuple[Found, UnitRows | None]:
    """What is looked at, and the pool's rows of it as the selectors take them, if they are vectors."""
    if made_by is None:
        return None, None
    title, stage, times = "read rows", Stage.READ_ROWS, 1
    if not isinstance(made_by, Maker):
        title, stage, times = "read gradients", Stage.READ_GRADIENTS, len(made_by)  # once for each checkpoint
    with folder.stage(title, "rows", stage) as progress:
        add = counter(len(examples.pool) * (times + 1), progress)  # out of the store, and once more for their norms
        found: UnitRowsOf | ScoresOf
        if isinstance(made_by, Maker):
            found = read_pool_and_targets(made_by, store, examples, add)
        else:
            of_targets, of_pool = read_gradient_rows(config, store, examples, made_by, add)
            found = UnitRowsOf(of_pool, of_targets)
        if isinstance(found, ScoresOf):
            return found, None
        if isinstance(found.pool.rows, np.memmap):
            folder.notice(
                f"the pool's rows, {found.pool.rows.nbytes / 2**30:.1f} GiB, do not fit into memory: they are read from"
                f" a file in {store.path} for as long as this runs"
            )
        return found, UnitRows(found.pool.rows, progress=add, coarse=selector_kind(config.selection.selector).coarse)


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


def _report_set_aside(folder: RunFolder, examples: Examples, found: Found) -> None:
    if found is None:
        return
    pool = examples.pool
    if isinstance(found, UnitRowsOf):
        reasons, of_targets = found.pool.reasons(), {name: rows.reasons() for name, rows in found.targets.items()}
    else:
        reasons = dict.fromkeys(np.flatnonzero(~found.pool_usable).tolist(), "no term")
        of_targets = {
            name: dict.fromkeys(np.flatnonzero(~usable).tolist(), "no term")
            for name, usable in found.target_usable.items()
        }
    what = found.pool.what if isinstance(found, UnitRowsOf) else "term"
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


def _report(folder: RunFolder, plan: Plan, selected: Selected) -> None:
    record = selected.record
    for name, budget in plan.target_budgets.items():
        if all(step.target != name for step in record.steps):
            folder.notice(f"{titled(name)} got no row for its {budget} {record.unit}")
    for text in selected.told():
        folder.notice(text)
    if record.ran_out:
        folder.notice(f"{record.spent} of {record.budget} {record.unit} selected: {record.ran_out}")
    folder.write_record(record, selected.core)


def _nearest_ids(selected: Selected, examples: Examples, found: Found) -> list[str | None]:
    steps = selected.record.steps
    if isinstance(found, UnitRowsOf):
        of_targets = {name: (rows.rows, examples.targets[name].ids) for name, rows in found.targets.items()}
        return nearest_ids(steps, found.pool.rows, of_targets)
    if found is None:
        return [None] * len(steps)
    return [
        None
        if step.target is None
        else examples.targets[step.target].ids[int(found.targets[step.target][step.row].argmax())]
        for step in steps
    ]
