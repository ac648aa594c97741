"""A stop that was asked for is a stop, whatever a library makes of it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

import g2is
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


def test_an_error_without_a_stop_stays_what_it_is() -> None:
    with pytest.raises(ValueError, match="of its own"), stoppable(Path("run")):
        raise ValueError("of its own")


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
