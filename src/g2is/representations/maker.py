"""What every representation is to the rest: a name, a fingerprint, and a function from token rows to arrays."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from g2is.errors import ConfigError
from g2is.methods import Section
from g2is.progress import Reporter
from g2is.store.fingerprint import Fingerprint

if TYPE_CHECKING:  # declarations of representations import this file: it brings neither configuration nor torch
    from g2is.config import ExecutionConfig
    from g2is.model.batches import Row
    from g2is.model.folder import ModelFolder

# Takes the token rows of a shard and who is told of tokens done; gives arrays (R, …) by name, row for row.
ArraysOf = Callable[["Sequence[Row]", Callable[[int], None]], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Materials:
    """What a representation may be made from.

    `settings` have those of every representation among them. `text` turns token ids (T,) into the text that the model
    sees, special tokens left out; the fingerprints say what model and text are made with.
    """

    settings: Section
    execution: "ExecutionConfig"
    model: "ModelFolder"
    model_fingerprint: Fingerprint
    text: Callable[[np.ndarray], str]
    text_fingerprint: Fingerprint
    reporter: Reporter

    def texts(self, rows: "Sequence[Row]") -> list[str]:
        """The texts of `rows`."""
        return [self.text(ids) for ids, _ in rows]


@dataclass(frozen=True)
class Maker:
    """A representation that can be computed.

    `name` is its folder in the store and `what` one row of it, in words. `fingerprint` holds everything that decides a
    row of given tokens. `open` loads what is heavy and is called only if rows are missing. The arrays are `rows` and
    `norm` of unit vectors (`store/rows.py`), unless `score` makes (N, M) float32 scores of the pool's and a target's
    `terms`.
    """

    name: str
    what: str
    fingerprint: Fingerprint
    open: Callable[[], ArraysOf]
    score: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None


def import_package(name: str, extra: str) -> Any:
    """Import a package that only the representation `extra` needs. Raises ConfigError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"representation {extra}: expected the package {name.replace('_', '-')}, found none that can be"
            f" imported ({error}). Install it: pip install 'g2is[{extra}]'"
        ) from None
