"""The report's page of a large selection: what it costs to write, its size, time to interactive, and frames a second.

    python benchmarks/speed/page.py [--small] [--run RUN] [--pictures DIR]

Without RUN, the folder of a finished selection, 1 % of the shared pool's 37,026 rows is selected by `bm25`, which needs
no model's gradients; with --small, of the demo's 2,000. The page is opened in Chromium (no card: WebGL is drawn by the
processor), moved by the mouse and zoomed by the wheel for some seconds. Writes benchmarks/results/page.json.
Goals (issue 27): at most 12 MB.
"""

import argparse
import json
import os
import statistics
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import g2is
from common.browser import MISSING, chromium, launched, take_pictures
from common.measure import Figure, keep
from common.places import BASE6M, BUNDLED_MODEL, POOL, target_file
from g2is.demo.skills import write_pool, write_target

GOAL_MB = 12
SIZE = {"width": 1280, "height": 900}
_COUNT_FRAMES = """() => { window.frames_at = []; const tick = (at) => { window.frames_at.push(at);
requestAnimationFrame(tick); }; requestAnimationFrame(tick); }"""


def selected(folder: Path, small: bool) -> Path:
    """A run folder whose page shows a selection from the whole pool."""
    pool, target, model = POOL, target_file("gsm8k", "dev"), BASE6M
    if small:
        pool, target, model = folder / "pool.jsonl", folder / "target.jsonl", BUNDLED_MODEL
        write_pool(pool)
        write_target(target)
    g2is.select(pool=pool, target=target, model=model, out=folder / "run", selection={"method": "bm25"})
    return folder / "run"


def frames(page: Any, seconds: float = 4.0) -> list[float]:
    """Milliseconds between frames while the map is dragged and zoomed."""
    box = page.locator("canvas[data-map]").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.evaluate(_COUNT_FRAMES)
    page.mouse.move(*middle)
    begin = page.evaluate("performance.now()")
    turn = 0
    while page.evaluate("performance.now()") - begin < 1000 * seconds:
        page.mouse.wheel(0, -200 if turn % 2 else 200)
        page.mouse.down()
        for step in range(10):
            page.mouse.move(middle[0] + 12 * step, middle[1] + 6 * step)
        page.mouse.up()
        page.mouse.move(*middle)
        turn += 1
    at = page.evaluate("window.frames_at")
    return [later - earlier for earlier, later in pairwise(at)]


def opened(path: Path, pictures: Path | None) -> dict[str, Any]:
    """What a browser says of the page."""
    from playwright.sync_api import sync_playwright

    if chromium() is None:
        raise SystemExit(MISSING)
    with sync_playwright() as tools:
        browser = launched(tools)
        ready = []
        for _ in range(3):
            page = browser.new_page(viewport=SIZE)
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-ready=true]")
            ready.append(page.evaluate("performance.getEntriesByName('g2is-ready')[0].startTime"))
            if len(ready) < 3:
                page.close()
        page.locator("canvas[data-map]").scroll_into_view_if_needed()
        painter = page.locator("canvas[data-map]").get_attribute("data-painter")
        found = {"ready_ms": ready, "frames_ms": frames(page), "painter": painter}
        if pictures is not None:
            num_rows = json.loads((path.parent / "summary.json").read_text())["pool"]["rows"]
            take_pictures(browser, path, pictures, f"report-{num_rows}-rows")
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="the demo's pool")
    parser.add_argument("--run", type=Path, help="the folder of a finished selection")
    parser.add_argument("--pictures", type=Path, help="folder for screenshots, light and dark, wide and narrow")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run = given.run or selected(Path(scratch), given.small)
        path = run / "report.html"
        found = opened(path, given.pictures)
        summary = json.loads((run / "summary.json").read_text())
        size = path.stat().st_size / 1e6
    moved = sorted(found["frames_ms"])
    middle, slow = statistics.median(moved), moved[int(0.95 * (len(moved) - 1))]
    figures = [
        Figure("size of report.html", round(size, 2), GOAL_MB, True, " MB"),
        Figure("until it can be used", round(statistics.median(found["ready_ms"])), None, True, " ms"),
        Figure("between frames while moved, median", round(middle, 1), None, True, " ms", None, found["painter"]),
        Figure("between frames while moved, 95th of 100", round(slow, 1), None, True, " ms", None, found["painter"]),
    ]
    details = {"ready_ms": found["ready_ms"], "frames": len(moved), "display": os.environ.get("DISPLAY", "headless")}
    keep("page", given.small, "speed/page.py", figures, {**details, "sittings": summary["sittings"]})


if __name__ == "__main__":
    main()
