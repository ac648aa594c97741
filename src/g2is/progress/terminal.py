"""The only place that prints. Nothing printed obeys: what rows, names and files hold is shown, never carried out.

A terminal takes orders in text: it moves the cursor, renames its window, fills the clipboard, follows links. Characters
that give such orders, and those that turn the direction of text, are shown as marks of one column.
"""

import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from rich.console import Console, RenderHook

# C0 but for tab and line break, DEL and C1; what turns the direction of text; other line breaks; half characters; tags.
_ORDERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)
_SYMBOLS = 0x2400  # Unicode's pictures of C0
_OTHER = "\ufffd"


def visible(text: str) -> str:
    r"""`text` with every character that a terminal would obey as a mark: those of C0 by their own picture, others �.

    >>> visible("a\x1b[2Jb\u202e")
    'a␛[2Jb�'
    """
    return _ORDERS.sub(_mark, text)


def say(lines: Iterable[str]) -> None:
    """Print lines on standard output."""
    sys.stdout.write("".join(f"{visible(line)}\n" for line in lines))


def complain(text: str) -> None:
    """Print a line on standard error."""
    sys.stderr.write(f"{visible(text)}\n")


_written_over = 0  # characters of the line that the next one is to cover


def write_over(text: str, ends: bool = False) -> None:
    """Write a line on standard error in place of the one before, which stays if it was one that `ends`."""
    global _written_over
    shown = visible(text).replace("\n", " ")
    sys.stderr.write("\r" * (_written_over > 0) + shown.ljust(_written_over) + "\n" * ends)
    sys.stderr.flush()
    _written_over = 0 if ends else len(shown)


def is_watched() -> bool:
    """Whether standard error is a terminal; a program without a console has none at all."""
    return sys.stderr is not None and sys.stderr.isatty()


def console(*, stderr: bool = False, **options: Any) -> "Console":
    """A console for tables and colours, whose text is `visible`; `options` are those of rich."""
    from rich.console import Console

    made = Console(**{"highlight": False, "emoji": False, "markup": False, "stderr": stderr, **options})
    made.push_render_hook(cast("RenderHook", _Hook()))
    return made


class _Hook:
    """Stands between what is printed and the console: rich's own colours are no text, and pass."""

    def process_renderables(self, renderables: list[Any]) -> list[Any]:
        return [_Visible(renderable) for renderable in renderables]


class _Visible:
    def __init__(self, renderable: Any) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Any, options: Any) -> Iterable[Any]:
        for segment in console.render(self._renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))

    def __rich_measure__(self, console: Any, options: Any) -> Any:
        from rich.measure import Measurement

        return Measurement.get(console, options, self._renderable)


def _mark(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(_SYMBOLS + code)
    return "\u2421" if code == 0x7F else _OTHER
