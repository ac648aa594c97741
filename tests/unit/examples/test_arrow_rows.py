import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from g2is.errors import InputError
from g2is.examples.arrow_rows import BATCH_ROWS, read_dataset, read_parquet
from g2is.examples.records import Record


def parquet(folder: Path, table: pa.Table, **options: Any) -> Path:
    path = folder / "rows.parquet"
    pq.write_table(table, path, **options)
    return path


def test_rows_are_numbered_over_row_groups_and_batches(tmp_path: Path) -> None:
    rows = [{"a": f"é{n}", "n": n} for n in range(2 * BATCH_ROWS + 5)]
    path = parquet(tmp_path, pa.Table.from_pylist(rows), row_group_size=100)
    seen: list[tuple[int, int]] = []
    records = list(read_parquet(path, lambda done, total: seen.append((done, total))))
    assert [record.line for record in records] == list(range(len(rows)))
    assert [record.values for record in records] == rows
    assert records[1].raw == '{"a": "é1", "n": 1}'.encode()
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
    assert seen == sorted(seen)


def test_every_type_that_text_can_hold_becomes_json(tmp_path: Path) -> None:
    row = {
        "day": datetime.date(2025, 1, 31),
        "time": datetime.datetime(2025, 1, 31, 12, 30),
        "price": decimal.Decimal("1.50"),
        "ratio": float("nan"),
        "turns": [{"role": "user", "content": None, "score": float("inf")}],
        "none": None,
        "flag": True,
    }
    table = pa.Table.from_pylist([row])
    word = pa.array(["x"]).dictionary_encode()
    (record,) = read_parquet(parquet(tmp_path, table.append_column("word", word)))
    assert json.loads(record.raw) == {
        "day": "2025-01-31",
        "time": "2025-01-31T12:30:00",
        "price": "1.50",
        "ratio": None,
        "turns": [{"role": "user", "content": None, "score": None}],
        "none": None,
        "flag": True,
        "word": "x",
    }


@pytest.mark.parametrize("value", [b"\x89PNG", {"bytes": b"\x89PNG", "path": "x.png"}])
def test_bytes_are_refused_row_by_row(value: Any, tmp_path: Path) -> None:
    first, second = read_parquet(parquet(tmp_path, pa.Table.from_pylist([{"a": value}, {"a": None}])))
    assert isinstance(first.values, InputError)
    assert str(first.values) == "expected text in `a`, found bytes; cast it, or leave it out"
    assert second.values == {"a": None} or second.values == {"a": {"bytes": None, "path": None}}


def test_text_that_is_not_utf_8_spoils_its_row_and_no_other(tmp_path: Path) -> None:
    broken = pa.array([b"good", b"\xe9", b"good"]).view(pa.string())
    records = list(read_parquet(parquet(tmp_path, pa.table({"a": broken}))))
    assert [isinstance(record.values, dict) for record in records] == [True, False, True]
    assert "expected UTF-8 text, found byte 0xe9" in str(records[1].values)


def test_parquet_that_is_none_or_not_whole_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path, pa.Table.from_pylist([{"a": "x" * 50 + str(n)} for n in range(5000)]), compression="none")
    whole = path.read_bytes()
    for data, expected in (
        (whole[: len(whole) // 2], "expected a whole Parquet file, found it truncated or damaged"),
        (whole[:100] + b"\0" * 5000 + whole[5100:], "expected a whole Parquet file, found it truncated or damaged"),
        (b'{"a": 1}\n', r"expected Parquet from its suffix, found other data \(first bytes 7b 22 61 22\)"),
        (b"", "found an empty file"),
    ):
        path.write_bytes(data)
        with pytest.raises(InputError, match=expected) as error:
            list(read_parquet(path))
        assert str(path) in str(error.value)
    packed = tmp_path / "rows.parquet.gz"
    packed.write_bytes(whole)
    with pytest.raises(InputError, match="unpack it"):
        list(read_parquet(packed))


def test_a_dataset_gives_its_rows_whatever_their_format_or_order() -> None:
    rows = [{"a": f"x{n}", "n": n} for n in range(10)]
    dataset = datasets.Dataset.from_list(rows)
    expected = [Record(n, json.dumps(row).encode(), row) for n, row in enumerate(rows)]
    assert list(read_dataset(dataset, 1)) == expected
    assert list(read_dataset(dataset.with_format("numpy", columns=["n"]), 1)) == expected
    picked = [record.values for record in read_dataset(dataset.select([7, 2]), 1)]
    assert picked == [rows[7], rows[2]]


def test_a_row_with_nan_and_bytes_is_a_bad_row(tmp_path: Path) -> None:
    path = parquet(tmp_path, pa.table({"score": [float("nan")], "blob": [b"\0"]}))
    (record,) = read_parquet(path)
    assert isinstance(record.values, InputError)
    assert str(record.values) == "expected text in `blob`, found bytes; cast it, or leave it out"


def test_a_moment_in_a_zone_that_python_does_not_know_is_in_utc(tmp_path: Path) -> None:
    moments = {zone: pa.array([0], pa.timestamp("us", tz=zone)) for zone in ("GMT+8", "+02:00", "UTC")}
    (record,) = read_parquet(parquet(tmp_path, pa.table(moments)))
    assert json.loads(record.raw) == {
        "GMT+8": "1970-01-01T00:00:00+00:00",
        "+02:00": "1970-01-01T02:00:00+02:00",
        "UTC": "1970-01-01T00:00:00+00:00",
    }
    within = pa.array([{"at": 0}], pa.struct([("at", pa.timestamp("us", tz="GMT+8"))]))
    (record,) = read_parquet(parquet(tmp_path, pa.table({"within": within})))
    assert isinstance(record.values, InputError)


def test_a_column_that_comes_twice_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"]), pa.array(["c"])], names=["x", "y", "y"])
    with pytest.raises(InputError, match="expected columns of different names, found `y` more than once"):
        list(read_parquet(parquet(tmp_path, table)))


def test_nan_is_no_value_alone_and_within(tmp_path: Path) -> None:
    nan = float("nan")
    turns = [[{"weight": nan, "role": "user"}], [{"weight": 0.0, "role": "x"}]]
    table = pa.table({"weight": [nan, 1.0], "turns": turns})
    first, second = read_parquet(parquet(tmp_path, table))
    assert first.values == {"weight": None, "turns": [{"role": "user"}]}
    assert second.values == {"weight": 1.0, "turns": [{"weight": 0.0, "role": "x"}]}
