"""`g2is methods`: the grid of methods."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from g2is.cli.session import tell
from g2is.errors import with_pages
from g2is.methods import (
    GRADIENT,
    METHODS,
    NONE,
    REPRESENTATIONS,
    SELECTORS,
    Section,
    representation_kind,
    selector_kind,
)
from g2is.progress.terminal import say

_WIDTH = 120


def methods() -> None:
    """List the methods: what each looks at and how it chooses, in a line, with its source.

    Take one with `--method NAME`; any other pair with `--set selection.representation=… --set selection.selector=…`.
    """
    tell(lambda: say(with_pages(line) for line in _lines()), _as_data)


def _lines() -> list[str]:
    width = max(map(len, METHODS))
    lines = []
    for name, method in METHODS.items():
        representation = method.settings.get("representation", "gradient")
        cell = f"{representation} × {method.settings['selector']}"
        lines.append(f"{name:<{width}}  {cell:<23}  {method.line}")
        if method.source:
            lines.append(f"{'':<{width}}  {'':<23}  {method.source}")
    lines += ["", "representations", f"  {GRADIENT:<{width}}  the default: what each example would teach the model"]
    for name in REPRESENTATIONS:
        of_kind = representation_kind(name)
        lines += _kind(name, width, of_kind.line, "representation", [of_kind.settings])
    lines += [f"  {NONE:<{width}}  nothing, for selectors that look at nothing", "", "selectors"]
    for name in SELECTORS:
        kind = selector_kind(name)
        lines += _kind(name, width, kind.line, "selection", kind.sections)
    return lines


def _as_data() -> dict[str, Any]:
    return {
        "methods": {
            name: {"line": method.line, "source": method.source, "settings": method.settings}
            for name, method in METHODS.items()
        },
        "representations": {
            name: _declared(kind.line, [kind.settings])
            for name, kind in ((name, representation_kind(name)) for name in REPRESENTATIONS)
        },
        "selectors": {
            name: _declared(kind.line, kind.sections)
            for name, kind in ((name, selector_kind(name)) for name in SELECTORS)
        },
    }


def _declared(line: str, sections: Sequence[type[Section]]) -> dict[str, Any]:
    return {"line": line, "settings": [setting for section in sections for setting in section.model_fields]}


def _kind(name: str, width: int, line: str, section: str, declared: Sequence[type[Section]]) -> list[str]:
    """Its line, and what can be set of it."""
    settings = ", ".join(f"{section}.{setting}" for settings in declared for setting in settings.model_fields)
    indent = " " * (width + 4)
    return [f"  {name:<{width}}  {line}", *wrap(settings, _WIDTH, initial_indent=indent, subsequent_indent=indent)]
