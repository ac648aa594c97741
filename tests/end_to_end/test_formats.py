"""The same rows in every format and layout are the same examples, from the files to the selection."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
import zstandard
from small_run import MODEL, SMALL, selected_ids, set_flags

from g2is.config import ExamplesConfig, ModelConfig
from g2is.examples.make_table import tokenize_files
from g2is.examples.sources import find_sources
from g2is.examples.tokenize import Renderer, make_renderer
from g2is.model.folder import find_model

Command = Callable[..., tuple[int, str, str]]
Row = dict[str, Any]

PAIRS = [(f'What is {n} + {n},\n and "why"?', f"It is {2 * n}: né, {n} twice.") for n in range(40)]
LAYOUTS: dict[str, Callable[[str, str], Row]] = {
    "messages": lambda q, a: {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]},
    "messages-sharegpt": lambda q, a: {"messages": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]},
    "sharegpt": lambda q, a: {"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]},
    "alpaca": lambda q, a: {"instruction": q, "input": "", "output": a},
    "llama-factory": lambda q, a: {"instruction": q, "output": a, "system": "", "history": []},
    "prompt/completion": lambda q, a: {"prompt": q, "completion": a},
    "inputs/targets": lambda q, a: {"inputs": q, "targets": a},
    "question/answer": lambda q, a: {"question": q, "answer": a},
}


def write(path: Path, rows: list[Row]) -> Path:
    """Write `rows` in the format that the suffix of `path` says."""
    inner = path.with_suffix("") if path.suffix in (".gz", ".zst") else path
    if inner.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif inner.suffix == ".saved":
        datasets.Dataset.from_list(rows).save_to_disk(path)
    else:
        with inner.open("w", newline="", encoding="utf-8") as file:
            if inner.suffix == ".json":
                json.dump(rows, file, indent=1)
            elif inner.suffix == ".csv":
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                lists = [{key: json.dumps(v) if isinstance(v, list) else v for key, v in row.items()} for row in rows]
                writer.writerows(lists)
            else:
                file.writelines(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(inner.read_bytes()))
    elif path.suffix == ".zst":
        path.write_bytes(zstandard.ZstdCompressor().compress(inner.read_bytes()))
    return path


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    model = find_model(ModelConfig(name=str(MODEL)))
    return make_renderer(model.tokenizer(), ExamplesConfig(), model.context_length)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_rows_have_the_same_keys_in_every_format(layout: str, renderer: Renderer, tmp_path: Path) -> None:
    rows = [{"id": f"r{n}", **LAYOUTS[layout](*pair), "group": n % 3} for n, pair in enumerate(PAIRS)]
    suffixes = ("jsonl", "ndjson.zst", "jsonl.gz", "json", "json.gz", "csv", "csv.zst", "parquet", "saved")
    found = {}
    for suffix in suffixes:
        path = write(tmp_path / f"{suffix[:3]}.{suffix}", rows)
        table = tokenize_files(find_sources([str(path)]), renderer, ExamplesConfig(), tmp_path / "cache")
        assert table.ids == [row["id"] for row in rows], suffix
        assert table.groups == [str(row["group"]) for row in rows], suffix
        found[suffix] = table.keys.tobytes()
    messages = [{"id": f"r{n}", **LAYOUTS["messages"](*pair)} for n, pair in enumerate(PAIRS)]
    expected = tokenize_files(
        find_sources([str(write(tmp_path / "expected.jsonl", messages))]),
        renderer,
        ExamplesConfig(),
        tmp_path / "cache",
    )
    assert len(expected) == 40
    assert [suffix for suffix, keys in found.items() if keys != expected.keys.tobytes()] == []


def rows_of(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_parquet_pool_and_a_csv_target_give_the_selection_of_json_lines(
    finished: Path, sample: Path, g2is: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool in two files, one of them with rows that cannot be used, its columns under names of their own."""
    pool, target = rows_of(sample / "pool.jsonl"), rows_of(sample / "target.jsonl")
    write(tmp_path / "pool-1.parquet", pool[:70])
    bad = {**pool[0], "id": "bad", "messages": [{"role": "user", "content": "no answer"}]}
    rest = [{("uid" if key == "id" else key): value for key, value in row.items()} for row in (bad, *pool[70:])]
    write(tmp_path / "pool-2.jsonl.gz", rest)
    write(tmp_path / "target.csv", target)
    monkeypatch.chdir(tmp_path)
    command = (
        *("select", "pool-*.parquet", "pool-2.jsonl.gz", "--target", "target.csv", "--model", MODEL, "--out", "run"),
        *("--column", "id=uid", "--on-bad-row", "skip", "--budget", "10%", *set_flags(SMALL)),
    )
    code, out, err = g2is(*command)
    assert code == 0, err
    assert "pool: 1 row cannot be used and is set aside" in err
    assert "run/bad_rows.jsonl" in out
    assert selected_ids_of(Path("run")) == selected_ids(finished)
    numbers = [row if row < 70 else row + 1 for row in selection(finished)["row"]]
    assert selection(Path("run"))["row"] == numbers
    assert pq.read_table("run/scores.parquet").column("row").to_pylist() == [*range(70), *range(71, 151)]
    originals = {row["id"]: row for row in pool}
    for line in rows_of(Path("run/selected.jsonl")):
        number = line.get("uid") or line["id"]
        assert {("id" if key == "uid" else key): value for key, value in line.items()} == originals[number]
    assert Path("run/selected.messages.jsonl").read_bytes() == (finished / "selected.messages.jsonl").read_bytes()
    (listed,) = rows_of(Path("run/bad_rows.jsonl"))
    assert (listed["file"], listed["line"], listed["id"]) == (str(tmp_path / "pool-2.jsonl.gz"), 1, "bad")
    assert json.loads(listed["raw"])["uid"] == "bad"
    assert listed["problem"] == "expected an assistant turn, found only user"

    before = (Path("run/bad_rows.jsonl").read_bytes(), Path("run/selected.jsonl").read_bytes())
    code, _, err = g2is(*command)
    assert code == 0, err
    assert "1 row cannot be used" in err
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = tmp_path / "run/config.yaml"
    assert yaml.safe_load(config.read_text())["pool"] == [
        str(tmp_path / "pool-*.parquet"),
        str(tmp_path / "pool-2.jsonl.gz"),
    ]
    code, _, err = g2is("run", config)
    assert code == 0, err
    code, _, err = g2is("export", tmp_path / "run")
    assert code == 0, err
    monkeypatch.chdir(tmp_path)
    assert (Path("run/bad_rows.jsonl").read_bytes(), Path("run/selected.jsonl").read_bytes()) == before

    # how rows are read decides which rows there are, not their gradients
    code, _, err = g2is(
        *("select", sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--out", "again"),
        *("--store", "run/store", "--budget", "10%", *set_flags(SMALL)),
    )
    assert code == 0, err
    assert "gradients of" not in err


def selection(run: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = pq.read_table(run / "selection.parquet").to_pydict()
    return found


def selected_ids_of(run: Path) -> list[str]:
    return [str(found) for found in selection(run)["id"]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("pool.jsonl",), "expected a pool and a target, found 1 file and no --target"),
        (("pool.jsonl", "pool.jsonl", "target.jsonl"), "found 3 files and no --target; write `g2is"),
        (("--target", "target.jsonl"), "expected the pool's files beside --target, found none"),
        ((), "found 0 files and no --target"),
        (("none-*.jsonl", "--target", "target.jsonl"), "none-*.jsonl: expected files that match, found none"),
        (("pool.jsonl", "hf:nobody/nothing:train"), "hf:nobody/nothing:train: expected a dataset"),
        (("nobody/nothing", "target.jsonl"), "hf:nobody/nothing:split"),
        (("pool.jsonl", "target.jsonl", "--schema", "chatml"), "'sharegpt'"),
        (("pool.jsonl", "target.jsonl", "--column", "awnser=x"), "did you mean answer?"),
        (("pool.jsonl", "target.jsonl", "--column", "answer"), "expected NAME=COLUMN"),
        (("pool.jsonl", "target.jsonl", "--column", "id=a", "--column", "id=b"), "expected one column to be id"),
        (
            ("pool.jsonl", "target.jsonl", "--column", "group=skill"),
            "group=skill: expected columns of the files, found",
        ),
        (("pool.jsonl", "target.jsonl", "--on-bad-row", "ignore"), "'stop' or 'skip'"),
        (("pool.jsonl", "pool.jsonl", "--target", "target.jsonl"), "found it twice"),
    ],
)
def test_wrong_files_and_flags_are_one_message(
    arguments: tuple[str, ...],
    expected: str,
    g2is: Command,
    sample: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(sample)
    code, _, err = g2is("select", *arguments, "--model", MODEL, "--out", tmp_path / "run")
    assert code == 2, err
    assert expected in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["warmup", "gradients", "walk"])
def test_every_stage_tells_pool_and_target_apart_alike(
    command: str, g2is: Command, sample: Path, tmp_path: Path
) -> None:
    pool = sample / "pool.jsonl"
    code, _, err = g2is(command, pool, pool, pool, "--model", MODEL, "--out", tmp_path / "run")
    assert code == 2
    assert f"g2is {command}: expected a pool and a target, found 3 files and no --target" in err
    code, out, err = g2is(
        *(command, pool, "--target", sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "run", "--dry-run"),
        *set_flags(SMALL),
    )
    assert code == 0, err
    assert "150 rows" in out


def test_inspect_shows_what_is_recognised_and_marks_what_is_learned(
    g2is: Command, sample: Path, tmp_path: Path
) -> None:
    code, out, err = g2is("inspect", sample / "pool.jsonl", "--model", MODEL, "--column", "source=task")
    assert code == 0, err
    assert f"{sample / 'pool.jsonl'}: JSON lines, messages, 150 rows" in out
    assert "mapped      source=task" in out
    assert "addition" in out
    assert "lengths     tokens: min" in out
    first = rows_of(sample / "pool.jsonl")[0]["messages"]
    assert f"«{first[-1]['content']}" in out.replace(" »", "»")
    bad = write(tmp_path / "bad.csv", [{"question": "q :smile:", "answer": a, "id": a} for a in ("a", "", "b", "a")])
    code, out, _ = g2is("inspect", bad)
    assert code == 2
    assert "4, of which 2 can be used" in out
    assert "user: q :smile:\nassistant: «a»" in out
    assert "2 problems:" in out
    assert f"{bad}:3" in out
    (tmp_path / "empty.csv").write_text("prompt,completion\n")
    code, out, _ = g2is("inspect", tmp_path / "empty.csv")
    assert code == 2
    assert "empty.csv: CSV, 0 rows\n" in out
    code, _, err = g2is("inspect", tmp_path / "none.csv")
    assert code == 2
    assert "none.csv: expected a file, found none" in err
