"""How what was selected compares with the pool: lengths (gradients favour short answers) and sources."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def compare_lengths(num_tokens: np.ndarray, num_answer_tokens: np.ndarray, selected: np.ndarray) -> dict[str, Any]:
    """Rows, and mean and median of tokens and answer tokens, of the pool (N,) and of its rows `selected` (n,) int.

    The ratios are selected over pool.
    """
    found: dict[str, Any] = {"rows": {"pool": len(num_tokens), "selected": len(selected)}}
    for name, lengths in (("tokens", num_tokens), ("answer_tokens", num_answer_tokens)):
        found[name] = {"pool": _middle(lengths), "selected": _middle(lengths[selected])}
        for kind in ("mean", "median"):
            of_pool, of_selected = found[name]["pool"][kind], found[name]["selected"][kind]
            found[name][f"{kind}_ratio"] = round(of_selected / of_pool, 4) if of_selected and of_pool else None
    return found


def compare_sources(sources: Sequence[str], selected: np.ndarray, most: int = 10) -> list[dict[str, Any]]:
    """Rows and shares of the pool and of its rows `selected` (n,) int, for the `most` sources with most selected rows.

    Empty if all rows have one source. Of equally many the one with more rows of the pool comes first, then by name.
    """
    number_of: dict[str, int] = {}
    source_of = np.fromiter((number_of.setdefault(name, len(number_of)) for name in sources), np.int64, len(sources))
    names = list(number_of)
    if len(names) < 2:
        return []
    in_pool = np.bincount(source_of, minlength=len(names))
    in_selected = np.bincount(source_of[selected], minlength=len(names))
    return [
        {
            "source": names[at],
            "pool_rows": int(in_pool[at]),
            "selected_rows": int(in_selected[at]),
            "pool_fraction": round(float(in_pool[at] / len(source_of)), 4),
            "selected_fraction": round(float(in_selected[at] / max(len(selected), 1)), 4),
        }
        for at in sorted(range(len(names)), key=lambda at: (-in_selected[at], -in_pool[at], names[at]))[:most]
    ]


def _middle(lengths: np.ndarray) -> dict[str, float | None]:
    if not len(lengths):
        return {"mean": None, "median": None}
    return {"mean": round(float(lengths.mean()), 2), "median": round(float(np.median(lengths)), 2)}
