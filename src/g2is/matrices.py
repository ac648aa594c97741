"""Core knowledge and walk on matrices that were computed elsewhere (`g2is walk --pool-gradients P …`)."""

from dataclasses import dataclass

import numpy as np
import torch

from g2is.config import MatrixWalkConfig
from g2is.outputs.tables import core_columns, nearest_ids, write_tables
from g2is.progress import Reporter, Silent
from g2is.run import open_run
from g2is.selection.budget import parse_budget
from g2is.selection.core import CoreKnowledge, core_knowledge
from g2is.selection.files import check_pair, load_graph, load_matrix
from g2is.selection.record import Walk
from g2is.selection.similarity import UnitRows
from g2is.selection.walk import walk
from g2is.targets import TARGET


@dataclass(frozen=True)
class Matrices:
    """What a walk on matrices starts from, read and checked: `pool` (N, k), `target` (M, k), `graph` (N, n) or None."""

    pool: np.ndarray | torch.Tensor
    target: np.ndarray
    graph: np.ndarray | None
    core: CoreKnowledge
    budget: int


def check_matrices(config: MatrixWalkConfig) -> Matrices:
    """Read the matrices and make the core knowledge; writes nothing.

    Raises MatrixError where a matrix or graph cannot be walked, SelectionError where no selection can be made of them.
    """
    pool = load_matrix(config.pool_gradients, "pool gradients")
    target = load_matrix(config.target_gradients, "target gradients")
    check_pair(pool, target, str(config.pool_gradients), str(config.target_gradients))
    graph = None if config.graph is None else load_graph(config.graph, len(pool))
    budget = parse_budget(config.selection.budget, len(pool))
    of_target = target.double().numpy() if isinstance(target, torch.Tensor) else np.asarray(target, np.float64)
    return Matrices(pool, of_target, graph, core_knowledge(of_target, config.selection), budget)


def walk_matrices(config: MatrixWalkConfig, reporter: Reporter | None = None) -> Walk:
    """Walk the pool's matrix from the target's core knowledge and write selection.parquet and scores.parquet.

    Rows go by their number: ids are "0", "1", … Raises what `check_matrices` raises, before anything is written.
    """
    found = check_matrices(config)
    pool, target, core, budget = found.pool, found.target, found.core, found.budget
    with open_run(config.out, config, reporter or Silent()) as folder:
        folder.counts = {"pool": {"rows": len(pool)}, "target": {"rows": len(target)}}
        rows = UnitRows(pool)
        with folder.stage("walk", "rows") as progress:
            walked = walk(rows, {TARGET: core}, budget, config.selection, found.graph, progress)
        ids = [str(row) for row in range(len(pool))]
        if walked.ran_out:
            folder.notice(f"{len(walked.steps)} of {budget} rows selected: {walked.ran_out}")
        if core.num_zero_rows:
            folder.notice(f"{core.num_zero_rows} target rows are zero and left out")
        numbers = np.arange(len(pool))
        folder.write_set_aside(numbers, ids, {int(row): "zero gradient" for row in np.flatnonzero(~rows.nodes)})
        folder.write_record(walked, {TARGET: core})
        of_target = {TARGET: (target, [str(row) for row in range(len(target))])}
        nearest = nearest_ids(walked.steps, pool, of_target)
        write_tables(config.out, walked, ids, numbers, core_columns(rows, {TARGET: core}), nearest, {})
        folder.write_summary()
    return walked
