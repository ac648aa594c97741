"""A seeded sample of the fuzzing that `make faults` does for longer: no reader ends otherwise than it says."""

import pytest

from faults.fuzz import outcome, run
from faults.fuzz_targets import TARGETS


@pytest.mark.slow
def test_no_reader_ends_otherwise_than_with_a_result_or_an_error_of_ours() -> None:
    rows = run(budget_s=4, seed=0)
    assert len(rows) == len(TARGETS)
    for row in rows:
        assert row["tried"] > 0, row
        assert not row["traceback"], row["note"]


def test_what_a_naive_reader_raises_is_a_finding(tmp_path: object) -> None:
    import json
    from pathlib import Path

    folder = Path(str(tmp_path))
    assert outcome(lambda _, content: json.loads(content), folder, b"{").startswith("JSONDecodeError in ")
    assert outcome(lambda _, content: json.loads(content), folder, b"[" * 100_000).startswith("RecursionError in ")
    assert outcome(lambda _, content: json.loads(content), folder, b"{}") == "read"
