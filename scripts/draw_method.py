"""Draw docs/images/method.svg, what three methods take of the same rows: python scripts/draw_method.py"""

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import g2is
from svg import framed, text

PLACE = Path(__file__).resolve().parents[1] / "docs/images/method.svg"
METHODS = {
    "less": "nearest to the examples on average",
    "g2is": "a walk: each near the last, none in conflict",
    "design": "says most of both examples together",
}
BUDGET = 5
EXAMPLES = (62.0, 12.0)  # degrees
# Of the pool: the middle of a group in degrees, how far its rows lie about it, how many.
GROUPS = ((62, 1.5, 12), (66, 6, 8), (14, 6, 8), (38, 12, 8), (120, 30, 12), (230, 60, 24))
_SIDE, _TOP, _RADIUS = 320, 74, 105


def rows() -> tuple[np.ndarray, np.ndarray]:
    """Unit rows of the pool (72, 2) and of the examples (2, 2)."""
    rng = np.random.default_rng(5)
    degrees = np.concatenate([rng.normal(middle, spread, num) for middle, spread, num in GROUPS])
    return _on_circle(degrees), _on_circle(np.array(EXAMPLES))


def taken(pool: np.ndarray, target: np.ndarray, method: str) -> list[int]:
    """The rows that `method` takes, in order."""
    with TemporaryDirectory() as made:
        folder = Path(made)
        np.save(folder / "pool.npy", pool)
        np.save(folder / "target.npy", target)
        found = g2is.walk_matrices(
            pool_gradients=folder / "pool.npy",
            target_gradients=folder / "target.npy",
            out=folder / "out",
            budget=BUDGET,
            method=method,
        )
        return [int(row) for row in found.rows]


def picture() -> str:
    """The picture as SVG: a circle a method."""
    pool, target = rows()
    drawn = [_circle(pool, target, method, place) for place, method in enumerate(METHODS)]
    width, height = _SIDE * len(METHODS), _TOP + 2 * _RADIUS + 56
    told = f"Gradients of {len(pool)} rows as directions; {BUDGET} are taken, in the order of the numbers"
    key = '<path d="M640 10l6 6l-6 6l-6-6z" fill="#c2410c"/>' + text(652, 20, "example of the target")
    label = f"What three methods take of the same {len(pool)} rows"
    return framed(width, height, label, [text(12, 20, told), key, *drawn])


def _circle(pool: np.ndarray, target: np.ndarray, method: str, place: int) -> str:
    x, y = place * _SIDE + _SIDE / 2, _TOP + _RADIUS + 24
    drawn = [
        text(place * _SIDE + 12, 48, method, 'font-weight="bold"') + text(place * _SIDE + 12, 66, METHODS[method]),
        f'<circle cx="{x:g}" cy="{y:g}" r="{_RADIUS}" fill="none" stroke="#ddd"/>',
    ]
    for row in pool:
        drawn += ['<circle cx="{}" cy="{}" r="3" fill="#9ca3af" fill-opacity=".7"/>'.format(*_at(row, x, y, 1))]
    chosen = taken(pool, target, method)
    for number, row in enumerate(chosen, start=1):
        at = _at(pool[row], x, y, 1)
        before = sum(float(pool[other] @ pool[row]) > math.cos(math.radians(7)) for other in chosen[: number - 1])
        out = _at(pool[row], x, y, 1.12 + 0.13 * before)  # rows that are alike have numbers side by side
        drawn += ['<circle cx="{}" cy="{}" r="4" fill="#1d4ed8"/>'.format(*at)]
        drawn += [text(out[0], round(out[1] + 4, 1), str(number), 'text-anchor="middle" fill="#1d4ed8" font-size="11"')]
    for example in target:
        drawn += ['<path d="M{} {}m0-6l6 6l-6 6l-6-6z" fill="#c2410c"/>'.format(*_at(example, x, y, 0.86))]
    return "\n".join(drawn)


def _on_circle(degrees: np.ndarray) -> np.ndarray:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def _at(row: np.ndarray, x: float, y: float, radius: float) -> tuple[float, float]:
    angle = math.atan2(row[1], row[0])
    return round(x + radius * _RADIUS * math.cos(angle), 1), round(y - radius * _RADIUS * math.sin(angle), 1)


if __name__ == "__main__":
    PLACE.write_text(picture())
