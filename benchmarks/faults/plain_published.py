"""Published selectors as plainly as they can be written, in float64 and one step at a time (`plain_selectors.py`).

Each takes unit rows (N, k), unit examples (M, k), their cosines rounded to 12 decimals (N, M), the rows `allowed` (N,)
and those `taken`, both of which change as rows are taken, and the settings. It yields rows in order.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np

from g2is.config import SelectionConfig
from g2is.selection.budget import parse_budget

GRAIN = 1e-12  # values that differ by less tie, and ties go to the lowest row
_STEPS = 60  # of Sinkhorn: each brings the plan nearer by a hundred times, at the settings that are tried
Floats = np.ndarray
Select = Callable[[Floats, Floats, Floats, np.ndarray, list[int], SelectionConfig], Iterator[int]]


def best(values: Floats, allowed: np.ndarray) -> int | None:
    """The lowest of the `allowed` rows (N,) whose value is the highest; None if there are none."""
    if not allowed.any():
        return None
    return int(np.flatnonzero(allowed & (values >= values[allowed].max() - GRAIN))[0])


def in_order(score: Floats, allowed: np.ndarray) -> Iterator[int]:
    """The `allowed` rows (N,) by descending `score`, the lowest first of equal ones."""
    while (row := best(score, allowed)) is not None:
        yield row


def _interaction(
    _: Floats, __: Floats, similarity: Floats, allowed: np.ndarray, taken: list[int], settings: SelectionConfig
) -> Iterator[int]:
    weight = settings.curvature / parse_budget(settings.budget, len(similarity))
    while allowed.any():
        brought = similarity[taken].sum(axis=0)
        gains = (similarity - weight * similarity * (brought + similarity / 2)).mean(axis=1)
        row = best(gains, allowed)
        assert row is not None
        yield row


def _spice(
    units: Floats, _: Floats, similarity: Floats, allowed: np.ndarray, taken: list[int], settings: SelectionConfig
) -> Iterator[int]:
    agreement = np.maximum(similarity.mean(axis=1).round(12), 0)
    weighted = units * (agreement / (agreement.max() or 1))[:, None]
    while allowed.any():
        inverse = np.linalg.inv(np.eye(units.shape[1]) + settings.fisher_scale * weighted[taken].T @ weighted[taken])
        worth = np.log1p(settings.fisher_scale * np.einsum("nk,kl,nl->n", weighted, inverse, weighted))
        mean = weighted[taken].sum(axis=0)
        if (length := np.linalg.norm(mean)) > GRAIN:
            worth -= settings.conflict_penalty * np.maximum(0, -(units @ mean) / length)
        row = best(worth, allowed)
        assert row is not None
        yield row


def _bids(
    units: Floats, _: Floats, similarity: Floats, allowed: np.ndarray, taken: list[int], settings: SelectionConfig
) -> Iterator[int]:
    there = units.any(axis=1)
    scores = np.zeros_like(similarity)
    for column, cosines in enumerate(similarity.T):
        if (deviation := cosines[there].std()) > GRAIN:
            scores[:, column] = ((cosines - cosines[there].mean()) / deviation).round(12)
    serves = np.ones_like(similarity, bool) if settings.take_opposed else similarity >= 0
    while (serves & allowed[:, None]).any():
        so_far = scores[taken].mean(axis=0) if taken else np.zeros(scores.shape[1])
        gains = np.where(serves, scores - so_far, -np.inf).max(axis=1)
        row = best(gains, allowed & serves.any(axis=1))
        assert row is not None
        yield row


def _knn(
    units: Floats, _: Floats, similarity: Floats, allowed: np.ndarray, __: list[int], settings: SelectionConfig
) -> Iterator[int]:
    rows = np.flatnonzero(allowed)
    if not len(rows):
        return
    cosines, tenth = similarity[rows], len(rows) // 10
    num = min(len(rows), max(2, min(settings.most_neighbors, tenth)))
    nearest = [sorted(range(len(rows)), key=lambda row: -column[row])[:num] for column in cosines.T]
    near = sorted({row for of in nearest for row in of})
    density = dict.fromkeys(near, 1.0)
    if settings.kernel_width:
        for row in near:
            to_others = (units[rows[near]] @ units[rows[row]]).round(12)
            kernel = np.sort(np.maximum(0, 1 - 2 * (1 - to_others) / settings.kernel_width**2))[::-1]
            density[row] = max(1.0, float(kernel[: max(1, min(1000, tenth))].sum().round(9)))
    parts = [[1 / density[row] for row in of] for of in nearest]
    away = [[max(0.0, 1 - cosines[row, example]) for row in of] for example, of in enumerate(nearest)]
    if settings.neighbor_distance == "euclidean":
        away = [[math.sqrt(2 * distance) for distance in of] for of in away]
    level = _level(parts, away, settings.spread)
    mass = np.zeros(len(rows))
    for of, weights in zip(nearest, parts, strict=True):
        for place, (row, weight) in enumerate(zip(of, weights, strict=True)):
            left = max(0.0, level - sum(weights[:place]))
            mass[row] += left if place == num - 1 else min(weight, left)
    mass = mass.round(9)
    late = np.where(mass > 0, -mass, np.inf)
    if settings.take_by == "draw":
        drawn = 1 - np.random.default_rng(settings.seed).random(len(units))
        late[mass > 0] = -np.log(drawn[rows[mass > 0]]) / mass[mass > 0]
    farthest = np.where(mass > 0, 0, -cosines.max(axis=1))  # the order of those that no mass goes to
    yield from (int(rows[row]) for row in sorted(range(len(rows)), key=lambda row: (late[row], farthest[row], row)))


def _level(parts: list[list[float]], away: list[list[float]], spread: float) -> float:
    """The least level at which the examples' costs are `spread` on the mean, or the highest there is."""
    if len(parts[0]) == 1:  # one row is all there is, and takes all
        return 1.0
    levels = sorted({sum(of[: num + 1]) for of in parts for num in range(len(of) - 1)})
    for level in levels:
        total = 0.0
        for of, distances in zip(parts, away, strict=True):
            num = sum(sum(of[: at + 1]) <= level for at in range(len(of) - 1))
            if num:
                paid = sum(distance * part for distance, part in zip(distances[:num], of[:num], strict=True))
                total += distances[num] * sum(of[:num]) - paid
        if total >= spread * len(parts) - GRAIN:
            return level
    return levels[-1]


def _uot(
    _: Floats, __: Floats, similarity: Floats, allowed: np.ndarray, ___: list[int], settings: SelectionConfig
) -> Iterator[int]:
    rows = np.flatnonzero(allowed)
    num_rows, num_examples = len(rows), similarity.shape[1]
    balance, entropy = settings.transport_balance, settings.transport_entropy
    kernel = np.exp((similarity[rows].T - 1) / 2 / entropy) / max(1, num_rows) / num_examples
    of_examples, of_rows = np.ones(num_examples), np.ones(num_rows)
    for _step in range(_STEPS):
        of_examples = (1 / num_examples) / (kernel @ of_rows)
        of_rows = (1 / num_rows / (kernel.T @ of_examples)) ** (balance / (balance + entropy))
    score = np.full(len(similarity), -np.inf)
    score[rows] = np.log((of_examples[:, None] * kernel * of_rows).sum(axis=0)).round(9)
    yield from in_order(score, allowed)


def _gist(
    units: Floats, examples: Floats, _: Floats, allowed: np.ndarray, __: list[int], settings: SelectionConfig
) -> Iterator[int]:
    _, lengths, basis = np.linalg.svd(examples)
    whole = (lengths**2).sum()
    held = [(lengths[: num + 1] ** 2).sum() / whole for num in range(len(lengths))]
    num = next((num + 1 for num, share in enumerate(held) if share >= settings.subspace_variance - GRAIN), len(held))
    within = basis[: min(num, int((lengths > GRAIN).sum()))]
    mean = within @ examples.mean(axis=0)
    parts = units @ within.T
    lengths = np.linalg.norm(parts, axis=1)
    score = np.zeros(len(units))
    for row in np.flatnonzero(lengths > GRAIN):
        score[row] = (parts[row] @ mean / lengths[row] / np.linalg.norm(mean)).round(12)
    while allowed.any():
        of_first = allowed & (score >= score[allowed].max() - GRAIN)  # of one direction all rows, or half of them, tie
        first = best(lengths, of_first)
        assert first is not None
        yield first


def _seed(
    units: Floats, examples: Floats, _: Floats, allowed: np.ndarray, taken: list[int], settings: SelectionConfig
) -> Iterator[int]:
    of_pool, of_target = np.abs(units).mean(axis=0), np.abs(examples).mean(axis=0)
    stand_out = (of_pool > of_pool.mean() * (1 + GRAIN)) & (of_target > of_target.mean() * (1 + GRAIN))
    score = (units[:, stand_out] @ examples[:, stand_out].mean(axis=0)).round(12)
    there = np.flatnonzero(units.any(axis=1)).tolist()
    redundant: list[set[int]] = [set() for _ in units]
    for row in there:
        cosines = (units @ units[row]).round(12)
        nearest = sorted((of for of in there if of != row), key=lambda of: -cosines[of])
        nearest = nearest[: settings.redundant_neighbours]
        if nearest:
            bar = max(settings.redundant_cosine, settings.redundant_scale * cosines[nearest[-1]]) - GRAIN
            for other in nearest:
                if cosines[other] >= bar:
                    redundant[row].add(other)
                    redundant[other].add(row)
    while (first := best(score, allowed)) is not None:
        if redundant[first].isdisjoint(taken):
            yield first
        else:
            allowed[first] = False


PUBLISHED: dict[str, Select] = {
    "interaction": _interaction,
    "spice": _spice,
    "bids": _bids,
    "knn": _knn,
    "uot": _uot,
    "gist": _gist,
    "seed": _seed,
}


def preconditioned(pool: Floats, target: Floats, settings: SelectionConfig) -> tuple[Floats, Floats]:
    """Rows of pool and target by the inverse root of the damped second moment of both, made as a full matrix."""
    moments = []
    for rows in (pool, target):
        scaled = rows / np.abs(rows).max()
        moments.append(scaled.T @ scaled / (scaled * scaled).sum())
    mixed = (1 - settings.precondition_mix) * moments[0] + settings.precondition_mix * moments[1]
    values, basis = np.linalg.eigh(mixed + settings.precondition_damping / len(mixed) * np.eye(len(mixed)))
    root = basis @ np.diag(values**-0.5) @ basis.T
    largest = [np.abs(rows).max(axis=1, keepdims=True) for rows in (pool, target)]
    return tuple(rows / np.where(of > 0, of, 1) @ root for rows, of in zip((pool, target), largest, strict=True))
