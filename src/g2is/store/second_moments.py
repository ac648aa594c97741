"""Decomposed second moments of a store's rows, kept beside them: to make one takes minutes, whatever the target.

FOLDER/NAME/values.npy     (k,) float64, ascending
            vectors.npy    (k, k) float64, a column for each value
            made_of.json   its name and what it was made of, for people
            digests.json   what these held when they were written

FOLDER is STORE/gradients/second_moments; of a store that is read-only, RUN/second_moments. NAME is a digest of all that
decides the rows: one of other rows has another name. The folder of a name is there whole, or not at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2is.errors import StoreError
from g2is.store.digests import damaged_files, noted_digests, record_digests
from g2is.store.files import read_json, write_atomically, write_json

SECOND_MOMENTS = "second_moments"
_VALUES, _VECTORS, MADE_OF = "values.npy", "vectors.npy", "made_of.json"
_FILES = (_VALUES, _VECTORS, MADE_OF)


@dataclass(frozen=True, eq=False)
class Decomposition:
    """A second moment over its trace: `values` (k,) ascending, not below 0, and `vectors` (k, k), a column for each.

    Both are float64; vectors that were read are a map of their file.
    """

    values: NDArray[np.float64]
    vectors: NDArray[np.float64]


def keep_decomposition(place: Path, made: Decomposition, made_of: Mapping[str, Any]) -> None:
    """Write the folder `place`, whole or not at all; `made_of` says in words what it is the second moment of."""

    def write(temporary: Path) -> None:
        temporary.mkdir()
        np.save(temporary / _VALUES, made.values)
        np.save(temporary / _VECTORS, made.vectors)
        write_json(temporary / MADE_OF, {"name": place.name, **made_of})
        record_digests(temporary, _FILES)

    write_atomically(place, write)


def kept_in(folder: Path) -> list[Path]:
    """The folders of all decompositions in `folder`, damaged ones too; none of what a stop left half written."""
    return sorted(place for place in folder.glob("*") if place.is_dir() and not place.name.startswith("."))


def flaw_of(place: Path) -> str:
    """What is wrong with the folder `place`, in words; "" where it is as it was written.

    A whole one of another name, which is of other rows, is not the one of this.
    """
    if not place.is_dir():
        return "gone"
    try:
        if damaged := damaged_files(place):
            return f"{', '.join(damaged)} changed"
        if missing := [name for name in _FILES if name not in noted_digests(place)]:
            return f"nothing noted of {', '.join(missing)}"
        name = read_json(place / MADE_OF).get("name")
    except StoreError as error:
        return str(error).partition("\n")[0]
    return "" if name == place.name else f"that of {name}"


def read_decomposition(places: Sequence[Path]) -> Decomposition:
    """What is kept in the first folder of `places` that has it. Raises StoreError where none has it as it was written.

    That names the first, in which it should be.
    """
    flaws = {place: flaw_of(place) for place in places}
    place = next((place for place, flaw in flaws.items() if not flaw), None)
    if place is None:
        raise StoreError(
            f"{places[0]}: expected the decomposed second moment of the pool's rows, found it {flaws[places[0]]}. Give"
            " the run's own command again: it makes it anew"
        )
    values, vectors = (np.load(place / name, mmap_mode="r", allow_pickle=False) for name in (_VALUES, _VECTORS))
    return Decomposition(np.array(values), np.asarray(vectors))
