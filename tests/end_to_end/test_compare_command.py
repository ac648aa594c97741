"""`g2is compare` on a small real grid: every cell, going on, growing, refusing."""

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import MODEL, SMALL, set_flags

import g2is as package
from g2is.comparison.cells import read_cell
from g2is.comparison.evidence import Comparison
from g2is.comparison.notes import notes
from g2is.demo.skills import write_pool, write_target
from g2is.errors import ModelError
from g2is.jobs.trial import Bench, TrialJob
from g2is.progress import Progress, Reporter
from g2is.selection.problem import Choice, Problem
from g2is.warmup.train import train_warmup

Command = Callable[..., tuple[int, str, str]]
TUNING = {
    "tuning.lora.rank": "4",
    "tuning.learning_rate": "2e-3",
    "tuning.epochs": "1",
    "evaluation.generate": "false",
}


def command(folder: Path, *more: object, out: str = "out") -> list[object]:
    files = [folder / "pool.jsonl", folder / "target.jsonl", "--test", folder / "test.jsonl"]
    return ["compare", *files, "--model", MODEL, "--out", folder / out, *set_flags(SMALL | TUNING), *more]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pool, target and test."""
    folder = tmp_path_factory.mktemp("compare")
    write_pool(folder / "pool.jsonl", num_rows=80)
    write_target(folder / "both.jsonl", num_rows=20)
    lines = (folder / "both.jsonl").read_text().splitlines(keepends=True)
    (folder / "ids.txt").write_text(json.loads((folder / "pool.jsonl").read_text().splitlines()[0])["id"])
    (folder / "target.jsonl").write_text("".join(lines[:8]))
    (folder / "test.jsonl").write_text("".join(lines[8:]))
    return folder


def compare(place: Path, **more: Any) -> Comparison:
    """Compare less-rr, one seed, in `place`/out, or what `more` says instead."""
    settings = {
        "warmup": {"learning_rate": 2e-3, "lora": {"rank": 4}, "fraction": 0.3, "epochs": 1},
        "gradients": {"projection": {"dim": 512}},
        "tuning": {"lora": {"rank": 4}, "learning_rate": 2e-3, "epochs": 1},
        "evaluation": {"generate": False},
        "execution": {"shard_rows": 64},
        "methods": ["less-rr"],
        "num_seeds": 1,
    }
    return package.compare(
        pool=place / "pool.jsonl",
        target=place / "target.jsonl",
        test=place / "test.jsonl",
        model=MODEL,
        out=place / "out",
        budgets=["20%"],
        **{**settings, **more},
    )


class Noted:
    """A reporter that keeps the titles of the stages."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    @contextmanager
    def stage(self, title: str, unit: str) -> Iterator[Progress]:
        self.stages.append(title)
        yield lambda done, total: None

    def notice(self, text: str) -> None:
        pass


@pytest.fixture(scope="module")
def compared(place: Path) -> Path:
    """The folder of a finished comparison of less-rr, one seed."""
    found = compare(place)
    assert len(found.cells) == 5
    assert not found.missing
    return place / "out"


def test_every_method_has_a_cell_with_the_losses_of_all_test_rows(compared: Path) -> None:
    cells = {path.parts[-4]: read_cell(path) for path in compared.glob("cells/*/target/*/seed-0.json")}
    assert set(cells) == {"random", "less-rr", "full-cut"}
    full, untuned = (
        read_cell(compared / "cells" / name) for name in ("full/target/seed-0.json", "untuned/target/once.json")
    )
    assert all(len(cell.losses) == 12 and np.isfinite(cell.loss) for cell in (*cells.values(), full, untuned))
    assert len(cells["random"].rows) == len(cells["less-rr"].rows) == 16  # type: ignore[arg-type]
    assert (full.num_steps, cells["random"].num_steps, cells["full-cut"].num_steps) == (3, 1, 1)
    assert cells["random"].loss != untuned.loss, "the learning rate of the only step is 0"
    assert len(cells["full-cut"].rows) == 32  # type: ignore[arg-type]  # one step of 32
    assert cells["less-rr"].seconds["represent"] > 0
    assert cells["random"].seconds["represent"] == 0


def test_the_table_is_written_as_markdown_csv_and_json(compared: Path) -> None:
    assert "less-rr" in (compared / "comparison.md").read_text()
    rows = list(csv.DictReader((compared / "comparison.csv").open()))
    assert {row["method"] for row in rows} == {"untuned", "random", "less-rr", "full-cut", "full"}
    found = json.loads((compared / "comparison.json").read_text())
    assert "torch" in json.dumps(found)


def test_going_on_makes_only_what_is_missing_and_a_method_can_be_added(
    compared: Path, place: Path, g2is: Command
) -> None:
    lost = compared / "cells/less-rr/target/20pct/seed-0.json"
    before = {path: path.stat().st_mtime_ns for path in compared.glob("cells/**/*.json")}
    kept = read_cell(lost)
    lost.unlink()
    code, out, err = g2is(*command(place, "--methods", "less-rr,less", "--budgets", "20%", "--seeds", "1"))
    assert code == 0, err
    assert "6 of 6 cells done" in out
    assert "warm up" not in err
    assert err.count("cell ") >= 2
    again = read_cell(lost)
    np.testing.assert_array_equal(again.losses, kept.losses)
    assert again.seconds["select"] >= kept.seconds["select"]  # made in the first sitting
    assert [path for path in before if path != lost and path.stat().st_mtime_ns != before[path]] == []


def test_a_budget_that_cannot_be_met_shows_before_anything_is_made(place: Path, g2is: Command, tmp_path: Path) -> None:
    files = [place / "pool.jsonl", place / "target.jsonl", "--test", place / "test.jsonl", "--model", MODEL]
    code, _, err = g2is("compare", *files, "--out", tmp_path / "out", "--methods", "less", "--budgets", "20%,0.1%")
    assert code == 2, err
    assert "0.1% of a pool of 80 rows is 0" in err
    assert "cell 1" not in err
    assert not (tmp_path / "out").exists()


def test_a_method_that_cannot_select_does_not_keep_the_others_from_being_compared(place: Path, g2is: Command) -> None:
    methods = ("--methods", "embedding,less-rr,bm25", "--budgets", "20%", "--seeds", "1")
    flags = ("--set", f"representation.embedding_model={place / 'nowhere'}")
    code, _, err = g2is(*command(place, *methods, *flags, out="other"))
    assert code == 2, err
    assert "found 1 that cannot be" in err.splitlines()[-2]
    assert "embedding on target at 20%, seed 0: " in err.splitlines()[-1]
    assert {path.parts[-4] for path in place.glob("other/cells/*/target/20pct/*.json")} == {
        *("random", "full-cut", "less-rr", "bm25")
    }
    assert "bm25" in (place / "other/comparison.md").read_text()
    less = ("--methods", "less-rr", "--budgets", "20%", "--seeds", "1")  # without what another method needs
    code, _, err = g2is(*command(place, *less, "--set", "representation.embedding_model=mended", out="other"))
    assert code == 0, err


def test_a_full_pool_that_cannot_be_tuned_on_does_not_keep_the_others_from_being_compared(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(place, tmp_path / "place", ignore=shutil.ignore_patterns("out", "other"))
    make = Bench.make

    def diverging(bench: Bench, job: TrialJob, reporter: Reporter) -> None:
        if job.seed is not None and job.rows is None:
            raise ModelError("it diverged")  # which takes more steps than a small pool has
        make(bench, job, reporter)

    monkeypatch.setattr(Bench, "make", diverging)
    with pytest.raises(package.G2isError, match=r"found 2 that cannot be(.|\n)*full on target, seed 0.*seed 1: it div"):
        compare(folder, methods=["bm25"], num_seeds=2)
    assert len(list(folder.glob("out/cells/bm25/**/seed-1.json"))) == 1


def test_a_warm_up_that_diverges_is_not_tried_again_for_each_cell(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(place, tmp_path / "place", ignore=shutil.ignore_patterns("out", "other"))
    warmup = {"learning_rate": 1e30, "max_grad_norm": 1e30, "lora": {"rank": 4}, "fraction": 0.3, "batch_size": 4}
    reporter, tried, train = Noted(), list[int](), train_warmup

    def counted(*of: Any, **more: Any) -> Any:
        tried.append(1)
        return train(*of, **more)

    monkeypatch.setattr("g2is.jobs.warm_up.train_warmup", counted)
    with pytest.raises(package.G2isError, match=r"found 2 that cannot be(.|\n)*less-rr(.|\n)*less(.|\n)*it diverged"):
        compare(folder, methods=["less-rr", "less", "bm25"], warmup=warmup, reporter=reporter)
    assert len(tried) == 1
    assert reporter.stages.count("compare") == 1
    assert "warm up" not in reporter.stages, "one bar for all cells"
    assert len(list(folder.glob("out/cells/bm25/**/*.json"))) == 1


def test_rows_of_a_selection_are_what_select_selects(
    compared: Path, place: Path, g2is: Command, tmp_path: Path
) -> None:
    cell = read_cell(compared / "cells/less-rr/target/20pct/seed-0.json")
    code, _, err = g2is(
        *("select", place / "pool.jsonl", place / "target.jsonl", "--model", MODEL, "--out", tmp_path / "run"),
        *("--method", "less-rr", "--budget", "20%", *set_flags(SMALL)),
    )
    assert code == 0, err
    ids = {json.loads(line)["id"]: row for row, line in enumerate((place / "pool.jsonl").read_text().splitlines())}
    selected = (tmp_path / "run/selected.jsonl").read_text().splitlines()
    assert sorted(ids[json.loads(line)["id"]] for line in selected) == cell.rows.tolist()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("--set", "tuning.learning_rate=1e-3"), "tuning.learning_rate: there 0.002, asked for 0.001"),
        (("--set", "warmup.epochs=2"), "warmup.epochs: there 1, asked for 2"),
        (("--set", "gradients.target_form=less"), "target_form: there sgd, asked for less"),
        (("--set", "selection.exclude=[{ids}]"), "rows: there "),
        (("--set", "selection.duplicate_threshold=0.5"), "methods: less-rr: duplicate_threshold: there None"),
        (("--set", "selection.selector=top"), "selector (a comparison has it from its methods)"),
        (("--set", "selection.budget=5"), "budget (a comparison has it from its budgets)"),
        (
            ("--set", "selection.quotas={{numbers: 50%}}"),
            "methods: random: quotas.numbers: there (absent), asked for 50%",
        ),
        (("--set", "examples.on_bad_row=skip"), "examples.on_bad_row: there stop, asked for skip"),
        (("--set", "tuning.seed=1"), "tuning.seed: a comparison's seeds are 0, 1"),
        (("--set", "evaluation.tasks=gsm8k"), "evaluation.tasks: a comparison tests on rows alone"),
        (("--methods", "less,less"), "methods: expected different ones, found less twice"),
        (("--budgets", "20%,16"), "budgets: expected different ones, found 20% and 16, which both are 16 rows"),
        (("--methods", "less,lss"), "methods: lss: method: unknown method 'lss'; did you mean less?"),
        (("--seeds", "0"), "num_seeds: expected at least 1, found 0\n"),
        (("--budgets", "1%,1%"), "expected budgets that differ"),
        (("--test", "other=nowhere.jsonl"), "tests: expected one for each target (target), found"),
    ],
)
def test_what_cannot_be_compared_is_one_message_and_changes_nothing(
    change: tuple[str, ...], expected: str, compared: Path, place: Path, g2is: Command
) -> None:
    before = {path: path.read_bytes() for path in [*compared.glob("cells/**/*.json"), *compared.glob("*.*")]}
    settings = {**SMALL, **TUNING}
    if change[0] == "--set":
        key, value = change[1].format(ids=place / "ids.txt").split("=")
        settings, change = settings | {key: value}, ()
    files = [place / "pool.jsonl", place / "target.jsonl"]
    flags = {"--test": [str(place / "test.jsonl")], "--methods": ["less-rr"], "--seeds": ["1"], "--budgets": ["20%"]}
    if change:
        flags[change[0]] = [*(flags["--test"] if change[0] == "--test" else []), change[1]]
    given = [part for name, values in flags.items() for value in values for part in (name, value)]
    code, out, err = g2is(*("compare", *files, "--model", MODEL, "--out", compared, *given, *set_flags(settings)))
    assert code == 2, err
    assert expected in err
    assert "Traceback" not in err
    assert not out
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.usefixtures("compared")
def test_a_selector_of_one_s_own_is_compared_and_its_version_counts(place: Path) -> None:
    def last(problem: Problem) -> Iterator[Choice]:
        yield from (Choice(row) for row in reversed(range(len(problem.costs))))

    methods = {"the last": {"method": "random", "selector": "own:last"}}
    found = compare(place, methods=methods, selector=package.Selector("last", "1", last))
    (cell,) = (cell for cell in found.cells.values() if cell.method == "the last")
    assert cell.rows is not None
    assert cell.rows.tolist() == list(range(64, 80))
    assert any("such as less" in note for note in notes(found)), "cells of methods that are left out go without a word"
    with pytest.raises(package.G2isError, match=r"methods: the last: own: there last 1, asked for last 2"):
        compare(place, methods=methods, selector=package.Selector("last", "2", last))
    with pytest.raises(package.G2isError, match=r"expected own:last to be passed from Python, found none"):
        compare(place, methods=methods)


def test_test_rows_that_the_pool_has_are_remarked_on(place: Path, tmp_path: Path) -> None:
    for name in ("target.jsonl", "test.jsonl"):
        shutil.copyfile(place / name, tmp_path / name)
    (tmp_path / "pool.jsonl").write_text((place / "pool.jsonl").read_text() + (place / "test.jsonl").read_text())
    found = compare(tmp_path, methods=["random"], tuning={"epochs": 1, "learning_rate": 1e-4})
    assert "12 of the 12 test rows of target are in the pool, too" in (tmp_path / "out/comparison.md").read_text()
    assert found.remarks


@pytest.mark.parametrize("made_by", ["select", "compare"])
def test_the_folder_of_another_command_is_left_alone(
    made_by: str, compared: Path, finished: Path, sample: Path, g2is: Command
) -> None:
    folder = {"select": finished, "compare": compared}[made_by]
    files = [sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--out", folder]
    commands = {
        "select": ["select", *files],
        "compare": ["compare", *files, "--test", sample / "target.jsonl"],
        "train": ["train", sample / "target.jsonl", *files[2:]],
        "evaluate": ["evaluate", sample / "target.jsonl", *files[2:]],
    }
    before = (folder / "config.yaml").read_bytes()
    for name, arguments in commands.items():
        if name != made_by:
            code, _, err = g2is(*arguments)
            assert code == 2, err
            assert "found that of another command" in err
            assert (folder / "config.yaml").read_bytes() == before


def test_a_finished_comparison_recommends_and_says_that_one_seed_is_thin(compared: Path, g2is: Command) -> None:
    for asked in ([compared], ["--out", compared], ["--config", compared / "config.yaml"]):
        code, out, err = g2is("compare", "--recommend", *asked)
        assert code == 0, err
        assert "At 20%: " in out
        assert "1 seed: the next may say otherwise" in out
    code, out, err = g2is("compare", "--recommend", compared, "--json", "--model", MODEL)
    assert code == 0, err
    assert json.loads(out)[0]["standing"] == "thin"
    assert "alone: --model passed over" in err  # --json is heeded


def test_a_recommendation_wants_the_folder_of_a_comparison(g2is: Command, place: Path, tmp_path: Path) -> None:
    for asked, told in (
        ([], "expected the folder of one comparison, found none"),
        ([tmp_path], "(`g2is compare`), found another folder"),
        ([tmp_path / "none"], "(`g2is compare`), found no such folder; check the path"),
        ([place, tmp_path], "expected the folder of one comparison, found "),
    ):
        code, _, err = g2is("compare", "--recommend", *asked)
        assert code == 2
        assert told in err
