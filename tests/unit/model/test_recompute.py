"""Activation checkpointing: the same bits, with less memory."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import ARCHITECTURES
from saved_models import CPU, adapted, found, gradients, save_tiny, some_rows
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from g2is.config import ExecutionConfig, LoraConfig, WarmupConfig
from g2is.gradients.per_example import UnbatchableError, single_example_gradients
from g2is.model.adapter import attach_adapter
from g2is.model.all_linear import load_all_linear
from g2is.model.parameters import trainable_parameters
from g2is.model.trainer import train_adapter

# Of every kind of block, layers used more than once (Zamba2's shared block) and passes without gradients among them.
MIXED = ("qwen3_5_text", "deepseek_v3", "rwkv", "lfm2", "bamba", "falcon_h1", "zamba", "jamba")


class Peak(TorchDispatchMode):
    """The most bytes of tensors alive at once, among those that were made within it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: Any) -> None:
        key = storage._cdata
        if key in self._known:
            return
        self._known.add(key)
        size = storage.nbytes()
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


@contextmanager
def peak() -> Iterator[Peak]:
    with Peak() as counted:
        yield counted


@pytest.mark.parametrize("name", [*ARCHITECTURES, *MIXED])
def test_gradients_are_the_same_bits(name: str, tmp_path: Path) -> None:
    save_tiny(tmp_path, name)
    kept = gradients(adapted(found(tmp_path)), some_rows())
    anew = gradients(adapted(found(tmp_path, activation_checkpointing=True)), some_rows())
    assert kept.keys() == anew.keys()
    assert all(torch.equal(kept[parameter], anew[parameter]) for parameter in kept)


@pytest.mark.parametrize("modules", ["attention", ("down_proj",), ("q_proj", "up_proj", "down_proj")])
def test_so_they_are_for_layers_at_any_place_of_a_block(modules: Any, tmp_path: Path) -> None:
    save_tiny(tmp_path, "llama")
    of = []
    for anew in (False, True):
        base = found(tmp_path, activation_checkpointing=anew).load(CPU)
        model = attach_adapter(base, LoraConfig(rank=4, target_modules=modules), seed=0).eval()
        for parameter in trainable_parameters(model).values():
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(parameter.numel()))
        of.append(gradients(model, some_rows()))
    assert of[0].keys() == of[1].keys()
    assert all(torch.equal(of[0][name], of[1][name]) for name in of[0])


def test_and_one_example_at_a_time(tmp_path: Path) -> None:
    save_tiny(tmp_path, "llama")
    of = [
        gradients(
            adapted(found(tmp_path, activation_checkpointing=anew)), some_rows(), compute=single_example_gradients
        )
        for anew in (False, True)
    ]
    assert all(torch.equal(of[0][name], of[1][name]) for name in of[0])


@pytest.mark.parametrize("name", [*ARCHITECTURES, *MIXED])
def test_and_of_all_linear_layers(name: str, tmp_path: Path) -> None:
    save_tiny(tmp_path, name)
    of = []
    for anew in (False, True):
        model = load_all_linear(found(tmp_path, activation_checkpointing=anew), CPU)
        try:
            of.append(gradients(model, some_rows()))
        except UnbatchableError:
            of.append(gradients(model, some_rows(), compute=single_example_gradients))
    assert of[0].keys() == of[1].keys()
    assert all(torch.equal(of[0][parameter], of[1][parameter]) for parameter in of[0])


def test_a_training_with_dropout_comes_out_the_same_bits(tmp_path: Path) -> None:
    save_tiny(tmp_path / "model", "llama")
    config = WarmupConfig(lora=LoraConfig(rank=4, dropout=0.2), epochs=2, batch_size=4, learning_rate=1e-3)
    trained = []
    for anew in (False, True):
        base = found(tmp_path / "model", activation_checkpointing=anew).load(CPU)
        model = attach_adapter(base, config.lora, seed=0)
        work = tmp_path / f"trainer {anew}"
        train_adapter(
            *(model, some_rows((9, 17, 12, 15, 7, 20)), work, config, "linear", ExecutionConfig(device="cpu")),
            lambda *_: None,
            notice=print,
        )
        trained.append({name: of.detach().clone() for name, of in trainable_parameters(model).items()})
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])
    assert any(bool(of.any()) for name, of in trained[0].items() if "lora_B" in name)


def test_of_each_block_only_its_input_is_held(tmp_path: Path) -> None:
    """Twelve blocks: what is held for backward falls to their inputs and the inside of a few, under a third."""
    sizes = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 12, "num_attention_heads": 4}
    save_tiny(tmp_path, "llama", **sizes, num_key_value_heads=4)
    rows = some_rows((60,) * 8)
    most, one_block = {}, 0
    for anew in (False, True):
        model = adapted(found(tmp_path, activation_checkpointing=anew))
        with peak() as counted:
            gradients(model, rows)
        most[anew] = counted.most
    hidden = 8 * 60 * 64 * 4  # bytes of a batch's states
    one_block = most[False] // 12
    assert most[True] < 12 * hidden + 3 * one_block, (most, hidden)
    assert most[True] < most[False] / 3, most
