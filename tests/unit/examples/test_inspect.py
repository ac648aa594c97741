from collections.abc import Callable
from pathlib import Path
from typing import Any

from g2is.config import ExamplesConfig
from g2is.examples.inspect import Lengths, inspect_examples
from g2is.examples.sources import find_sources

Make = Callable[..., Any]


def test_files_are_told_with_their_layouts_counts_and_duplicates(write_rows: Make, tmp_path: Path) -> None:
    rows = [{"Q": "q" * n, "answer": "a", "group": n % 2, "source": "web" if n > 1 else None} for n in range(1, 6)]
    one = write_rows(*rows, rows[0], name="one.jsonl")
    two = tmp_path / "two.csv"
    two.write_text("prompt,completion\nqqqqqqqqq,a\n")
    found = inspect_examples(find_sources([str(one), str(two)]), ExamplesConfig(columns={"question": "Q"}))
    assert [(file.format, file.layouts, file.num_rows) for file in found.files] == [
        ("JSON lines", ("question/answer",), 6),
        ("CSV", ("prompt/completion",), 1),
    ]
    assert found.columns == ("Q", "answer", "group", "source", "prompt", "completion")
    assert found.mapped == {"question": "Q"}
    assert (found.num_rows, found.num_examples, found.num_duplicates) == (7, 7, 1)
    assert list(found.by_source.items()) == [("web", 4), ("one", 2), ("two", 1)]
    assert dict(found.by_group) == {"1": 4, "0": 2}
    assert found.lengths == Lengths("characters", 2, 4, 10, 10, None, 0)
    assert [shown.place for shown in found.shown] == [f"{one}:{line}" for line in (1, 2, 3)]
    assert found.shown[1].parts == (
        ("user: ", False),
        ("qq", False),
        ("\n", False),
        ("assistant: ", False),
        ("a", True),
    )
    assert not found.problems


def test_with_a_model_lengths_are_tokens_and_what_is_learned_is_marked(
    write_rows: Make, make_tokenizer: Make, renderer_for: Make
) -> None:
    renderer = renderer_for(make_tokenizer(None, eos="</s>"), 60)
    path = write_rows(
        {"question": "q", "answer": "a1"},
        {"question": "q" * 100, "answer": "a"},
        {"messages": 1},
        {"question": "q", "answer": "a" * 100},
        {"question": "q", "answer": "a1"},
    )
    found = inspect_examples(find_sources([str(path)]), ExamplesConfig(), renderer)
    assert found.shown[0].parts == (("<|user|>\nq\n<|assistant|>\n", False), ("a1</s>", True))
    assert found.lengths is not None
    assert (found.lengths.unit, found.lengths.limit, found.lengths.num_over) == ("tokens", 60, 2)
    assert found.lengths.maximum > 100
    assert found.num_duplicates == 1
    assert (found.num_rows, found.num_examples, len(found.problems)) == (5, 4, 1)
    assert found.problems.lines()[0].startswith(f"{path}:3 (row-2): expected columns question, answer as in the rows")


def test_what_cannot_be_read_and_columns_of_no_file_are_problems_beside_the_rest(
    write_rows: Make, tmp_path: Path
) -> None:
    good = write_rows({"question": "q", "answer": "a"}, name="good.jsonl")
    cut = tmp_path / "cut.json"
    cut.write_text('[{"question": "q", "answer": "a"}')
    settings = ExamplesConfig(columns={"source": "task"}, on_bad_row="skip")
    found = inspect_examples(find_sources([str(good), str(cut)]), settings)
    assert found.num_examples == 2
    assert len(found.problems) == 2
    assert "it is truncated" in found.problems.lines()[0]
    assert "source=task: expected columns of the files" in found.problems.lines()[1]


def test_files_without_any_row_that_can_be_used_are_told(write_rows: Make) -> None:
    found = inspect_examples(find_sources([str(write_rows("{", {"text": "t"}))]), ExamplesConfig())
    assert (found.num_rows, found.num_examples, found.lengths, found.shown) == (2, 0, None, ())
    assert found.columns == ("text",)
    assert len(found.problems) == 2
