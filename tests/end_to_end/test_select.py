"""`g2is select` and its stages on a small real run."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from peft import PeftModel
from safetensors.torch import load_file, save_file
from small_run import MODEL, SMALL, selected_ids, set_flags
from transformers import AutoModelForCausalLM, AutoTokenizer

import g2is as package
from g2is.store.digests import record_text

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
        *("row", "id", "order", "text", "source", "tokens", "answer_tokens", "characters", "target", "role", "score"),
        "nearest_target_id",
    ]
    assert table.column("order").to_pylist() == list(range(15))
    assert set(table.column("role").to_pylist()) == {"picked"}
    target_ids = {json.loads(line)["id"] for line in (sample / "target.jsonl").read_text().splitlines()}
    assert set(table.column("nearest_target_id").to_pylist()) <= target_ids
    scores = pq.read_table(finished / "scores.parquet")
    assert scores.num_rows == 150
    assert scores.column_names == ["row", "id", "similarity.target", "selected"]
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


def test_a_config_of_before_which_does_not_say_its_command_replays_and_its_folder_goes_on(
    finished: Path, g2is: Command, tmp_path: Path
) -> None:
    run = shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("store"))
    config = run / "config.yaml"
    said = config.read_text()
    config.write_text(said.removeprefix("command: select\n"))
    (run / "digests.json").unlink()
    record = json.loads((run / "picks.json").read_text())
    del record["digest"]
    (run / "picks.json").write_text(json.dumps(record))
    assert config.read_text() != said
    before = (run / "selection.parquet").stat().st_mtime_ns
    again = ("run", config, "--out", run)
    code, out, err = g2is(*again)
    assert code == 0, err
    assert "15 rows selected" in out
    assert (run / "selection.parquet").stat().st_mtime_ns == before
    assert config.read_text() == said.replace(f"out: {finished}\n", f"out: {run}\n")


def test_another_preset_on_the_same_store_computes_no_gradient(
    finished: Path, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    before = snapshot(finished / "store")
    code, _, err = g2is(
        *("select", sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "run"),
        *("--store", finished / "store", "--method", "official", "--budget", "12", *set_flags(SMALL)),
    )
    assert code == 0, err
    assert "gradients of" not in err
    assert snapshot(finished / "store") == before
    assert 1 <= len(selected_ids(tmp_path / "run")) <= 12


def test_a_second_target_extracts_only_its_own_rows(
    finished: Path, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    store = shutil.copytree(finished / "store", tmp_path / "store")
    lines = (sample / "pool.jsonl").read_text().splitlines(keepends=True)
    reversing = [line for line in lines if json.loads(line)["task"] == "reversing"]
    (tmp_path / "reversing.jsonl").write_text("".join(reversing[:6]).replace("pool-", "target-"))
    code, _, err = g2is(
        *("select", sample / "pool.jsonl", tmp_path / "reversing.jsonl", "--model", MODEL),
        *("--out", tmp_path / "run", "--store", store, "--budget", "5", *set_flags(SMALL)),
    )
    assert code == 0, err
    assert "gradients of target" in err
    assert "gradients of pool" not in err
    chosen = [json.loads(line)["task"] for line in (tmp_path / "run/selected.jsonl").read_text().splitlines()]
    assert chosen.count("reversing") >= 3, chosen


def test_targets_that_learn_no_end_of_turn_are_rows_of_their_own_on_the_pool_s_gradients(
    finished: Path, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    store = shutil.copytree(finished / "store", tmp_path / "store")
    lines = (sample / "pool.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "target.jsonl").write_text("".join(lines[:5]).replace("pool-", "target-"))
    common = ("--model", MODEL, "--store", store, "--budget", "5", *set_flags(SMALL))
    answer_tokens, similar = [], []
    for setting in ("all", "pool"):
        out, flag = tmp_path / setting, f"examples.learn_end_of_turn={setting}"
        code, _, err = g2is(
            *("select", sample / "pool.jsonl", tmp_path / "target.jsonl", "--out", out, *common, "--set", flag)
        )
        assert code == 0, err
        assert not any(stage in err for stage in ("warm up", "gradients of pool"))
        # the rows of `all` are the pool's, whatever the store is made for; those of `pool` are known as the same rows
        assert "5 of the pool's 150 rows are also in target" in " ".join(err.split())
        answer_tokens.append(json.loads((out / "summary.json").read_text())["targets"]["target"]["answer_tokens"])
        similar.append(pq.read_table(out / "scores.parquet").column("similarity.target").to_pylist())
    assert answer_tokens[0] == answer_tokens[1] + 5
    assert similar[0] != similar[1]
    code, _, err = g2is(
        *("select", sample / "pool.jsonl", tmp_path / "target.jsonl", "--out", tmp_path / "none", *common),
        *("--set", "examples.learn_end_of_turn=none"),
    )
    assert code == 2
    assert "examples.learns_end_of_turn: there True, asked for False" in err


def test_a_selection_as_less_encodes_it_runs_to_its_end(sample: Path, g2is: Command, tmp_path: Path) -> None:
    as_less = {
        "examples.template": "less",
        "examples.truncation": "answer-end",
        "examples.learn_end_of_turn": "pool",
        "warmup.checkpoints": "each",
    }
    code, _, err = g2is(
        *("select", sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "run"),
        *("--method", "less", "--budget", "5", *set_flags({**SMALL, **as_less, "warmup.epochs": "2"})),
    )
    assert code == 0, err
    assert len(selected_ids(tmp_path / "run")) == 5
    checkpoints = json.loads((tmp_path / "run/store/warmup/complete.json").read_text())["checkpoints"]
    assert [of["name"] for of in checkpoints] == ["epoch-1", "epoch-2"]


def test_a_finished_run_given_again_changes_nothing(finished: Path, g2is: Command) -> None:
    names = ("selection.parquet", "scores.parquet", "selected.jsonl", "config.yaml")
    before = {name: (finished / name).read_bytes() for name in names}
    config = yaml.safe_load((finished / "config.yaml").read_text())
    code, _, err = g2is(
        *("select", *config["pool"], *config["targets"]["target"]),
        *("--model", MODEL, "--out", finished, "--budget", "10%"),
        *set_flags(SMALL | {"execution.report": "true"}),
    )
    assert code == 0, err
    assert "select " not in err
    assert {name: (finished / name).read_bytes() for name in names} == before


def test_a_pool_in_another_order_is_warmed_up_on_the_same_rows_to_the_same_adapter(
    finished: Path, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    lines = (sample / "pool.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "pool.jsonl").write_text(
        "".join(lines[row] for row in np.random.default_rng(0).permutation(len(lines)))
    )
    common = ("--model", MODEL, "--out", tmp_path / "run", *set_flags(SMALL))
    code, _, err = g2is("warmup", tmp_path / "pool.jsonl", sample / "target.jsonl", *common)
    assert code == 0, err
    for name in ("sample.json", "complete.json"):  # the latter has the digest of adapter and moments
        assert (tmp_path / "run/store/warmup" / name).read_text() == (finished / "store/warmup" / name).read_text()


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


def test_the_python_functions_on_arrays_come_to_the_command_s_selection(
    finished: Path, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    code, _, err = g2is(
        *("select", sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "run"),
        *("--store", finished / "store", "--method", "g2is", "--budget", "10%", *set_flags(SMALL)),
    )
    assert code == 0, err
    gradients = package.extract_gradients(
        pool=sample / "pool.jsonl",
        target=sample / "target.jsonl",
        model=MODEL,
        out=finished.parent / "python",
        store=finished / "store",
        warmup={"learning_rate": 2e-3, "lora": {"rank": 4}, "fraction": 0.3, "epochs": 1},
        gradients={"projection": {"dim": 512}},
        execution={"shard_rows": 64},
    )
    settings = package.SelectionConfig(method="g2is")
    core = package.core_knowledge(gradients.target, settings)
    walked = package.walk(gradients.pool, core, 15, settings)
    assert [gradients.pool_ids[row] for row in walked.rows] == selected_ids(tmp_path / "run")


def test_the_warm_up_s_adapter_loads_in_peft(finished: Path) -> None:
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(MODEL), str(finished / "store/warmup/epoch-1")
    )
    b_matrices = [parameter for name, parameter in model.named_parameters() if "lora_B" in name]
    assert b_matrices
    assert all(parameter.abs().max() > 0 for parameter in b_matrices)


def test_rows_without_a_usable_gradient_are_set_aside_and_listed(sample: Path, g2is: Command, tmp_path: Path) -> None:
    """An embedding too large for the norm after it makes the gradients of the rows with that token NaN."""
    model = shutil.copytree(MODEL, tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    token = AutoTokenizer.from_pretrained(model).convert_tokens_to_ids("~")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()  # else every logit sum would be NaN
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"].float()
    weights["model.embed_tokens.weight"][token] = 3e38  # a number, whose square in the norm is none
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    lines = (sample / "pool.jsonl").read_text().splitlines()
    assert not any("~" in line for line in lines)
    broken = json.loads(lines[7])
    broken["messages"][0]["content"] += " ~"
    lines[7] = json.dumps(broken)
    (tmp_path / "pool.jsonl").write_text("\n".join(lines) + "\n")
    broken_target = json.loads((sample / "target.jsonl").read_text().splitlines()[0])
    broken_target["id"], broken_target["messages"][0]["content"] = "broken-target", "~"
    target = (sample / "target.jsonl").read_text() + json.dumps(broken_target) + "\n"
    (tmp_path / "target.jsonl").write_text(target)
    code, _, err = g2is(
        *("select", tmp_path / "pool.jsonl", tmp_path / "target.jsonl", "--model", model, "--out", tmp_path / "run"),
        *("--budget", "10%", *set_flags(SMALL | {"warmup.fraction": "0.02", "warmup.seed": "1"})),
    )
    assert code == 0, err
    assert "1 pool rows have no usable gradient" in err
    assert "target example broken-target is left out: NaN gradient" in err
    listed = [json.loads(line) for line in (tmp_path / "run/set_aside.jsonl").read_text().splitlines()]
    assert listed == [{"row": 7, "id": broken["id"], "reason": "NaN gradient"}]
    assert broken["id"] not in selected_ids(tmp_path / "run")
    assert pq.read_table(tmp_path / "run/scores.parquet").column(2)[7].as_py() is None


def test_a_corrected_command_is_not_held_to_the_wrong_one(sample: Path, g2is: Command, tmp_path: Path) -> None:
    files = [sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "run"]
    code, _, err = g2is("warmup", *files, *set_flags(SMALL | {"warmup.lora.target_modules": "[q_prj]"}))
    assert code == 2
    assert "q_prj" in err
    code, _, err = g2is("warmup", *files, *set_flags(SMALL))
    assert code == 0, err


def test_an_export_of_a_pool_that_changed_is_refused(
    finished: Path, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    pool = tmp_path / "pool.jsonl"
    lines = (sample / "pool.jsonl").read_bytes().splitlines(keepends=True)
    pool.write_bytes(b"".join(reversed(lines)))
    config = (run / "config.yaml").read_text().replace(str(sample / "pool.jsonl"), str(pool))
    (run / "config.yaml").write_text(config)
    record_text(run, "config.yaml", (run / "config.yaml").read_text())
    before = (run / "selected.jsonl").read_bytes()
    code, _, err = g2is("export", run)
    assert code == 2
    assert "found the file changed" in err
    assert (run / "selected.jsonl").read_bytes() == before
    pool.write_bytes(b"".join(lines))
    code, _, err = g2is("export", run)
    assert code == 0, err
    assert (run / "selected.jsonl").read_bytes() == before


@pytest.mark.long
def test_ctrl_c_ends_with_one_line_and_the_same_command_goes_on(sample: Path, tmp_path: Path) -> None:
    arguments = [
        *(sys.executable, "-m", "g2is", "select", str(sample / "pool.jsonl"), str(sample / "target.jsonl")),
        *("--model", str(MODEL), "--out", str(tmp_path / "run"), "--budget", "10%", *set_flags(SMALL)),
    ]

    def heed_interrupts() -> None:  # which a shell's background jobs, and so their tests, ignore
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts)
    while not (tmp_path / "run/store/warmup/sample.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    first = json.loads((tmp_path / "run/summary.json").read_text())
    assert f"stopped; what is done is kept in {tmp_path / 'run'}: the same command goes on from here" in err
    assert "Traceback" not in err
    subprocess.run(arguments, check=True, capture_output=True)
    assert len(selected_ids(tmp_path / "run")) == 15
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["sittings"][0] == first["sittings"][0]  # what the stopped sitting had finished is still told
    assert "warm up" in summary["sittings"][1]["seconds"]
    assert summary["pool"]["rows"] == 150


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


def test_ids_from_a_pipe_are_read_once(sample: Path, g2is: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """As of `--exclude <(…)`: a pipe has nothing to say a second time."""
    files = [sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--budget", 5, "--method", "bm25"]
    code, _, err = g2is("select", *files, "--out", tmp_path / "all")
    assert code == 0, err
    first, *others = selected_ids(tmp_path / "all")
    reading, writing = os.pipe()
    os.write(writing, f"{first}\n".encode())
    os.close(writing)
    code, _, err = g2is("select", *files, "--out", tmp_path / "run", "--exclude", f"/dev/fd/{reading}")
    os.close(reading)
    assert code == 0, err
    assert selected_ids(tmp_path / "run")[:4] == others
