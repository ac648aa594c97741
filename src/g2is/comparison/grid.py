"""The cells a comparison plans, and how finished ones are put in their places."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from g2is.comparison.cells import Cell, Key, key_of
from g2is.errors import ConfigError, InputError
from g2is.methods import RANDOM


@dataclass(frozen=True)
class Grid:
    """What is compared, in the order it was asked for. Raises ConfigError if a list is empty or names one thing twice,
    or without `random`, which everything is measured against.
    """

    methods: Sequence[str]
    targets: Sequence[str]
    budgets: Sequence[str]
    seeds: Sequence[int]

    def __post_init__(self) -> None:
        lists: Mapping[str, Sequence[str | int]] = vars(self)
        for name, values in lists.items():
            if not values or len(set(values)) < len(values):
                found = ", ".join(map(str, values)) or "none"
                raise ConfigError(f"compare: expected {name} that differ, at least one, found {found}")
        if RANDOM not in self.methods:
            raise ConfigError(
                f"compare: expected {RANDOM} among the methods, which all others are measured against, found"
                f" {', '.join(self.methods)}. Add it to --methods"
            )

    def planned(self) -> list[Key]:
        """Every cell that is planned, each once: `untuned` a target, `full` a target and seed."""
        return list(
            dict.fromkeys(
                key_of(method, target, budget, seed)
                for budget in self.budgets
                for target in self.targets
                for method in self.methods
                for seed in self.seeds
            )
        )


def arrange(cells: Iterable[Cell], grid: Grid) -> tuple[dict[Key, Cell], list[Key]]:
    """The finished cells of `grid` in its order, and the keys of those that are none of its cells.

    Raises InputError if a cell comes twice, or if two cells of a target were tested on different examples.
    """
    by_key: dict[Key, Cell] = {}
    for cell in cells:
        if cell.key in by_key:
            raise InputError(f"cell {cell.key}: expected each cell once, found it twice")
        by_key[cell.key] = cell
    planned = grid.planned()
    done = {key: by_key[key] for key in planned if key in by_key}
    first: dict[str, Cell] = {}
    for cell in done.values():
        _check_same_examples(first.setdefault(cell.target, cell), cell)
    return done, sorted(by_key.keys() - set(planned), key=str)


def _check_same_examples(one: Cell, other: Cell) -> None:
    if len(one.losses) != len(other.losses):
        found = f"{len(one.losses):,} in {one.key}, {len(other.losses):,} in {other.key}"
    elif not np.array_equal(one.num_learned, other.num_learned):
        at = int(np.flatnonzero(one.num_learned != other.num_learned)[0])
        found = (
            f"test example {at} with {one.num_learned[at]} answer tokens in {one.key},"
            f" with {other.num_learned[at]} in {other.key}"
        )
    else:
        return
    raise InputError(
        f"target {one.target}: expected every cell to be tested on the same examples in the same order, found {found}."
        " Remove the older of the two cells and give the command again"
    )
