"""Where the points of a report's map lie on the screen, by plain arithmetic on the page's data."""

import base64
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MARGIN = 36  # pixels that the whole map leaves on the shorter side
_LEAST, _MOST = 0.6, 60  # how far it can be zoomed


def data_of(page: Path) -> dict[str, Any]:
    """What stands in a page for its script to show."""
    text = page.read_text(encoding="utf-8").partition('<script type="application/json" id="data">')[2]
    found: dict[str, Any] = json.loads(text.partition("</script>")[0])
    return found


def points(data: dict[str, Any]) -> NDArray[np.float64]:
    """Places (P + T, 2) of the shown rows and then of the targets' examples, in the map's unit square."""
    return np.frombuffer(base64.b64decode(data["map"]["xy"]["base64"]), "<u2").reshape(-1, 2) / 65_535


@dataclass(frozen=True)
class View:
    """The map on a canvas of `width` and `height`: the corner of its unit square and the square's side, in pixels."""

    width: float
    height: float
    x: float
    y: float
    side: float

    def moved(self, dx: float, dy: float) -> "View":
        return replace(self, x=self.x + dx, y=self.y + dy)

    def zoomed(self, factor: float) -> "View":
        """About the middle, as far as it goes."""
        whole = min(self.width, self.height) - _MARGIN
        side = min(max(self.side * factor, _LEAST * whole), _MOST * whole)
        middle = np.array([self.width, self.height]) / 2
        x, y = middle - (middle - [self.x, self.y]) * side / self.side
        return replace(self, x=float(x), y=float(y), side=side)

    def centred_on(self, point: NDArray[np.float64]) -> "View":
        return self.moved(*(np.array([self.width, self.height]) / 2 - self.places(point)))

    def places(self, of: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where points (…, 2) of the unit square are, in pixels."""
        return np.array([self.x, self.y]) + of * self.side

    def holds(self, places: NDArray[np.float64], edge: float = 10) -> NDArray[np.bool_]:
        """Which places (…, 2) lie on the canvas, and not at its edge."""
        inside = (places > edge) & (places < np.array([self.width, self.height]) - edge)
        return np.asarray(inside.all(-1))


def whole_map(page: Any) -> View:
    """The map of an open page as it is at first: all of it, in the middle."""
    width, height = page.evaluate("(({ clientWidth, clientHeight }) => [clientWidth, clientHeight])"
                                  "(document.querySelector('canvas[data-map]'))")  # fmt: skip
    side = min(width, height) - _MARGIN
    return View(width, height, (width - side) / 2, (height - side) / 2, side)


def drawn(page: Any) -> None:
    """Wait until what was asked for is drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


def opacity(page: Any, places: NDArray[np.float64], canvas: str = "canvas[data-map]") -> NDArray[np.int64]:
    """How opaque (0 to 255) a canvas of the map is at places (n, 2) in pixels."""
    drawn(page)
    return np.array(page.evaluate(
        """([canvas, places]) => {
          const of = document.querySelector(canvas), copy = document.createElement("canvas");
          [copy.width, copy.height] = [of.width, of.height];
          const pen = copy.getContext("2d", { willReadFrequently: true });
          pen.drawImage(of, 0, 0);
          return places.map(([x, y]) => pen.getImageData(Math.floor(x), Math.floor(y), 1, 1).data[3]);
        }""",
        [canvas, places.tolist()],
    ))  # fmt: skip


def picture(page: Any, size: int = 8) -> NDArray[np.float64]:
    """The map as it looks on the page's ground: mean colours (h, w, 3) of squares of `size` pixels, 0 to 255."""
    drawn(page)
    means: NDArray[np.float64] = np.array(page.evaluate(
        """(size) => {
          const of = document.querySelector("canvas[data-map]"), copy = document.createElement("canvas");
          [copy.width, copy.height] = [of.width, of.height];
          const pen = copy.getContext("2d");
          pen.fillStyle = getComputedStyle(of.parentElement).backgroundColor;
          pen.fillRect(0, 0, copy.width, copy.height);
          pen.drawImage(of, 0, 0);
          const { data } = pen.getImageData(0, 0, copy.width, copy.height);
          const [high, wide] = [Math.floor(copy.height / size), Math.floor(copy.width / size)];
          const sums = Array.from({ length: high }, () => Array.from({ length: wide }, () => [0, 0, 0]));
          for (let y = 0; y < high * size; y++) for (let x = 0; x < wide * size; x++) for (let c = 0; c < 3; c++)
            sums[Math.floor(y / size)][Math.floor(x / size)][c] += data[4 * (y * copy.width + x) + c];
          return sums;
        }""",
        size,
    )) / size**2  # fmt: skip
    return means
