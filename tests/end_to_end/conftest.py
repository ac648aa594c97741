"""A small real run: sample pool, bundled model, every stage."""

import functools
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from small_run import select_small
from watched import watched

from common.browser import MISSING, chromium, launched
from g2is.demo.skills import write_pool, write_target
from g2is.store.digests import record_text

# Typer makes all commands anew at each call, 25 ms a time; a process of a user calls it once.
typer.main.get_command = functools.cache(typer.main.get_command)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pool.jsonl (150 rows) and target.jsonl (8 rows)."""
    folder = tmp_path_factory.mktemp("sample")
    write_pool(folder / "pool.jsonl", num_rows=150)
    write_target(folder / "target.jsonl", num_rows=8)
    return folder


@pytest.fixture
def g2is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command in this process: (exit code, standard output, standard error)."""
    return lambda *arguments: run_command(monkeypatch, capsys, *arguments)


def run_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    from g2is.cli.app import main

    monkeypatch.setattr(sys, "argv", ["g2is", *map(str, arguments)])
    monkeypatch.setattr("g2is.jobs.pace.SAMPLE_ROWS", 16)  # of a dry run: its figures are not what is looked at here
    monkeypatch.setenv("COLUMNS", "1000")  # notices stay on their line, however long the path of a test's folder is
    capsys.readouterr()
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="session")
def finished(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a finished `select`, its store in RUN/store. Tests read it and add nothing to its files."""
    return select_small(sample, tmp_path_factory.mktemp("finished") / "run", execution={"shard_rows": 64})


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, whose settings name the copy."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    values = yaml.safe_load((run / "config.yaml").read_text())
    values |= {"out": str(run), "store": str(run / "store")}
    (run / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    record_text(run, "config.yaml", (run / "config.yaml").read_text())
    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if chromium() is None:
        pytest.skip(MISSING)
    with sync_api.sync_playwright() as playwright:
        opened = launched(playwright)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page; at the end it must have said nothing wrong and asked for nothing."""
    with watched(browser) as opened:
        yield opened


@pytest.fixture
def data(sample: Path) -> tuple[Path, Path]:
    """Pool and target of a small run."""
    return sample / "pool.jsonl", sample / "target.jsonl"


@pytest.fixture
def as_json(g2is: Callable[..., tuple[int, str, str]]) -> Callable[..., dict[str, Any]]:
    """What a command that succeeds says as data."""

    def run(*arguments: object) -> dict[str, Any]:
        code, out, err = g2is(*arguments, "--json")
        assert code == 0, err
        found: dict[str, Any] = json.loads(out)
        return found

    return run
