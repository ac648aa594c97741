"""Core knowledge and walk on matrices that were computed elsewhere (`g2is walk --pool-gradients P …`)."""

from dataclasses import dataclass

import numpy as np
import torch

from g2is.config import MatrixWalkConfig
from g2is.export.tables import write_scores, write_selection
from g2is.progress import Reporter, Silent
from g2is.run import open_run, selection_digest
from g2is.selection.budget import parse_budget
from g2is.selection.core import CoreKnowledge, core_knowledge
from g2is.selection.files import check_pair, load_graph, load_matrix
from g2is.selection.record import Walk
from g2is.selection.scores import nearest_target, scores
from g2is.selection.similarity import UnitRows
from g2is.selection.walk import walk

TARGET = "target"


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
        rows = UnitRows(pool)
        with folder.stage("walk", "rows") as progress:
            walked = walk(rows, {TARGET: core}, budget, config.selection, found.graph, progress)
        if walked.ran_out:
            folder.notice(f"{len(walked.steps)} of {budget} rows selected: {walked.ran_out}")
        ids = [str(row) for row in range(len(pool))]
        digest = selection_digest(config)
        nearest, _ = nearest_target(pool[walked.rows], target)
        usable = np.ones(len(pool), bool)
        folder.write_walk(walked)
        write_scores(config.out / "scores.parquet", ids, {TARGET: scores(rows, core).core_score}, usable, digest)
        write_selection(config.out / "selection.parquet", walked, ids, [str(row) for row in nearest], digest)
        folder.counts = {"pool": {"rows": len(pool)}, "target": {"rows": len(target)}}
        folder.write_summary()
    return walked
