"""Tokenising in several processes gives the table, and tells of the rows, that one process gives."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from g2is.config import ExamplesConfig, ModelConfig
from g2is.errors import InputError, ModelError
from g2is.examples import make_table, render_in_order
from g2is.examples import table as table_module
from g2is.examples.make_table import tokenize_files
from g2is.examples.read import ExampleReader
from g2is.examples.render_in_order import LaterProblems, num_processes, rendered_in_order
from g2is.examples.sources import find_sources
from g2is.examples.tokenize import Renderer, make_renderer
from g2is.model.folder import find_model

MODEL = Path(__file__).resolve().parents[3] / "src/g2is/demo/model"
ROWS = 8  # in a batch, here


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "GROUP_ROWS", ROWS)
    monkeypatch.setattr(make_table, "GROUP_ROWS", ROWS)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    model = find_model(ModelConfig(name=str(MODEL)))
    return make_renderer(model.tokenizer(), ExamplesConfig(), model.context_length, num_embeddings=model.num_embeddings)


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """60 rows; of some the answer has no token, some are no JSON, and two share an id."""
    lines = [json.dumps({"id": f"r{n}", "question": f"what is {n}?", "answer": f"it is {n * n}"}) for n in range(60)]
    for bad in (5, 30, 47):
        lines[bad] = "{"
    for empty in (4, 6, 31, 59):
        lines[empty] = json.dumps({"id": f"r{empty}", "question": "?", "answer": ""})
    lines[58] = json.dumps({"id": "r2", "question": "again?", "answer": "yes"})
    path = tmp_path / "pool.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def made(pool: Path, folder: Path, renderer: Renderer, monkeypatch: pytest.MonkeyPatch, num: int) -> dict[str, bytes]:
    monkeypatch.setattr(make_table, "num_processes", lambda _: num)
    tokenize_files(find_sources([str(pool)]), renderer, ExamplesConfig(on_bad_row="skip"), folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_table_and_the_list_of_bad_rows_have_the_same_bytes(
    pool: Path, renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = made(pool, tmp_path / "one", renderer, monkeypatch, 1)
    assert made(pool, tmp_path / "several", renderer, monkeypatch, 2) == alone
    listed = next(text for name, text in alone.items() if name.endswith("bad_rows.jsonl"))
    assert len(listed.splitlines()) == 8


def test_all_bad_rows_are_told_in_the_words_and_order_of_one_process(
    pool: Path, renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for num in (1, 2):
        monkeypatch.setattr(make_table, "num_processes", lambda _, num=num: num)
        with pytest.raises(InputError) as error:
            tokenize_files(find_sources([str(pool)]), renderer, ExamplesConfig(), tmp_path / "cache")
        told.append(str(error.value))
    assert told[0] == told[1]
    assert "8 of 60 rows cannot be used" in told[0]


def test_the_work_is_done_by_other_processes_and_by_this_one_if_they_die(
    pool: Path, renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = made(pool, tmp_path / "one", renderer, monkeypatch, 1)
    processes: list[Any] = []
    here: list[int] = []
    enter, render_many = render_in_order._Process.__enter__, Renderer.render_many

    def kept(process: Any) -> Any:
        entered = enter(process)
        processes.append(entered._process)
        return entered

    monkeypatch.setattr(render_in_order._Process, "__enter__", kept)

    def noted(self: Renderer, of: list[Any]) -> Any:
        here.append(len(of))
        return render_many(self, of)

    monkeypatch.setattr(Renderer, "render_many", noted)
    assert made(pool, tmp_path / "several", renderer, monkeypatch, 2) == alone
    assert not here
    assert all(process.returncode is not None for process in processes)

    def killed(process: Any) -> Any:
        entered = kept(process)
        os.kill(entered._process.pid, signal.SIGKILL)
        return entered

    monkeypatch.setattr(render_in_order._Process, "__enter__", killed)
    assert made(pool, tmp_path / "killed", renderer, monkeypatch, 2) == alone
    assert sum(here) > 50


def test_what_reading_raises_comes_after_the_rows_before_it(renderer: Renderer, pool: Path) -> None:
    later = LaterProblems()
    reader = ExampleReader(find_sources([str(pool)]), ExamplesConfig(), later)

    def batches() -> Iterator[list[Any]]:
        found = iter(reader)
        yield [next(found), next(found)]
        yield [next(found)]
        raise InputError("the file ends in the middle")

    seen = []

    def render() -> None:
        for batch, _, results in rendered_in_order(batches(), later, renderer, 2):
            seen.append((len(batch), len(results)))

    with pytest.raises(InputError, match="the file ends in the middle"):
        render()
    assert seen == [(2, 2), (1, 1), (0, 0)]


@pytest.mark.slow
def test_what_another_process_raises_is_raised_here(renderer: Renderer, pool: Path) -> None:
    class Breaks:
        fingerprint = renderer.fingerprint

        def __reduce__(self) -> Any:
            return _broken, (renderer.fingerprint,)

        def render_many(self, examples: Any) -> Any:
            raise AssertionError("not here")

    later = LaterProblems()
    reader = ExampleReader(find_sources([str(pool)]), ExamplesConfig(), later)
    with pytest.raises(ModelError, match="this template cannot be used"):
        list(rendered_in_order(iter([[next(iter(reader))]]), later, Breaks(), 2))  # type: ignore[arg-type]


def _broken(fingerprint: Any) -> Any:
    class Raises:
        def __init__(self) -> None:
            self.fingerprint = fingerprint

        def render_many(self, examples: Any) -> Any:
            raise ModelError("this template cannot be used")

    return Raises()


def test_small_files_are_rendered_here(monkeypatch: pytest.MonkeyPatch) -> None:
    cpus: Callable[[int], set[int]] = lambda _: {0, 1, 2}  # noqa: E731
    monkeypatch.setattr(os, "sched_getaffinity", cpus)
    assert num_processes(1000) == 1
    assert num_processes(2**30) == 3
