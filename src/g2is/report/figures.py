"""Counts for the page's figures: lengths, and what rows are of, in selection and pool."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

_MOST_NAMES = 20
_NUM_BINS = 24


def lengths(pool: np.ndarray, chosen: np.ndarray) -> dict[str, Any]:
    """Histograms of lengths (N,) and (n,) in the same bins, each twice as long as the one before at most."""
    most = max(int(pool.max(initial=1)), 2)
    edges = np.unique(np.rint(np.geomspace(1, most + 1, _NUM_BINS + 1)).astype(np.int64))
    return {
        "bins": edges.tolist(),
        "pool": np.histogram(pool, edges)[0].tolist(),
        "chosen": np.histogram(chosen, edges)[0].tolist(),
    }


def shares(pool: Sequence[str], chosen: Sequence[str]) -> list[dict[str, Any]]:
    """Rows by name in pool and selection, those with most chosen rows first; what is beyond the twentieth together.

    Empty where all rows have one name.
    """
    in_pool, in_chosen = Counter(pool), Counter(chosen)
    if len(in_pool) < 2:
        return []
    order = sorted(in_pool, key=lambda name: (-in_chosen[name], -in_pool[name], name))
    found = [{"name": name, "pool": in_pool[name], "chosen": in_chosen[name]} for name in order[:_MOST_NAMES]]
    if rest := order[_MOST_NAMES:]:
        theirs = {"pool": sum(in_pool[name] for name in rest), "chosen": sum(in_chosen[name] for name in rest)}
        found.append({"name": f"{len(rest)} others", **theirs})
    return found
