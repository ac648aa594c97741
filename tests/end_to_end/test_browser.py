"""The tests of a browser themselves: they say so where there is none, and they hear what a page complains of."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT
from watched import watched

from common.browser import MISSING
from g2is.report.comparison import Compared, Table, comparison_data
from g2is.report.page import as_page


def a_page(folder: Path, script: str = "") -> Path:
    """A page of an empty comparison, at whose end a `script` runs that no policy forbids."""
    path = folder / "page.html"
    nothing: dict[str, Any] = {key: [] for key in ("facts", "legend", "notes", "tables", "losses", "alike", "alone")}
    compared = Compared("none", "", summary=Table("", [], []), command="", environment={}, **nothing)
    text = as_page(comparison_data(compared, {}))
    if script:
        text = text.replace("Content-Security-Policy", "no-policy") + f"<script>{script}</script>"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_page_opens(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    assert open_page(a_page(tmp_path)).locator("h1").inner_text() == "none"


@pytest.mark.parametrize(
    "script",
    [
        "console.error('wrong')",
        "console.warn('odd')",
        "no.such.name",
        "fetch('https://localhost:9/asked')",
        "document.querySelector('h1').textContent = `${0 / 0}% of them`",
    ],
)
def test_what_a_page_complains_of_is_heard(script: str, tmp_path: Path, browser: Any) -> None:
    with pytest.raises(AssertionError), watched(browser) as opened:
        opened(a_page(tmp_path, script))


def test_without_chromium_the_tests_are_skipped_and_counted(tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed")
    this = f"{Path(__file__).relative_to(ROOT)}::{test_a_page_opens.__name__}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", this],
        cwd=ROOT, env=os.environ | {"PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^SKIPPED \[1\] .*: {re.escape(MISSING)}$", done.stdout, re.MULTILINE), done.stdout
    assert "1 skipped" in done.stdout.splitlines()[-1]
