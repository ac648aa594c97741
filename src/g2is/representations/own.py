"""A user's own representation, from Python: any function from texts to vectors."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from g2is.errors import ConfigError
from g2is.methods import GRADIENT, NONE, REPRESENTATIONS
from g2is.model.batches import Row
from g2is.representations.maker import ArraysOf, Maker, Materials
from g2is.store.manifest import RESERVED
from g2is.store.rows import unit_rows

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_TAKEN = {*RESERVED, *REPRESENTATIONS, GRADIENT, NONE}


@dataclass(frozen=True)
class Representation:
    """A representation of your own: `rows` takes R texts and returns their vectors, (R, k) float, row for row.

    The text is what the model sees of an example, special tokens left out. Rows are kept in the store under `name`;
    raise `version` whenever `rows` gives others, or the old ones are used on. A row of zeros, NaN or Inf is set aside.
    Raises ConfigError if `name` is taken or has other characters than a-z, 0-9, _ and -.

    >>> Representation("length", 1, lambda texts: np.array([[len(text), 1.0] for text in texts])).name
    'length'
    """

    name: str
    version: int | str
    rows: Callable[[Sequence[str]], np.ndarray]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name) or self.name in _TAKEN:
            raise ConfigError(
                "Representation: expected a name of a-z, 0-9, _ and - that is none of"
                f" {', '.join(sorted(_TAKEN))}, found {self.name!r}"
            )

    def maker(self, materials: Materials) -> Maker:
        """This representation as one that can be computed; its rows are checked."""

        def open_rows() -> ArraysOf:
            return lambda rows, progress: self._arrays(materials.texts(rows), rows, progress)

        fingerprint = {"name": self.name, "version": self.version, **materials.text_fingerprint}
        return Maker(self.name, f"{self.name} row", fingerprint, open_rows)

    def _arrays(
        self, texts: Sequence[str], rows: Sequence[Row], progress: Callable[[int], None]
    ) -> Mapping[str, np.ndarray]:
        vectors = self.rows(texts)
        if not isinstance(vectors, np.ndarray):
            found = f"a {type(vectors).__name__}"
        elif not np.issubdtype(vectors.dtype, np.floating) or vectors.ndim != 2 or not vectors.shape[1]:
            found = f"shape {vectors.shape} of {vectors.dtype}"
        elif len(vectors) != len(texts):
            found = f"{len(vectors)} rows"
        else:
            progress(sum(len(ids) for ids, _ in rows))
            with np.errstate(over="ignore"):  # beyond float32: Inf, which is set aside
                return unit_rows(vectors.astype(np.float32)).arrays()
        raise ConfigError(
            f"representation {self.name}: expected a NumPy array of {len(texts)} rows (R, k) of floats for {len(texts)}"
            f" texts, found {found}; mend its function `rows`"
        )
