import io
import time

import pytest
from rich.console import Console

from g2is.progress.drawn import TerminalReporter


def test_a_terminal_gets_bars_that_start_without_a_total() -> None:
    out = io.StringIO()
    reporter = TerminalReporter(Console(file=out, force_terminal=True, width=120))
    with reporter.stage("gradients of pool", "tokens") as report:
        report(0, 4000)
        report(3000, 4000)
    assert "gradients of pool" in out.getvalue()
    assert "done in" in out.getvalue()


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
