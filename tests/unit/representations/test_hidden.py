"""The batched float32 means against one example at a time in float64, through the whole model with its LM head."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES, VOCABULARY
from transformers import AutoConfig, AutoModelForCausalLM

from g2is.errors import ModelError
from g2is.model.batches import Row, pad_batch
from g2is.representations.hidden import hidden
from g2is.representations.maker import Materials
from g2is.representations.states import inner_model, weighted_mean, weighted_states

RELATIVE_ERROR = 1e-5  # of float32 forward passes and sums; measured up to 2e-6


def plain_mean(model: Any, ids: np.ndarray) -> np.ndarray:
    """Σ i·h_i / Σ i of one example, float64; `model` is a causal model in float64."""
    with torch.no_grad():
        states = model(torch.tensor(ids[None].astype(np.int64)), output_hidden_states=True).hidden_states[-1][0]
    total, sum_of_positions = torch.zeros(states.shape[1], dtype=torch.float64), 0
    for position, state in enumerate(states, start=1):
        total += position * state
        sum_of_positions += position
    return (total / sum_of_positions).numpy()


def random_rows(num_rows: int) -> list[Row]:
    rng = np.random.default_rng(5)
    lengths = [1, *rng.integers(2, 40, num_rows - 1)]
    return [(rng.integers(1, VOCABULARY, n).astype(np.int32), np.arange(n) > 0) for n in lengths]


def tiny_model(name: str) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(name.removesuffix("-tied"), **ARCHITECTURES[name][0])
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def check_close(found: np.ndarray, expected: np.ndarray) -> None:
    errors = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert errors.max() < RELATIVE_ERROR, errors


def test_rows_of_the_bundled_model_are_those_of_one_example_at_a_time_in_float64(
    materials: Callable[..., Materials], rows_of: Callable[[Sequence[str]], list[Row]]
) -> None:
    rows = rows_of(
        ["What is 1 + 6?", "Reverse: abc", "7", "Which is more, 13 or 31? Thirty-one is more than thirteen."]
    )
    given = materials(batch_tokens=64)
    done: list[int] = []
    arrays = hidden(given).open()(rows, done.append)
    model = given.model.load(torch.device("cpu")).double()
    expected = np.stack([plain_mean(model, ids) for ids, _ in rows])
    assert sorted(arrays) == ["norm", "rows"]
    assert arrays["rows"].dtype == np.float16
    assert arrays["norm"].dtype == np.float32
    np.testing.assert_allclose(arrays["norm"], np.linalg.norm(expected, axis=1), rtol=RELATIVE_ERROR)
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.abs(arrays["rows"] - unit).max() < 2**-11  # half a step of float16 below 1
    assert len(done) > 1
    assert sum(done) == sum(len(ids) for ids, _ in rows)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_padding_on_either_side_changes_no_mean_in_any_architecture(name: str) -> None:
    model, rows = tiny_model(name), random_rows(6)
    inner = inner_model(model)
    sides: tuple[Literal["left", "right"], ...] = ("right", "left")
    found = {side: weighted_mean(inner, pad_batch(rows, side=side)).numpy() for side in sides}
    model.double()
    expected = np.stack([plain_mean(model, ids) for ids, _ in rows])
    for of_side in found.values():
        assert of_side.dtype == np.float32
        check_close(of_side, expected)


def test_nan_in_padding_reaches_no_mean() -> None:
    model, batch = tiny_model("llama"), pad_batch(random_rows(4), side="left")
    expected = weighted_mean(model.model, batch)
    is_padding = (batch.attention_mask == 0)[:, :, None]  # some kernels of attention give NaN there
    model.model.norm.register_forward_hook(lambda *call: call[-1].masked_fill(is_padding, float("nan")))
    assert model.model(batch.input_ids).last_hidden_state.isnan().any()
    assert torch.equal(weighted_mean(model.model, batch), expected)


def test_the_token_budget_changes_rows_by_no_more_than_rounding() -> None:
    model, rows = tiny_model("qwen2"), random_rows(12)
    alone, some, all_at_once = (weighted_states(model.model, rows, budget) for budget in (1, 64, 100_000))
    check_close(some, alone)
    check_close(all_at_once, alone)


def test_the_lm_head_is_never_run() -> None:
    model = tiny_model("llama")

    def refuse(*_: object) -> None:
        raise AssertionError("the LM head was run")

    model.get_output_embeddings().register_forward_pre_hook(refuse)
    assert np.isfinite(weighted_states(inner_model(model), random_rows(3), 64)).all()


def test_a_model_without_a_base_model_beneath_it_is_refused() -> None:
    with pytest.raises(ModelError, match="LlamaModel: expected a base model beneath the LM head"):
        inner_model(tiny_model("llama").model)


def test_the_fingerprint_is_that_of_weights_and_dtype(materials: Callable[..., Materials]) -> None:
    maker = hidden(materials(batch_tokens=1, embedding_model="other", max_terms=3))
    assert maker.fingerprint == {"hidden.version": 1, "model.weights": "w", "model.dtype": "float32"}
