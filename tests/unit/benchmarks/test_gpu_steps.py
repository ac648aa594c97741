"""What `make cuda` plans, when a step is done, and what its table says."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import device_tests
import pytest
from plan import Given, Step, program_path, steps_of
from probe import Machine, find_machine, step_environment
from run_step import finished, read_record, run
from summary import table_of

CPU = Machine(None, "python 3.12.3", {}, {"G2IS_SHARED": "/nowhere"})
DEVICE = replace(CPU, card="NVIDIA H100 80GB HBM3")


def steps(tmp_path: Path, machine: Machine = DEVICE) -> dict[str, Step]:
    return {step.name: step for step in steps_of(Given(tmp_path, None, None), machine)}


def done(step: Step, machine: Machine, **changes: Any) -> dict[str, Any]:
    figure = {"what": "a ratio", "value": 1.07, "goal": 1.1, "at_most": True, "unit": "x", "note": "", "met": True}
    return {
        "status": "done",
        "measured": bool(machine.card),
        "made_from": step.made_from(machine),
        "card": machine.card,
        "figures": [figure | {"spread": (1.05, 1.08)}],
        **changes,
    }


def test_every_step_has_a_program_and_the_most_telling_come_first(tmp_path: Path) -> None:
    of_device = steps(tmp_path)
    assert list(of_device)[:3] == ["tests", "extraction-r16", "extraction-r128"]
    for step in of_device.values():
        assert program_path(step).is_file()
        on_device, small = step.arguments_on(DEVICE), step.arguments_on(CPU)
        if step.program.startswith("speed/"):
            assert "--device cuda" in " ".join(on_device)
            assert "--small" not in on_device
            assert "--small" in small


def test_a_step_is_not_run_again_only_if_it_was_made_from_the_same(tmp_path: Path) -> None:
    step = steps(tmp_path)["extraction-r16"]
    assert finished(done(step, DEVICE), step, DEVICE)
    assert finished(done(step, CPU), step, CPU)
    assert not finished(None, step, DEVICE)
    assert not finished(done(step, DEVICE, status="failed"), step, DEVICE)
    assert not finished(done(step, DEVICE, status="timed out"), step, DEVICE)
    other = replace(step, arguments=(*step.arguments, "--batch-tokens", "4096"))
    assert not finished(done(step, DEVICE), other, DEVICE)


def test_what_was_measured_on_a_device_outlives_its_absence_and_a_small_run_does_not_stand_for_it(
    tmp_path: Path,
) -> None:
    step = steps(tmp_path)["walk"]
    assert finished(done(step, DEVICE), step, CPU)
    assert not finished(done(step, CPU), step, DEVICE)


@pytest.mark.parametrize("name", ["base6m-warmup", "chat-model", "chat-warmup"])
def test_a_step_whose_input_is_absent_is_not_run_and_says_why(name: str, tmp_path: Path) -> None:
    step = steps(tmp_path)[name]
    record = run(step, DEVICE, tmp_path, 1)
    assert record["status"] == "not run"
    assert ("/nowhere" if name.startswith("base6m") else "absent" if name == "chat-warmup" else "WHEELS=folder") in (
        record["why"]
    )
    assert read_record(tmp_path, name) == record
    assert not finished(record, step, DEVICE)


def test_a_step_that_needs_a_missing_package_is_not_run_and_names_it(tmp_path: Path) -> None:
    without = replace(DEVICE, missing={"bergson.__main__": "torchopt is not installed, which bergson needs"})
    record = run(steps(tmp_path)["bergson"], without, tmp_path, 1)
    assert record["why"] == "torchopt is not installed, which bergson needs"


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "limit", "status"), [("no-such-stage", 60, "failed"), ("warmup", 1, "timed out")])
def test_a_step_that_fails_or_takes_too_long_says_so_and_is_run_again(
    stage: str, limit: int, status: str, tmp_path: Path
) -> None:
    arguments = (stage, "--model", str(tmp_path), "--work", str(tmp_path / "run"), "--small")
    step = Step("one", "", "", "gpu/whole_select.py", arguments, arguments)
    here = Machine(None, "", {}, step_environment(None))
    record = run(step, here, tmp_path, limit)
    assert (record["status"], record["measured"]) == (status, False)
    assert read_record(tmp_path, "one") == record
    assert not finished(record, step, here)
    if status == "failed":
        assert "no-such-stage" in "\n".join(record["log"])
        assert record["why"].startswith("exit code 2")
    else:
        assert record["seconds"] < 15
        assert record["why"].startswith("after 1 s")


@pytest.mark.slow
@pytest.mark.parametrize(("then", "status"), [("raise SystemExit(3)", "failed"), ("time.sleep(60)", "timed out")])
def test_what_a_step_had_written_when_it_ended_is_kept_and_shown_but_does_not_stand_for_all_of_it(
    then: str, status: str, tmp_path: Path
) -> None:
    program = tmp_path / "writes.py"
    program.write_text(
        "import time\nfrom common.measure import Figure, keep\n"
        f"keep('half', True, 'writes.py', [Figure('the first half', 1.5, 2, True, 'x')], {{'rows': 7}})\n{then}\n"
    )
    step = Step("one", "both halves", "≤ 2x", str(program), (), ())
    here = Machine(None, "", {}, step_environment(None))
    record = run(step, here, tmp_path, 8)
    assert record["status"] == status, record
    assert [(of["what"], of["value"], of["met"]) for of in record["figures"]] == [("the first half", 1.5, None)]
    assert record["result"]["rows"] == 7
    assert not finished(record, step, here)
    lines = table_of([step], {"one": record}).splitlines()[2:]
    assert len(lines) == 2
    assert status.upper() in lines[0]
    assert "both halves" in lines[0]
    assert "the first half" in lines[1]


def test_a_command_that_is_stopped_says_so_and_leaves_no_step_at_work(tmp_path: Path) -> None:
    program, place = tmp_path / "sleeps.py", tmp_path / "pid"
    program.write_text(f"import os, time\nopen({str(place)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n")
    step, here = Step("one", "it sleeps", "", str(program), (), ()), Machine(None, "", {}, step_environment(None))

    def stop(*_: object) -> None:
        if place.exists():
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise SystemExit(143)  # as SIGTERM has it

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)
    try:
        with pytest.raises(SystemExit):
            run(step, here, tmp_path, 50)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    record = read_record(tmp_path, "one")
    assert record is not None
    assert (record["status"], record["why"][:23]) == ("failed", "the command was stopped")
    with pytest.raises(ProcessLookupError):
        os.kill(int(place.read_text()), 0)


@pytest.mark.slow
def test_what_is_not_among_the_packed_wheels_is_named_with_what_to_add(tmp_path: Path) -> None:
    package = tmp_path / "bitsandbytes"  # comes before one that is installed, and lacks what it needs
    package.mkdir()
    (package / "__init__.py").write_text("import no_such_package_of_bitsandbytes\n")
    machine = replace(find_machine(tmp_path), card=None)
    reason = machine.missing["bitsandbytes"]
    assert reason.startswith(
        "no_such_package_of_bitsandbytes is not installed, which bitsandbytes needs; add to WHEELS"
    )
    assert reason.endswith("pip download --no-deps bitsandbytes>=0.49")
    for step in steps_of(Given(tmp_path, None, None), machine):
        if step.name.startswith("rounded-"):
            assert run(step, machine, tmp_path, 1)["why"] == reason


def test_models_of_random_weights_are_made_once_and_every_new_step_is_there(tmp_path: Path) -> None:
    found = steps(tmp_path)
    models = str(tmp_path / "work/models")
    for name in ("rounded-nf4", "rounded-int8", "rounded-70b-block", "plan-8b"):
        for machine in (CPU, DEVICE):
            arguments = found[name].arguments_on(machine)
            assert arguments[arguments.index("--work") + 1] == models, name
    assert "full-parameters" in found
    without = replace(DEVICE, missing={"bergson.__main__": "bergson is not installed"})
    assert run(found["full-parameters-bergson"], without, tmp_path, 1)["why"] == "bergson is not installed"
    assert "absent" in run(found["plan-base6m"], DEVICE, tmp_path, 1)["why"]
    assert "absent" in run(found["plan-chat"], DEVICE, tmp_path, 1)["why"]


def test_the_table_gives_verdicts_of_measured_figures_alone(tmp_path: Path) -> None:
    of_device = steps(tmp_path)
    shown = [of_device["extraction-r16"], of_device["walk"], of_device["design"], of_device["tests"]]
    records = {
        "extraction-r16": done(shown[0], DEVICE),
        "walk": done(shown[1], CPU),
        "design": done(shown[2], DEVICE, status="timed out", why="after 540 s"),
        "tests": None,
    }
    lines = table_of(shown, records).splitlines()[2:]
    assert "| met " in lines[0]
    assert "≤ 1.1x" in lines[0]
    assert "1.07x [1.05, 1.08]" in lines[0]
    assert "H100" in lines[0]
    assert "not compared" in lines[1]
    assert "met" not in lines[1]
    assert "≤" not in lines[1]
    assert "not measured: no CUDA device" in lines[2]
    assert "≤ 30 s" in lines[2]
    assert "TIMED OUT: after 540 s" in lines[3]
    assert "1.07x" in lines[4]
    assert "written before it ended" in lines[4]
    assert "met" not in lines[4]
    assert "not run" in lines[5]
    assert len({len(line) for line in lines}) == 1


def test_pytest_without_plugins_runs_what_is_for_a_device() -> None:
    done = device_tests.pytest("--collect-only", "-q", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_cuda.py" in done.stdout
