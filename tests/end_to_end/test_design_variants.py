"""The variants of `design` by the command: in rounds, with a noise that grows with the budget, and all compared."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from small_run import MODEL, SMALL, selected_ids, set_flags

import g2is as package
from g2is.comparison.cells import read_cell

Command = Callable[..., tuple[int, str, str]]
VARIANTS = ("design-noise", "design-seeds", "design-rounds")


@pytest.fixture
def base(finished: Path, sample: Path) -> list[object]:
    files = ["select", sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--budget", "10%"]
    return [*files, "--store", finished / "store", *set_flags(SMALL)]


def test_design_noise_is_design_with_the_budget_s_percent_as_noise(
    base: list[object], g2is: Command, tmp_path: Path
) -> None:
    for name, flags in {
        "variant": ("--method", "design-noise"),
        "number": ("--set", "selection.noise=10"),
        "plain": (),
    }.items():
        code, _, err = g2is(*base, *flags, "--out", tmp_path / name, "--set", "execution.report=true")
        assert code == 0, err
    assert selected_ids(tmp_path / "variant") == selected_ids(tmp_path / "number")
    assert selected_ids(tmp_path / "variant") != selected_ids(tmp_path / "plain")
    ids = [id_ for id_ in selected_ids(tmp_path / "plain") if id_ not in selected_ids(tmp_path / "variant")]
    told = [package.explain(tmp_path / name, ids) for name in ("variant", "number")]
    assert any("at_the_end" in row for row in told[0])
    assert told[0] == told[1]


def test_design_in_rounds_says_what_it_did_and_its_first_part_is_that_of_one_round(
    base: list[object], g2is: Command, tmp_path: Path
) -> None:
    assert g2is(*base, "--out", tmp_path / "one")[0] == 0
    code, _, err = g2is(
        *base, "--method", "design-rounds", "--out", tmp_path / "three", "--set", "execution.report=true"
    )
    assert code == 0, err
    one, three = selected_ids(tmp_path / "one"), selected_ids(tmp_path / "three")
    assert len(three) == len(set(three)) == 15
    assert three[:5] == one[:5]
    assert three != one
    for num in (5, 10):
        assert f"target: tuned on the {num} rows taken so far; its examples' loss is " in err
    assert not (tmp_path / "three/rounds").exists()
    assert (tmp_path / "three/report.html").exists()
    code, out, err = g2is("verify", tmp_path / "three")
    assert code == 0, out + err
    unknown = [of for row in package.explain(tmp_path / "three", one) for of in row.get("unknown", ())]
    assert any("taken anew in each round" in text for text in unknown)
    # given again it is done
    code, _, err = g2is(
        *base, "--method", "design-rounds", "--out", tmp_path / "three", "--set", "execution.report=true"
    )
    assert code == 0, err
    assert "tuned on" not in err


def test_the_time_of_rounds_is_told_before(base: list[object], g2is: Command, tmp_path: Path) -> None:
    code, out, err = g2is(*base, "--method", "design-rounds", "--out", tmp_path / "run", "--dry-run")
    assert code == 0, err
    assert "rounds" in out
    code, out, err = g2is(*base, "--out", tmp_path / "run", "--dry-run")
    assert code == 0, err
    assert "rounds" not in out


@pytest.mark.long
@pytest.mark.timeout(600)
def test_all_variants_can_be_added_to_a_comparison(sample: Path, g2is: Command, tmp_path: Path) -> None:
    lines = (sample / "target.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "target.jsonl").write_text("".join(lines[:5]))
    (tmp_path / "test.jsonl").write_text("".join(lines[5:]))
    pool = (sample / "pool.jsonl").read_text().splitlines(keepends=True)[:60]
    (tmp_path / "pool.jsonl").write_text("".join(pool))
    tuning = {"tuning.lora.rank": "4", "tuning.learning_rate": "2e-3", "tuning.epochs": "1"}
    settings = SMALL | tuning | {"evaluation.generate": "false"}
    files = ["compare", tmp_path / "pool.jsonl", tmp_path / "target.jsonl", "--test", tmp_path / "test.jsonl"]
    command = [*files, "--model", MODEL, "--out", tmp_path / "out", "--budgets", "20%", "--seeds", "1"]
    code, _, err = g2is(*command, *set_flags(settings), "--methods", "design")
    assert code == 0, err
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/cells/**/*.json")}
    code, out, err = g2is(*command, *set_flags(settings), "--methods", f"design,{','.join(VARIANTS)}", "--dry-run")
    assert code == 0, err
    assert "warm-ups" in out
    code, _, err = g2is(*command, *set_flags(settings), "--methods", f"design,{','.join(VARIANTS)}")
    assert code == 0, err
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    cells = {path.parts[-4]: read_cell(path) for path in tmp_path.glob("out/cells/*/target/*/seed-0.json")}
    assert {*VARIANTS, "design"} <= cells.keys()
    rows = [cells[name].rows for name in VARIANTS]
    assert [0 if of is None else len(of) for of in rows] == [12] * 3
    assert {of.name for of in (tmp_path / "out/store").iterdir()} == {"seed-0", "seed-0-warmups-3"}
    assert "design-seeds" in json.dumps(json.loads((tmp_path / "out/comparison.json").read_text()))
    code, out, err = g2is("verify", tmp_path / "out")
    assert code == 0, out + err
    (damaged,) = (tmp_path / "out/store/seed-0-warmups-3/warmup/seed-1000").glob("epoch-1/moments.safetensors")
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert g2is("verify", tmp_path / "out")[0] != 0
    code, out, err = g2is("verify", tmp_path / "out", "--repair")
    assert code == 0, out + err
    assert damaged.read_bytes() == content
