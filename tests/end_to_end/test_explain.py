"""`g2is explain` on a real run: what it says is held against the run's own tables and stored rows."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from small_run import MODEL, selected_ids

import g2is
from g2is.errors import InputError, StoreError
from g2is.report.packing import shortened
from g2is.store.files import read_json, write_json

Command = Callable[..., tuple[int, str, str]]


def test_every_row_of_the_pool_is_explained_by_what_the_run_did(finished: Path) -> None:
    scores = pq.read_table(finished / "scores.parquet").to_pydict()
    taken = selected_ids(finished)
    rows = {row["id"]: row for row in g2is.explain(finished, scores["id"])}
    assert [row["id"] for row in rows.values() if row["state"] == "selected"] == sorted(taken, key=scores["id"].index)
    column = np.array(scores["similarity.target"])
    order = np.argsort(-column, kind="stable")
    for rank, place in enumerate(order[:20].tolist(), start=1):
        assert rows[scores["id"][place]]["ranks"]["similarity.target"]["rank"] == rank
    last = pq.read_table(finished / "selection.parquet").to_pylist()[-1]
    lost = [row for row in rows.values() if row["state"] == "not selected"]
    worth = [row["at_the_end"]["score"] for row in lost if "at_the_end" in row]
    assert {row["at_the_end"]["its_score"] for row in lost if "at_the_end" in row} == {shortened(last["score"])}
    assert worth, "no row was chosen once more"
    assert max(worth) <= last["score"] + 1e-3
    for row in lost:
        assert row["reason"]
        assert ("at_the_end" in row) != ("rule" in row), row
        assert "unknown" not in row
        if "covered_by" in row:
            assert row["covered_by"]["cosine"] >= 0.98 - 1e-3
    one = rows[taken[0]]
    assert one["order"] == 0
    assert one["nearest_target"][0]["id"] == one["nearest_target_id"]
    assert all(near["id"] != one["id"] for near in one["neighbours"])


def test_in_the_terminal_and_as_json_by_id_and_by_number(g2is: Command, finished: Path) -> None:
    (name,) = selected_ids(finished)[:1]
    number = pq.read_table(finished / "selection.parquet")["row"][0].as_py()
    code, out, err = g2is("explain", finished, name, "0")
    assert code == 0, err
    assert f"{name} (row {number:,}): selected" in out
    assert "order             1 of 15" in out
    assert "neighbours" in out
    code, out, _ = g2is("explain", finished, str(number), "--json")
    assert (code, [row["id"] for row in json.loads(out)]) == (0, [name])


def test_rows_go_by_number_as_a_selection_has_them_and_a_text_by_itself_is_one_row(run: Path) -> None:
    table = pq.read_table(run / "selection.parquet")
    first, second = table["id"].to_pylist()[:2]
    numbers = np.array(table["row"].to_pylist()[:2])
    assert [row["id"] for row in g2is.explain(run, numbers)] == [first, second]
    assert [row["id"] for row in g2is.explain(run, [int(numbers[1])])] == [second]
    assert [row["id"] for row in g2is.explain(run, first)] == [first]
    assert [row["id"] for row in g2is.explain(run, int(numbers[0]))] == [first]
    with pytest.raises(InputError, match="found 1 that no row has:\n  9999"):
        g2is.explain(run, [9999])


def test_a_number_as_numpy_has_it_is_one_row_and_a_run_may_lie_at_home(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(finished.parent))
    row = g2is.export(f"~/{finished.name}").rows[0]
    assert [of["row"] for of in g2is.explain(f"~/{finished.name}", row)] == [row]


def test_unknown_ids_are_one_message_with_close_ones(finished: Path) -> None:
    with pytest.raises(InputError) as raised:
        g2is.explain(finished, ["pool-0000", "nothing-like-it"])
    assert "found 2 that no row has" in str(raised.value)
    assert "pool-0000 (close ones: pool-00" in str(raised.value)


def test_rows_left_out_are_told_and_without_its_store_a_run_says_what_is_unknown(g2is: Command, run: Path) -> None:
    (run / "excluded.jsonl").write_text(json.dumps({"row": 900, "id": "out", "reason": "listed in x:1"}) + "\n")
    (run / "set_aside.jsonl").write_text(json.dumps({"row": 901, "id": "zero", "reason": "zero gradient"}) + "\n")
    bad = {"file": "pool.jsonl", "line": 7, "id": "bad", "problem": "no answer", "raw": "{}"}
    (run / "bad_rows.jsonl").write_text(json.dumps(bad) + "\n")
    lost = lost_row(run)
    of_target = {"file": "target.jsonl", "line": 3, "id": lost, "problem": "no question", "raw": "{}"}
    (run / "bad_rows.jsonl").write_text(json.dumps(bad) + "\n" + json.dumps(of_target) + "\n")
    (run / "store").rename(run / "elsewhere")
    code, out, err = g2is("explain", run, "out", "901", "bad", lost, "target.jsonl:3")
    assert code == 0, err
    assert "bad (pool.jsonl:7): cannot be used" in g2is("explain", run, "pool.jsonl:7")[1]
    assert "out (row 900): excluded from the pool" in out
    assert "listed in x:1" in out
    assert "zero (row 901): set aside" in out
    assert "bad (pool.jsonl:7): cannot be used" in out
    assert f"{lost} (target.jsonl:3): cannot be used" in out
    assert "others were taken until the budget was spent" in out
    assert "unknown           neighbours, conflicts and what it was worth:" in out


def test_a_run_that_was_moved_finds_its_store(run: Path) -> None:
    values = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(values | {"store": str(run.parent / "gone/store")}))
    (row,) = g2is.explain(run, [lost_row(run)])
    assert row["neighbours"]


def test_a_damaged_list_is_one_message(run: Path) -> None:
    (run / "excluded.jsonl").write_text('{"row": 1')
    with pytest.raises(StoreError, match=r"excluded.jsonl:1: expected a line of JSON"):
        g2is.explain(run, ["0"])


def test_a_selection_that_ran_out_says_so_and_a_budget_of_tokens_what_was_left(run: Path) -> None:
    record = read_json(run / "picks.json")
    lost = lost_row(run)
    write_json(run / "picks.json", record | {"ran_out": "no further row"})
    assert "before its budget was spent: no further row" in g2is.explain(run, [lost])[0]["reason"]
    write_json(run / "picks.json", record | {"unit": "tokens", "budget": record["spent"] + 3})
    assert "3 tokens of the budget were left" in g2is.explain(run, [lost])[0]["reason"]


def lost_row(run: Path) -> str:
    """A row that was worth less, refused by no rule."""
    taken = selected_ids(run)
    ids = pq.read_table(run / "scores.parquet")["id"].to_pylist()
    rows = g2is.explain(run, [id_ for id_ in ids if id_ not in taken][:20])
    return next(str(row["id"]) for row in rows if "rule" not in row)


def test_the_walk_names_the_step_at_which_a_row_came_nearest(sample: Path, finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "walk"
    g2is.select(
        pool=sample / "pool.jsonl",
        target=sample / "target.jsonl",
        model=MODEL,
        out=run,
        store=finished / "store",
        budget="10%",
        warmup={"learning_rate": 2e-3, "lora": {"rank": 4}, "fraction": 0.3, "epochs": 1},
        gradients={"projection": {"dim": 512}},
        execution={"shard_rows": 64},
        selection={"method": "g2is"},
    )
    rows = g2is.explain(run, pq.read_table(run / "scores.parquet")["id"].to_pylist())
    lost = [row for row in rows if row["state"] == "not selected"]
    assert any("nearest_step" in row for row in lost)
    for row in lost:
        if "nearest_step" in row:
            assert row["nearest_step"]["taken"] in selected_ids(run)
            is_nearer = row["nearest_step"]["score"] > row["nearest_step"]["its_score"]
            assert is_nearer == ("consistency" in row.get("rule", "")), row
        for conflict in row.get("conflicts_with", []):
            assert conflict["cosine"] < 0
