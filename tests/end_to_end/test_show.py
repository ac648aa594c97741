"""`g2is show`, the end of `select`, and a selection in Python: its first rows and counts, of older runs too."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_run import MODEL, selected_ids

import g2is as package
from g2is.outputs.columns import ABOUT
from g2is.store.digests import record_digests
from g2is.store.files import read_json

Command = Callable[..., tuple[int, str, str]]
# The columns of selection.parquet before its rows were told of.
BEFORE = (
    *("row", "id", "order", "target", "component", "trail", "role", "similarity_to_previous", "similarity_to_core"),
    *("consistency", "score", "nearest_target_id"),
)


def as_before(run: Path) -> None:
    """Write the tables of a run as older versions did."""
    path = run / "selection.parquet"
    table = pq.read_table(path)
    kinds = {name: pa.int32() if name in ("component", "trail") else pa.float32() for name in BEFORE}
    empty = {name: pa.nulls(len(table), kind) for name, kind in kinds.items()}
    columns = {name: table[name].combine_chunks() if name in table.column_names else empty[name] for name in BEFORE}
    pq.write_table(pa.table(columns).replace_schema_metadata(table.schema.metadata), path)
    scores = pq.read_table(run / "scores.parquet")
    pq.write_table(scores.drop_columns(["selected"]), run / "scores.parquet")
    record_digests(run, ["selection.parquet", "scores.parquet"])


def test_each_row_of_the_table_is_told_as_the_pool_has_it(finished: Path, sample: Path) -> None:
    rows = [json.loads(line) for line in (sample / "pool.jsonl").read_text().splitlines()]
    table = pq.read_table(finished / "selection.parquet").to_pylist()
    summary = read_json(finished / "summary.json")
    assert len(table) == 15
    for row in table:
        turns = rows[row["row"]]["messages"]
        assert row["text"] == next(turn["content"] for turn in turns if turn["role"] == "user").strip()[:200]
        assert row["characters"] == sum(len(turn["content"]) for turn in turns)
        assert row["source"] == rows[row["row"]].get("source", "pool")
        assert 0 < row["answer_tokens"] < row["tokens"]
    assert sum(row["tokens"] for row in table) == summary["selected"]["tokens"]
    assert sum(row["answer_tokens"] for row in table) == summary["selected"]["answer_tokens"]
    scores = pq.read_table(finished / "scores.parquet").to_pydict()
    taken = [id_ for id_, is_taken in zip(scores["id"], scores["selected"], strict=True) if is_taken]
    assert sorted(taken) == sorted(selected_ids(finished))


def test_show_prints_the_first_rows_and_the_counts(finished: Path, g2is: Command) -> None:
    code, out, err = g2is("show", finished)
    assert (code, err) == (0, "")
    table = pq.read_table(finished / "selection.parquet").to_pylist()
    assert out.startswith("15 rows selected of 150, ")
    assert "tokens a row" in out
    assert "the first 10 of 15 rows" in out
    for row in table[:10]:
        (line,) = [line for line in out.splitlines() if f" {row['id']} " in line]
        assert " ".join(row["text"].split()) in line
        assert f"{row['score']:.4f}" in line
    assert f" {table[10]['id']} " not in out
    assert "score: what the row says of the target beyond the rows taken before" in out
    code, out, _ = g2is("show", finished, "--rows", "2")
    assert "the first 2 of 15 rows" in out
    code, out, _ = g2is("show", finished, "--rows", "0")
    assert (code, out.startswith("15 rows selected"), "the first" in out) == (0, True, False)


def test_show_as_json_has_what_each_column_says(finished: Path, g2is: Command) -> None:
    code, out, err = g2is("show", finished, "--json", "--rows", "3")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["num_selected"] == 15
    assert found["counts"]["pool"]["rows"] == 150
    assert found["rows"] == pq.read_table(finished / "selection.parquet").to_pylist()[:3]
    assert list(found["columns"]) == list(found["rows"][0])
    assert all(told["meaning"] for told in found["columns"].values())


def test_select_ends_with_five_rows_and_where_more_are(g2is: Command, run: Path) -> None:
    code, out, err = g2is("run", run / "config.yaml")
    assert code == 0, err
    end = out[out.index("the first 5 of 15 rows; more with `g2is show ") :]
    first = pq.read_table(run / "selection.parquet").to_pylist()[:6]
    assert all(row["id"] in end for row in first[:5])
    assert first[5]["id"] not in end
    assert str(run) in end


def test_orders_to_a_terminal_stay_text(g2is: Command, run: Path) -> None:
    path = run / "selection.parquet"
    table = pq.read_table(path)
    hostile = ["\x1b[2J\u202egone\n[red]x[/red]"] * len(table)
    at = table.schema.get_field_index("text")
    pq.write_table(table.set_column(at, table.schema.field("text"), pa.array(hostile)), path)
    record_digests(run, ["selection.parquet"])
    code, out, _ = g2is("show", run)
    assert code == 0
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "␛[2J�gone [red]x[/red]" in out


def test_tables_of_older_runs_are_read_by_every_command(run: Path, g2is: Command, tmp_path: Path) -> None:
    as_before(run)
    taken = selected_ids(run)
    code, out, err = g2is("show", run)
    assert code == 0, err
    assert taken[0] in out
    assert "similarity_to_previous" not in out
    assert g2is("verify", run)[0] == 0
    for command in (("export", run), ("explain", run, taken[0], "0"), ("report", run, "--out", tmp_path / "page.html")):
        code, _, err = g2is(*command)
        assert code == 0, (command, err)
    before = (run / "selection.parquet").read_bytes()
    code, out, err = g2is("run", run / "config.yaml")
    assert code == 0, err
    assert "15 rows selected" in out
    assert (run / "selection.parquet").read_bytes() == before
    assert selected_ids(run) == taken
    assert not set(ABOUT) & set(package.export(run).to_pandas().columns)


def test_a_walk_on_matrices_is_shown_by_its_row_numbers(g2is: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = {}
    for name, num_rows in (("pool", 40), ("target", 5)):
        files[name] = tmp_path / f"{name}.npy"
        np.save(files[name], rng.normal(size=(num_rows, 8)).astype(np.float32))
    record = package.walk_matrices(
        pool_gradients=files["pool"], target_gradients=files["target"], out=tmp_path / "walk", budget=6
    )
    code, out, err = g2is("show", tmp_path / "walk")
    assert code == 0, err
    assert out.startswith("6 rows selected of 40\n")
    assert [line.split()[:2] for line in out.splitlines() if line[:1].isdigit()][1:] == [
        [str(order + 1), str(row)] for order, row in enumerate(record.rows.tolist())
    ]
    assert " text" not in out


def test_a_folder_without_a_selection_is_one_message(run: Path, g2is: Command, tmp_path: Path) -> None:
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned/config.yaml").write_text("command: train\n")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/config.yaml").write_text("command: select\n")
    (run / "selection.parquet").write_bytes((run / "selection.parquet").read_bytes()[:-1])
    told: dict[Any, str] = {
        tmp_path / "none": "found no such folder",
        run / "config.yaml": f"found a file; of files of examples `g2is inspect {run / 'config.yaml'}` shows what",
        tmp_path / "tuned": "found the folder of `g2is train`",
        tmp_path / "begun": "found a run that has selected nothing yet",
        run: "found it damaged; make it anew with `g2is verify",
    }
    for folder, text in told.items():
        code, out, err = g2is("show", folder)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert text in err


def test_a_selection_in_python_is_shown_in_short_and_as_a_table(run: Path) -> None:
    selection = package.export(run)
    first = selection.ids[:3]
    assert repr(selection) == f"Selection({str(run)!r}, 15 rows, {', '.join(map(repr, first))}, …)"
    page = selection._repr_html_()
    assert page.startswith(f"<p>15 rows selected: {run}</p><table>")
    assert page.count("<tr>") == 11
    assert "<p>5 more rows</p>" in page
    (run / "selection.parquet").unlink()
    assert selection._repr_html_() == f"<p>15 rows selected: {run}</p>"


@pytest.mark.parametrize("method", ["random", "less-rr", "g2is"])
def test_what_a_method_leaves_empty_is_no_column(method: str, sample: Path, finished: Path, tmp_path: Path) -> None:
    selection = package.select(
        pool=sample / "pool.jsonl",
        target=sample / "target.jsonl",
        model=MODEL,
        out=tmp_path / "run",
        store=finished / "store",
        budget=6,
        warmup={"learning_rate": 2e-3, "lora": {"rank": 4}, "fraction": 0.3, "epochs": 1},
        gradients={"projection": {"dim": 512}},
        execution={"shard_rows": 64, "report": False},
        selection={"method": method},
    )
    table = pq.read_table(selection.folder / "selection.parquet")
    assert all(table[name].null_count < 6 for name in table.column_names)
    walked = {"component", "trail", "similarity_to_previous", "similarity_to_core", "consistency"}
    has = set(table.column_names)
    assert walked & has == (walked if method == "g2is" else set())
    assert ("score" in has) == (method == "less-rr")
    assert ("nearest_target_id" in has) == (method != "random")
    assert set(ABOUT) <= has
