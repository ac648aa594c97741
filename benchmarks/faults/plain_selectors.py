"""The selectors as plainly as they can be written, in float64 and one step at a time: what a selection is held against.

The walk's own is `tests/invariants/reference_walk.py`; those that others published are in `plain_published.py`.
"""

from collections.abc import Iterator

import numpy as np

from faults.plain_published import PUBLISHED, Floats, Select, best, in_order
from g2is.config import SelectionConfig
from g2is.selection.core import core_knowledge


def unit_rows(values: Floats) -> Floats:
    """Rows (N, k) float64 of length 1; a zero row stays one."""
    largest = np.abs(values).max(axis=1, keepdims=True)
    scaled = values / np.where(largest > 0, largest, 1)
    lengths = np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    return scaled / np.where(lengths > 0, lengths, 1)


def plain_selection(pool: Floats, target: Floats, budget: int, settings: SelectionConfig) -> list[int]:
    """The rows that a selector other than the walk takes of `pool` (N, k) for `target` (M, k), both float64."""
    units, examples = unit_rows(pool), unit_rows(target)
    similarity = (units @ examples.T).round(12)
    allowed = (units != 0).any(axis=1)
    if not settings.take_opposed:
        allowed &= ~(similarity < 0).all(axis=1)
    taken: list[int] = []
    for row in _NAMED[settings.selector](units, examples, similarity, allowed, taken, settings):
        cosines = units[taken] @ units[row]
        allowed[row] = False
        threshold = settings.duplicate_threshold
        if threshold is None or not (cosines >= threshold - 1e-12).any():
            taken.append(row)
        if len(taken) == budget:
            break
    return taken


def _top(
    units: Floats, examples: Floats, similarity: Floats, allowed: np.ndarray, _: list[int], settings: SelectionConfig
) -> Iterator[int]:
    score = similarity.mean(axis=1).round(12)
    if settings.score == "core":
        core = core_knowledge(examples, settings)
        score = (units @ core.components.T @ (core.variance / core.variance.sum())).round(12)
    yield from in_order(score, allowed)


def _round_robin(
    _: Floats, __: Floats, similarity: Floats, allowed: np.ndarray, taken: list[int], settings: SelectionConfig
) -> Iterator[int]:
    lists = [
        [row for row in sorted(range(len(column)), key=lambda row: -column[row]) if column[row] >= 0]
        for column in similarity.T
    ]
    while any(lists):
        for ranked in lists:
            while ranked:
                row = ranked.pop(0)
                if row in taken and settings.if_taken == "lose-turn":
                    break
                if allowed[row]:
                    yield row
                    if taken and taken[-1] == row:
                        break


def _match(
    units: Floats, examples: Floats, __: Floats, allowed: np.ndarray, taken: list[int], _: SelectionConfig
) -> Iterator[int]:
    mean = examples.mean(axis=0)
    mean = mean / np.linalg.norm(mean)
    while allowed.any():
        sums = units[taken].sum(axis=0) + units
        lengths = np.linalg.norm(sums, axis=1)
        row = best(np.where(lengths > 1e-12, sums @ mean / np.maximum(lengths, 1e-12), 0), allowed)
        assert row is not None
        yield row


def _design(
    units: Floats, examples: Floats, __: Floats, allowed: np.ndarray, taken: list[int], settings: SelectionConfig
) -> Iterator[int]:
    while allowed.any():
        known = units[taken]
        inverse = np.linalg.inv(known @ known.T + settings.noise * np.eye(len(known)))
        covariances = examples @ units.T - examples @ known.T @ inverse @ known @ units.T
        variances = 1 - np.einsum("nk,nk->n", units @ known.T @ inverse, units @ known.T)
        worth = (np.maximum(covariances, 0) ** 2).sum(axis=0) / (np.maximum(variances, 0) + settings.noise)
        row = best(worth, allowed)
        assert row is not None
        if worth[row] <= 1e-25:
            return
        yield row


_NAMED: dict[str, Select] = {
    **PUBLISHED,
    "top": _top,
    "round-robin": _round_robin,
    "match": _match,
    "design": _design,
}
