"""Core knowledge and walk on a run's examples, from stored gradients to tables (`matrices.py` does it for matrices)."""

from collections.abc import Mapping, Sequence

from g2is.config import Config
from g2is.errors import SelectionError
from g2is.gradients.rows import GradientRows
from g2is.inputs import titled
from g2is.outputs.tables import write_tables
from g2is.plan import Plan
from g2is.run import RunFolder
from g2is.selection.core import CoreKnowledge, core_knowledge
from g2is.selection.similarity import UnitRows
from g2is.selection.walk import TargetShare, walk_targets
from g2is.store.manifest import Store
from g2is.walk_input import Examples, read_gradient_rows, target_rows
from g2is.warmup.train import Checkpoint


def walk_examples(
    config: Config,
    store: Store,
    examples: Examples,
    checkpoints: Sequence[Checkpoint],
    plan: Plan,
    made_from: Mapping[str, str],
    folder: RunFolder,
) -> None:
    """Walk the pool from the targets' core knowledge and write the tables, which keep `made_from`.

    Raises SelectionError where no row has a usable gradient, a target has no core knowledge, or no row fits the budget.
    """
    pool = examples.pool
    with folder.stage("read gradients", "rows"):
        of_targets, of_pool = read_gradient_rows(config, store, examples, checkpoints)
    _report_set_aside(folder, examples, of_pool, of_targets)
    core: dict[str, CoreKnowledge] = {}
    for name, of_target in of_targets.items():
        try:
            core[name] = core_knowledge(target_rows(config, of_target), config.selection)
        except SelectionError as error:
            raise SelectionError(f"{titled(name)}: {error}") from None
    # zero rows are here because they were set aside: no nodes, whatever the method says of a matrix given by hand
    walk_settings = config.selection.model_copy(update={"keep_zero_rows": False})
    shares = [TargetShare(name, core[name], budget) for name, budget in plan.target_budgets.items()]
    with folder.stage("walk", plan.budget.unit) as progress:
        rows = UnitRows(of_pool.rows)
        walked = walk_targets(rows, shares, walk_settings, progress=progress, limits=plan.limits)
    if not walked.steps:
        raise SelectionError(
            f"budget: expected enough for a first row, found {walked.budget} {walked.unit}, less than the row"
            " nearest to any component has; ask for more"
        )
    for name, budget in plan.target_budgets.items():
        if all(step.target != name for step in walked.steps):
            folder.notice(f"{titled(name)} got no row for its {budget} {walked.unit}")
    if walked.ran_out:
        folder.notice(f"{walked.spent} of {walked.budget} {walked.unit} selected: {walked.ran_out}")
    folder.write_walk(walked, core)
    ids_of = {name: (of_targets[name].rows, table.ids) for name, table in examples.targets.items()}
    write_tables(folder.path, walked, of_pool.rows, rows, core, pool.ids, pool.rows, ids_of, made_from)


def _report_set_aside(
    folder: RunFolder, examples: Examples, of_pool: GradientRows, of_targets: Mapping[str, GradientRows]
) -> None:
    pool = examples.pool
    folder.write_set_aside(pool.rows, pool.ids, of_pool.reasons())
    if not of_pool.usable.all():
        folder.notice(f"{(~of_pool.usable).sum()} pool rows have no usable gradient: listed in set_aside.jsonl")
    for name, of_target in of_targets.items():
        for row, reason in of_target.reasons().items():
            folder.notice(f"{titled(name)} example {examples.targets[name].ids[row]} is left out: {reason}")
    for kind, rows in (*((titled(name), rows) for name, rows in of_targets.items()), ("pool", of_pool)):
        if not rows.usable.any():
            raise SelectionError(
                f"expected at least one {kind} example with a usable gradient, found none of {len(rows.rows)}: the"
                " model or its adapter gives NaN or zero. Lower warmup.learning_rate, or set model.dtype to float32"
            )
