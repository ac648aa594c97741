"""docs/tutorial.ipynb: its cells, in order, as a kernel would run them, in a process and a folder of their own."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from pages import ROOT
from quick_start import python

NOTEBOOK = ROOT / "docs/tutorial.ipynb"
# As in a notebook: one namespace, and a cell that ends in an expression shows it.
PROGRAM = """
import ast, json, sys
names = {"__name__": "__main__"}
for number, source in enumerate(json.load(sys.stdin)):
    cell = ast.parse(source, f"cell {number}")
    last = cell.body.pop() if isinstance(cell.body[-1], ast.Expr) else None
    exec(compile(cell, f"cell {number}", "exec"), names)
    if last is not None:
        print(repr(eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)))
"""


def cells(kind: str) -> list[str]:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_cell_runs_and_the_selection_teaches_more_than_random_rows(tmp_path: Path) -> None:
    sources = cells("code")
    assert len(sources) >= 8
    done = python(["-c", PROGRAM], tmp_path, [ROOT / "src"], given=json.dumps(sources))
    assert done.returncode == 0, done.stdout + done.stderr
    means = {
        name: json.loads((tmp_path / "notebook" / f"tested-{name}" / "evaluation.json").read_text())["means"]
        for name in ("selection", "random")
    }
    assert means["selection"]["exact_match"] > means["random"]["exact_match"] + 0.1, means
    assert means["selection"]["loss"] < means["random"]["loss"], means


def test_it_says_what_each_cell_does() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    kinds = [cell["cell_type"] for cell in notebook["cells"]]
    assert kinds[0] == "markdown"
    assert all(before == "markdown" for before, kind in pairwise(kinds) if kind == "code")
