"""`--dry-run` of select, train and compare: minutes by real passes, what is stored already, and nothing written."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from small_run import MODEL, SMALL, set_flags

Command = Callable[..., tuple[int, str, str]]
A_TIME = r"less than a second|about \d+ (seconds?|minutes?)"
PART = r"(less than a second|\d+ \w+)"
MEASURED = r"by passes of \d+ s on this machine \(cpu, \d+ threads\)"


def files_in(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_select_says_how_long_warm_up_and_gradients_take(sample: Path, g2is: Command, tmp_path: Path) -> None:
    files = (sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "run")
    code, out, err = g2is("select", *files, "--dry-run", *set_flags(SMALL))
    assert code == 0, err
    assert re.search(rf"time       ({A_TIME}) \(warm-up {PART}, gradients {PART}\),", out), out
    assert re.search(MEASURED + "; reading, choosing and the page come on top", out), out
    assert list(tmp_path.iterdir()) == []


def test_what_the_store_holds_takes_no_time(finished: Path, sample: Path, g2is: Command, tmp_path: Path) -> None:
    before = files_in(finished)
    store = ("--store", finished / "store", "--out", tmp_path / "run", "--model", MODEL, "--dry-run", *set_flags(SMALL))
    code, out, err = g2is("select", sample / "pool.jsonl", sample / "target.jsonl", *store)
    assert code == 0, err
    assert "time       not measured: there is nothing to compute: the store holds all rows" in out
    more = tmp_path / "more.jsonl"
    lines = (sample / "pool.jsonl").read_text().splitlines(keepends=True)
    more.write_text("".join(lines) + lines[0].replace('"id": "', '"id": "again-').replace("?", "? Say it!"))
    code, out, err = g2is("select", more, sample / "target.jsonl", *store)
    assert code == 0, err
    assert re.search(rf"time       ({A_TIME}) for gradients,", out), out
    assert files_in(finished) == before
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("random", "not measured: there is nothing to compute: this method looks at no rows"),
        ("rds+", " for rows,"),
        ("bm25", " for rows,"),
    ],
)
def test_other_representations_are_measured_too(
    method: str, told: str, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    if method == "bm25":
        pytest.importorskip("bm25s")
    files = (sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "run")
    code, out, err = g2is("select", *files, "--method", method, "--dry-run")
    assert code == 0, err
    assert told in out
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_does_not_fit_is_not_loaded(
    sample: Path, g2is: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("g2is.jobs.forecast.fits_in_memory", lambda _: False)
    monkeypatch.setattr("g2is.model.folder.ModelFolder.load", lambda *_: pytest.fail("it was loaded"))
    files = (sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "run")
    code, out, err = g2is("select", *files, "--dry-run", *set_flags(SMALL))
    assert code == 0, err
    assert "time       not measured: the model's 0.0 GiB do not fit into the memory that this machine has left" in out


def test_train_says_steps_and_time_and_that_it_is_done(finished: Path, g2is: Command, tmp_path: Path) -> None:
    before = files_in(finished)
    out_folder = tmp_path / "tuned"
    command = ("train", finished, "--model", MODEL, "--out", out_folder)
    tuning = ("--set", "tuning.lora.rank=4", "--set", "tuning.epochs=2", "--set", "tuning.batch_size=4")
    code, out, err = g2is(*command, *tuning, "--dry-run")
    assert code == 0, err
    assert "examples   15 rows, " in out
    assert "tuning     2 passes, 8 optimizer steps, " in out
    assert re.search(rf"time       ({A_TIME}) for tuning,", out), out
    assert re.search(MEASURED, out), out
    assert not out_folder.exists()
    assert files_in(finished) == before
    code, _, err = g2is(*command, *tuning)
    assert code == 0, err
    code, out, err = g2is("run", out_folder / "config.yaml", "--dry-run")
    assert code == 0, err
    assert "time       not measured: there is nothing to do: the training in --out is done" in out
    code, _, err = g2is("train", tmp_path / "none.jsonl", "--model", MODEL, "--out", tmp_path / "x", "--dry-run")
    assert code == 2
    assert "none.jsonl: expected a file, found none" in err


def test_compare_says_cells_and_time_and_counts_those_that_are_made(
    sample: Path, g2is: Command, tmp_path: Path
) -> None:
    tuning = {"tuning.lora.rank": "4", "tuning.epochs": "1", "evaluation.generate": "false"}
    lines = (sample / "target.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "target.jsonl").write_text("".join(lines[:4]))
    (tmp_path / "test.jsonl").write_text("".join(lines[4:]))
    files = (sample / "pool.jsonl", tmp_path / "target.jsonl", "--test", tmp_path / "test.jsonl", "--model", MODEL)
    command = ("compare", *files, "--out", tmp_path / "out", "--seeds", "1", "--budgets", "10%")
    settings = set_flags({**SMALL, **tuning})
    before = files_in(tmp_path)
    code, out, err = g2is(*command, "--methods", "less-rr,rds+", *settings, "--dry-run")
    assert code == 0, err
    assert "cells      6 of 6 are to be made: 1 untuned, 1 random, 1 less-rr, 1 rds+, 1 full-cut, 1 full" in out
    for part in ("rows of hidden", "tests", "tunings", "warm-ups", "gradients"):
        assert re.search(rf"[(, ]{part} {PART}", out), (part, out)
    assert re.search(MEASURED, out), out
    assert files_in(tmp_path) == before
    code, out, err = g2is(*command, "--methods", "less-rr", *settings)
    assert code == 0, err
    assert "compare" in err
    assert "read gradients" not in err
    titles = [line for line in out.splitlines() if line.startswith("10%: ") and "(continued)" not in line]
    assert len(titles) == 2, "one table of results, one of costs, and no second one of results"
    before = files_in(tmp_path)
    code, out, err = g2is(*command, "--methods", "less-rr,design", *settings, "--dry-run")
    assert code == 0, err
    assert "cells      1 of 6 are to be made: 1 design" in out
    assert "gradients" not in out.partition("time")[2]
    assert files_in(tmp_path) == before
    other = (*command, "--methods", "less-rr", *settings, "--set", "tuning.learning_rate=1e-5")
    refused, foreseen = g2is(*other), g2is(*other, "--dry-run")
    assert (foreseen[0], "tuning.learning_rate" in foreseen[2]) == (2, True), foreseen[2]
    assert refused[2].splitlines()[-1] == foreseen[2].splitlines()[-1]
    code, out, err = g2is("run", tmp_path / "out/config.yaml", "--dry-run")
    assert code == 0, err
    assert "there is nothing to do: all cells are made" in out
