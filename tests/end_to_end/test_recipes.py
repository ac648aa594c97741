"""The recipes of docs/cluster/: each shell script is run, and each `g2is` line that it comes to is run for real."""

import json
import os
import subprocess
import sys
from pathlib import Path

import forked
import pytest
import yaml
from small_run import MODEL

from g2is.demo.skills import write_pool, write_target

RECIPES = Path(__file__).resolve().parents[2] / "docs/cluster"
# each part started by itself, as one is again: SLURM then counts one task
ARRAY = [
    {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_COUNT": "1", "SLURM_JOB_ID": "1", "PARTS": "2"}
    for number in (2, 1)
]
JOB = {"SLURM_JOB_ID": "1", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"}  # as in a batch script's own shell
SCHEDULED: dict[str, list[dict[str, str]]] = {
    "slurm_array.sh": ARRAY,
    "slurm_srun.sh": [JOB],
    "ssh.sh": [{}],
    "skypilot.yaml": [{"SKYPILOT_NODE_RANK": str(rank), "SKYPILOT_NUM_NODES": "2"} for rank in (1, 0)],
}
SEEN = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_JOB_ID", "SLURM_STEP_ID")
TOOLS = {
    "g2is": f"""#!{sys.executable}
import json, os, sys
seen = {{name: os.environ[name] for name in {SEEN} if name in os.environ}}
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps([sys.argv[1:], seen]) + "\\n")
""",
    "srun": '#!/bin/bash\nshift\nfor task in 1 0; do SLURM_STEP_ID=0 SLURM_PROCID=$task "$@"; done\n',
    "ssh": '#!/bin/bash\nbash -c "$2"\n',
}


def calls_of(recipe: str, folder: Path) -> list[tuple[list[str], dict[str, str]]]:
    """The g2is command lines that a recipe comes to, with what a scheduler says to each."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    for name, text in TOOLS.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    calls = folder / "calls"
    calls.unlink(missing_ok=True)
    files = {"POOL": "pool.jsonl", "TARGET": "target.jsonl", "OUT": recipe}
    script = RECIPES / recipe
    if script.suffix == ".yaml":
        task = yaml.safe_load(script.read_text())
        assert task["envs"].keys() == {*files, "MODEL"}
        script = folder / "task.sh"
        script.write_text(task["run"])
    hosts = ["a", "b"] if recipe == "ssh.sh" else []
    for scheduled in SCHEDULED[recipe]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        environment |= {name: str(folder / value) for name, value in files.items()} | scheduled
        environment |= {"MODEL": str(MODEL), "CALLS": str(calls), "PATH": f"{tools}:{os.environ['PATH']}"}
        subprocess.run(["bash", script, *hosts], env=environment, check=True)
    return [tuple(json.loads(line)) for line in calls.read_text().splitlines()]


def as_called(flags: list[str], environment: dict[str, str], errors: Path) -> None:
    os.environ.update(environment)
    forked.command_here(flags, errors)


def test_every_recipe_is_tried() -> None:
    others = ("ray", "torchrun", "object_storage")  # other tests try these commands
    assert {path.name for path in RECIPES.iterdir() if not path.name.startswith(others)} == set(SCHEDULED)


def test_the_array_has_a_task_for_each_part() -> None:
    text = (RECIPES / "slurm_array.sh").read_text()
    assert "--array=1-8\n" in text
    assert "${PARTS:-8}" in text


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("recipe", SCHEDULED)
def test_a_recipe_comes_to_a_selection(recipe: str, tmp_path: Path) -> None:
    write_pool(tmp_path / "pool.jsonl", num_rows=150)
    write_target(tmp_path / "target.jsonl", num_rows=5)
    calls = calls_of(recipe, tmp_path)
    parts = [flags for flags, _ in calls if flags[0] == "gradients"]
    assert len(parts) == 2
    errors = tmp_path / "errors"
    for flags, environment in sorted(calls, key=lambda call: call[0][0]):  # selections last
        small = ["--set", "execution.shard_rows=50", "--set", "execution.device=cpu"]
        assert forked.ended(forked.start(as_called, [*flags, *small], environment, errors)) == 0, errors.read_text()
        if flags[0] == "gradients":
            assert "worker 1/2" in errors.read_text() or "worker 2/2" in errors.read_text()
    markers = [path.name for path in (tmp_path / recipe).rglob("pool/markers/*.json")]
    assert len(markers) == 3
    if recipe != "slurm_array.sh":  # whose selection is another job
        assert (tmp_path / recipe / "selected.jsonl").exists()
