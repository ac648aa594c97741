"""A new selector is one file and one line: whatever else needs to know of it finds what it declares."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from quick_start import python
from small_run import MODEL, SMALL, set_flags

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

# The one file: rows nearest to any of the first target examples.
FILE = '''
import numpy as np
from pydantic import Field

from g2is.methods import Section, SelectorKind
from g2is.selection.problem import Choice


class NearestSettings(Section):
    """Whose neighbours count."""

    num_nearest: int = Field(3, ge=1, description="target examples, from the first, that rows are nearest to")


def nearest(problem):
    num = problem.settings.part(NearestSettings).num_nearest
    score = problem.similarity[:, :num].max(axis=1)
    for row in np.argsort(-score, kind="stable").tolist():
        yield Choice(row, float(score[row]))


NEAREST = SelectorKind(
    line="rows nearest to the first target examples", needs=lambda _: "scores", settings=NearestSettings, select=nearest
)
'''
# The one line, as it would stand in `SELECTORS`, and then the command.
COMMAND = """
from g2is.methods import SELECTORS
SELECTORS["nearest"] = "nearest_selector:NEAREST"
from g2is.cli.app import main
main()
"""
PAGE = """
from g2is.methods import SELECTORS
SELECTORS["nearest"] = "nearest_selector:NEAREST"
import write_settings
print(write_settings.page())
"""

COMPARISON = """
import sys
from pathlib import Path
from g2is.methods import SELECTORS
SELECTORS["nearest"] = "nearest_selector:NEAREST"
import g2is
sample, model, out = map(Path, sys.argv[1:])
g2is.compare(
    pool=sample / "pool.jsonl", target=sample / "target.jsonl", test=sample / "target.jsonl", model=model, out=out,
    methods={"near": {"representation": "lexical", "selector": "nearest", "num_nearest": 2}},
    budgets=6, num_seeds=1, tuning={"epochs": 1, "lora": {"rank": 2}}, evaluation={"generate": False},
)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("selector")
    (made / "nearest_selector.py").write_text(FILE)
    return made


def run(folder: Path, program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return python(["-c", program, *arguments], folder, [folder, SCRIPTS, *sys.path])


def test_the_list_of_methods_has_it_with_its_setting(folder: Path) -> None:
    listed = run(folder, COMMAND, "methods")
    assert listed.returncode == 0, listed.stderr
    assert "nearest       " in listed.stdout
    assert "rows nearest to the first target examples" in listed.stdout
    assert "selection.num_nearest" in listed.stdout


def test_the_page_of_settings_has_its_setting(folder: Path) -> None:
    page = run(folder, PAGE)
    assert "selection.num_nearest" in page.stdout, page.stderr
    assert "target examples, from the first, that rows are nearest to" in page.stdout
    assert "random, all or nearest" in " ".join(page.stdout.split())


def test_it_selects_with_its_setting_from_a_store_that_others_made(
    folder: Path, finished: Path, sample: Path, tmp_path: Path
) -> None:
    store = shutil.copytree(finished / "store", tmp_path / "store")
    of_files = (sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--store", store, "--budget", "6")
    ids = []
    for num in (1, 5):
        out = tmp_path / str(num)
        chosen = ("--set", "selection.selector=nearest", "--set", f"selection.num_nearest={num}")
        done = run(folder, COMMAND, "select", *of_files, "--out", out, *chosen, *set_flags(SMALL))
        assert done.returncode == 0, done.stderr
        ids.append((out / "selected.jsonl").read_text())
        assert f"num_nearest: {num}" in (out / "config.yaml").read_text()
    assert ids[0] != ids[1]


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        # its setting is refused by others, and others' by it, each with the selector that reads it
        (("selection.num_nearest=2",), "selection.num_nearest: expected the selector nearest, which looks at it"),
        (("selection.selector=nearest", "selection.noise=2"), "selection.noise: expected the selector design"),
        (("selection.selector=nearest", "selection.num_nearest=0"), "selection.num_nearest: expected greater than"),
        (("selection.selector=nearst",), "unknown selector 'nearst'; did you mean nearest?"),
        (
            ("selection.selector=nearest", "selection.representation=none"),
            "selector nearest: expected a representation to look at, found none",
        ),
    ],
)
def test_what_is_not_read_or_does_not_fit_is_refused(
    folder: Path, tmp_path: Path, settings: tuple[str, ...], found: str
) -> None:
    flags = [part for text in settings for part in ("--set", text)]
    refused = run(folder, COMMAND, "select", "p.jsonl", "t.jsonl", "--model", "m", "--out", tmp_path / "run", *flags)
    assert refused.returncode == 2
    assert found in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.long
def test_a_comparison_takes_it_among_its_methods(folder: Path, sample: Path, tmp_path: Path) -> None:
    done = run(folder, COMPARISON, sample, MODEL, tmp_path / "compared")
    assert done.returncode == 0, done.stderr
    assert "near" in (tmp_path / "compared/comparison.md").read_text()
    kept = (tmp_path / "compared/selections/near/target/6/seed-0/config.yaml").read_text()
    assert "num_nearest: 2" in kept
