"""Two targets that no method, setting or default was chosen on: categories of the real pool, of rows outside the 8,000.

One is of texts, one of labels. Rows of the same categories, mostly of the same tasks, are in the pool that is chosen
from, as GSM8K's training set is for gsm8k.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from common.smollm2 import NUM_TESTED, write_lines

HELD_BACK = {"question_rewriting": "Question Rewriting", "coreference_resolution": "Coreference Resolution"}
HELD_BACK_TEXTS = ("question_rewriting",)
NUM_GIVEN = 64


def held_back(work: Path, left: Sequence[str], name: str) -> tuple[Path, Path]:
    """The files of a target: its first NUM_GIVEN and next NUM_TESTED of the lines `left`, which are in random order."""
    lines = [line for line in left if json.loads(line)["category"] == HELD_BACK[name]]
    of_test = lines[NUM_GIVEN : NUM_GIVEN + NUM_TESTED]
    if len(of_test) < NUM_TESTED:
        raise SystemExit(f"{name}: expected {NUM_GIVEN + NUM_TESTED} rows outside the pool, found {len(lines)}")
    given, tested = work / f"held_back/{name}.jsonl", work / f"tests/{name}.jsonl"
    return write_lines(given, lines[:NUM_GIVEN]), write_lines(tested, of_test)
