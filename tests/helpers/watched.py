"""Pages in a browser that is listened to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# What a number, a name or a list that is not there looks like.
_ODD = r"(document.body.innerText.match(/.*\b(NaN|undefined|null|Infinity)\b.*|.*\[object.*/) || [null])[0]"


@contextmanager
def watched(browser: Any) -> Iterator[Callable[..., Any]]:
    """What opens a page; at the end each must have said nothing wrong, shown nothing odd, and asked for nothing."""
    complaints: list[str] = []
    contexts = []

    def opened(path: Path, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda told: complaints.append(told.text) if told.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda asked: None if asked.url.startswith(("file:", "data:")) else complaints.append(asked.url)
        )
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]")
        if odd := page.evaluate(_ODD):
            complaints.append(f"the page shows {odd}")
        return page

    try:
        yield opened
    finally:
        for context in contexts:
            context.close()
    assert complaints == []
