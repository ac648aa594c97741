"""The gradients of a comparison, made good in its store: finished cells ask for none, and would leave them damaged."""

import tempfile
from pathlib import Path

from g2is.comparison.cells import Key
from g2is.config.compare import CompareConfig
from g2is.jobs.select import run
from g2is.jobs.trials import run_config, store_name
from g2is.methods import GRADIENT
from g2is.progress import Reporter

_STORES = "seed-"


def damaged_stores(out: Path, damaged: list[Path]) -> list[Path]:
    """The stores of the comparison in `out` in which one of the `damaged` files lies."""
    return [
        store for store in sorted((out / "store").glob(f"{_STORES}*")) if any(store in of.parents for of in damaged)
    ]


def make_rows_again(config: CompareConfig, store: Path, reporter: Reporter) -> None:
    """Make what `store` lacks of the warm-up and of the gradients of pool and targets, as its cells had it made.

    Nothing where no method of the comparison looks at gradients. Raises what `run` does.
    """
    seed, budget = int(store.name.removeprefix(_STORES).partition("-")[0]), config.budgets[0]
    asked = {name: config.selection_of(name, budget, seed) for name in config.methods}
    asking = [
        name for name, of in asked.items() if of.representation == GRADIENT and store_name(of, seed) == store.name
    ]
    if not asking:
        return
    for target in config.targets:  # each by itself, as cells ask for them: shards are of one target's rows
        with tempfile.TemporaryDirectory() as scratch:
            of_cell = run_config(config, Key(asking[0], target, budget, seed), [target])
            run(of_cell.model_copy(update={"out": Path(scratch) / "run"}), "gradients", reporter)
