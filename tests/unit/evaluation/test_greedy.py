"""Rows that have ended leave the batch, and what the others say stays what they say alone."""

from collections.abc import Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from saved_models import adapted, found, save_tiny, some_rows
from transformers import AutoConfig, AutoModelForCausalLM
from two_devices import FIRST, over_two, two_devices

from g2is.evaluation.greedy import batching_of, continued
from g2is.model.batches import PAD_ID
from g2is.representations.tacs import row_losses

VOCAB, ROOM = 97, 60
SMALL = {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {**SMALL, "num_key_value_heads": 2, "intermediate_size": 48},
    "gpt2": {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 2, "n_head": 4},
    "bloom": {"vocab_size": VOCAB, "hidden_size": 32, "n_layer": 2, "n_head": 4},  # positions by the mask alone
    "mistral": {**SMALL, "num_key_value_heads": 2, "intermediate_size": 48, "sliding_window": 8},
    "mamba": {"vocab_size": VOCAB, "hidden_size": 32, "state_size": 4, "num_hidden_layers": 2},
    "rwkv": {"vocab_size": VOCAB, "hidden_size": 32, "attention_hidden_size": 32, "num_hidden_layers": 2},
}
LEAVE = ("llama", "gpt2", "bloom")


def model_of(name: str) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **SHAPES[name]), dtype=torch.float32).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)  # else it says one token again and again
    return model


def drawn_prompts() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(1, VOCAB, size).astype(np.int32) for size in (3, 9, 4, 17, 6, 5, 12, 8)]


@pytest.mark.parametrize("name", list(SHAPES))
def test_every_row_goes_on_as_by_itself_and_those_that_have_ended_are_not_computed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, prompts = model_of(name), drawn_prompts()
    batching = batching_of(model)
    assert batching.leaves == (name in LEAVE)
    if not batching.together:
        return
    ends = [int(continued(model, prompts[:1], 5, [], leaves=False)[0, 4])]
    alone = [continued(model, [prompt], ROOM, ends, leaves=False)[0] for prompt in prompts]
    computed: list[int] = []
    forward = model.forward

    @wraps(forward)  # transformers passes what its signature names
    def counted(*of: Any, **given: Any) -> Any:
        computed.append(len(given["input_ids"]))
        return forward(*of, **given)

    monkeypatch.setattr(model, "forward", counted)
    together = continued(model, prompts, ROOM, ends, batching.leaves)
    assert together.shape == (len(prompts), ROOM)
    lengths = []
    for row, by_itself in zip(together, alone, strict=True):
        at = np.flatnonzero(np.isin(by_itself, ends))
        lengths.append(int(at[0]) + 1 if len(at) else ROOM)
        np.testing.assert_array_equal(row[: lengths[-1]], by_itself[: lengths[-1]])
        assert (row[lengths[-1] :] == PAD_ID).all()
    assert min(lengths) <= 16 < max(lengths), lengths  # else nobody leaves before the others
    assert computed[0] == len(prompts)
    assert (computed[-1] < len(prompts)) == batching.leaves


def test_nobody_leaves_where_nothing_ends_an_answer() -> None:
    model, prompts = model_of("llama"), drawn_prompts()
    found = continued(model, prompts, 40, [], leaves=True)
    for row, prompt in zip(found, prompts, strict=True):
        np.testing.assert_array_equal(row, continued(model, [prompt], 40, [], leaves=False)[0])


def test_what_a_model_cannot_do_with_a_cache_is_not_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("llama")
    generate = model.generate

    def refuses(**given: Any) -> Any:
        if {"cache", "past_key_values"} & given.keys():
            raise TypeError("unexpected keyword")
        return generate(**given)

    monkeypatch.setattr(model, "generate", refuses)
    found = batching_of(model)
    assert found.together
    assert not found.leaves


def test_a_model_that_keeps_no_cache_answers_without() -> None:
    model, prompts = model_of("llama"), drawn_prompts()[:3]
    expected = continued(model, prompts, 20, [7], leaves=False)
    model.generation_config.use_cache = False
    assert not batching_of(model).leaves
    np.testing.assert_array_equal(continued(model, prompts, 20, [7], leaves=False), expected)


@pytest.fixture
def _whole_parameters_move() -> Iterator[None]:
    """`Module.to` replaces parameters, not what they hold: those of a made-up device are of another class."""
    torch.__future__.set_swap_module_params_on_conversion(True)
    yield
    torch.__future__.set_swap_module_params_on_conversion(False)


@pytest.mark.usefixtures("_whole_parameters_move")
def test_answers_and_losses_on_another_device_are_those_of_main_memory() -> None:
    model, rows, prompts = model_of("llama"), some_rows(), drawn_prompts()
    model.set_attn_implementation("eager")  # no kernels of that device
    ends = [int(continued(model, prompts[:1], 20, [], leaves=True)[0, 10])]

    def asked() -> tuple[np.ndarray, np.ndarray]:
        return row_losses(model, 0, rows, 64), continued(model, prompts, 40, ends, batching_of(model).leaves)

    expected = asked()
    with two_devices():
        model.to(FIRST)
        assert {parameter.device for parameter in model.parameters()} == {FIRST}
        found = asked()
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_rows_leave_a_batch_of_a_model_over_two_devices(tmp_path: Path) -> None:
    """The cache of each layer lies where its block does."""
    model, prompts = adapted(found(save_tiny(tmp_path, "llama"))), drawn_prompts()
    model.get_base_model().set_attn_implementation("eager")
    expected = continued(model, prompts, 40, [5], batching_of(model).leaves)
    with two_devices():
        over_two(model)
        assert batching_of(model).leaves
        answers = continued(model, prompts, 40, [5], leaves=True)
    np.testing.assert_array_equal(answers, expected)
