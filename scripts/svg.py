"""What the pictures of the documentation are drawn with, as text of SVG."""

from collections.abc import Iterable
from xml.sax.saxutils import escape


def framed(width: int, height: int, label: str, drawn: Iterable[str]) -> str:
    """A picture on white of what is `drawn`; `label` is for who does not see it."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
            f' font-size="13" role="img" aria-label="{escape(label)}">',
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            *drawn,
            "</svg>\n",
        ]
    )


def text(x: float, y: float, words: str, more: str = "") -> str:
    """Words at a place."""
    return f'<text x="{x}" y="{y}"{" " * bool(more)}{more}>{escape(words)}</text>'
