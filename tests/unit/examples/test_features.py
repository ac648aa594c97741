"""Rows of `datasets` and of its Parquet files are what `ds[i]` gives, for every kind of feature."""

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import (
    Array2D,
    ClassLabel,
    Dataset,
    Features,
    Image,
    LargeList,
    List,
    Sequence,
    Translation,
    Value,
    load_from_disk,
)

from g2is.errors import InputError
from g2is.examples.arrow_rows import read_dataset, read_parquet
from g2is.examples.records import Record

Json = getattr(datasets, "Json", None)  # there from datasets 4.7 on
ROWS: dict[str, tuple[Any, list[Any]]] = {
    "class label": (ClassLabel(names=["no", "yes"]), [1, 0]),
    "sequence of structs": (Sequence({"q": Value("string"), "n": Value("int8")}), [{"q": ["a"], "n": [1]}]),
    "large list": (LargeList(Value("int8")), [[1, 2], []]),
    "array": (Array2D((2, 2), "int8"), [[[1, 2], [3, 4]]]),
    "translation": (Translation(["de", "en"]), [{"de": "ja", "en": "yes"}]),
    "date": (Value("timestamp[s]"), [datetime.datetime(2025, 1, 31, 12), None]),
    "text": (Value("large_string"), ["é", ""]),
}
if Json is not None:
    TURN = {"role": Value("string"), "content": Value("string"), "meta": Json()}
    ROWS |= {
        "json": (Json(), [{"n": 1, "tags": ["a"], "none": None}, "text", [1, {"a": 2}], 3, None]),
        "json in lists": (List(Json()), [[{"role": "user", "meta": {"n": 1}}, {"role": "user"}], [], None]),
        "json in structs": ({"a": Json(), "b": Value("string")}, [{"a": {"x": None}, "b": "b"}, {"a": [1], "b": None}]),
        "json in structs in lists": (List(TURN), [[{"role": "r", "content": "c", "meta": {"n": 1}}]]),
        "json in large lists": (LargeList(Json()), [[{"n": 1}, "x"], []]),
        "json that is not decoded": (Json(decode=False), ['{"n":1}', None]),
        "json in a sequence": (Sequence({"q": Value("string"), "j": Json()}), [{"q": ["a"], "j": [{"n": 1}]}]),
    }


def given(value: Any, feature: Any) -> Any:
    """`value` without the nulls that its structs have only because other rows have something there."""
    if isinstance(feature, Sequence | List | LargeList) and not isinstance(feature.feature, dict):
        return None if value is None else [given(item, feature.feature) for item in value]
    if isinstance(feature, List) and value is not None:
        return [given(item, feature.feature) for item in value]
    if isinstance(feature, dict) and value is not None:
        return {key: given(item, feature[key]) for key, item in value.items() if item is not None}
    return value


def everywhere(rows: list[Any], feature: Any, folder: Path) -> Iterator[tuple[Dataset, list[Record]]]:
    """The rows as a dataset in memory, one on disk, and a Parquet file: what `datasets` gives, and what is read."""
    dataset = Dataset.from_dict({"x": rows}, features=Features({"x": feature}))
    yield dataset, list(read_dataset(dataset, 1))
    dataset.save_to_disk(folder / "saved")
    saved = load_from_disk(str(folder / "saved"))
    yield saved, list(read_dataset(saved, 1))
    dataset.to_parquet(folder / "rows.parquet")
    yield dataset, list(read_parquet(folder / "rows.parquet"))


@pytest.mark.parametrize("kind", ROWS)
def test_every_feature_is_what_the_dataset_gives(kind: str, tmp_path: Path) -> None:
    feature, rows = ROWS[kind]
    for dataset, records in everywhere(rows, feature, tmp_path):
        expected = [dataset[index] for index in range(len(rows))]
        assert [record.values for record in records] == [{"x": given(row["x"], feature)} for row in expected]
        assert [json.loads(record.raw) for record in records] == json.loads(json.dumps(expected, default=_iso))


def _iso(value: datetime.datetime) -> str:
    return value.isoformat()


def test_a_null_that_a_struct_was_filled_up_with_is_none_but_one_within_json_is() -> None:
    if Json is None:
        pytest.skip(f"datasets {datasets.__version__} has no feature Json")
    rows: list[dict[str, Any]] = [{"a": {"city": None, "to": "Rome"}, "j": {"city": None}}]
    dataset = Dataset.from_list(
        rows, features=Features({"a": {"city": Value("string"), "to": Value("string")}, "j": Json()})
    )
    (record,) = read_dataset(dataset, 1)
    assert record.values == {"a": {"to": "Rome"}, "j": {"city": None}}
    assert json.loads(record.raw) == rows[0]


_PICTURE = {"bytes": b"\x89PNG", "path": "a.png"}
IMAGES: dict[str, tuple[Any, Any, Any]] = {
    "one": (Image(), _PICTURE, None),
    "some": (List(Image()), [_PICTURE], []),
    "in turns": (
        List({"type": Value("string"), "image": Image()}),
        [{"type": "image", "image": _PICTURE}],
        [{"type": "text", "image": None}],
    ),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_is_refused_by_its_column_and_its_absence_is_not(kind: str, tmp_path: Path) -> None:
    feature, there, absent = IMAGES[kind]
    schema = Features({"photo": feature}).arrow_schema
    dataset = Dataset(pa.table({"photo": pa.array([there, absent], schema.field("photo").type)}).cast(schema))
    dataset.to_parquet(tmp_path / "rows.parquet")
    for first, second in (list(read_dataset(dataset, 1)), list(read_parquet(tmp_path / "rows.parquet"))):
        assert isinstance(first.values, InputError)
        assert str(first.values).startswith("expected text alone in `photo`, found image, which a text model cannot")
        assert isinstance(second.values, dict)


def test_json_columns_that_others_wrote_are_decoded_and_text_that_is_none_spoils_its_row(tmp_path: Path) -> None:
    column = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}', "{", None]))
    pq.write_table(pa.table({"x": column}), tmp_path / "rows.parquet")
    first, second, third = read_parquet(tmp_path / "rows.parquet")
    assert (first.values, third.values) == ({"x": {"a": 1}}, {"x": None})
    assert isinstance(second.values, InputError)
    assert str(second.values).startswith("expected JSON in `x`, found text that is none")
