"""The order in which a training takes its rows."""

from pathlib import Path

import numpy as np
import pytest
import torch

from g2is.config import ExecutionConfig, LoraConfig, ModelConfig, TuningConfig
from g2is.model.adapter import attach_adapter
from g2is.model.folder import find_model
from g2is.model.parameters import trainable_parameters
from g2is.model.step_order import StepOrder
from g2is.model.trainer import train_adapter


def order(lengths: np.ndarray, step_rows: int, seed: int = 0, epoch: int = 0) -> list[int]:
    found = StepOrder(lengths.tolist(), step_rows, seed)
    found.set_epoch(epoch)
    return list(found)


MODEL = Path(__file__).resolve().parents[3] / "src/g2is/demo/model"
LENGTHS = np.random.default_rng(0).integers(5, 400, 203)


def test_every_row_comes_once_an_epoch_and_each_epoch_and_seed_is_another_shuffle() -> None:
    first = order(LENGTHS, 32)
    assert sorted(first) == list(range(203))
    assert first == order(LENGTHS, 32) != order(LENGTHS, 32, epoch=1)
    assert first != order(LENGTHS, 32, seed=1)


def test_rows_of_a_step_are_those_of_the_plain_shuffle_sorted_by_length() -> None:
    plain, sorted_ = order(np.ones(203, int), 32), order(LENGTHS, 32)
    for start in range(0, 203, 32):
        step = sorted_[start : start + 32]
        assert set(step) == set(plain[start : start + 32])
        assert (np.diff(LENGTHS[step]) <= 0).all()


def test_it_pads_less() -> None:
    def padded(rows: list[int]) -> int:
        return sum(len(rows[i : i + 8]) * int(LENGTHS[rows[i : i + 8]].max()) for i in range(0, len(rows), 8))

    assert padded(order(LENGTHS, 32)) < 0.8 * padded(order(np.ones(203, int), 32))


@pytest.mark.slow
@pytest.mark.parametrize("device_batch_size", [2, 8])
def test_a_step_s_update_does_not_depend_on_how_it_is_cut(
    device_batch_size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    draw = np.random.default_rng(1)
    rows = [
        (draw.integers(3, 40, size).astype(np.int32), np.arange(size) >= 2) for size in (5, 19, 7, 12, 30, 6, 9, 14)
    ]
    updates = []
    for size in (1, device_batch_size):
        config = TuningConfig(
            lora=LoraConfig(rank=2, dropout=0.0), epochs=1, batch_size=8, device_batch_size=size, learning_rate=1e-3
        )
        model = attach_adapter(
            find_model(ModelConfig(name=str(MODEL))).load(torch.device("cpu")), config.lora, 0, "tuning"
        )
        folder = tmp_path_factory.mktemp("step")
        train_adapter(
            model,
            rows,
            folder,
            config,
            "constant_with_warmup",
            ExecutionConfig(),
            lambda done, total: None,
            notice=print,
        )
        updates.append(torch.cat([parameter.detach().flatten() for parameter in trainable_parameters(model).values()]))
    torch.testing.assert_close(updates[0], updates[1], rtol=1e-4, atol=1e-6)
