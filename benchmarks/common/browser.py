"""Chromium, as benchmarks and the tests of a browser start it, and pictures of a report's page."""

import shutil
from pathlib import Path
from typing import Any

_ARGUMENTS = ["--no-sandbox", "--enable-unsafe-swiftshader", "--use-angle=swiftshader"]  # WebGL without a card
MISSING = "chromium is not installed: apt-get install chromium"
_PICTURES = {"wide": (1280, 1000), "narrow": (360, 740)}  # width and height in CSS pixels


def chromium() -> str | None:
    """Where Chromium is; None where there is none on the path."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def launched(playwright: Any) -> Any:
    """Chromium, by what `sync_playwright` gives."""
    return playwright.chromium.launch(executable_path=chromium(), args=_ARGUMENTS)


def take_pictures(browser: Any, page: Path, folder: Path, name: str) -> list[Path]:
    """Write `name`-PART-SIZE-SCHEME.png into `folder`, wide and narrow, light and dark; returns where they lie.

    PART is the page's beginning (overview) and, where the page has one, its map with the row that was selected first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    for scheme in ("light", "dark"):
        for size, (width, height) in _PICTURES.items():
            shown = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            shown.goto(page.as_uri())
            shown.wait_for_selector("html[data-ready=true]")
            parts = ["overview"]
            if shown.locator("canvas[data-map]").count():
                parts.append("map")
            for part in parts:
                if part == "map":
                    shown.locator("canvas[data-map]").press("n")
                    shown.evaluate("document.getElementById('map').scrollIntoView()")
                    shown.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)))")
                taken.append(folder / f"{name}-{part}-{size}-{scheme}.png")
                shown.screenshot(path=str(taken[-1]))
            shown.close()
    return taken
