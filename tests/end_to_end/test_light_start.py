"""A command on a finished store begins at once: it imports nothing that trains, or that models are made of."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small_run import MODEL, SMALL, selected_ids, set_flags

Command = Callable[..., tuple[int, str, str]]

# What takes seconds to import, and is needed by nobody who only selects from rows that are stored.
HEAVY = (
    *("peft", "trl", "datasets", "lm_eval", "sentence_transformers", "ray", "matplotlib", "wandb"),
    *("torch._dynamo", "torch._inductor", "transformers.modeling_utils", "transformers.trainer"),
    *("transformers.generation.utils", "sklearn", "tensorboard"),
)
RUN = """
import sys
sys.argv = ["g2is", *sys.argv[1:]]
from g2is.__main__ import main
try:
    main()
except SystemExit as ended:
    code = ended.code
print("loaded:", *sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""
IMPORTS = """
import contextlib, importlib, sys, time
for name in sys.stdin.read().split():
    with contextlib.suppress(Exception):  # what is no module by itself: it came with another
        importlib.import_module(name)
print(time.process_time())
"""
MOST_SECONDS = 8.0  # of a processor, for a command; it took 4.8 on two cores beside much else
MOST_OF_IMPORTS = 5.0  # of that, for importing: 4.0, of which torch takes 1.1, and the settings of a model 0.9
OF_TORCH = 1.1


def run_apart(*arguments: object) -> tuple[str, set[str], float]:
    """What a command prints, what it has imported, and the seconds of a processor that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = set(done.stderr.rpartition("loaded: ")[2].split())
    return done.stdout, loaded, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def seconds_to_import(modules: set[str]) -> float:
    """The seconds of a processor that a process takes which imports `modules` and does nothing else."""
    names = "\n".join(sorted(modules))
    command = [sys.executable, "-c", IMPORTS]
    return float(subprocess.run(command, input=names, capture_output=True, text=True, check=True).stdout)


def check_is_quick(seconds: float, most: float) -> None:
    """Check seconds of a processor; where this one is slow for now, as importing torch shows, there may be more."""
    assert seconds < most or seconds < most * seconds_to_import({"torch"}) / OF_TORCH


def check_is_light(loaded: set[str]) -> None:
    """Check that nothing heavy is among what was `loaded`; skip where it is transformers that brings it."""
    if not found(loaded):
        return
    ask = "import sys, transformers as t; t.AutoConfig, t.AutoTokenizer; print(*sys.modules)"
    always = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    if heavy := found(set(always)):
        pytest.skip(f"this older transformers loads {', '.join(heavy)} with its settings of any model")
    raise AssertionError(found(loaded))


def found(loaded: set[str]) -> list[str]:
    return [name for name in HEAVY if name in loaded]


@pytest.mark.slow
def test_a_selection_from_a_finished_store_imports_nothing_that_trains(
    finished: Path, sample: Path, tmp_path: Path
) -> None:
    files = [sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--store", finished / "store"]
    command = ["select", *files, "--budget", "10%", *set_flags(SMALL), "--out", tmp_path / "run"]
    _, loaded, seconds = run_apart(*command)
    assert "torch" in loaded  # the selection is made
    check_is_light(loaded)
    check_is_quick(seconds, MOST_SECONDS)
    check_is_quick(seconds_to_import(loaded), MOST_OF_IMPORTS)
    assert selected_ids(tmp_path / "run") == selected_ids(finished)
    reach = [json.loads((run / "summary.json").read_text())["lora"] for run in (tmp_path / "run", finished)]
    assert reach[0] == reach[1]
    assert reach[0]["layers"] > 0


@pytest.mark.slow
def test_looking_at_what_is_there_imports_no_code_of_models(finished: Path) -> None:
    stored = ["store", "ls", finished / "store"], ["verify", finished]
    for command in (*stored, ["methods"], ["--help"], ["select", "-h"]):
        _, loaded, seconds = run_apart(*command)
        check_is_light(loaded)
        check_is_quick(seconds, MOST_SECONDS)


@pytest.mark.slow
def test_a_store_of_before_that_does_not_say_how_far_its_adapter_reaches_serves(
    run: Path, sample: Path, tmp_path: Path, g2is: Command
) -> None:
    from g2is.store.files import read_json, write_json

    record = run / "store/warmup/complete.json"
    values = read_json(record)
    kept = values.pop("reach")
    write_json(record, values)
    files = [sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--store", run / "store"]
    code, _, err = g2is("select", *files, "--budget", "10%", *set_flags(SMALL), "--out", tmp_path / "other")
    assert code == 0, err
    assert json.loads((tmp_path / "other/summary.json").read_text())["lora"] == kept
