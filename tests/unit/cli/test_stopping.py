"""A stop that was asked for is a stop, whatever a library makes of it."""

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

import g2is
from g2is.cli import stopping
from g2is.cli.stopping import stoppable


def stopped_in_a_library() -> None:
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    except KeyboardInterrupt:
        raise ValueError("could not determine the shape of object type 'torch.storage.UntypedStorage'") from None


def test_an_error_that_a_library_made_of_a_stop_is_the_stop(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, stoppable(Path("run")):
        stopped_in_a_library()
    assert ended.value.exit_code == 128 + signal.SIGTERM
    assert capsys.readouterr().err.startswith("stopped; what is done is kept in run")


def test_an_interrupt_that_no_signal_asked_for_does_not_end_as_an_earlier_stop_did() -> None:
    """As from a notebook: 130, though this process was once told to end by SIGTERM."""
    with pytest.raises(typer.Exit), stoppable(Path("run")):
        stopped_in_a_library()
    with pytest.raises(typer.Exit) as ended, stoppable(Path("run")):
        raise KeyboardInterrupt
    assert ended.value.exit_code == 128 + signal.SIGINT


def test_an_error_without_a_stop_stays_what_it_is() -> None:
    with pytest.raises(ValueError, match="of its own"), stoppable(Path("run")):
        raise ValueError("of its own")


class FreedByAStop:
    """Freed while a stop arrives, where Python only prints what is raised."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)


class MakesAnErrorOfAStop:
    """As safetensors does, while it is freed."""

    def __del__(self) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        except KeyboardInterrupt as stopped:
            raise ValueError("could not be closed") from stopped


@pytest.mark.parametrize("kind", [FreedByAStop, MakesAnErrorOfAStop])
def test_a_stop_while_an_object_is_freed_is_a_stop(
    kind: type, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(freed: list[object]) -> None:
        freed.clear()
        time.sleep(10)

    printed: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    with pytest.raises(typer.Exit) as ended, stoppable(Path("run")):
        work([kind()])
    assert ended.value.exit_code == 128 + signal.SIGTERM
    told = capsys.readouterr().err
    assert told.startswith("stopped; what is done is kept in run")
    assert told.count("stopped; ") == 1
    assert not printed


@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_a_stop_that_comes_while_errors_are_swallowed_is_asked_for_until_it_is_heard(
    seconds: float, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a slow machine, where what asks again does so before the first one is done."""

    def stopped_again(_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)

    def work(freed: list[object]) -> None:
        freed.clear()
        time.sleep(10)

    monkeypatch.setattr(sys, "unraisablehook", stopped_again)
    monkeypatch.setattr(stopping, "_SECONDS", seconds)
    with pytest.raises(typer.Exit) as ended, stoppable(Path("run")):
        work([EndsBadly()])
    assert ended.value.exit_code == 128 + signal.SIGTERM
    told = capsys.readouterr().err
    assert told.startswith("stopped; what is done is kept in run")
    assert told.count("stopped; ") == 1


class EndsBadly:
    """As an archive that is written when a stop comes, of which the file is closed before it is."""

    def __del__(self) -> None:
        raise ValueError("seek of closed file")


@pytest.mark.parametrize("stop", [True, False])
def test_what_a_stop_cut_through_is_not_printed_and_what_nothing_cut_through_is(
    stop: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:
        half_done = EndsBadly()
        if stop:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        del half_done

    def stopped() -> None:
        with stoppable(Path("run")):
            work()

    printed: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    if stop:
        with pytest.raises(typer.Exit):
            stopped()
        assert capsys.readouterr().err.count("stopped; ") == 1
    else:
        stopped()
    gc.collect()
    assert len(printed) == (not stop)


def test_what_heeds_a_stop_first_imports_next_to_nothing() -> None:
    program = "import sys; before = set(sys.modules); import g2is.cli.at_once; print(*(set(sys.modules) - before))"
    source = Path(g2is.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(source)},
    )
    found = set(done.stdout.split())
    assert "g2is.cli.at_once" in found
    assert not found & {"importlib.metadata", "pathlib", "typer", "click", "rich", "numpy", "torch"}
