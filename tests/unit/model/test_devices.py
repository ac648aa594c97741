"""A model that is spread: what is refused, and the same bits over two devices that this machine need not have."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import accelerate
import numpy as np
import pytest
import torch
from saved_models import CPU, adapted, found, gradients, save_tiny, some_rows
from two_devices import FIRST, SECOND, two_devices

from g2is.config import ExecutionConfig, GammaForm, ModelConfig, ProjectionConfig
from g2is.errors import ConfigError, ModelError
from g2is.gradients.extract import AdapterState, Extractor
from g2is.gradients.gamma import Gamma
from g2is.gradients.projection import Projection
from g2is.jobs.engines import num_workers
from g2is.model.batches import pad_batch
from g2is.model.devices import check_all_on_devices, check_spread, device_map, frozen_dtype, is_spread
from g2is.model.losses import token_losses
from g2is.model.parameters import trainable_parameters
from g2is.representations.states import weighted_states
from g2is.store.moments import Moments

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


def over_two(model: Any) -> None:
    """The embedding and the first block on one device, all else on the other."""
    base = model.get_base_model()
    base.set_attn_implementation("eager")  # no kernels of these devices
    places = {"model.embed_tokens": FIRST, "model.rotary_emb": FIRST, "model.layers.0": FIRST}
    places |= {"model.layers.1": SECOND, "model.norm": SECOND, "lm_head": SECOND}
    accelerate.dispatch_model(base, places, main_device=FIRST, skip_keys=["past_key_values"])


def extracted(model: Any, forms: Sequence[GammaForm], places: Any = None) -> Mapping[str, np.ndarray]:
    parameters = trainable_parameters(model)
    generator = torch.Generator().manual_seed(0)
    noise = [{name: torch.rand(p.shape, generator=generator) * 1e-5 for name, p in parameters.items()} for _ in "mv"]
    m, v = ({name: of[name].to(p.device) for name, p in parameters.items()} for of in noise)
    state = AdapterState({name: p.detach().clone() for name, p in parameters.items()}, Moments(m, v, step=10))
    sizes = {name: p.numel() for name, p in parameters.items()}
    places = places or {name: p.device for name, p in parameters.items()}
    projection = Projection(ProjectionConfig(dim=512), sizes, places)
    extractor = Extractor(model, {"now": state}, projection, 64, pytest.fail)
    extractor._gamma = Gamma(False, pytest.fail)  # nothing is compiled for these devices
    rows = some_rows()
    return extractor.extract(rows, np.zeros((len(rows), 16), np.uint8), forms).arrays


@pytest.mark.parametrize("name", ["llama", "llama-tied", "qwen3"])
@pytest.mark.parametrize("settings", [{}, {"activation_checkpointing": True}])
def test_over_two_devices_rows_are_the_same_bits(name: str, settings: dict[str, bool], tmp_path: Path) -> None:
    forms: tuple[GammaForm, ...] = ("less", "momentum-free", "adam", "sgd")
    save_tiny(tmp_path, name)
    on_one = adapted(found(tmp_path))
    on_one.get_base_model().set_attn_implementation("eager")
    expected = extracted(on_one, forms)
    with two_devices():
        model = adapted(found(tmp_path, **settings))
        over_two(model)
        assert is_spread(model)
        assert {str(p.device) for p in trainable_parameters(model).values()} == {"cuda:0", "cuda:1"}
        arrays = extracted(model, forms)
    assert arrays.keys() == expected.keys()
    assert all(np.array_equal(arrays[key], expected[key]) for key in expected)


def test_over_two_devices_what_lies_on_the_wrong_one_is_found_out(tmp_path: Path) -> None:
    save_tiny(tmp_path, "llama")
    with two_devices():
        model = adapted(found(tmp_path))
        over_two(model)
        with pytest.raises(RuntimeError, match=r"same device, but found \['cuda:0', 'cuda:1'\]"):
            extracted(model, ["sgd"], FIRST)


def test_over_two_devices_hidden_states_are_the_same_bits(tmp_path: Path) -> None:
    save_tiny(tmp_path, "llama")
    on_one = adapted(found(tmp_path))
    on_one.get_base_model().set_attn_implementation("eager")
    expected = weighted_states(on_one.get_base_model().model, some_rows(), 64)
    with two_devices():
        model = adapted(found(tmp_path))
        over_two(model)
        states = weighted_states(model.get_base_model().model, some_rows(), 64)
    assert np.array_equal(states, expected)


def test_over_two_devices_a_step_of_training_is_the_same_bits(tmp_path: Path) -> None:
    """Losses of tokens, backward and AdamW, as the Trainer takes them."""
    save_tiny(tmp_path, "llama")

    def stepped(model: Any) -> dict[str, torch.Tensor]:
        parameters = trainable_parameters(model)
        optimizer = torch.optim.AdamW(parameters.values(), lr=1e-3, foreach=False)
        place = next(model.parameters()).device
        for _ in range(2):
            token_losses(model, pad_batch(some_rows(), place)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        return {name: of.detach().cpu() for name, of in parameters.items()}

    on_one = adapted(found(tmp_path))
    on_one.get_base_model().set_attn_implementation("eager")
    expected = stepped(on_one)
    with two_devices():
        model = adapted(found(tmp_path))
        over_two(model)
        trained = stepped(model)
    assert all(torch.equal(trained[name], expected[name]) for name in expected)
