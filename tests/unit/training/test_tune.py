"""Tuning keeps an adapter that PEFT loads, lowers the loss, and goes on after a stop as if there had been none."""

import importlib.util
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from g2is.config import ExecutionConfig, LoraConfig, ModelConfig, TuningConfig
from g2is.errors import ConfigError, ModelError, StoreError
from g2is.model.adapter import load_adapter
from g2is.model.batches import Row
from g2is.model.folder import find_model
from g2is.progress import Progress
from g2is.training.tune import ADAPTER, TRAINING, damaged_adapter, finished_tuning, tune

pytestmark = pytest.mark.slow  # each trains

MODEL = Path(__file__).resolve().parents[3] / "src/g2is/demo/model"
CPU = torch.device("cpu")
SETTINGS = TuningConfig(lora=LoraConfig(rank=4, alpha=16, dropout=0.1), epochs=2, learning_rate=2e-3, batch_size=8)


def rows(num: int = 24) -> list[Row]:
    draw = np.random.default_rng(0)
    ids = [draw.integers(3, 40, size=draw.integers(6, 14)).astype(np.int32) for _ in range(num)]
    return [(row, np.arange(len(row)) >= 3) for row in ids]


def run(
    folder: Path,
    settings: TuningConfig = SETTINGS,
    execution: ExecutionConfig | None = None,
    progress: Progress = lambda done, total: None,
) -> PeftModel:
    model = find_model(ModelConfig(name=str(MODEL)))
    return tune(model, rows(), folder, settings, execution or ExecutionConfig(), CPU, progress, print)


def finished_record(folder: Path) -> dict[str, Any]:
    record = finished_tuning(folder)
    assert record is not None
    return record


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    run(folder)
    return folder


def test_the_record_counts_examples_and_steps_and_the_loss_goes_down(undisturbed: Path) -> None:
    record = finished_record(undisturbed)
    assert record["num_examples"] == 24
    assert record["num_steps"] == len(record["loss_by_step"]) == 6
    assert record["loss_by_step"][-1] < record["loss_by_step"][0]
    assert not (undisturbed / "trainer").exists()


def test_the_adapter_loads_with_peft_and_changes_the_model(undisturbed: Path) -> None:
    from peft import PeftModel

    folder = find_model(ModelConfig(name=str(MODEL)))
    ids = torch.tensor([[4, 5, 6, 7]])
    with torch.no_grad():
        plain = folder.load(CPU)(input_ids=ids).logits
        tuned = PeftModel.from_pretrained(folder.load(CPU), str(undisturbed / ADAPTER)).eval()(input_ids=ids).logits
    assert not torch.allclose(plain, tuned)


def test_bfloat16_products_train_a_float32_adapter_to_almost_the_same_loss(undisturbed: Path, tmp_path: Path) -> None:
    run(tmp_path, SETTINGS.model_copy(update={"bf16": True}))
    weights = load_file(tmp_path / ADAPTER / "adapter_model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    expected, found = (finished_record(folder)["loss_by_step"] for folder in (undisturbed, tmp_path))
    assert found != expected
    np.testing.assert_allclose(found, expected, rtol=0.02)


@pytest.mark.parametrize("bf16", [False, True])
def test_the_model_that_tuning_returns_is_the_one_that_its_adapter_makes(bf16: bool, tmp_path: Path) -> None:
    tuned = run(tmp_path, SETTINGS.model_copy(update={"bf16": bf16}))
    reloaded = load_adapter(find_model(ModelConfig(name=str(MODEL))), tmp_path / ADAPTER, CPU).eval()
    with torch.no_grad():
        found, expected = (model(input_ids=torch.tensor([[4, 5, 6, 7]])).logits for model in (tuned, reloaded))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_stopped_tuning_goes_on_to_the_same_bytes(undisturbed: Path, tmp_path: Path) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 3:
            time.sleep(2)
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, execution=ExecutionConfig(resume_steps=2), progress=stop)
    assert finished_tuning(tmp_path) is None
    first = []
    run(tmp_path, execution=ExecutionConfig(resume_steps=2), progress=lambda done, total: first.append(done))
    assert first[0] == 5  # step 4 was kept
    there, here = (load_file(folder / ADAPTER / "adapter_model.safetensors") for folder in (undisturbed, tmp_path))
    assert all(torch.equal(there[name], here[name]) for name in there)
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["num_steps"] == 6
    assert record["seconds"] > 2, "the seconds before the stop are lost"


def test_a_tuning_that_diverges_says_so_and_keeps_no_adapter(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"diverged\. Lower the learning_rate"):
        run(tmp_path, SETTINGS.model_copy(update={"learning_rate": 1e30, "max_grad_norm": 1e30}))
    assert finished_tuning(tmp_path) is None
    assert not (tmp_path / ADAPTER).exists()


def test_a_training_is_logged_below_its_folder_if_asked_for_and_comes_out_the_same(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "elsewhere"))
    run(tmp_path / "tuned", execution=ExecutionConfig(report_to=("tensorboard",)))
    (events,) = (tmp_path / "tuned/logs").glob("events.out.tfevents.*")
    logged = EventAccumulator(str(events)).Reload()
    losses = [event.value for event in logged.Scalars("train/loss")]
    assert losses == pytest.approx(finished_record(undisturbed)["loss_by_step"], abs=1e-5)
    there, here = (
        load_file(folder / ADAPTER / "adapter_model.safetensors") for folder in (undisturbed, tmp_path / "tuned")
    )
    assert all(torch.equal(there[name], here[name]) for name in there)
    assert not (tmp_path / "elsewhere").exists()
    assert os.environ["TENSORBOARD_LOGGING_DIR"] == str(tmp_path / "elsewhere")


def test_without_the_package_nothing_is_trained(tmp_path: Path) -> None:
    if importlib.util.find_spec("wandb") is not None:
        pytest.skip("wandb is installed")
    with pytest.raises(ConfigError, match=r"execution\.report_to: expected the package wandb, found it not installed"):
        run(tmp_path, execution=ExecutionConfig(report_to=("wandb",)))
    assert list(tmp_path.iterdir()) == []


def test_another_json_file_in_place_of_the_record_is_damage(tmp_path: Path) -> None:
    (tmp_path / TRAINING).write_text('{"peft_type": "LORA"}')  # of another program: no digest of its own
    assert damaged_adapter(tmp_path) == [TRAINING]
    with pytest.raises(StoreError, match="expected a whole number as `num_steps`, found none"):
        finished_tuning(tmp_path)
