"""What every representation is to the rest: a name, a fingerprint, and a function from token rows to arrays."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from g2is.errors import ConfigError
from g2is.methods import Section
from g2is.progress import Reporter
from g2is.store.fingerprint import Fingerprint

if TYPE_CHECKING:  # declarations of representations import this file: it brings neither configuration nor torch
    from g2is.config import ExecutionConfig, TuningConfig
    from g2is.model.batches import Row
    from g2is.model.folder import ModelFolder

# Takes the token rows of a shard and who is told of tokens done; gives arrays (R, …) by name, row for row.
ArraysOf = Callable[["Sequence[Row]", Callable[[int], None]], Mapping[str, np.ndarray]]


class TargetExamples(Protocol):
    """A target's examples as tokens: `keys` (M, 16) uint8 of content."""

    keys: np.ndarray

    def token_rows(self, rows: np.ndarray, /) -> "list[Row]":
        """The tokens of the examples at `rows` (n,) int64, in that order."""


@dataclass(frozen=True)
class Scores:
    """How well each pool row answers each row of a target.

    `targets`, one each, (N, M) float32, the higher the better. A row is usable if it has what it is scored by, `what`:
    (N,) bool of the pool, (M,) bool of each target; the scores of the others are 0. If they are not `by_example`, all
    columns of a target are alike.
    """

    targets: Sequence[np.ndarray]
    pool_usable: np.ndarray
    target_usable: Sequence[np.ndarray]
    what: str
    by_example: bool = True


@dataclass(frozen=True)
class Tuned:
    """An adapter that is tuned on a target, called `target`, with the settings `tuning`, in `folder` of the store."""

    target: str
    folder: Path
    tuning: "TuningConfig"
    rows: "Callable[[], list[Row]]"

    @property
    def adapter(self) -> Path:
        """The folder of the adapter itself."""
        return self.folder / "adapter"


@dataclass(frozen=True)
class Materials:
    """What a representation may be made from.

    `settings` have those of every representation among them. `text` turns token ids (T,) into the text that the model
    sees, special tokens left out; the fingerprints say what model and text are made with. `store` is the store's
    folder, `targets` are their examples by name: none where only what holds for any target is asked for.
    """

    settings: Section
    execution: "ExecutionConfig"
    model: "ModelFolder"
    model_fingerprint: Fingerprint
    text: Callable[[np.ndarray], str]
    text_fingerprint: Fingerprint
    reporter: Reporter
    store: Path
    targets: Mapping[str, TargetExamples] = field(default_factory=dict)

    def texts(self, rows: "Sequence[Row]") -> list[str]:
        """The texts of `rows`."""
        return [self.text(ids) for ids, _ in rows]


@dataclass(frozen=True)
class Maker:
    """A representation that can be computed.

    `name` is its folder in the store, unless it has a `place`, and `what` one row of it, in words. `fingerprint` holds
    everything that decides a row of given tokens. `open` loads what is heavy and is called only if rows are missing,
    when the adapters `tuned` have been. The arrays are `rows` and `norm` of unit vectors (`store/rows.py`), unless
    `score` makes scores of one `array` of the pool's and of each target's.
    """

    name: str
    what: str
    fingerprint: Fingerprint
    open: Callable[[], ArraysOf]
    score: Callable[[np.ndarray, Sequence[np.ndarray]], Scores] | None = None
    array: str = "terms"
    place: str = ""
    tuned: Sequence[Tuned] = ()

    @property
    def folder(self) -> str:
        """The folder of its rows, below the store's."""
        return self.place or self.name


def import_package(name: str, extra: str) -> Any:
    """Import a package that only the representation `extra` needs. Raises ConfigError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"representation {extra}: expected the package {name.replace('_', '-')}, found none that can be"
            f" imported ({error}). Install it: pip install 'g2is[{extra}]'"
        ) from None
