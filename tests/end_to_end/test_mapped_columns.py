"""Files of one command whose columns differ: what is mapped need be in one of them alone."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from small_run import MODEL, SMALL, set_flags

from g2is.demo.skills import write_pool, write_target

Command = Callable[..., tuple[int, str, str]]
SETTINGS = SMALL | {"tuning.lora.rank": "4", "tuning.epochs": "1", "evaluation.generate": "false"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A pool and a target with `reply`, a target and tests with `completion`."""
    write_pool(tmp_path / "messages.jsonl", num_rows=30)
    write_target(tmp_path / "targets.jsonl", num_rows=12)

    def write(name: str, lines: list[str], answer: str) -> None:
        turns = [json.loads(line)["messages"] for line in lines]
        rows = [{"prompt": question["content"], answer: reply["content"]} for question, reply in turns]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    pool, target = ((tmp_path / name).read_text().splitlines() for name in ("messages.jsonl", "targets.jsonl"))
    write("pool.jsonl", pool, "reply")
    write("theirs.jsonl", target[:4], "reply")
    write("ours.jsonl", target[4:8], "completion")
    write("test.jsonl", target[8:], "completion")
    return tmp_path


def command(place: Path, *more: object) -> list[object]:
    return [
        *("compare", place / "pool.jsonl", "--target", f"ours={place / 'ours.jsonl'}"),
        *("--test", f"ours={place / 'test.jsonl'}", "--model", MODEL, "--out", place / "out"),
        *("--methods", "bm25", "--budgets", "4", "--seeds", "1", *set_flags(SETTINGS), *more),
    ]


def test_a_comparison_maps_a_column_that_its_pool_alone_has(g2is: Command, files: Path) -> None:
    code, _, err = g2is(*command(files, "--column", "completion=reply"))
    assert code == 0, err
    assert "| bm25 " in (files / "out/comparison.md").read_text()
    assert "not read" not in err


def test_a_comparison_maps_a_column_that_one_of_its_targets_alone_has(g2is: Command, files: Path) -> None:
    (files / "pool.jsonl").write_text((files / "pool.jsonl").read_text().replace('"reply"', '"completion"'))
    other = ("--target", f"theirs={files / 'theirs.jsonl'}", "--test", f"theirs={files / 'test.jsonl'}")
    code, _, err = g2is(*command(files, *other, "--column", "completion=reply"))
    assert code == 0, err


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_column_that_no_file_of_a_comparison_has_is_refused(g2is: Command, files: Path, dry: tuple[str, ...]) -> None:
    flags = ("--column", "completion=reply", "--column", "prompt=question")
    code, _, err = g2is(*command(files, *flags, *dry))
    assert code == 2
    assert "prompt=question: expected columns of the files, found only prompt, reply, completion" in err


@pytest.mark.parametrize("name", ["select", "select --dry-run", "plan"])
def test_a_column_that_neither_pool_nor_target_has_is_refused(g2is: Command, files: Path, name: str) -> None:
    first, *dry = name.split()
    given = [files / "pool.jsonl", files / "ours.jsonl", "--model", MODEL, "--out", files / "run", *dry]
    flags = ("--column", "completion=reply", "--column", "prompt=question", *set_flags(SMALL))
    code, _, err = g2is(first, *given, *flags)
    assert code == 2
    assert "prompt=question: expected columns of the files, found only prompt, reply, completion" in err
    assert not (files / "run").exists()
