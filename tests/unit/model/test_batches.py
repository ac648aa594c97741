from types import SimpleNamespace
from typing import Literal

import numpy as np
import pytest
from transformers import LlamaConfig

from g2is.model.angles import length_of_other_angles
from g2is.model.batches import IGNORED_LABEL, pad_batch, plan_batches


@pytest.mark.parametrize("batch_tokens", [1, 40, 100, 5000])
def test_batches_hold_each_row_once_within_the_budget_longest_first(batch_tokens: int) -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 200)
    batches = plan_batches(lengths, batch_tokens)
    assert sorted(np.concatenate(batches).tolist()) == list(range(200))
    longest = [int(lengths[batch].max()) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    for batch, length in zip(batches, longest, strict=True):
        assert len(batch) == 1 or len(batch) * length <= batch_tokens


def test_the_plan_is_a_function_of_the_lengths_alone() -> None:
    lengths = np.array([5, 9, 5, 9, 5])
    assert [batch.tolist() for batch in plan_batches(lengths, 18)] == [[1, 3], [0, 2, 4]]


def test_rows_longer_than_a_length_share_no_batch_with_others() -> None:
    lengths = np.array([16, 17, 30, 5, 16, 18])
    assert [batch.tolist() for batch in plan_batches(lengths, 1000, apart=16)] == [[2, 5, 1], [0, 4, 3]]
    assert [batch.tolist() for batch in plan_batches(lengths, 36, apart=16)] == [[2], [5, 1], [0, 4], [3]]


def test_the_length_of_other_angles_is_that_of_the_text_s_own() -> None:
    dynamic = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    long = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 40}
    assert length_of_other_angles(LlamaConfig()) is None
    assert length_of_other_angles(LlamaConfig(rope_parameters=dynamic, max_position_embeddings=512)) == 511
    layers = SimpleNamespace(rope_parameters={"full_attention": long, "sliding_attention": {"rope_type": "default"}})
    assert length_of_other_angles(layers) == 40
    assert length_of_other_angles(SimpleNamespace(get_text_config=lambda: layers)) == 40
    assert length_of_other_angles(SimpleNamespace()) is None


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_masked_unlearned_and_not_counted_by_positions(side: Literal["left", "right"]) -> None:
    rows = [
        (np.array([7, 8, 9], np.int32), np.array([False, True, True])),
        (np.array([5], np.int32), np.array([False])),
    ]
    batch = pad_batch(rows, side=side)
    place = 0 if side == "right" else 2
    assert batch.input_ids[1].tolist() == [5 if i == place else 0 for i in range(3)]
    assert batch.attention_mask[1].tolist() == [int(i == place) for i in range(3)]
    assert batch.labels[0].tolist() == [IGNORED_LABEL, 8, 9]
    assert batch.labels[1].tolist() == [IGNORED_LABEL] * 3
    assert batch.position_ids[0].tolist() == [0, 1, 2]
    assert batch.position_ids[1][place] == 0
