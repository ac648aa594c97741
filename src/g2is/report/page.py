"""One HTML file of plain data: our own template, style and scripts in it, and nothing from anywhere else.

What a stranger's file holds is data and stays text. It stands in a block that no browser runs, its "<" written as an
escape, so that nothing in it can end the block. The page's policy lets it load and run nothing but its own two blocks,
which it names by their hashes.
"""

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

_STYLES = ("base.css", "parts.css")
_SCRIPTS = (
    *("data.js", "dom.js", "table.js", "charts.js"),
    *("camera.js", "webgl.js", "canvas.js", "colours.js", "map.js", "gestures.js", "detail.js"),
    *("overview.js", "selection.js", "comparison.js", "main.js"),
)


def as_page(data: Mapping[str, Any]) -> str:
    """The page that shows `data`, which has a `title`; the same data, the same text."""
    style, script = "\n".join(map(_asset, _STYLES)), "\n".join(map(_asset, _SCRIPTS))
    script = f'"use strict";\n(() => {{\n{script}\n}})();\n'
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )
    parts = {
        "POLICY": policy,
        "MADE_OF": html.escape(str(data.get("made_of", ""))),
        "TITLE": html.escape(str(data["title"])),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": embedded(data),
    }
    page = _asset("report.html")
    beginnings = page.split("{{")
    made = [beginnings[0]]
    for part in beginnings[1:]:  # one pass: what is put in is not looked at again
        name, _, rest = part.partition("}}")
        made += [parts[name], rest]
    return "".join(made)


def embedded(data: Mapping[str, Any]) -> str:
    """`data` as JSON that may stand in a script block: it holds no "<", and no line end that JSON has and others not.

    Half characters, which UTF-8 has not, become marks.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = text.encode("utf-8", "replace").decode("utf-8")
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _asset(name: str) -> str:
    return (files("g2is.report") / "page" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
