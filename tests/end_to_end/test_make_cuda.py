"""`make cuda`, on the CPU: what is done is not done again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def make(target: str, **variables: object) -> tuple[int, str]:
    given = [f"{name}={value}" for name, value in {"PYTHON": sys.executable, **variables}.items()]
    # a machine with a device is measured by whoever gives the command, not by a test
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        ["make", target, *given], cwd=ROOT, capture_output=True, text=True, env=environment, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.long
def test_a_step_runs_small_where_there_is_no_device_and_is_not_run_again(tmp_path: Path) -> None:
    code, said = make("cuda", OUT=tmp_path, ONLY="tests")
    record = tmp_path / "steps/tests.json"
    made = json.loads(record.read_text())
    assert (code, made["status"], made["measured"]) == (0, "done", False), said
    assert "no CUDA device on this machine" in json.dumps(made["result"]["skipped"])
    assert made["goal"]
    assert [(figure["goal"], figure["met"]) for figure in made["figures"]] == [(None, None)]
    assert "small, on a CPU: not compared" in said
    assert "small, on a CPU: not compared" in (tmp_path / "table.md").read_text()

    before = record.stat().st_mtime_ns
    code, said = make("cuda", OUT=tmp_path, ONLY="tests")
    assert (code, record.stat().st_mtime_ns) == (0, before), said
    assert "tests: done" in said


@pytest.mark.long
@pytest.mark.timeout(600)
def test_models_larger_than_a_card_and_all_parameters_run_small_and_what_lacks_a_package_says_so(
    tmp_path: Path,
) -> None:
    names = ("rounded-nf4", "rounded-70b-block", "full-parameters", "full-parameters-bergson", "plan-8b")
    code, said = make("cuda", OUT=tmp_path, ONLY=" ".join(names))
    assert code == 0, said
    found = {name: json.loads((tmp_path / f"steps/{name}.json").read_text()) for name in names}
    for name, record in found.items():
        if record["status"] == "not run":
            assert "is not installed" in record["why"] or "the real pool is absent" in record["why"], name
            assert f"{name}: done" not in said
        else:
            assert (record["status"], record["measured"]) == ("done", False), said
            assert record["figures"]
    assert found["full-parameters"]["status"] == "done"
    assert found["full-parameters"]["result"]["not_measured"] == {}


def test_a_folder_for_what_is_measured_is_asked_for() -> None:
    code, said = make("cuda")
    assert code == 2
    assert "expected OUT=dir" in said
