import io
import logging
import re
import sys
import time
import types

import pytest
from rich.console import Console

from g2is.progress import Silent, default_reporter
from g2is.progress.drawn import NotebookReporter, TerminalReporter


def test_a_terminal_gets_bars_that_start_without_a_total() -> None:
    out = io.StringIO()
    reporter = TerminalReporter(Console(file=out, force_terminal=True, width=120))
    with reporter.stage("gradients of pool", "tokens") as report:
        report(0, 4000)
        report(3000, 4000)
    assert "gradients of pool" in out.getvalue()
    assert "done in" in out.getvalue()


def test_a_stage_within_another_moves_a_bar_of_its_own() -> None:
    out = io.StringIO()
    reporter = TerminalReporter(Console(file=out, force_terminal=True, width=120))
    with reporter.stage("select", "rows") as outer:
        outer(3, 10)
        with reporter.stage("tune on 3 rows taken", "steps") as inner:
            inner(7, 8)
            time.sleep(0.3)  # bars are drawn ten times a second
            drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
        with reporter.stage("tune on 6 rows taken", "steps"):
            pass
        outer(10, 10)
    assert re.search(r"select .* 3/10\s+rows", drawn)
    assert re.search(r"tune on 3 rows taken .* 7/8\s+steps", drawn)
    with reporter.stage("read texts", "bytes"):  # a bar like any other, once those are done
        pass
    assert re.findall(r"(\w[\w ]*?) +done in", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())) == [
        *("tune on 3 rows taken", "tune on 6 rows taken", "select", "read texts"),
    ]


def test_a_pipe_gets_a_plain_line_now_and_then_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    out = io.StringIO()
    reporter = TerminalReporter(Console(file=out, width=120))
    with reporter.stage("gradients of pool", "tokens") as report:
        for done in range(1000, 5000, 1000):  # 1000 were done before this sitting
            report(done, 10_000)
            now += 6
        reporter.notice("a notice [with brackets]")
    lines = out.getvalue().splitlines()
    assert lines[0] == "gradients of pool: 3,000 of 10,000 tokens (30%), about 42.0 s left"
    assert lines[-2] == "note: a notice [with brackets]"
    assert lines[-1].startswith("gradients of pool        done in 24.0 s")
    assert len(lines) == 3


def test_what_comes_before_the_first_step_is_not_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    out = io.StringIO()
    with TerminalReporter(Console(file=out, width=120)).stage("warm up", "steps") as report:
        now += 60  # the model is loaded
        for done in range(13):
            report(done, 200)
            now += 1
    assert "warm up: 10 of 200 steps (5%), about 3 min 10 s left" in out.getvalue()


def test_a_verbose_one_says_when_a_stage_begins() -> None:
    out = io.StringIO()
    with TerminalReporter(Console(file=out, width=120), verbose=True).stage("read pool", "bytes"):
        pass
    assert re.match(r"\d\d:\d\d:\d\d read pool begins\nread pool +done in ", out.getvalue())


def test_a_notebook_gets_one_line_a_stage_that_is_written_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    reporter = NotebookReporter()
    with reporter.stage("gradients of pool", "tokens") as report:
        for done in range(0, 4000, 1000):
            report(done, 4000)
            now += 1
    reporter.notice("a notice\x1b[2J")
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.split("\n")
    assert len(lines) == 3  # the stage's, the notice, and what follows the last line's end
    parts = lines[0].split("\r")
    assert parts[0] == "gradients of pool"
    assert "gradients of pool: 2,000 of 4,000 tokens (50%), about 2.0 s left" in [part.rstrip() for part in parts]
    assert parts[-1].rstrip() == "gradients of pool: done in 4.0 s"
    assert len(parts[-1]) >= len(parts[-2].rstrip())  # it covers what stood there
    assert lines[1] == "note: a notice␛[2J"


def test_without_anybody_watching_the_log_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="g2is")
    silent = Silent()
    with silent.stage("read pool", "bytes") as report:
        report(1, 2)
    silent.notice("3 rows set aside")
    assert [(record.name, record.levelname) for record in caplog.records] == [
        *[("g2is", "DEBUG")] * 2,
        ("g2is", "INFO"),
    ]
    assert caplog.records[-1].getMessage() == "3 rows set aside"


def test_python_calls_draw_where_somebody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(default_reporter(), Silent)  # pytest captures standard error
    monkeypatch.setattr("g2is.progress.is_watched", lambda: True)
    assert isinstance(default_reporter(), TerminalReporter)
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))  # which notebooks run in
    assert isinstance(default_reporter(), NotebookReporter)
