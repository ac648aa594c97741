"""Gradients that are multiplied before a selector looks at them, as `selection.precondition` asks.

What they are multiplied by says `selection/precondition.py`. What takes long, to decompose the second moment of the
pool's rows, is done once and kept (`store/second_moments.py`): `keep_second_moments` is a stage of the run. Rows are
multiplied as they are read, shard by shard, and then take the memory that rows in 16 bits take anyway. Under several
checkpoints each one's rows have a second moment of their own, and are brought to unit length before they are joined:
so a product stays the weighted sum of the checkpoints' cosines.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from g2is.config import Config, SelectionConfig
from g2is.examples.dataset import Examples
from g2is.jobs.gradient_rows import read_gradient_rows
from g2is.jobs.representation import UnitRowsOf
from g2is.jobs.run_folder import RunFolder
from g2is.jobs.stages import Stage
from g2is.progress import counter
from g2is.selection.arrays import Floats
from g2is.selection.precondition import Preconditioner, SecondMoment
from g2is.selection.similarity import UnitRows
from g2is.store.fingerprint import digest
from g2is.store.manifest import GRADIENTS, Store
from g2is.store.row_reader import RowReader
from g2is.store.rows import StoredRows, has_direction, room_for_rows, unit_rows
from g2is.store.second_moments import (
    SECOND_MOMENTS,
    Decomposition,
    flaw_of,
    keep_decomposition,
    read_decomposition,
)
from g2is.store.stored_as import decoded
from g2is.warmup.train import Checkpoint

_AT_ONCE = 2**23  # values of a matrix that are multiplied at a time


def rows_looked_at(config: Config, store: Store, examples: Examples, checkpoints: Sequence[Checkpoint]) -> UnitRowsOf:
    """The gradient rows that the selector looks at: those stored, multiplied if the settings say so.

    A target's rows keep lengths: those of what their gradients became. Raises StoreError if rows are missing or
    damaged, or what they are to be multiplied by is not kept.
    """
    of_targets, of_pool = read_gradient_rows(config, store, examples, checkpoints)
    if config.selection.precondition is None:
        return UnitRowsOf(of_pool, of_targets)
    by_part = []
    for part in range(len(of_pool.parts)):
        kept = read_decomposition(_places(config, store, of_pool, examples.pool.keys, part))
        by_part.append(_preconditioner(kept, [_vectors(of, part) for of in of_targets.values()], config.selection))
    made = {name: _multiplied(of, by_part, of_pool.parts) for name, of in of_targets.items()}
    return UnitRowsOf(replace(of_pool, made_into=[_into(by) for by in by_part]), made)


def keep_second_moments(
    config: Config, store: Store, examples: Examples, checkpoints: Sequence[Checkpoint], folder: RunFolder
) -> None:
    """Make and keep the decompositions that the run's rows are to be multiplied by, if they are not kept yet.

    Raises StoreError if rows are missing or damaged, SelectionError where memory does not hold what it takes.
    """
    if config.selection.precondition is None:
        return
    _, of_pool = read_gradient_rows(config, store, examples, checkpoints)
    for part, (name, _) in enumerate(of_pool.parts):
        place, beside_run = _places(config, store, of_pool, examples.pool.keys, part)
        flaws = [flaw_of(place), flaw_of(beside_run)]
        if "" in flaws:
            continue
        if not store.writable:
            place = beside_run
            folder.notice(f"{store.name}: read-only; the decomposed second moment of its rows is kept in {place}")
        if (flaw := flaws[place is beside_run]) != "gone":
            folder.notice(f"{place}: found it {flaw}; the second moment is decomposed anew from stored rows")
        made = _decomposed_rows(of_pool, part, folder)
        keep_decomposition(place, made, {"rows": name.rstrip("/"), "num_rows": len(of_pool)})


def _decomposed_rows(of_pool: RowReader, part: int, folder: RunFolder) -> Decomposition:
    """The second moment of the pool's usable rows under one checkpoint, with their lengths."""
    name = of_pool.parts[part][0]
    moment, of_part = SecondMoment(_dim(of_pool)), replace(of_pool, parts=[(name, 1.0)])
    lengths = np.where(of_pool.usable, of_pool.norm[:, part], 0).astype(np.float64)
    with folder.stage(f"second moment of {name.rstrip('/')}", "rows", Stage.SECOND_MOMENT) as progress:
        for at, block in of_part.blocks(progress=counter(len(of_pool), progress)):
            moment.add(_units(decoded(block)), lengths[at])
    return _decomposed(moment, _dim(of_pool), folder)


def precondition_matrices(
    pool: np.ndarray | torch.Tensor, target: np.ndarray, settings: SelectionConfig, folder: RunFolder
) -> tuple[np.ndarray, np.ndarray]:
    """Matrices of pool (N, k) and target (M, k) float64, multiplied: the pool's as unit rows in float16.

    These are in a file in the run's folder where memory does not hold them. The decomposition is not kept: there is no
    store. Raises MatrixError for rows that cannot be used, SelectionError where memory does not hold what it takes.
    """
    num_rows, k = pool.shape
    moment, made = SecondMoment(k), room_for_rows((num_rows, k), folder.path)
    at_once = max(1, _AT_ONCE // k)
    blocks = [slice(low, min(low + at_once, num_rows)) for low in range(0, num_rows, at_once)]

    def read(block: slice) -> tuple[Floats, Floats]:
        rows = UnitRows(pool[block], what=f"pool gradients, rows from {block.start} on", quantise=False)
        return rows.over_units(np.arange(rows.num_rows), lambda units: units), rows.norms

    with folder.stage("second moment of the pool", "rows", Stage.SECOND_MOMENT) as progress:
        for block in blocks:
            moment.add(*read(block))
            progress(block.stop, num_rows)
    by = _preconditioner(_decomposed(moment, k, folder), [target], settings)
    with folder.stage("precondition rows", "rows", Stage.READ_POOL) as progress:
        for block in blocks:
            made[block] = unit_rows(by(read(block)[0])).rows
            progress(block.stop, num_rows)
    return made, by(target)


def _decomposed(moment: SecondMoment, k: int, folder: RunFolder) -> Decomposition:
    with folder.stage(f"decompose the second moment, {k} × {k}", "matrices", Stage.SECOND_MOMENT) as progress:
        made = moment.decomposed()
        progress(1, 1)
    return made


def _preconditioner(pool: Decomposition, targets: Sequence[Floats], settings: SelectionConfig) -> Preconditioner:
    return Preconditioner.of(pool, targets, settings.precondition_damping, settings.precondition_mix)


def _places(config: Config, store: Store, of_pool: RowReader, keys: np.ndarray, part: int) -> tuple[Path, Path]:
    """Where the decomposition for one checkpoint may be kept: in the store, or beside the run where that is read-only.

    Its name is a digest of all that decides the rows. These count in whatever order; which of them are usable depends
    on all checkpoints.
    """
    halves = np.ascontiguousarray(keys).view(np.uint64)
    ordered = halves[np.lexsort((halves[:, 1], halves[:, 0]))]
    name = digest(
        {
            "table": of_pool.table.fingerprint,
            "rows": hashlib.blake2b(ordered.tobytes(), digest_size=16).hexdigest(),
            "parts": ", ".join(name for name, _ in of_pool.parts),
            "part": part,
        }
    )
    return store.path / GRADIENTS / SECOND_MOMENTS / name, config.out / SECOND_MOMENTS / name


def _dim(of_pool: RowReader) -> int:
    """k of a row under one checkpoint."""
    return of_pool.num_coordinates // len(of_pool.parts)


def _columns(of: StoredRows, part: int) -> slice:
    """Where the coordinates of one checkpoint stand in a row."""
    k = of.rows.shape[1] // of.norm.shape[1]
    return slice(part * k, (part + 1) * k)


def _units(rows: np.ndarray) -> Floats:
    """`rows` (b, k) in float64, of a length of exactly 1 whatever rounding or a weight made of it; zeros stay zeros."""
    values = rows.astype(np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, lengths, out=values, where=lengths > 0)


def _vectors(of: StoredRows, part: int) -> Floats:
    """The usable rows of a target under one checkpoint, with their lengths: (U, k)."""
    lengths = of.norm[of.usable, part, None].astype(np.float64)
    return _units(of.rows[of.usable, _columns(of, part)]) * lengths


def _into(by: Preconditioner) -> Callable[[np.ndarray], np.ndarray]:
    return lambda stored: unit_rows(by(_units(decoded(stored)))).rows


def _multiplied(of: StoredRows, by_part: Sequence[Preconditioner], parts: Sequence[tuple[str, float]]) -> StoredRows:
    """A target's rows, each checkpoint's multiplied by its own, and what became of their lengths."""
    rows, norm, bounds = np.empty_like(of.rows), of.norm.copy(), np.finfo(np.float32)
    for part, (by, (_, weight)) in enumerate(zip(by_part, parts, strict=True)):
        made = unit_rows(by(_units(of.rows[:, _columns(of, part)])))
        rows[:, _columns(of, part)] = made.rows * np.float16(weight**0.5)
        # a row that was set aside keeps the norm that says why; no other is set aside for a length float32 cannot hold
        usable = has_direction(of.norm[:, part])
        became = of.norm[usable, part].astype(np.float64) * made.norm[usable]
        norm[usable, part] = np.clip(became, bounds.tiny, bounds.max)
    rows[~of.usable] = 0
    return replace(of, rows=rows, norm=norm)
