"""What the walk starts from: the rows of both files, out of the store, in the files' order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from g2is.config import Config
from g2is.examples.table import ExampleTable
from g2is.gradients.rows import GradientRows, read_rows
from g2is.store.manifest import Store
from g2is.warmup.train import Checkpoint


@dataclass(frozen=True)
class Examples:
    """Both files as tokens."""

    pool: ExampleTable
    target: ExampleTable


@dataclass(frozen=True)
class Gradients:
    """The rows that a walk starts from, in the files' order.

    `pool` (N, C·k) float16: unit rows (over C checkpoints, weighted by sqrt(w_i)), zeros where a row is set aside.
    `target` (M, C·k): the same as float16 if `selection.normalize_targets`, else float32 with their lengths; without
    the rows that are set aside.
    """

    pool: np.ndarray
    target: np.ndarray
    pool_ids: Sequence[str]
    target_ids: Sequence[str]


def read_both(
    config: Config, store: Store, examples: Examples, checkpoints: Sequence[Checkpoint]
) -> tuple[GradientRows, GradientRows]:
    """The stored rows of target and pool. Raises StoreError if some are missing or damaged."""
    digests = [checkpoint.digest for checkpoint in checkpoints]
    weights = [(checkpoint.name, checkpoint.weight) for checkpoint in checkpoints]
    of_target, of_pool = store.table("target", digests), store.table("pool", digests)
    return (
        read_rows(of_target, of_target.positions_of(examples.target.keys), weights, config.gradients.target_form),
        read_rows(of_pool, of_pool.positions_of(examples.pool.keys), weights, config.walked_form),
    )


def target_rows(config: Config, of_target: GradientRows) -> np.ndarray:
    """The target rows that core knowledge is made of, each checkpoint's unit rows if they are to be normalised."""
    return of_target.rows[of_target.usable] if config.selection.normalize_targets else of_target.unnormalized()
