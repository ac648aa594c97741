"""A model that is spread: what is refused, and the same bits over two devices that this machine need not have."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import accelerate
import numpy as np
import pytest
import torch
from saved_models import CPU, adapted, found, gradients, save_tiny, some_rows
from two_devices import FIRST, SECOND, on_first, over_two, two_devices

from g2is.config import ExecutionConfig, GammaForm, ModelConfig, ProjectionConfig
from g2is.errors import ConfigError, ModelError
from g2is.gradients.extract import AdapterState, Extractor
from g2is.gradients.gamma import Gamma
from g2is.gradients.projection import Projection
from g2is.jobs.engines import num_workers
from g2is.model.batches import Batch, pad_batch
from g2is.model.devices import (
    check_all_on_devices,
    check_spread,
    device_map,
    devices_taken,
    frozen_dtype,
    is_spread,
)
from g2is.model.losses import token_losses
from g2is.model.parameters import trainable_parameters
from g2is.representations.states import weighted_mean
from g2is.store.moments import Moments

SPREAD = ModelConfig(name="model", device_map="auto")


def test_on_one_device_all_of_it_lies_there() -> None:
    assert device_map(SPREAD, CPU) == {"": CPU}


def test_a_gpu_is_named_by_its_number_for_threads_that_have_another_as_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    for config in (ModelConfig(name="model"), SPREAD):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        assert device_map(config, torch.device("cuda")) == {"": torch.device("cuda", 3)}
    assert device_map(ModelConfig(name="model"), torch.device("cuda", 1)) == {"": torch.device("cuda", 1)}


def test_a_spread_model_takes_all_devices_that_its_process_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, seen = torch.device("cuda"), ["GPU-b", "GPU-a"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(seen))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid=seen[number]))
    assert devices_taken(SPREAD, cuda) == ["GPU-a", "GPU-b"]  # in one order, whatever they are numbered as here
    assert devices_taken(SPREAD, CPU) == devices_taken(ModelConfig(name="model"), cuda) == []
    seen.pop()
    assert devices_taken(SPREAD, cuda) == []  # with one device nothing is spread: parts share it as they ever did


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("llama", {}),
        ("llama-tied", {"activation_checkpointing": True}),
        ("qwen3", {}),
        ("llama", {"dtype": "bfloat16"}),
        ("llama", {"quantization": "nf4", "dtype": "float32"}),
        ("llama", {"quantization": "int8", "dtype": "bfloat16"}),
        ("qwen3", {"quantization": "nf4", "dtype": "bfloat16", "activation_checkpointing": True}),
    ],
    ids=lambda of: of if isinstance(of, str) else " ".join(map(str, of.values())) or "plain",
)
def test_over_two_devices_rows_are_the_same_bits(name: str, settings: dict[str, object], tmp_path: Path) -> None:
    if "quantization" in settings:
        pytest.importorskip("bitsandbytes")
    forms: tuple[GammaForm, ...] = ("less", "momentum-free", "adam", "sgd")
    save_tiny(tmp_path, name)
    weights = {key: of for key, of in settings.items() if key != "activation_checkpointing"}
    in_memory = extracted(adapted(found(tmp_path, **weights)), forms)
    whole, model = adapted(found(tmp_path, **weights)), adapted(found(tmp_path, **settings))
    with two_devices():
        on_one = extracted(on_first(whole), forms)
        over_two(model)
        assert {p.device for p in trainable_parameters(model).values()} == {FIRST, SECOND}
        over_both = extracted(model, forms)
    assert over_both.keys() == on_one.keys() == in_memory.keys()
    assert all(np.array_equal(over_both[key], on_one[key]) for key in on_one)
    for form in forms:  # attention is another code there, and stored rows are rounded to float16
        rows = [of[f"now/{form}/rows"].astype(np.float64) for of in (in_memory, over_both)]
        assert np.einsum("rk,rk->r", *rows).min() > 1 - 1e-3


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_over_two_devices_scales_on_the_wrong_one_are_found_out(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    save_tiny(tmp_path, "llama")
    model = adapted(found(tmp_path, quantization=kind))
    with two_devices():
        layer = over_two(model).get_base_model().model.layers[1].mlp.up_proj
        if kind == "nf4":
            layer.weight.quant_state.absmax = layer.weight.quant_state.absmax.to(FIRST)
        else:
            layer.weight.SCB = layer.weight.SCB.to(FIRST)
        with pytest.raises(RuntimeError, match=r"same device, but found \['lazy:0', 'lazy:1'\]"):
            extracted(model, ["sgd"])


def test_over_two_devices_what_lies_on_the_wrong_one_is_found_out(tmp_path: Path) -> None:
    save_tiny(tmp_path, "llama")
    with two_devices():
        model = over_two(adapted(found(tmp_path)))
        with pytest.raises(RuntimeError, match=r"same device, but found \['lazy:0', 'lazy:1'\]"):
            extracted(model, ["sgd"], FIRST)


def test_over_two_devices_hidden_states_are_the_same_bits(tmp_path: Path) -> None:
    save_tiny(tmp_path, "llama")
    batch = pad_batch(some_rows())
    with two_devices(), torch.no_grad():
        batch = Batch(*(tensor.to(FIRST) for tensor in vars(batch).values()))
        means = [  # without its inference mode, in which these devices' tensors cannot be made
            inspect.unwrap(weighted_mean)(put(adapted(found(tmp_path))).get_base_model().model, batch).cpu()
            for put in (on_first, over_two)
        ]
    assert torch.equal(*means)


def test_over_two_devices_steps_of_training_are_the_same_bits(tmp_path: Path) -> None:
    """Losses of tokens, backward and AdamW, as the Trainer takes them."""
    save_tiny(tmp_path, "llama")

    def stepped(model: Any) -> dict[str, torch.Tensor]:
        parameters = trainable_parameters(model)
        optimizer = torch.optim.AdamW(parameters.values(), lr=1e-3, foreach=False)
        for _ in range(2):
            token_losses(model, pad_batch(some_rows(), FIRST)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        return {name: of.detach().cpu() for name, of in parameters.items()}

    with two_devices():
        on_one, over_both = (stepped(put(adapted(found(tmp_path)))) for put in (on_first, over_two))
    assert all(torch.equal(on_one[name], over_both[name]) for name in on_one)
