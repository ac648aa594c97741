from pathlib import Path

import pytest
import torch
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers.utils import logging

from g2is.config import ModelConfig
from g2is.model.bars import without_bars
from g2is.model.folder import find_model

MODEL = Path(__file__).resolve().parents[3] / "src/g2is/demo/model"


@pytest.fixture(autouse=True)
def bars() -> None:
    """As a program has them that has said nothing."""
    logging.enable_progress_bar()


def test_a_model_is_loaded_without_bars(capfd: pytest.CaptureFixture[str]) -> None:
    find_model(ModelConfig(name=str(MODEL))).load(torch.device("cpu"))
    assert capfd.readouterr().err == ""
    assert logging.is_progress_bar_enabled()


@pytest.mark.parametrize("of_hub", [True, False])
def test_whoever_had_bars_has_them_again(of_hub: bool) -> None:
    (enable_progress_bars if of_hub else disable_progress_bars)()
    with without_bars():
        assert not logging.is_progress_bar_enabled()
    assert logging.is_progress_bar_enabled()
    assert are_progress_bars_disabled() is not of_hub


def test_whoever_had_none_has_none_afterwards() -> None:
    logging.disable_progress_bar()
    with without_bars():
        pass
    assert not logging.is_progress_bar_enabled()
