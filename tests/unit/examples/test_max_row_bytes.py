"""A row longer than examples.max_row_bytes is an error of its own in every format, and its memory is bounded."""

import csv
import gzip
import io
import json
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from g2is.config import ExamplesConfig
from g2is.errors import InputError
from g2is.examples.problems import Problems
from g2is.examples.read import ExampleReader
from g2is.examples.sources import find_sources

MOST = 2048
LONG = 'x "y" \\ [{ ' * 400  # quotes, escapes and brackets, which a reader that counts them must not take for its own


def rows(long_first: bool = False) -> list[dict[str, Any]]:
    short = [{"prompt": f'What is "{i}" [{{?', "completion": f"{i}\\"} for i in range(6)]
    long = {"prompt": LONG, "completion": "yes"}
    nested = {"prompt": "p", "completion": "c", "more": {"a": [1, {"b": LONG}], "c": "}]"}}
    return [long, *short, nested] if long_first else [*short[:2], long, *short[2:4], nested, *short[4:]]


def write(path: Path, values: list[dict[str, Any]]) -> Path:
    name = path.name
    lines = [json.dumps(row) for row in values]
    if name == "saved":
        import datasets

        datasets.Dataset.from_list([{k: v for k, v in row.items() if k != "more"} for row in values]).save_to_disk(path)
    elif ".csv" in name:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["prompt", "completion"])
        writer.writerows([(row["prompt"].replace("{", "\n"), row["completion"]) for row in values])
        path.write_text(text.getvalue())
    elif ".parquet" in name:
        pq.write_table(
            pa.Table.from_pylist([{"prompt": r["prompt"], "completion": r["completion"]} for r in values]), path
        )
    else:
        body = {
            "array.json": "[" + ",\n".join(lines) + "]",
            "objects.json": "\n".join(json.dumps(r, indent=1) for r in values),
        }
        body["wrapped.json"] = '{"version": 1, "data": ' + body["array.json"] + "}"
        data = body.get(name, "\n".join(lines) + "\n").encode()
        if name.endswith(".gz"):
            data = gzip.compress(data)
        elif name.endswith(".zst"):
            data = zstandard.compress(data)
        path.write_bytes(data)
    return path


FORMATS = [
    "a.jsonl",
    "a.jsonl.gz",
    "a.jsonl.zst",
    "array.json",
    "objects.json",
    "wrapped.json",
    "a.csv",
    "a.parquet",
    "saved",
]


def read(path: Path, on_bad_row: str = "skip", most: int = MOST) -> tuple[list[str], Problems]:
    config = ExamplesConfig(max_row_bytes=most, on_bad_row=on_bad_row)
    problems = Problems(str(path))
    examples = list(ExampleReader(find_sources([str(path)]), config, problems))
    return [example.conversation.turns[0].content for example in examples], problems


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("long_first", [False, True])
def test_it_is_a_bad_row_and_the_rows_around_it_are_read(tmp_path: Path, name: str, long_first: bool) -> None:
    values = rows(long_first)
    path = write(tmp_path / name, values)
    found, problems = read(path)
    tables = name in ("a.csv", "a.parquet", "saved")  # which have no column `more` here
    assert len(found) == len(values) - (1 if tables else 2)
    assert problems.num_rows == len(values) - len(found)
    number = next(i for i, row in enumerate(values) if row["prompt"] == LONG)
    (problem, *_) = problems.lines()
    assert f"expected a row of at most {MOST} bytes (examples.max_row_bytes), found one of " in problem
    size = int(problem.split("found one of ")[1].split(";")[0])
    assert len(LONG) <= size <= 2 * len(LONG)
    if name.startswith("a.jsonl"):
        assert f":{number + 1}: " in problem
        assert size == len(json.dumps(values[number]))
    whole, none = read(path, most=2 * size)
    assert len(whole) == len(values)
    assert not len(none)


@pytest.mark.parametrize("name", ["array.json", "objects.json", "a.csv"])
def test_a_long_row_that_never_ends_is_said(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, rows())
    text = path.read_text()
    end = text.index("x ") + 3000  # after a "
    path.write_text(text[:end].rsplit('x ""' if name == "a.csv" else "x ", 1)[0])
    with pytest.raises(InputError, match=r"found the end of the file|Unterminated string|never closed") as error:
        read(path)
    assert str(path) in str(error.value)


def peak_of(path: Path) -> tuple[int, Problems]:
    tracemalloc.start()
    try:
        _, problems = read(path)
        return tracemalloc.get_traced_memory()[1], problems
    finally:
        tracemalloc.stop()


def bomb(path: Path, megabytes: int) -> None:
    """One line of that many MB that is nearly nothing on disk."""
    block = b"x" * (1 << 20)
    begin, end = b'{"prompt": "', b'", "completion": "y"}\n'
    packer: Any = (
        zstandard.ZstdCompressor().compressobj() if path.suffix == ".zst" else zlib.compressobj(9, zlib.DEFLATED, 31)
    )
    with path.open("wb") as file:
        for part in (begin, *[block] * megabytes, end):
            file.write(packer.compress(part))
        file.write(packer.flush())


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["jsonl.gz", "jsonl.zst", "json.gz", "csv.gz"])
def test_a_compressed_line_of_gigabytes_takes_no_memory(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bomb.{suffix}"
    bomb(path, 100)
    assert path.stat().st_size < 1 << 20
    if suffix == "csv.gz":
        with pytest.raises(InputError, match=r"bomb.csv.gz:1: expected a row of at most 2048 bytes"):
            read(path)
        return
    peak, problems = peak_of(path)
    assert problems.num_rows == 1
    assert "found one of 1048" in problems.lines()[0]
    assert peak < 40 << 20


def test_a_naive_reader_takes_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "bomb.jsonl.zst"
    bomb(path, 100)
    tracemalloc.start()
    zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak > 100 << 20


def test_parquet_values_that_repeat_are_counted_where_they_stand(tmp_path: Path) -> None:
    """A dictionary holds the value once: a thousand rows of it are a small file."""
    path = tmp_path / "a.parquet"
    table = pa.table({"prompt": pa.array(["z" * 100_000] * 1000), "completion": ["y"] * 1000})
    pq.write_table(table, path, compression="zstd")
    found, problems = read(path, most=50_000)
    assert (len(found), problems.num_rows) == (0, 1000)
    found, problems = read(path, most=200_000)
    assert (len(found), problems.num_rows) == (1000, 0)
