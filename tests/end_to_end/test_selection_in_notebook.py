"""A selection as a dataset and as a table, in Python."""

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest

import g2is
from g2is.errors import InputError

CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
OTHER = {"type": "function", "function": {"name": "say", "arguments": {"text": "x"}}}
ROWS: list[dict[str, Any]] = [
    {"id": "plain", "messages": [{"role": "user", "content": "1?"}, {"role": "assistant", "content": "2"}]},
    {
        "id": "calls",
        "messages": [
            {"role": "user", "content": "1+1?"},
            {"role": "assistant", "content": "", "tool_calls": [CALL], "train": False},
            {"role": "tool", "content": "2", "tool_call_id": "c"},
            {"role": "assistant", "content": "two", "prefill": "t", "tool_calls": [OTHER]},
        ],
        "tools": [{"type": "function", "function": {"name": "add", "parameters": {"properties": {"a": {}}}}}],
    },
]


def test_the_dataset_holds_each_row_with_its_own_keys_alone(run: Path) -> None:
    if not hasattr(datasets, "Json"):
        pytest.skip(f"datasets {datasets.__version__} has no feature Json")
    (run / "selected.messages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    dataset = g2is.Selection(run, *[[]] * 4).to_dataset()  # type: ignore[arg-type]
    assert dataset["id"] == ["plain", "calls"]
    found = [
        [{key: value for key, value in turn.items() if value is not None} for turn in row]
        for row in dataset["messages"]
    ]
    assert found == [row["messages"] for row in ROWS]
    assert dataset["tools"] == [None, ROWS[1]["tools"]]


@pytest.mark.parametrize("row", [ROWS[1], {**ROWS[0], "tools": ROWS[1]["tools"]}], ids=["calls", "tools"])
def test_tools_and_calls_are_refused_where_datasets_has_no_json(
    row: dict[str, Any], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(datasets, "Json", raising=False)  # as it is before 4.7
    file = run / "selected.messages.jsonl"
    file.write_text(json.dumps(ROWS[0]) + "\n" + json.dumps(row) + "\n")
    selection = g2is.Selection(run, *[[]] * 4)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"expected datasets 4\.7 or newer, whose feature Json holds tools"):
        selection.to_dataset()
    file.write_text(json.dumps(ROWS[0]) + "\n")
    assert selection.to_dataset()["messages"] == [ROWS[0]["messages"]]


def test_the_table_is_that_of_the_file(finished: Path) -> None:
    selection = g2is.export(finished)
    table = selection.to_pandas()
    assert table["id"].tolist() == list(selection.ids) == selection.to_dataset()["id"]
    assert list(table.columns) == pq.read_schema(finished / "selection.parquet").names
