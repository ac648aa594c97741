"""What the tables of a selection hold and say of themselves, and that those of older versions are read."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from g2is.config import SelectionConfig
from g2is.errors import StoreError
from g2is.examples.conversation import Conversation, Turn
from g2is.methods import METHODS, SELECTORS, selector_kind
from g2is.outputs.columns import ABOUT, OF_SCORES, OF_SELECTION, selection_columns
from g2is.outputs.examples import beginning
from g2is.outputs.first_rows import as_html, first_rows
from g2is.outputs.tables import (
    SCORES,
    SELECTION,
    read_reasons,
    read_scores,
    read_selection,
    read_steps,
    stored_columns,
    stored_metadata,
    write_tables,
)
from g2is.selection.record import Picks, Step

ROOT = Path(__file__).resolve().parents[3]
IDS = ["a", "b", "c", "d"]
WALKED = ("component", "trail", "similarity_to_previous", "similarity_to_core", "consistency")


def picks(*rows: int, targets: tuple[str | None, ...] = (), scores: tuple[float, ...] = ()) -> Picks:
    steps = tuple(
        Step(
            *(row, order, targets[order] if targets else "math", None, None, "picked", math.nan, math.nan, math.nan),
            score=scores[order] if scores else math.nan,
        )
        for order, row in enumerate(rows)
    )
    return Picks(steps, len(rows), "rows", len(rows), 0, 0, 0, (), None)


def about(*texts: str, sources: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "text": list(texts),
        "source": list(sources) or ["web"] * len(texts),
        "tokens": np.arange(len(texts), dtype=np.int32) + 10,
        "answer_tokens": np.arange(len(texts), dtype=np.int32),
        "characters": [len(text) for text in texts],
    }


def written(folder: Path, selected: Picks, method: str = "less", **more: Any) -> Path:
    scored = {"similarity.math": np.array([0.5, np.nan, 0.25, -1.0], np.float32)}
    nearest = more.pop("nearest", [None] * len(selected.steps))
    numbers = np.array([10, 11, 13, 14], np.int64)
    write_tables(
        *(folder, selected, IDS, numbers, scored, nearest, SelectionConfig(method=method), {"digest": "0"}), **more
    )
    return folder / SELECTION


def test_what_a_selector_leaves_empty_is_no_column_and_what_it_fills_is(tmp_path: Path) -> None:
    table = pq.read_table(written(tmp_path, picks(2, 0, scores=(0.5, math.nan)), about=about("why?", "how?")))
    assert table.column_names == ["row", "id", "order", *ABOUT, "target", "role", "score"]
    assert table["row"].to_pylist() == [13, 10]
    assert table["text"].to_pylist() == ["why?", "how?"]
    assert table["score"].to_pylist() == [0.5, None]
    assert table["tokens"].to_pylist() == [10, 11]
    all_included = picks(0, 1, targets=(None, None))
    assert pq.read_schema(written(tmp_path, all_included)).names == ["row", "id", "order", "target", "role"]


def test_scores_say_which_rows_were_selected(tmp_path: Path) -> None:
    written(tmp_path, picks(2, 0))
    table = pq.read_table(tmp_path / SCORES)
    assert table.column_names == ["row", "id", "similarity.math", "selected"]
    assert table["selected"].to_pylist() == [True, False, True, False]
    assert table["similarity.math"].to_pylist() == [0.5, None, 0.25, -1.0]
    assert list(read_scores(tmp_path / SCORES)) == ["similarity.math"]


def test_columns_say_what_they_mean_in_the_file_and_the_table_what_it_was_made_from(tmp_path: Path) -> None:
    path = written(tmp_path, picks(2, 0, scores=(0.5, 0.25)), about=about("why?", "how?"))
    told = stored_columns(path)
    assert all(of["meaning"] for of in told.values())
    assert told["tokens"]["unit"] == told["answer_tokens"]["unit"] == "tokens"
    assert told["score"] == {
        "meaning": "mean similarity with the examples of the target, of the group of them where it is highest; with"
        " selection.score core, similarity with its components, each counting by its variance",
        "unit": "cosine, from -1 to 1",
    }
    field = pq.read_schema(path).field("score")
    assert field.metadata[b"unit"] == b"cosine, from -1 to 1"
    assert stored_metadata(path) == {"digest": "0"}
    assert "BM25" in stored_columns(written(tmp_path, picks(2, scores=(7.0,)), "bm25"))["score"]["unit"]
    of_scores = stored_columns(tmp_path / SCORES)
    assert "the target math" in of_scores["similarity.math"]["meaning"]
    assert of_scores["similarity.math"]["unit"] == "BM25 score, 0 and above"


@pytest.mark.parametrize("method", METHODS)
def test_each_method_s_score_has_a_meaning_of_its_own_and_a_unit(method: str) -> None:
    settings = SelectionConfig(method=method)
    score = selection_columns(settings)["score"]
    if settings.selector in ("random", "all", "walk"):
        assert not selector_kind(settings.selector).score  # which say none
    else:
        assert score.meaning != OF_SELECTION["score"].meaning
        assert score.unit


def test_a_score_of_a_selector_of_one_s_own_says_so() -> None:
    score = selection_columns(SelectionConfig(method="random", selector="own:mine"))["score"]
    assert (score.meaning, score.unit) == ("what your selector named the row for", "your selector's own")


def test_the_page_lists_every_column_every_selector_with_a_score_and_the_number_of_characters() -> None:
    page = (ROOT / "docs/tables.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| ((?:`[\w.]+`(?:, )?)+) \|", page, flags=re.MULTILINE)
    names = {name for cell in listed for name in re.findall(r"`([\w.]+)`", cell)}
    assert {*OF_SELECTION, *OF_SCORES, "similarity.TARGET", "similarity_to_core.TARGET"} <= names
    scoring = {name for name in SELECTORS if selector_kind(name).score}
    assert {f"`{name}`" for name in scoring} <= set(re.findall(r"^\| (`[\w-]+`)", page, flags=re.MULTILINE))
    assert "the first 200 characters" in page
    assert "200 characters" in OF_SELECTION["text"].meaning


def of_before(path: Path) -> None:
    """Write the table at `path` anew as older versions did: every reason a column, and nothing about rows."""
    table = pq.read_table(path)
    kinds = {"component": pa.int32(), "trail": pa.int32(), **dict.fromkeys(WALKED[2:], pa.float32())}
    kinds |= {"score": pa.float32(), "nearest_target_id": pa.string()}
    columns = {name: table[name].combine_chunks() for name in table.column_names if name not in ABOUT}
    for name, kind in kinds.items():
        columns.setdefault(name, pa.nulls(len(table), kind))
    pq.write_table(pa.table(columns).replace_schema_metadata(table.schema.metadata), path)


@pytest.mark.parametrize("is_older", [False, True])
def test_a_reader_is_given_the_reasons_that_a_table_lacks(is_older: bool, tmp_path: Path) -> None:
    path = written(tmp_path, picks(2, 0, scores=(0.5, 0.25)), about=about("why?", "how?"))
    if is_older:
        of_before(path)
        assert set(WALKED) <= set(pq.read_schema(path).names)
    found = read_reasons(path)
    assert found["row"] == [13, 10]
    assert all(found[name] == [None, None] for name in WALKED)
    assert ("text" in found) != is_older
    assert [step["score"] for step in read_steps(path)] == [0.5, 0.25]
    assert all(step["trail"] is None for step in read_steps(path))
    assert read_selection(path) == {
        **{"row": [13, 10], "id": ["c", "a"], "target": ["math", "math"], "component": [None, None]}
    }
    shown = first_rows(path, 5)
    assert shown.titles == (["#", "id", "score"] if is_older else ["#", "id", "tokens", "score", "text"])
    assert shown.num_rows == 2


def test_a_table_that_is_gone_is_made_again_and_not_to_be_removed(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"found no file\. Give the command that made it again$"):
        read_reasons(tmp_path / "selection.parquet")


def test_the_first_rows_have_a_target_and_source_where_they_differ_and_each_cell_is_a_line(tmp_path: Path) -> None:
    texts = about("one\n\n  two\tthree", "x", sources=("web", "books"))
    selected = picks(2, 0, targets=("math", "med"), scores=(0.5, math.nan))
    found = first_rows(written(tmp_path, selected, about=texts), 1)
    assert found.titles == ["#", "id", "target", "source", "tokens", "score", "text"]
    assert found.rows == [["1", "c", "math", "web", "10", "0.5000", "one two three"]]
    assert found.num_rows == 2
    assert [title for title, is_number in zip(found.titles, found.numbers, strict=True) if is_number] == [
        *("#", "tokens", "score")
    ]
    (told,) = found.told
    assert told.startswith("score: mean similarity")
    assert told.endswith("(cosine, from -1 to 1)")


def test_in_a_notebook_what_a_row_holds_stays_text(tmp_path: Path) -> None:
    path = written(tmp_path, picks(2, 0), about=about("<script>alert('x')</script>", "a & b"))
    page = as_html(path, 1, "2 rows in <run>")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in page
    assert "2 rows in &lt;run&gt;" in page
    assert "1 more rows" in page
    assert page.count("<tr>") == 2
    path.unlink()
    assert as_html(path, 1, "gone") == "<p>gone</p>"
    with pytest.raises(StoreError, match="expected a Parquet table"):
        first_rows(path, 1)


def test_the_beginning_is_what_a_user_asks_or_the_first_turn_that_says_something() -> None:
    def of(*turns: tuple[str, str]) -> str:
        return beginning(Conversation(tuple(Turn(role, content) for role, content in turns)))

    assert of(("system", "be kind"), ("user", "\n what is it? "), ("assistant", "that")) == "what is it?"
    assert of(("system", "be kind"), ("user", " "), ("assistant", "that")) == "be kind"
    assert of(("assistant", "that"), ("user", "and now?")) == "and now?"
    assert of(("user", ""), ("assistant", "")) == ""
    assert of(("user", "x" * 500), ("assistant", "that")) == "x" * 200


def test_scores_that_are_no_similarities_say_what_they_are(tmp_path: Path) -> None:
    score = selection_columns(SelectionConfig(method="tacs"))["score"]
    assert score.meaning == "by how much tuning on the target lowers the row's loss, over the loss before"
    assert score.unit == "part of the loss, at most 1"
    written(tmp_path, picks(2, scores=(0.5,)), "tacs")
    of_pool = stored_columns(tmp_path / SCORES)["similarity.math"]
    assert of_pool["meaning"].startswith("of the target math: by how much tuning")
    assert "standard deviations" in selection_columns(SelectionConfig(method="tacs", selector="bids"))["score"].unit
