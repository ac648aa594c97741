"""Refuses a release whose parts do not agree: `python scripts/check_release.py v0.2.0`, as release.yml calls it.

A tag is published as it is and once: what is wrong then is wrong for good.
"""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

ADDRESSES = ("Source", "Documentation", "Changelog", "Issues")


def disagreements(root: Path, tag: str) -> list[str]:
    """What of the tag, pyproject.toml, CHANGELOG.md and CITATION.cff below `root` says another version; one a line."""
    version = _project(root)["version"]
    found = []
    if tag != f"v{version}":
        found.append(f"tag: expected v{version}, which is pyproject.toml's version, found {tag}")
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", changelog, flags=re.MULTILINE)
    if headings[:2] != ["Unreleased", version]:
        found.append(f"CHANGELOG.md: expected the headings Unreleased and {version} first, found {headings[:2]}")
    elif left := changelog.partition("## Unreleased\n")[2].partition("\n## ")[0].strip():
        found.append(f"CHANGELOG.md: expected nothing below Unreleased, found {left.splitlines()[0]!r}")
    cited = re.findall(r"^version: (.*)$", (root / "CITATION.cff").read_text(encoding="utf-8"), flags=re.MULTILINE)
    if cited != [version]:
        found.append(f"CITATION.cff: expected version: {version}, found {', '.join(cited) or 'none'}")
    return found


def missing_addresses(root: Path) -> list[str]:
    """Which of `ADDRESSES` pyproject.toml does not give: a message for each."""
    urls = _project(root).get("urls", {})
    return [
        f"pyproject.toml: expected [project.urls] to say {name}, an address that begins with https://, found"
        f" {urls.get(name, 'none')}: who installs g2is finds its pages there"
        for name in ADDRESSES
        if not str(urls.get(name, "")).startswith("https://")
    ]


def _project(root: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("expected one tag, such as v0.2.0")
    here = Path(__file__).parents[1]
    if problems := [*disagreements(here, sys.argv[1]), *missing_addresses(here)]:
        sys.exit("\n".join(problems))
