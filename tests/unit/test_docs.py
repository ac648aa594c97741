import importlib.util
import re
from pathlib import Path

import pytest

from import_graph import read_graph

ROOT = Path(__file__).resolve().parents[2]
# Every page that people write; what a benchmark wrote (benchmarks/results) is as wide as its tables.
PAGES = sorted(
    page
    for pattern in ("*.md", ".github/**/*.md", "docs/**/*.md", "src/**/*.md", "tests/**/*.md", "scripts/**/*.md")
    for page in ROOT.glob(pattern)
)
MOST_CHARACTERS, MOST_LINES = 120, 120


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What `page#…` can name: GitHub's anchors of its headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_page_of_settings_is_that_of_the_configuration() -> None:
    spec = importlib.util.spec_from_file_location("write_settings", ROOT / "scripts/write_settings.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert (ROOT / "docs/settings.md").read_text() == script.page(), "run python scripts/write_settings.py"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_lines_of_a_page_fit(page: Path) -> None:
    lines = enumerate(page.read_text(encoding="utf-8").splitlines(), start=1)
    wide = [number for number, line in lines if len(line) > MOST_CHARACTERS and not re.fullmatch(r"<?https?:\S+", line)]
    assert not wide, f"{name(page)}: more than {MOST_CHARACTERS} characters in lines {wide}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    without_code = re.sub(r"`[^`]*`", "", prose(page))
    for target in re.findall(r"\]\(\s*([^)\s]+)\s*\)", without_code):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        found = (page.parent / place).resolve() if place else page
        if (ROOT / "benchmarks/results") in found.parents and not (ROOT / "benchmarks/results").is_dir():
            continue  # a source distribution has no results
        assert found.exists(), f"{name(page)}: {target}"
        assert not anchor or anchor in anchors(found), f"{name(page)}: {target}, found {sorted(anchors(found))}"


def test_the_trees_are_those_of_the_source() -> None:
    rooms = set(read_graph(ROOT / "src/g2is"))
    architecture = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| \d+ \|([^|]*)\|", architecture, flags=re.MULTILINE)
    assert {room.removesuffix("/") for cell in cells for room in re.findall(r"`([^`]+)`", cell)} == rooms
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (tree,) = re.findall(r"^src/g2is/.*\n((?:  .*\n)+)", readme, flags=re.MULTILINE)
    assert set(re.findall(r"(\w+)(?:/|\.py)", tree)) == rooms - {"__init__", "__main__"}


@pytest.mark.parametrize("part", ["map", "overview"])
def test_the_pictures_of_the_report_are_those_that_its_test_took(part: str) -> None:
    taken = ROOT / f"benchmarks/results/pictures/report-demo-{part}-wide-light.png"
    if not (ROOT / "benchmarks/results").is_dir():
        pytest.skip("a source distribution has no results")
    assert (ROOT / f"docs/images/report_{part}.png").read_bytes() == taken.read_bytes(), "copy it: CONTRIBUTING.md"
