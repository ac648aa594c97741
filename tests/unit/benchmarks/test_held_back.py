"""The targets that are kept back: of their category, of rows that are in no pool, and none of them twice."""

import json
from pathlib import Path

import pytest

from common.held_back import HELD_BACK, NUM_GIVEN, held_back
from common.smollm2 import NUM_ROWS, NUM_TESTED, draw


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.usefixtures("shared")
def test_rows_are_of_one_category_and_neither_in_the_pool_nor_given_and_tested(tmp_path: Path) -> None:
    pool, left = draw(tmp_path)
    seen = set(ids(pool))
    assert len(seen) == NUM_ROWS
    for name, category in HELD_BACK.items():
        given, tested = held_back(tmp_path, left, name)
        lines = [json.loads(line) for path in (given, tested) for line in path.read_text(encoding="utf-8").splitlines()]
        assert {line["category"] for line in lines} == {category}
        found = ids(given) + ids(tested)
        assert len(found) == len(set(found)) == NUM_GIVEN + NUM_TESTED
        assert not seen & set(found)
        seen |= set(found)


def test_too_few_rows_outside_the_pool_are_told(tmp_path: Path) -> None:
    row = json.dumps({"id": "1", "category": "Question Rewriting", "messages": []}) + "\n"
    with pytest.raises(SystemExit, match="question_rewriting: expected 214 rows outside the pool, found 1"):
        held_back(tmp_path, [row], "question_rewriting")
    assert not list(tmp_path.iterdir())
