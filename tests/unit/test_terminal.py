import io
import re
from pathlib import Path

import pytest
from rich.table import Table

import g2is
from g2is.progress.terminal import complain, console, say, visible

HOSTILE = {
    "clear screen": "\x1b[2J",
    "window title": "\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;cm0gLXJm\x07",
    "link": "\x1b]8;;http://evil\x1b\\here\x1b]8;;\x1b\\",
    "one byte CSI": "\x9b31m",
    "carriage return": "good\rbad",
    "backspace": "bad\b\b\bgood",
    "bidi override": "\u202egnp.exe",
    "bidi isolate": "\u2066x\u2069",
    "line separator": "one\u2028two",
    "tag characters": "x\U000e0041\U000e007f",
    "half a character": "x\ud800",
}
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_terminal_would_obey_is_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = HOSTILE[name]
    assert OBEYED.search(text)  # which a naive `print` would hand on
    assert not OBEYED.search(visible(text))
    assert len(visible(text)) == len(text)
    say([text])
    complain(text)
    out, err = capsys.readouterr()
    assert not OBEYED.search(out.replace("\n", "") + err.replace("\n", ""))


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_console_shows_it_in_lines_and_tables_and_keeps_its_own_colours(name: str, is_terminal: bool) -> None:
    file = io.StringIO()
    shown = console(file=file, force_terminal=is_terminal, width=80, color_system="standard" if is_terminal else None)
    shown.print(HOSTILE[name], style="red")
    table = Table(title=HOSTILE[name])
    table.add_column(HOSTILE[name])
    table.add_row(HOSTILE[name])
    shown.print(table)
    colours = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())
    assert ("\x1b[31m" in file.getvalue()) == is_terminal
    assert not OBEYED.search(colours.replace("\n", ""))


def test_text_that_orders_nothing_is_left_as_it_is() -> None:
    for text in ("a\tb\nc", "héé 東京 🙂‍↔️", "نوشته\u200cها", "x ␛ y", "[red]not markup[/]"):
        assert visible(text) == text


def test_nothing_else_prints() -> None:
    package = Path(g2is.__file__).parent
    printing = re.compile(r"\bsys\.(stdout|stderr)\b(?!\.flush)|(?<![\w.])print\(|typer\.echo|\bConsole\(")
    found = [
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if printing.search(path.read_text()) and path.name not in ("terminal.py", "render_process.py")
    ]
    assert found == []
