"""What the pages of docs/ say of the code (messages, commands, flags, settings, names) is so; and all are found."""

import ast
import doctest
import importlib
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from pages import ROOT, blocks

import g2is
from g2is.cli.app import app

DOCS = ROOT / "docs"
SOURCE = ROOT / "src/g2is"
PAGES = sorted(DOCS.rglob("*.md"))
# What is true today; the log tells of what was, and settings.md's own flags are its settings.
OF_TODAY = [*(page for page in PAGES if page.name != "log.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def script(file: str) -> Any:
    spec = importlib.util.spec_from_file_location(file, ROOT / "scripts" / f"{file}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_llms_txt_is_that_of_the_pages() -> None:
    assert (DOCS / "llms.txt").read_text() == script("write_llms").page(), "run python scripts/write_llms.py"


def test_the_tables_of_the_results_are_those_of_the_kept_cells() -> None:
    written, advice = script("write_results"), "run python scripts/write_results.py"
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    assert page.count("<!-- leaderboard: ") >= 2
    assert page == written.filled(page), advice
    assert (DOCS / "results_by_target.md").read_text(encoding="utf-8") == written.by_target(), advice


def test_the_front_page_lists_every_page_once() -> None:
    listed = [
        (DOCS / page).resolve()
        for pages in script("write_llms").sections((DOCS / "index.md").read_text()).values()
        for page in pages
    ]
    assert len(listed) == len(set(listed))
    assert {page for page in listed if DOCS in page.parents} == {*PAGES} - {DOCS / "index.md"}


# Messages


def plain(text: str) -> str:
    return " ".join(text.split())


@cache
def words_of_the_source() -> list[str]:
    """Every text of the source, in which `…` stands for what is put in."""

    def texts(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        for child in ast.iter_child_nodes(node):
            yield from texts(child)

    return [plain(text) for path in SOURCE.rglob("*.py") for text in texts(ast.parse(path.read_text("utf-8")))]


def is_in_the_source(message: str) -> bool:
    """Whether one text of the source has the fixed words of `message`, in their order and with nothing between them."""
    fixed = [part for part in plain(message).split("…") if part.strip(" ;:.,()'")]
    pattern = re.compile(".*?".join(re.escape(part.strip()) for part in fixed))
    return any(pattern.search(text) for text in words_of_the_source())


MESSAGES = [text for language, text in blocks(DOCS / "troubleshooting.md") if language == "text"]


def test_troubleshooting_quotes_messages() -> None:
    assert len(MESSAGES) >= 40
    assert len({plain(text) for text in MESSAGES}) == len(MESSAGES)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda text: plain(text)[:60])
def test_a_quoted_message_is_still_worded_so(message: str) -> None:
    assert len(re.sub(r"[\W\d_]", "", message)) >= 20, "too few words to find it by"
    assert is_in_the_source(message), plain(message)


@pytest.mark.parametrize(
    "message",
    [
        "…: expected a file, found two; check the path",  # another word
        "check the path …: expected a file, found none",  # another order
        "expected memory for one example of … tokens, found none on …. Lower examples.max_length",
    ],
)
def test_one_that_is_not_is_seen(message: str) -> None:
    assert not is_in_the_source(message)


# Commands, flags, settings


@cache
def commands() -> dict[str, set[str]]:
    """Every command with its flags."""
    group: Any = typer.main.get_command(app)
    found: dict[str, set[str]] = {}
    for top, command in group.commands.items():
        below = getattr(command, "commands", {})
        for full, leaf in {top: command, **{f"{top} {sub}": of for sub, of in below.items()}}.items():
            found[full] = {"--help", *(flag for parameter in leaf.params for flag in parameter.opts)}
    return found


def given_commands(page: Path) -> Iterator[tuple[str, str]]:
    """The commands that a page gives, in its shell blocks and as code in a line: (name, all that follows)."""
    shell = [block.replace("\\\n", " ") for language, block in blocks(page) if language in ("sh", "")]
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    lines = [line.partition(" #")[0] for block in shell for line in block.splitlines()]
    lines += re.findall(r"^    (g2is .*)", text, flags=re.MULTILINE)
    lines += [code for paragraph in text.split("\n\n") for code in re.findall(r"`([^`]+)`", paragraph)]
    for line in lines:
        for rest in re.split(r"\bg2is (?=[a-z])", line)[1:]:
            words = rest.split()
            two = " ".join(words[:2])
            yield (two if two in commands() else words[0].strip("',;)")), re.split(r"\s[|;&]|'$", rest)[0]


@pytest.mark.parametrize("page", OF_TODAY, ids=name)
def test_commands_and_flags_of_a_page_are_there(page: Path) -> None:
    for command, rest in given_commands(page):
        assert command in commands(), f"{name(page)}: g2is {rest}"
        flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest))
        assert flags <= commands()[command], f"{name(page)}: g2is {rest}: {flags - commands()[command]}"


@pytest.mark.parametrize("page", OF_TODAY, ids=name)
def test_settings_of_a_page_are_there(page: Path) -> None:
    known = set(re.findall(r"^- `([\w.]+)` \(", (DOCS / "settings.md").read_text(), flags=re.MULTILINE))
    given = re.findall(r"--set ['\"]?([a-z_]+(?:\.[a-z_0-9]+)+)=", page.read_text(encoding="utf-8"))
    assert {key for key in given if key != "section.name"} <= known


def test_the_decision_tree_has_every_command_twice() -> None:
    text = (DOCS / "which_command.md").read_text()
    (picture,) = (block for language, block in blocks(DOCS / "which_command.md") if language == "mermaid")
    for command in commands().keys() - {"store"}:
        last = command.split()[-1]
        assert re.search(rf"\b{last}\b", picture), f"{command} is not in the picture"
        assert f"`g2is {command}" in text.replace(picture, ""), f"{command} is not in the list"


# Names, examples, figures


def test_the_page_of_python_has_every_public_name_once() -> None:
    named = re.findall(r"^\| `g2is\.(\w+)` \|", (DOCS / "api.md").read_text(), flags=re.MULTILINE)
    assert sorted(named) == sorted(g2is.__all__)


IS_TRIED = re.compile(r"^ *>>> (?!.*\+SKIP)", re.MULTILINE)
WITH_EXAMPLES = [path for path in sorted(SOURCE.rglob("*.py")) if IS_TRIED.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=name)
def test_examples_in_docstrings_are_true(path: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(ROOT / "src").with_suffix("").parts))
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


def test_the_picture_of_the_results_is_that_of_the_committed_figures() -> None:
    drawing = script("draw_results")
    if not drawing.FIGURES.is_file():
        pytest.skip("a source distribution has no results")
    assert drawing.PLACE.read_text() == drawing.picture(drawing.figures()), "run python scripts/draw_results.py"


def test_the_picture_of_the_method_shows_what_the_methods_take() -> None:
    drawing = script("draw_method")
    assert drawing.PLACE.read_text() == drawing.picture(), "run python scripts/draw_method.py"
