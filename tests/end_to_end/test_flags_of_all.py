"""--json, --quiet, --verbose and --config of real commands on a finished run."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from small_run import MODEL, SMALL, selected_ids, set_flags

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(sample: Path, run: Path, tmp_path: Path) -> list[object]:
    files = [sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--store", run / "store"]
    return ["select", *files, "--budget", "10%", *set_flags(SMALL), "--out", tmp_path / "other"]


def test_a_selection_as_json_and_nothing_else_on_standard_output(
    g2is: Command, command: list[object], run: Path, tmp_path: Path
) -> None:
    code, out, err = g2is(*command, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["ids"] == selected_ids(run)
    assert found["num_selected"] == len(found["ids"])
    assert found["run"] == str(tmp_path / "other")
    assert str(tmp_path / "other/selection.parquet") in found["files"]
    assert found["summary"]["pool"]["rows"] == 150
    assert "done in" in err


def test_quiet_says_the_result_alone(g2is: Command, command: list[object]) -> None:
    code, out, err = g2is(*command, "--quiet")
    assert (code, err) == (0, "")
    assert "15 rows selected of 150" in out
    code, out, err = g2is(*command)  # the next command in this process speaks as ever
    assert "done in" in err


def test_quiet_does_not_hide_an_error(g2is: Command, command: list[object]) -> None:
    code, out, err = g2is(*command, "--quiet", "--set", "selection.budget=0")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")


def test_verbose_says_when_a_stage_begins(g2is: Command, command: list[object]) -> None:
    code, _, err = g2is(*command, "-v")
    assert code == 0, err
    assert " begins\n" in err


def test_a_runs_own_file_and_a_flag_make_another_selection_of_its_store(
    g2is: Command, run: Path, tmp_path: Path
) -> None:
    code, out, err = g2is("select", "--config", run / "config.yaml", "--out", tmp_path / "more", "--budget", "20%")
    assert code == 0, err
    assert "30 rows selected of 150" in out
    assert "warm up" not in err
    assert "gradients of" not in err
    assert not (tmp_path / "more/store").exists()


def test_facts_as_json(g2is: Command, run: Path, sample: Path) -> None:
    def read(*arguments: object) -> object:
        code, out, err = g2is(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    assert read("store", "ls", run / "store")["warmup"] == "finished"  # type: ignore[index]
    assert read("store", "gc", run / "store") == {"store": str(run / "store"), "leftovers": {}, "removed": False}
    found = read("inspect", sample / "pool.jsonl")
    assert isinstance(found, dict)
    assert (found["num_rows"], found["num_problems"], found["files"][0]["layouts"]) == (150, 0, ["messages"])
    assert read("export", run)["ids"] == selected_ids(run)  # type: ignore[index]
    dry = read("select", "--config", run / "config.yaml", "--dry-run")
    assert isinstance(dry, dict)
    assert dry["num_pool_rows"] == 150
    assert read("warmup", "--config", run / "config.yaml")["stage"] == "warmup"  # type: ignore[index]
    assert read("explain", run, selected_ids(run)[0])[0]["state"] == "selected"  # type: ignore[index]


def test_json_holds_what_a_terminal_would_obey_as_json_has_it(g2is: Command, sample: Path, tmp_path: Path) -> None:
    name = tmp_path / "a\u202eb.jsonl"
    name.write_bytes((sample / "target.jsonl").read_bytes())
    code, out, err = g2is("inspect", name, "--json")
    assert code == 0, err
    assert "\u202e" not in out
    assert json.loads(out)["files"][0]["label"] == str(name)


def test_a_file_of_flags_says_what_a_command_is_to_do_and_the_command_line_goes_before_it(
    g2is: Command, run: Path, tmp_path: Path
) -> None:
    file = tmp_path / "flags.yaml"
    file.write_text(f"run: {run}\nfor: trl\nto: {tmp_path / 'of-file'}\n")
    assert g2is("export", "--config", file)[0] == 0
    assert g2is("export", "--config", file, "--to", tmp_path / "of-flag", "--for", "ms-swift")[0] == 0
    assert {of.name for of in (tmp_path / "of-file").iterdir()} != {of.name for of in (tmp_path / "of-flag").iterdir()}
    taken = selected_ids(run)[:2]
    file.write_text(f"run: {run}\nids: [{', '.join(taken)}]\njson: true\n")
    code, out, err = g2is("explain", "--config", file)
    assert (code, err) == (0, "")
    assert [row["id"] for row in json.loads(out)] == taken
    assert g2is("explain", run, *taken, "--json")[1] == out
    copy = shutil.copytree(run / "store", tmp_path / "store")
    left = copy / "warmup/trainer"  # of a finished warm-up, and old
    left.mkdir()
    os.utime(left, (0, 0))
    file.write_text(f"store: {copy}\nyes: true\njson: true\n")
    code, out, err = g2is("store", "gc", "--config", file)
    assert (code, json.loads(out)["removed"], left.exists()) == (0, True, False), err
    file.write_text(f"store: {run / 'store'}\n")
    assert g2is("store", "ls", "--config", file)[:2] == g2is("store", "ls", run / "store")[:2]


def test_a_file_to_replay_may_be_named_by_the_flag(g2is: Command, run: Path, tmp_path: Path) -> None:
    code, _, err = g2is("run", "--config", run / "config.yaml", "--out", tmp_path / "again")
    assert code == 0, err
    assert selected_ids(tmp_path / "again") == selected_ids(run)
