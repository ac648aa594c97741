"""The sample pool and target: rows that each exercise one skill, the same bytes wherever they are generated.

A skill is one function from `Dice` to a question and its answer. A skill with parts is a composite: the pool teaches
its parts and never the composite itself, which is what the target asks for (the paper's example: addition and carrying
together teach multiplication).
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g2is.demo import arithmetic, letters, measures
from g2is.demo.dice import Dice, Exchange
from g2is.errors import InputError

TARGET_SKILL = "multi_digit_multiplication"
POOL_FILE, TARGET_FILE, TEST_FILE = "pool.jsonl", "target.jsonl", "test.jsonl"
NUM_POOL_ROWS, NUM_TARGET_ROWS, NUM_TEST_ROWS = 2_000, 24, 100

# Draws without a new question after which a skill counts as used up.
_MAX_DRAWS = 2_000

Row = dict[str, Any]


@dataclass(frozen=True)
class Skill:
    """Something a model can be taught: its family, how to pose it, and the other skills it is made of, if any."""

    family: str
    pose: Callable[[Dice], Exchange]
    parts: tuple[str, ...] = ()


SKILLS: dict[str, Skill] = {
    "addition": Skill("numbers", arithmetic.addition),
    "adding_on_paper": Skill("numbers", arithmetic.adding_on_paper),
    "carrying": Skill("numbers", arithmetic.carrying),
    "times_table": Skill("numbers", arithmetic.times_table),
    "subtraction": Skill("numbers", arithmetic.subtraction),
    "comparing": Skill("numbers", arithmetic.comparing),
    "halving": Skill("numbers", arithmetic.halving),
    "rounding": Skill("numbers", arithmetic.rounding),
    "place_value": Skill("numbers", arithmetic.place_value),
    "weekdays": Skill("measures", measures.weekdays),
    "months": Skill("measures", measures.months),
    "clock": Skill("measures", measures.clock),
    "units": Skill("measures", measures.units),
    "reversing": Skill("letters", letters.reversing),
    "sorting_letters": Skill("letters", letters.sorting_letters),
    "counting_letters": Skill("letters", letters.counting_letters),
    "upper_case": Skill("letters", letters.upper_case),
    "repeating": Skill("letters", letters.repeating),
    "vowels": Skill("letters", letters.vowels),
    "alphabetical": Skill("letters", letters.alphabetical),
    TARGET_SKILL: Skill(
        "numbers", arithmetic.multi_digit_multiplication, parts=("times_table", "carrying", "adding_on_paper")
    ),
}


def pool_rows(num_rows: int = NUM_POOL_ROWS, seed: int = 0) -> list[Row]:
    """The sample pool: as many rows of every skill without parts, in turn, no question twice.

    Raises:
        InputError: more rows are asked for than a skill has different questions.
    """
    return _rows("pool", [name for name, skill in SKILLS.items() if not skill.parts], num_rows, seed)


def target_rows(num_rows: int = NUM_TARGET_ROWS, seed: int = 0) -> list[Row]:
    """Rows of the composite skill, no problem twice. More rows with the same seed begin with the same rows.

    Raises:
        InputError: more rows are asked for than the skill has different problems.
    """
    return _rows("target", [TARGET_SKILL], num_rows, seed)


def evaluation_rows(num_rows: int = NUM_TEST_ROWS, seed: int = 0) -> list[Row]:
    """Rows of the composite skill to test on: none of the problems that the sample target holds.

    Raises:
        InputError: more rows are asked for than the skill has different problems.
    """
    rows = _rows("test", [TARGET_SKILL], NUM_TARGET_ROWS + num_rows, seed)
    return rows[NUM_TARGET_ROWS:]


def write_pool(path: Path, num_rows: int = NUM_POOL_ROWS, seed: int = 0) -> None:
    """Write `pool_rows` as JSONL."""
    _write(path, pool_rows(num_rows, seed))


def write_target(path: Path, num_rows: int = NUM_TARGET_ROWS, seed: int = 0) -> None:
    """Write `target_rows` as JSONL."""
    _write(path, target_rows(num_rows, seed))


def write_sample(folder: Path) -> None:
    """Write the sample's pool, target and test rows into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in sample_rows().items():
        _write(folder / name, rows)


def sample_rows() -> dict[str, list[Row]]:
    """The sample's rows, by file."""
    return {POOL_FILE: pool_rows(), TARGET_FILE: target_rows(), TEST_FILE: evaluation_rows()}


def as_lines(rows: Iterable[Row]) -> str:
    """Rows as they are written: a line of JSON each."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def _rows(prefix: str, skills: list[str], num_rows: int, seed: int) -> list[Row]:
    exchanges = {name: _different(name, Dice(_skill_seed(name, seed))) for name in skills}
    return [
        _row(f"{prefix}-{number:05}", name, next(exchanges[name]))
        for number, name in enumerate((skills[i % len(skills)] for i in range(num_rows)), start=1)
    ]


def _skill_seed(name: str, seed: int) -> int:
    """A seed of the skill's own, so that a skill added or changed leaves the others' rows as they were."""
    return int.from_bytes(f"{seed}/{name}".encode(), "big")


def _different(name: str, dice: Dice) -> Iterator[Exchange]:
    """A skill's exchanges without those whose question came before; of a composite, without those of the same answer.

    A composite's answer shows its problem, so that no problem of the target comes back in other words in the test.
    """
    seen: set[str] = set()
    while True:
        for _ in range(_MAX_DRAWS):
            question, answer = SKILLS[name].pose(dice)
            known = answer if SKILLS[name].parts else question
            if known not in seen:
                break
        else:
            raise InputError(
                f"The sample skill {name!r} has about {len(seen)} different questions, and more were asked for. "
                "Ask for fewer rows."
            )
        seen.add(known)
        yield question, answer


def _row(row_id: str, skill: str, exchange: Exchange) -> Row:
    question, answer = exchange
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"id": row_id, "source": SKILLS[skill].family, "task": skill, "messages": messages}


def _write(path: Path, rows: Iterable[Row]) -> None:
    path.write_text(as_lines(rows), encoding="utf-8", newline="\n")
