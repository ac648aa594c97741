"""What a comparison keeps for all of its methods: what rows took, Γ forms, the pool's texts, wherever it lies."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_run import MODEL

import g2is as package
from g2is.comparison.cells import read_cell
from g2is.demo.skills import write_pool, write_target
from g2is.errors import G2isError, StoreError
from g2is.jobs.report_run import report_run

Command = Callable[..., tuple[int, str, str]]
FEW = {"few": {"method": "design", "candidates": 2}, "less": {}}  # few cannot fill the budget, which shows late


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "pool": [str(folder / "pool.jsonl")],
        "targets": {"target": [str(folder / "target.jsonl")]},
        "tests": {"target": [str(folder / "test.jsonl")]},
        "model": {"name": str(MODEL)},
        "out": str(folder / "out"),
        "budgets": ["1ktok"],
        "methods": FEW,
        "num_seeds": 1,
        "warmup": {"learning_rate": 2e-3, "lora": {"rank": 4}, "fraction": 0.3, "epochs": 1},
        "gradients": {"projection": {"dim": 512}},
        "tuning": {"lora": {"rank": 4}, "learning_rate": 2e-3, "epochs": 1},
        "evaluation": {"generate": False},
        "execution": {"shard_rows": 64},
        **more,
    }


def compare(g2is: Command, folder: Path, *flags: object, **more: Any) -> tuple[int, str, str]:
    """`g2is compare` in `folder`, by a file of settings."""
    (folder / "compare.yaml").write_text(yaml.safe_dump(settings(folder, **more)))
    return g2is("compare", "--config", folder / "compare.yaml", *flags)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a comparison of which one method cannot select."""
    folder = tmp_path_factory.mktemp("compared")
    write_pool(folder / "pool.jsonl", num_rows=80)
    write_target(folder / "both.jsonl", num_rows=16)
    lines = (folder / "both.jsonl").read_text().splitlines(keepends=True)
    (folder / "target.jsonl").write_text("".join(lines[:6]))
    (folder / "test.jsonl").write_text("".join(lines[6:]))
    values = settings(folder)
    files = {"pool": values.pop("pool"), "target": values.pop("targets"), "test": values.pop("tests")}
    with pytest.raises(G2isError, match=r"found 1 that cannot be(.|\n)*few on target"):
        package.compare(**files, model=values.pop("model")["name"], **values)
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A copy of it for one test: what it is about lies where it lay, and is another after a change."""
    return shutil.copytree(made, tmp_path / "place")


def test_what_rows_took_is_known_though_the_first_method_over_them_could_not_select(made: Path) -> None:
    costs = json.loads((made / "out/store/seed-0/costs.json").read_text())
    assert costs["gradient"] > 0
    cell = read_cell(made / "out/cells/less/target/1ktok/seed-0.json")
    assert cell.seconds["represent"] == costs["gradient"]


def test_a_form_that_the_store_lacks_is_told_of_with_what_helps(place: Path, g2is: Command) -> None:
    methods = {"less": {}, "adam": {"method": "less", "form": "adam"}}

    def told(out: str, *forms: str) -> tuple[int, str]:
        gradients = {"projection": {"dim": 512}, "forms": list(forms)}
        more = {"methods": methods, "gradients": gradients, "out": str(place / out)}
        code, _, err = compare(g2is, place, "--dry-run", **more)
        return code, err.replace("\n", " ")

    code, err = told("new", "less")
    assert (code, "in gradients.forms, found less; add it there" in err) == (2, True), err
    code, err = told("new", "less", "adam")
    assert code == 0, err
    code, err = told("out", "less", "adam")
    assert code == 2
    assert "method adam: expected Γ adam, which it looks at, in the store" in err
    assert "name another --out" in err


def test_rows_of_a_pool_that_changed_are_left_out_of_the_page(place: Path, g2is: Command) -> None:
    out = (place / "out").rename(place / "there")
    settled = yaml.safe_load((out / "config.yaml").read_text())
    pool = Path(settled["pool"][0])
    before = pool.read_text()
    code, _, err = g2is("report", out)
    assert code == 0, err
    page = (out / "report.html").read_text()
    assert "has changed since" not in page
    try:
        pool.write_text("".join(reversed(before.splitlines(keepends=True))))
        code, _, err = g2is("report", out)
    finally:
        pool.write_text(before)
    assert code == 0, err
    assert "has changed since: the rows that only one method took are left out" in err.replace("\n", " ")
    changed = (out / "report.html").read_text()
    assert "has changed since" in changed
    assert len(changed) < len(page)


def test_the_page_of_a_selection_is_made_where_its_comparison_was_moved_to(made: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(made / "out", tmp_path / "moved")
    run, gone = moved / "selections/less/target/1ktok/seed-0", made / "out/store"
    kept = shutil.move(gone, tmp_path / "kept")
    try:
        assert report_run(run).stat().st_size > 50_000
        shutil.rmtree(moved / "store")
        with pytest.raises(StoreError, match=r"expected the store that .* selected from, found no such"):
            report_run(run)
        assert not gone.exists(), "who only reads makes no store"
    finally:
        shutil.move(kept, gone)


def test_adapters_that_were_not_kept_are_told_of(place: Path, g2is: Command) -> None:
    code, _, err = compare(g2is, place, methods={"less": {}}, keep_adapters=True)
    assert code == 0, err
    assert "keep_adapters: 4 adapters were tuned before it was asked for, and not kept" in err.replace("\n", " ")
    more = {"methods": {"less": {}}, "keep_adapters": True, "out": str(place / "new")}
    for _ in range(2):
        code, _, err = compare(g2is, place, **more)
        assert code == 0, err
        assert "keep_adapters" not in err


def test_a_budget_is_checked_as_each_cell_has_it(place: Path, g2is: Command) -> None:
    lines = (place / "target.jsonl").read_text().splitlines(keepends=True)
    for name, of in (("a", lines[:3]), ("b", lines[3:])):
        (place / f"{name}.jsonl").write_text("".join(of))
    files = {"targets": {name: [str(place / f"{name}.jsonl")] for name in "ab"}}
    files["tests"] = {name: [str(place / "test.jsonl")] for name in "ab"}
    new = {"out": str(place / "new"), **files}
    few = {"methods": {"design": {}}, "budgets": ["10"], "selection": {"candidates": 8}}
    code, _, err = compare(g2is, place, "--dry-run", **few, **new)
    assert code == 2
    assert "expected at least the 10 rows" in err.replace("\n", " ")
    but = {"all-but": {"method": "full", "quotas": {"numbers": "20%"}}}
    code, out, err = compare(g2is, place, "--dry-run", methods=but, budgets=["10%", "20%"], **new)
    assert code == 0, err
    assert "4 all-but" in out + err
