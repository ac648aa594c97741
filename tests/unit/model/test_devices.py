"""A model that is spread: what is refused, and the same rows with accelerate's hooks around every layer."""

from pathlib import Path
from types import SimpleNamespace

import accelerate
import pytest
import torch
from saved_models import CPU, adapted, found, gradients, save_tiny, some_rows

from g2is.config import ExecutionConfig, ModelConfig
from g2is.errors import ConfigError, ModelError
from g2is.jobs.engines import num_workers
from g2is.model.devices import check_all_on_devices, check_spread, device_map, frozen_dtype, is_spread

SPREAD = ModelConfig(name="model", device_map="auto")


def test_on_one_device_all_of_it_lies_there() -> None:
    assert device_map(SPREAD, CPU) == {"": CPU}


def test_several_processes_are_refused() -> None:
    check_spread(SPREAD, ExecutionConfig())
    check_spread(SPREAD, ExecutionConfig(workers=1))
    check_spread(SPREAD, ExecutionConfig(engine="ray", workers=3))  # each on a node of its own
    check_spread(ModelConfig(name="model"), ExecutionConfig(workers=3))
    with pytest.raises(ConfigError, match=r"execution\.workers: expected 1 beside model\.device_map.*found 3"):
        check_spread(SPREAD, ExecutionConfig(workers=3))


def test_torchrun_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("g2is.model.devices.team", lambda: SimpleNamespace(place=SimpleNamespace(count=4)))
    with pytest.raises(ConfigError, match=r"model\.device_map: expected one process.*found 4 of torchrun"):
        check_spread(SPREAD, ExecutionConfig())


def test_one_process_makes_rows() -> None:
    assert num_workers(ExecutionConfig(), SPREAD) == 1
    assert num_workers(ExecutionConfig(workers=3), ModelConfig(name="model")) == 3


def test_what_was_left_in_main_memory_is_named() -> None:
    check_all_on_devices(SimpleNamespace(hf_device_map={"": "cpu"}), "model")
    check_all_on_devices(SimpleNamespace(hf_device_map={"layers.0": 0, "layers.1": 1}), "model")
    left = SimpleNamespace(hf_device_map={"layers.0": 0, "layers.1": "cpu", "lm_head": "disk"})
    with pytest.raises(ModelError, match=r"no room on them for 2 of its parts: layers\.1, lm_head\. Set model\.quant"):
        check_all_on_devices(left, "model")


@pytest.mark.parametrize("settings", [{}, {"activation_checkpointing": True}])
def test_hooks_around_every_layer_change_nothing(settings: dict[str, bool], tmp_path: Path) -> None:
    """As accelerate puts them around a model that is spread; here each moves what it is given to where it is."""
    save_tiny(tmp_path, "llama")
    plain = gradients(adapted(found(tmp_path)), some_rows())
    model = adapted(found(tmp_path, **settings))
    accelerate.dispatch_model(model.get_base_model(), {"": "cpu"}, force_hooks=True)
    hooked = [path for path, module in model.named_modules() if hasattr(module, "_hf_hook")]
    assert any(path.endswith("lora_A.default") for path in hooked)
    assert any(path.endswith("base_layer") for path in hooked)
    again = gradients(model, some_rows())
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    assert not is_spread(model)


def test_the_type_is_that_of_plain_weights() -> None:
    layer = torch.nn.Linear(2, 2, bias=False)
    model = torch.nn.Sequential(layer, torch.nn.LayerNorm(2, dtype=torch.bfloat16))
    layer.weight = torch.nn.Parameter(torch.zeros(2, 2, dtype=torch.int8), requires_grad=False)
    assert frozen_dtype(model) == torch.bfloat16
