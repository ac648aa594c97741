"""The rows that a finished run looked at, read from its store without a lock: nothing is written or made anew."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from g2is.config import Config
from g2is.errors import G2isError
from g2is.examples.dataset import Examples
from g2is.jobs.gradient_rows import target_rows
from g2is.jobs.preconditioned import rows_looked_at
from g2is.jobs.prepare import prepare
from g2is.jobs.representation import ScoresOf, maker_of, read_pool_and_targets
from g2is.jobs.worker import read_as_planned
from g2is.methods import GRADIENT, NONE, OWN
from g2is.progress import Silent
from g2is.selection.problem import TargetRows
from g2is.selection.similarity import UnitRows
from g2is.store.manifest import join_store
from g2is.store.reach import join
from g2is.store.row_reader import RowReader
from g2is.store.rows import StoredRows
from g2is.warmup.train import finished_warmup


@dataclass(frozen=True, eq=False)
class Vectors:
    """The pool's rows, still to be read, in the order of the pool without what was excluded, and the targets' by name.

    `config` is the run's, completed as the run completed it.
    """

    config: Config
    pool: RowReader
    targets: Mapping[str, StoredRows]

    def units(self, positions: np.ndarray) -> np.ndarray:
        """The unit vectors (n, k) float64 of the rows at `positions` (n,) of the pool; zeros where one has none."""
        order = np.unique(positions)
        held = self.pool.read(order)
        rows = UnitRows(held.rows, usable=held.held_usable, quantise=False)
        return rows.over_units(np.searchsorted(order, positions), lambda units: units)

    def cosines(self, units: np.ndarray) -> np.ndarray:
        """Cosines (q, N) float32 of all rows with `units` (q, k), in one pass over the store."""
        found = np.zeros((len(units), len(self.pool)), np.float32)
        for places, block in self.pool.blocks():
            rows = UnitRows(block, usable=self.pool.usable[places], quantise=False)
            found[:, places] = rows.over_units(np.arange(len(places)), lambda of: of @ units.T).T
        return found

    def target_cosines(self, name: str, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which rows of a target can be compared (M',), and cosines (q, M') float64 with them."""
        of = self.targets[name]
        usable = np.flatnonzero(of.usable)
        return usable, units @ of.units()[usable].astype(np.float64).T

    def target_rows(self, name: str, budget: int, groups: np.ndarray) -> TargetRows:
        """A target as the selector got it, with another budget."""
        of = self.targets[name]
        return TargetRows(budget, rows=target_rows(self.config, of), groups=groups[of.usable].tolist())


@dataclass(frozen=True, eq=False)
class Stored:
    """What could be read: tokens of the examples, and vectors; `why_not` says why something could not."""

    examples: Examples | None = None
    vectors: Vectors | None = None
    why_not: str = ""


def read_stored(config: Config) -> Stored:
    """Read what the run of `config` looked at, as far as files, model and store are still there as they were."""
    examples = None
    try:
        config = config.model_copy(update={"store": join(config.store)})
        prepared = prepare(config, Silent())
        config, examples = prepared.config, read_as_planned(prepared)
        if examples is None:
            return Stored(why_not=f"{config.store_folder} does not hold the tokens of pool and targets as they are now")
        name = config.selection.representation
        if name == NONE:
            return Stored(examples, why_not=f"the method {config.selection.selector} looks at no rows")
        if name.startswith(OWN):
            return Stored(examples, why_not=f"the representation {name} is your own, and not at hand here")
        if name == GRADIENT:
            store = join_store(config.store_folder, prepared.fingerprint)
            checkpoints = finished_warmup(store.warmup) or []
            looked = rows_looked_at(config, store, examples, checkpoints)
            return Stored(examples, Vectors(config, looked.pool, looked.targets))
        store = join_store(config.store_folder, None)
        found = read_pool_and_targets(maker_of(name, prepared, Silent(), examples=examples), store, examples)
        if isinstance(found, ScoresOf):
            return Stored(examples, why_not=f"the representation {name} has no vectors, of which rows are neighbours")
        return Stored(examples, Vectors(config, found.pool, found.targets))
    except G2isError as error:
        return Stored(examples, why_not=str(error).partition("\n")[0])
