"""The site of docs/, built as `make docs` does: a warning is an error, and every link of every page leads somewhere."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pages import ROOT

import g2is

for package in ("sphinx", "myst_parser", "furo", "sphinxcontrib.mermaid"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install -e '.[docs]'")


class Page(HTMLParser):
    """The links of an HTML page, and what can be linked to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value}
        self.links += [given[name] for name in ("href", "src") if name in given]
        self.ids |= {given[name] for name in ("id", "name") if name in given}


def build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "--builder", "html", "--fail-on-warning", "--keep-going", "--quiet"]
    return subprocess.run(
        [*command, "--doctree-dir", out / "doctrees", "-c", source / "docs", source, out / "site"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    out = tmp_path_factory.mktemp("docs")
    done = build(ROOT, out)
    assert done.returncode == 0, done.stderr
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted((out / "site").rglob("*.html"))}


@pytest.mark.timeout(300)
def test_every_link_leads_somewhere(site: dict[Path, Page]) -> None:
    lost = []
    for place, page in site.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            found = (place.parent / unquote(parts.path)).resolve() if parts.path else place
            anchors = site[found].ids if found in site else set()
            if not found.exists() or (parts.fragment and found in site and unquote(parts.fragment) not in anchors):
                lost.append(f"{place.name}: {link}")
    assert not lost


@pytest.mark.timeout(300)
def test_every_page_and_every_public_name_is_there(site: dict[Path, Page]) -> None:
    pages = {path.relative_to(ROOT).with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    places = {place.as_posix() for place in site}
    assert not [name for name in pages if not any(place.endswith(name) for place in places)]
    (api,) = (page for place, page in site.items() if place.as_posix().endswith("docs/api.html"))
    assert {f"g2is.{name}" for name in g2is.__all__} <= api.ids


@pytest.mark.timeout(300)
def test_a_link_to_nowhere_fails_the_build(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    (clone / "docs").mkdir(parents=True)
    (clone / "scripts").symlink_to(ROOT / "scripts")
    text = (ROOT / "docs/conf.py").read_text().replace('_API = "docs/api"', '_API = ""')
    (clone / "docs/conf.py").write_text(text)
    (clone / "docs/index.md").write_text("# Front\n\n## Pages\n- [One](one.md)\n")
    (clone / "docs/one.md").write_text("# One\n\n[Two](one.md#two)\n\n## Two\n")
    assert build(clone, tmp_path / "right").returncode == 0
    for wrong in ("one.md#three", "three.md"):
        (clone / "docs/one.md").write_text(f"# One\n\n[Two]({wrong})\n\n## Two\n")
        done = build(clone, tmp_path / re.sub(r"\W", "", wrong))
        assert done.returncode != 0
        assert "three" in done.stderr
