"""Training steps, which take logits only where something is learned, against the stock Trainer with the stock loss."""

from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES, tiny_adapted_model
from test_per_example_gradients import random_rows
from transformers import PrinterCallback, Trainer

from g2is.config import ExecutionConfig, TuningConfig
from g2is.model.batches import Row, pad_batch
from g2is.model.parameters import trainable_parameters
from g2is.model.together import Training
from g2is.model.trainer import _arguments, train_adapter

# a step: three forward passes of two rows, whose answers differ in length; Adam's update is steepest where a gradient
# is near zero, so weights are compared after steps that are small
CONFIG = TuningConfig(epochs=2, batch_size=6, device_batch_size=2, learning_rate=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_training_takes_the_steps_of_the_stock_trainer(name: str, tmp_path: Path) -> None:
    rows = random_rows((5, 19, 12, 19, 7, 30))
    ours, stock = (tiny_adapted_model(name, "attention", dropout=0.0) for _ in range(2))
    state = train_adapter(
        ours, rows, tmp_path / "ours", CONFIG, "constant_with_warmup", ExecutionConfig(), _silent, notice=print
    )
    training = Training(None, rows, tmp_path / "stock", CONFIG, "constant_with_warmup", ExecutionConfig(), None)
    trainer = Trainer(
        model=stock,
        args=_arguments(training, torch.device("cpu"), torch.float32),
        train_dataset=rows,
        data_collator=_stock_collate,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    for step in range(2):
        of_ours, of_stock = state.log_history[step], trainer.state.log_history[step]
        assert of_ours["loss"] == pytest.approx(of_stock["loss"], rel=1e-5)
        assert of_ours["grad_norm"] == pytest.approx(of_stock["grad_norm"], rel=1e-4)
    expected = trainable_parameters(stock)
    for path, parameter in trainable_parameters(ours).items():
        torch.testing.assert_close(parameter, expected[path], rtol=1e-4, atol=1e-6)


def _silent(done: int, total: int) -> None:
    pass


def _stock_collate(rows: list[Row]) -> dict[str, torch.Tensor]:
    batch = pad_batch(rows)
    return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "labels": batch.labels}
