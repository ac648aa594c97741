"""`g2is select` and its stages on a small real run."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from peft import PeftModel
from small_run import MODEL, SMALL, selected_ids, set_flags
from transformers import AutoModelForCausalLM

import g2is as package

Command = Callable[..., tuple[int, str, str]]


def snapshot(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_selected_lines_are_the_pool_s_own_byte_for_byte(finished: Path, sample: Path) -> None:
    lines = (sample / "pool.jsonl").read_bytes().splitlines(keepends=True)
    table = pq.read_table(finished / "selection.parquet")
    rows = table.column("row").to_pylist()
    assert len(rows) == len(set(rows)) == 15
    assert (finished / "selected.jsonl").read_bytes() == b"".join(lines[row] for row in rows)
    messages = [json.loads(line) for line in (finished / "selected.messages.jsonl").read_text().splitlines()]
    for row, written in zip(rows, messages, strict=True):
        original = json.loads(lines[row])
        assert written == {"id": original["id"], "messages": original["messages"]}


def test_the_tables_have_the_promised_columns(finished: Path, sample: Path) -> None:
    table = pq.read_table(finished / "selection.parquet")
    assert table.column_names == [
        *("row", "id", "order", "target", "component", "role"),
        *("similarity_to_previous", "similarity_to_core", "consistency", "nearest_target_id"),
    ]
    assert table.column("order").to_pylist() == list(range(15))
    assert set(table.column("role").to_pylist()) <= {"anchor", "step", "fallback", "refill"}
    target_ids = {json.loads(line)["id"] for line in (sample / "target.jsonl").read_text().splitlines()}
    assert set(table.column("nearest_target_id").to_pylist()) <= target_ids
    scores = pq.read_table(finished / "scores.parquet")
    assert scores.num_rows == 150
    assert scores.column_names == ["row", "id", "similarity_to_core.target"]
    assert scores.column(2).null_count == 0


def test_config_yaml_replays_to_the_same_selection_from_nothing(finished: Path, g2is: Command, tmp_path: Path) -> None:
    code, _, err = g2is("run", finished / "config.yaml", "--out", tmp_path / "again", "--store", tmp_path / "store")
    assert code == 0, err
    assert (tmp_path / "again/selected.jsonl").read_bytes() == (finished / "selected.jsonl").read_bytes()
    assert snapshot(tmp_path / "store") == snapshot(finished / "store")


def test_the_stages_one_by_one_come_to_the_same_selection(
    finished: Path, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    files = [sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "run"]
    for stage in ("warmup", "gradients"):
        code, out, err = g2is(stage, *files, *set_flags(SMALL))
        assert code == 0, err
        assert f"{stage} done" in out
    code, _, err = g2is("walk", *files, *set_flags(SMALL), "--budget", "10%")
    assert code == 0, err
    assert not (tmp_path / "run/selected.jsonl").exists()
    code, out, err = g2is("export", tmp_path / "run")
    assert code == 0, err
    assert "15 rows selected" in out
    assert selected_ids(tmp_path / "run") == selected_ids(finished)


def test_another_preset_on_the_same_store_computes_no_gradient(
    finished: Path, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    before = snapshot(finished / "store")
    code, _, err = g2is(
        *("select", sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "run"),
        *("--store", finished / "store", "--preset", "official", "--budget", "12", *set_flags(SMALL)),
    )
    assert code == 0, err
    assert "gradients of" not in err
    assert snapshot(finished / "store") == before
    assert 1 <= len(selected_ids(tmp_path / "run")) <= 12


def test_a_second_target_extracts_only_its_own_rows(
    finished: Path, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    lines = (sample / "pool.jsonl").read_text().splitlines(keepends=True)
    reversing = [line for line in lines if json.loads(line)["task"] == "reversing"]
    (tmp_path / "reversing.jsonl").write_text("".join(reversing[:6]).replace("pool-", "target-"))
    code, _, err = g2is(
        *("select", sample / "pool.jsonl", tmp_path / "reversing.jsonl", "--model", MODEL),
        *("--out", tmp_path / "run", "--store", finished / "store", "--budget", "5", *set_flags(SMALL)),
    )
    assert code == 0, err
    assert "gradients of target" in err
    assert "gradients of pool" not in err
    chosen = [json.loads(line)["task"] for line in (tmp_path / "run/selected.jsonl").read_text().splitlines()]
    assert chosen.count("reversing") >= 3, chosen


def test_a_finished_run_given_again_changes_nothing(finished: Path, g2is: Command) -> None:
    names = ("selection.parquet", "scores.parquet", "selected.jsonl", "config.yaml")
    before = {name: (finished / name).read_bytes() for name in names}
    config = yaml.safe_load((finished / "config.yaml").read_text())
    code, _, err = g2is(
        *("select", config["pool"], config["target"], "--model", MODEL, "--out", finished, "--budget", "10%"),
        *set_flags(SMALL),
    )
    assert code == 0, err
    assert "walk " not in err
    assert {name: (finished / name).read_bytes() for name in names} == before


def test_several_checkpoints_make_rows_of_weighted_unit_vectors(sample: Path, tmp_path: Path) -> None:
    gradients = package.extract_gradients(
        pool=sample / "pool.jsonl",
        target=sample / "target.jsonl",
        model=MODEL,
        out=tmp_path / "run",
        warmup={"learning_rate": 2e-3, "lora": {"rank": 4}, "fraction": 0.1, "epochs": 2, "checkpoints": "each"},
        gradients={"projection": {"dim": 256}},
    )
    assert gradients.pool.shape == (150, 512)
    weights = [
        c["weight"] for c in json.loads((tmp_path / "run/store/warmup/complete.json").read_text())["checkpoints"]
    ]
    assert sum(weights) == pytest.approx(1)
    for part, weight in enumerate(weights):
        lengths = np.linalg.norm(gradients.pool[:, part * 256 : (part + 1) * 256].astype(np.float64), axis=1)
        assert lengths == pytest.approx(weight**0.5, rel=2e-3)


def test_the_python_functions_on_arrays_come_to_the_command_s_selection(finished: Path, sample: Path) -> None:
    gradients = package.extract_gradients(
        pool=sample / "pool.jsonl",
        target=sample / "target.jsonl",
        model=MODEL,
        out=finished.parent / "python",
        store=finished / "store",
        warmup={"learning_rate": 2e-3, "lora": {"rank": 4}, "fraction": 0.3, "epochs": 1},
        gradients={"projection": {"dim": 512}, "shard_rows": 64},
    )
    settings = package.SelectionConfig()
    core = package.core_knowledge(gradients.target, settings)
    walked = package.walk(gradients.pool, core, 15, settings)
    assert [gradients.pool_ids[row] for row in walked.rows] == selected_ids(finished)


def test_the_warm_up_s_adapter_loads_in_peft(finished: Path) -> None:
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(MODEL), str(finished / "store/warmup/epoch-1")
    )
    b_matrices = [parameter for name, parameter in model.named_parameters() if "lora_B" in name]
    assert b_matrices
    assert all(parameter.abs().max() > 0 for parameter in b_matrices)


def test_a_dry_run_tells_and_writes_nothing(sample: Path, g2is: Command, tmp_path: Path) -> None:
    code, out, err = g2is(
        *("select", sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "run"),
        *("--budget", "10%", "--dry-run", *set_flags(SMALL)),
    )
    assert code == 0, err
    assert "150 rows" in out
    assert "budget     15 rows" in out
    assert "16,384 adapter coordinates to 512" in out
    assert list(tmp_path.iterdir()) == []
