"""A cell of the grid: one method's selection for one target, tuned on and tested."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from g2is.errors import InputError, StoreError
from g2is.methods import FULL, UNTUNED
from g2is.store.files import read_json, sealed, write_text


class Key(NamedTuple):
    """Which cell: `budget` is None for `untuned` and `full`, `seed` None for `untuned`."""

    method: str
    target: str
    budget: str | None
    seed: int | None

    def __str__(self) -> str:
        budget = "" if self.budget is None else f" at {self.budget}"
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"{self.method} on {self.target}{budget}{seed}"

    def place(self, folder: Path) -> Path:
        """Where what belongs to this cell lies below `folder`."""
        parts = [self.method, self.target, *([] if self.budget is None else [self.budget.replace("%", "pct")])]
        return folder.joinpath(*parts, "once" if self.seed is None else f"seed-{self.seed}")


def key_of(method: str, target: str, budget: str, seed: int | None) -> Key:
    """The cell that stands for `method` at `budget` and `seed`: `full` has no budget, `untuned` no seed either."""
    return Key(method, target, None if method in (UNTUNED, FULL) else budget, None if method == UNTUNED else seed)


def summed(losses: np.ndarray, num_learned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nats of each test example (T,), whose mean a token is `losses` (T,), and its answer tokens (T,), float64.

    An example without any counts 0.
    """
    num_tokens = num_learned.astype(np.float64)
    return np.where(num_tokens > 0, losses, 0.0) * num_tokens, num_tokens


@dataclass(frozen=True, eq=False)
class Cell:
    """What one tuned model does on the test examples of its target, which come in the same order in every cell.

    `losses` (T,) float64, nats per answer token of each test example, and `num_learned` (T,) int64 of those tokens;
    `metrics` by name (T,) float64, NaN where one does not apply; `rows` (n,) int64, the record numbers selected (None
    for `untuned`, and for `full`: all); `num_tokens` theirs, tuned on in `num_steps`; `seconds` by stage (for what was
    made once and used again, those it took when it was made). Raises InputError if there is no test example, none with
    an answer, or arrays of different lengths.
    """

    method: str
    target: str
    budget: str | None
    seed: int | None
    losses: np.ndarray
    num_learned: np.ndarray
    metrics: Mapping[str, np.ndarray]
    rows: np.ndarray | None
    num_tokens: int
    num_steps: int
    seconds: Mapping[str, float]

    def __post_init__(self) -> None:
        lengths = {"losses": self.losses, "num_learned": self.num_learned, **self.metrics}
        if any(values.shape != (len(self.losses),) for values in lengths.values()):
            found = ", ".join(f"{name} {values.shape}" for name, values in lengths.items())
            raise InputError(f"cell {self.key}: expected one value a test example in every array, found {found}")
        if not self.num_learned.sum() > 0:
            raise InputError(
                f"cell {self.key}: expected test examples with an answer, found {len(self.losses)} examples with"
                f" {int(self.num_learned.sum())} answer tokens. Give other --test files"
            )

    @property
    def key(self) -> Key:
        """Which cell this is."""
        return Key(self.method, self.target, self.budget, self.seed)

    @property
    def loss(self) -> float:
        """The test loss: nats per answer token over all test examples."""
        summed, num_learned = self.summed_losses
        return float(summed.sum() / num_learned.sum())

    @property
    def summed_losses(self) -> tuple[np.ndarray, np.ndarray]:
        """The nats of each test example (T,) and its answer tokens (T,), float64; an example without any counts 0."""
        return summed(self.losses, self.num_learned)

    def means(self) -> dict[str, float]:
        """The mean of each metric over the test examples it applies to; without those that apply to none."""
        applies = {name: values[~np.isnan(values)] for name, values in self.metrics.items()}
        return {name: float(values.mean()) for name, values in applies.items() if len(values)}

    def num_rows(self, num_pool_rows: int) -> int:
        """Rows tuned on, from a pool of `num_pool_rows`."""
        if self.rows is not None:
            return len(self.rows)
        return 0 if self.method == UNTUNED else num_pool_rows

    def summary(self) -> dict[str, Any]:
        """Which cell this is and what came of it, ready for JSON, without the arrays."""
        return {
            **self.key._asdict(),
            "loss": _plain(self.loss),
            "means": self.means(),
            "num_test_examples": len(self.losses),
            "num_rows": None if self.rows is None else len(self.rows),
            "num_tokens": self.num_tokens,
            "num_steps": self.num_steps,
            "seconds": dict(self.seconds),
        }


def as_mapping(cell: Cell) -> dict[str, Any]:
    """`cell` ready for JSON: what people read first, then the arrays; NaN is null."""
    return {
        **cell.summary(),
        "losses": [_plain(value) for value in cell.losses.tolist()],
        "num_learned": cell.num_learned.tolist(),
        "metrics": {name: [_plain(value) for value in values.tolist()] for name, values in cell.metrics.items()},
        "rows": None if cell.rows is None else cell.rows.tolist(),
    }


def from_mapping(values: Mapping[str, Any], where: Path) -> Cell:
    """The cell that `as_mapping` wrote. Raises StoreError naming `where` if it is none."""
    try:
        return Cell(
            method=values["method"],
            target=values["target"],
            budget=values["budget"],
            seed=values["seed"],
            losses=_floats(values["losses"]),
            num_learned=np.array(values["num_learned"], np.int64),
            metrics={name: _floats(of_metric) for name, of_metric in values["metrics"].items()},
            rows=None if values["rows"] is None else np.array(values["rows"], np.int64),
            num_tokens=int(values["num_tokens"]),
            num_steps=int(values["num_steps"]),
            seconds={stage: float(seconds) for stage, seconds in values["seconds"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
        raise StoreError(
            f"{where}: expected a cell of a comparison as g2is writes it, found {type(error).__name__}: {error}. Remove"
            " the file and give the command again: that cell alone is made anew"
        ) from None


def write_cell(path: Path, cell: Cell) -> None:
    """Write `cell` as JSON with its digest, atomically, each of its values on a line of its own."""
    write_text(path, as_text(cell, path.name))


def as_text(cell: Cell, name: str) -> str:
    """What `write_cell` writes to a file of this name."""
    lines = (
        f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in sealed(as_mapping(cell), name).items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_cell(path: Path) -> Cell:
    """Read what `write_cell` wrote. Raises StoreError if it cannot be read or is no cell."""
    return from_mapping(read_json(path), path)


def _plain(value: float) -> float | str | None:
    if math.isfinite(value):
        return value
    return None if math.isnan(value) else str(value)


def _floats(values: list[float | str | None]) -> np.ndarray:
    return np.array([math.nan if value is None else float(value) for value in values], np.float64)
