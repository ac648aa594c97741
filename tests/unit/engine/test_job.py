import json
from typing import Any

import pytest

from g2is.engine.job import ShardJob
from g2is.errors import StoreError

JOB = ShardJob(
    store="/data/store",
    representation="gradients",
    kind="pool",
    fingerprint="0f" * 16,
    checkpoints=("epoch-1", "epoch-4"),
    forms=("less", "momentum-free"),
    number=7,
    rows=(0, 3, 2_999_999),
)


def test_a_job_comes_back_from_json_the_same() -> None:
    text = JOB.to_json()
    assert "\n" not in text
    assert ShardJob.from_json(text) == JOB
    assert set(json.loads(text)) == {
        *("store", "representation", "kind", "fingerprint", "checkpoints", "forms", "number", "rows")
    }


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        ("store", ""),
        ("representation", "../elsewhere"),
        ("representation", ".."),
        ("kind", "test"),
        ("fingerprint", "a/b"),
        ("checkpoints", ["epoch-1", "/etc"]),
        ("checkpoints", "epoch-1"),
        ("forms", [3]),
        ("number", -1),
        ("number", "7"),
        ("number", 7.0),
        ("number", True),
        ("rows", []),
        ("rows", [0, -3]),
        ("rows", ["0"]),
        ("extra", 1),
    ],
)
def test_a_job_that_is_not_one_is_refused_and_its_part_named(part: str, wrong: Any) -> None:
    values = json.loads(JOB.to_json()) | {part: wrong}
    with pytest.raises(StoreError, match=rf"expected a shard's job .* found {part}(\.\d)? wrong: .*same version"):
        ShardJob.from_json(json.dumps(values))


def test_a_job_with_a_part_missing_or_no_json_is_refused() -> None:
    values = json.loads(JOB.to_json())
    del values["rows"]
    for text in (json.dumps(values), JOB.to_json()[:-9], "[]"):
        with pytest.raises(StoreError, match="expected a shard's job"):
            ShardJob.from_json(text)
