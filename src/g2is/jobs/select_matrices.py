"""Core knowledge and walk, or another selector, on matrices of others (`g2is walk --pool-gradients P …`)."""

from dataclasses import dataclass

import numpy as np
import torch

from g2is.config import MatrixWalkConfig, SelectionConfig
from g2is.config.passed_over import without_use
from g2is.config.targets import TARGET
from g2is.jobs.custom import BUILT_IN_ONLY
from g2is.jobs.preconditioned import precondition_matrices
from g2is.jobs.run_folder import CHOSEN, open_run
from g2is.jobs.stages import Stage
from g2is.methods import METHODS, selector_kind
from g2is.outputs.tables import nearest_ids, write_tables
from g2is.progress import Progress, Reporter, Silent, counter
from g2is.selection.apply import apply_selector
from g2is.selection.budget import parse_budget
from g2is.selection.core import CoreKnowledge, core_knowledge
from g2is.selection.files import check_pair, load_graph, load_matrix
from g2is.selection.limits import Limits
from g2is.selection.narrowed import check_enough, num_candidates
from g2is.selection.nearest import Nearest
from g2is.selection.problem import TargetRows
from g2is.selection.record import Picks, Walk
from g2is.selection.similarity import UnitRows
from g2is.store.digests import record_digests

_SCREENED_VALUES = 2**23  # compared with the target's at a time


@dataclass(frozen=True)
class Matrices:
    """What a selection from matrices starts from, read and checked: `pool` (N, k), `target` (M, k), `graph` (N, n).

    `graph` is None if none was given, `core` for a selector that does not begin with it, or with that of other rows.
    """

    pool: np.ndarray | torch.Tensor
    target: np.ndarray
    graph: np.ndarray | None
    core: CoreKnowledge | None
    budget: int


def check_matrices(config: MatrixWalkConfig) -> Matrices:
    """Read the matrices and make the core knowledge; writes nothing.

    Raises MatrixError where a matrix or graph cannot be walked, SelectionError where no selection can be made of them,
    ConfigError for a selector of the user's own.
    """
    BUILT_IN_ONLY.check(config.selection)
    pool = load_matrix(config.pool_gradients, "pool gradients")
    target = load_matrix(config.target_gradients, "target gradients")
    check_pair(pool, target, str(config.pool_gradients), str(config.target_gradients))
    graph = None if config.graph is None else load_graph(config.graph, len(pool))
    settings = config.selection
    kind = selector_kind(settings.selector)
    budget = len(pool) if kind.takes_all else parse_budget(settings.budget, len(pool))
    of_target = target.double().numpy() if isinstance(target, torch.Tensor) else np.asarray(target, np.float64)
    # of every selector: that the rows can be used shows here
    core = core_knowledge(of_target, settings)
    is_walked = kind.select_jointly is not None and settings.precondition is None
    return Matrices(pool, of_target, graph, core if is_walked else None, budget)


def walk_matrices(config: MatrixWalkConfig, reporter: Reporter | None = None) -> Walk | Picks:
    """Walk the pool's matrix from the target's core knowledge, or let another selector choose; write the tables.

    Rows go by their number: ids are "0", "1", … Raises what `check_matrices` raises, before anything is written.
    """
    found = check_matrices(config)
    pool, target, budget, settings = found.pool, found.target, found.budget, config.selection
    kind = selector_kind(settings.selector)
    jointly = kind.select_jointly is not None
    num_zero_rows = int((~target.any(axis=1)).sum())
    with open_run(config.out, config, reporter or Silent()) as folder:
        folder.counts = {"pool": {"rows": len(pool)}, "target": {"rows": len(target)}}
        for text in _without_use(settings):
            folder.notice(text)
        if settings.precondition is not None:
            pool, target = precondition_matrices(pool, target, settings, folder)
        with folder.stage("read pool", "rows", Stage.READ_POOL) as progress:
            rows, places, zero_rows = _looked_at(pool, target, settings, budget, progress)
        with folder.stage(kind.stage, "rows", Stage(kind.stage)) as progress:
            of_target = {TARGET: TargetRows(budget, rows=target)}
            selected = apply_selector(
                len(pool), rows, of_target, settings, Limits(), progress, found.graph, places=places
            )
        record = selected.record
        ids = [str(row) for row in range(len(pool))]
        for text in selected.told():
            folder.notice(text)
        if record.ran_out:
            folder.notice(f"{len(record.steps)} of {budget} rows selected: {record.ran_out}")
        if num_zero_rows and (settings.normalize_targets or not jointly):
            folder.notice(f"{num_zero_rows} target rows are zero and left out")
        numbers = np.arange(len(pool))
        are_kept = jointly and settings.keep_zero_rows  # another selector takes none
        folder.write_set_aside(numbers, ids, {} if are_kept else {int(row): "zero gradient" for row in zero_rows})
        folder.write_record(record, selected.core)
        nearest = nearest_ids(record.steps, rows, {TARGET: (target, [str(row) for row in range(len(target))])}, places)
        write_tables(config.out, record, ids, numbers, selected.scored, nearest, settings, {})
        record_digests(config.out, CHOSEN)
        folder.write_summary()
    return record


def _without_use(settings: SelectionConfig) -> list[str]:
    """What of the settings is passed over, in the words of who is told."""
    told = without_use(settings.model_dump())
    is_asked = settings.form not in (None, METHODS[settings.method].settings.get("form"))
    if is_asked and not any(text.startswith("selection.form:") for text in told):
        told.append(f"selection.form: {settings.form} changes nothing, for matrices are taken as they are")
    return told


def _looked_at(
    pool: np.ndarray | torch.Tensor, target: np.ndarray, settings: SelectionConfig, budget: int, progress: Progress
) -> tuple[UnitRows, np.ndarray | None, np.ndarray]:
    """The rows that the selector looks at, their places in the pool (None: all), and which rows of it are zero."""
    num_rows, num = len(pool), num_candidates(settings, len(pool))
    check_enough(settings, num_rows, {TARGET: budget}, "rows")
    add = counter(num_rows + (num or 0), progress)
    coarse = selector_kind(settings.selector).coarse
    if num is None:
        rows = UnitRows(pool, progress=add, coarse=coarse)
        return rows, None, np.flatnonzero(~rows.nodes)
    nearest = Nearest(num_rows, {TARGET: target})
    at_once = max(1, _SCREENED_VALUES // pool.shape[1])
    for low in range(0, num_rows, at_once):
        high = min(low + at_once, num_rows)
        block = UnitRows(pool[low:high], what=f"pool gradients, rows from {low} on", quantise=False)
        nearest.look(slice(low, high), block)
        add(high - low)
    places = nearest.rows(num)
    return UnitRows(pool[places], progress=add, coarse=coarse), places, nearest.zero_rows
