"""Weights rounded by bitsandbytes: what is rounded, that gradients are those of what was computed, and how near."""

import importlib.util
import json
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import transformers
from packaging.version import Version
from saved_models import CPU, adapted, found, gradients, save_tiny, some_rows, whole
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from g2is.errors import ModelError
from g2is.jobs.model_identity import identify
from g2is.model.all_linear import all_linear, make_all_trainable
from g2is.model.folder import ModelFolder
from g2is.model.quantized import layers_to_round, read_back
from g2is.progress import Silent

HAS_BITSANDBYTES = importlib.util.find_spec("bitsandbytes") is not None
needs_bitsandbytes = pytest.mark.skipif(
    not HAS_BITSANDBYTES, reason="bitsandbytes is not installed: pip install 'g2is[quantized]'"
)
Kind = Literal["nf4", "int8"]
KINDS: tuple[Kind, ...] = ("nf4", "int8")
PLAIN = ("llama", "llama-tied", "qwen2", "qwen3", "gemma2", "mistral", "gpt2", "opt", "granite")
MIXED = ("qwen3_5_text", "bamba", "falcon_h1", "minicpm3")
# The cosine of a row with that of the model in float32, at least, over these architectures of random weights. All of it
# is the rounding's: gradients are exactly those of plain layers with the same weights, as the next test says.
COSINE = {"nf4": 0.85, "int8": 0.999}
COSINE_OF_BFLOAT16 = 0.99  # lowest for OPT, whose ReLU turns with the last bit
COSINE_IN_BFLOAT16 = {"nf4": 0.85, "int8": 0.99}


def rounded(model: nn.Module) -> dict[str, Any]:
    return {path: of for path, of in model.named_modules() if type(of).__name__ in ("Linear4bit", "Linear8bitLt")}


@needs_bitsandbytes
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*PLAIN, *MIXED])
def test_rows_are_near_those_of_float32(name: str, kind: Kind, tmp_path: Path) -> None:
    if name not in CONFIG_MAPPING_NAMES:
        pytest.skip(f"transformers {transformers.__version__} does not have {name}")
    save_tiny(tmp_path, name)
    exact = whole(gradients(adapted(found(tmp_path)), some_rows()))
    near = whole(gradients(adapted(found(tmp_path, quantization=kind)), some_rows()))
    cosines = torch.cosine_similarity(exact, near)
    assert cosines.min() >= COSINE[kind]
    assert cosines.max() < 1 - 1e-9  # something was rounded


@needs_bitsandbytes
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3", "opt"])
def test_rows_computed_in_bfloat16_are_near_those_of_float32(name: str, kind: Kind, tmp_path: Path) -> None:
    """The type of a CUDA device. What it adds is small: to the rounding of nf4 hardly anything."""
    save_tiny(tmp_path, name)
    exact, plain, low, near = (
        whole(gradients(adapted(found(tmp_path, **settings)), some_rows()))
        for settings in (
            {},
            {"dtype": "bfloat16"},
            {"quantization": kind},
            {"quantization": kind, "dtype": "bfloat16"},
        )
    )
    assert torch.cosine_similarity(exact, plain).min() >= COSINE_OF_BFLOAT16
    assert torch.cosine_similarity(exact, near).min() >= COSINE_IN_BFLOAT16[kind]
    assert torch.cosine_similarity(low, near).min() >= COSINE_OF_BFLOAT16


@needs_bitsandbytes
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["llama", "gpt2", "opt", "bamba"])
def test_gradients_are_exactly_those_of_plain_layers_with_the_rounded_weights(
    name: str, kind: Kind, tmp_path: Path
) -> None:
    folder = save_tiny(tmp_path / "plain", name)
    model = found(folder, quantization=kind).load(CPU)
    plain: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    weights = {path: read_back(layer, torch.float32) for path, layer in rounded(model).items()}
    assert sorted(weights) == sorted(layers_to_round(plain))
    with torch.no_grad():
        for path, weight in weights.items():
            own = plain.get_submodule(path).weight
            own.copy_(weight.T if type(plain.get_submodule(path)).__name__ == "Conv1D" else weight)
    plain.save_pretrained(tmp_path / "read_back")
    ours = gradients(adapted(found(folder, quantization=kind)), some_rows())
    theirs = gradients(adapted(found(tmp_path / "read_back")), some_rows())
    assert ours.keys() == theirs.keys()
    for parameter, gradient in ours.items():
        error = (gradient - theirs[parameter]).norm() / theirs[parameter].norm()
        assert error < 1e-5, f"{parameter}: {error:.1e}"


@needs_bitsandbytes
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_does_not_depend_on_its_batch(kind: Kind, tmp_path: Path) -> None:
    save_tiny(tmp_path, "llama")
    model, rows = adapted(found(tmp_path, quantization=kind)), some_rows()
    together = whole(gradients(model, rows))
    for b, row in enumerate(rows):
        alone = whole(gradients(model, [row]))
        assert torch.cosine_similarity(together[b : b + 1], alone).min() > 1 - 1e-6


@needs_bitsandbytes
def test_bitsandbytes_own_product_of_8_bits_lets_examples_of_a_batch_mix() -> None:
    """Why its forward is not used: a large input in one example changes what another's columns are rounded to."""
    import bitsandbytes

    torch.manual_seed(0)
    layer = bitsandbytes.nn.Linear8bitLt(32, 16, bias=False, has_fp16_weights=False, threshold=6.0)
    layer.weight = bitsandbytes.nn.Int8Params(torch.randn(16, 32), requires_grad=False).to("cpu")
    layer.eval()
    x = torch.randn(2, 5, 32)
    alone = layer(x[:1].clone())
    x[1, 0, 3] = 40.0  # of the other example
    assert (layer(x.clone())[:1] - alone).abs().max() > 1e-3


@needs_bitsandbytes
def test_gradients_come_after_a_pass_without_them(tmp_path: Path) -> None:
    save_tiny(tmp_path, "llama")
    rows = some_rows()
    model = adapted(found(tmp_path, quantization="nf4"))
    before = whole(gradients(model, rows))
    with torch.no_grad():
        model(input_ids=torch.ones(1, 4, dtype=torch.int64))
    assert torch.equal(whole(gradients(model, rows)), before)


@needs_bitsandbytes
@pytest.mark.parametrize("kind", KINDS)
def test_weights_take_the_memory_that_is_told(kind: Kind, tmp_path: Path) -> None:
    save_tiny(tmp_path, "llama", hidden_size=256, intermediate_size=512, num_hidden_layers=3)
    folder = found(tmp_path, quantization=kind)
    model = folder.load(CPU)
    held = 0
    for layer in rounded(model).values():
        held += layer.weight.nbytes
        if kind == "nf4":
            state = layer.weight.quant_state
            held += state.absmax.nbytes + state.state2.absmax.nbytes
        else:
            held += layer.weight.SCB.nbytes
    inside = {id(layer.weight) for layer in rounded(model).values()}
    held += sum(parameter.nbytes for parameter in model.parameters() if id(parameter) not in inside)
    num = sum(parameter.numel() for parameter in found(tmp_path).without_weights().parameters())
    told = folder.num_bytes(num, CPU)
    assert held == pytest.approx(told, rel=0.01)
    assert told < found(tmp_path).num_bytes(num, CPU) * (0.30 if kind == "nf4" else 0.40)
    (notice,) = folder.rounding_notices(CPU)
    assert f"of {num:,} weights are rounded ({kind}); the frozen model takes" in notice


@needs_bitsandbytes
def test_layers_that_code_takes_by_their_weight_stay_as_they_are(tmp_path: Path) -> None:
    save_tiny(tmp_path, "bamba")
    model = found(tmp_path, quantization="nf4").load(CPU)
    paths = set(rounded(model))
    assert any(path.endswith("mamba.in_proj") for path in paths)
    assert not any(path.endswith("mamba.out_proj") or path == "lm_head" for path in paths)
    assert model.lm_head.weight.dtype == torch.float32


@needs_bitsandbytes
def test_a_store_of_rounded_weights_is_another() -> None:
    from small_run import MODEL

    folders = [found(MODEL, quantization=kind) for kind in (None, "nf4", "int8")]
    told = [identify(folder, folder.config, CPU, Silent()) for folder in folders]
    assert [of.in_store().get("quantization") for of in told] == [None, "nf4", "int8"]
    assert [of.in_manifest().get("quantization") for of in told] == [None, "nf4", "int8"]
    assert len({of.weights for of in told}) == 1


@needs_bitsandbytes
def test_an_old_bitsandbytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny(tmp_path, "llama")
    monkeypatch.setattr("bitsandbytes.__version__", "0.46.1")
    with pytest.raises(ModelError, match=r"expected bitsandbytes 0\.49 or newer, found 0\.46\.1"):
        found(tmp_path, quantization="int8")


@pytest.mark.skipif(HAS_BITSANDBYTES, reason="bitsandbytes is installed")
def test_without_bitsandbytes_it_is_said_what_to_install(tmp_path: Path) -> None:
    save_tiny(tmp_path, "llama")
    with pytest.raises(ModelError, match=r"model\.quantization nf4: expected the package bitsandbytes.*g2is\[quantiz"):
        found(tmp_path, quantization="nf4")


@needs_bitsandbytes
@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_that_bitsandbytes_rounded_gives_the_same_rows(kind: Kind, tmp_path: Path) -> None:
    save_tiny(tmp_path / "plain", "llama")
    now = found(tmp_path / "plain", quantization=kind)
    now.load(CPU).save_pretrained(tmp_path / "rounded")
    before = found(tmp_path / "rounded")
    assert before.rounded_by == "bitsandbytes"
    ours, theirs = (whole(gradients(adapted(of), some_rows())) for of in (before, now))
    assert torch.cosine_similarity(ours, theirs).min() > 1 - 1e-6
    with pytest.raises(ModelError, match="found a checkpoint that is rounded"):
        found(tmp_path / "rounded", quantization=kind)


def as_fp8(folder: Path, block: int = 16) -> dict[str, torch.Tensor]:
    """Round the saved model to fp8 as such checkpoints are; returns the weights as read back, by name."""
    from safetensors.torch import load_file, save_file

    weights, kept, back = load_file(folder / "model.safetensors"), {}, {}
    for name, weight in weights.items():
        if not name.endswith("_proj.weight"):
            kept[name] = weight
            continue
        tiles = weight.unflatten(1, (-1, block)).unflatten(0, (-1, block))  # (rows, block, columns, block)
        scales = tiles.abs().amax(dim=(1, 3)) / 448
        low = (tiles / scales[:, None, :, None]).to(torch.float8_e4m3fn)
        kept[name] = low.reshape(weight.shape)
        kept[name.replace("weight", "weight_scale_inv")] = scales
        back[name] = (low.float() * scales[:, None, :, None]).reshape(weight.shape)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    says = json.loads((folder / "config.json").read_text())
    says["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [block, block]}
    (folder / "config.json").write_text(json.dumps(says))
    return back


def loaded(folder: ModelFolder) -> Any:
    try:
        return folder.load(CPU)
    except ModelError as error:
        if Version(transformers.__version__) >= Version("5.24"):
            raise
        pytest.skip(f"transformers {transformers.__version__} does not read fp8 here: {error.args[0][-60:]}")


def test_a_checkpoint_in_fp8_is_read_back_and_said_so(tmp_path: Path) -> None:
    save_tiny(tmp_path, "llama")
    exact = whole(gradients(adapted(found(tmp_path)), some_rows()))
    back = as_fp8(tmp_path)
    folder = found(tmp_path)
    folder.check_blocks()
    folder.check_numbers(torch.float32)
    model = loaded(folder)
    for name, weight in back.items():
        torch.testing.assert_close(model.get_parameter(name), weight)
    near = whole(gradients(adapted(folder), some_rows()))
    assert 0.99 < torch.cosine_similarity(exact, near).min() < 1 - 1e-6
    (notice,) = folder.rounding_notices(CPU)
    assert "weights of 8 bits (fp8) are read back to float32, and take its memory" in notice


def test_all_linear_layers_of_a_checkpoint_in_fp8_have_the_gradients_of_what_was_read_back(tmp_path: Path) -> None:
    save_tiny(tmp_path / "plain", "llama")
    back = as_fp8(save_tiny(tmp_path / "fp8", "llama"))
    folder = found(tmp_path / "fp8")
    model, plain = loaded(folder), found(tmp_path / "plain").load(CPU)
    with torch.no_grad():
        for name, weight in back.items():
            plain.get_parameter(name).copy_(weight)
    assert all_linear(folder.without_weights()) == all_linear(model) == all_linear(plain)
    ours, theirs = (gradients(make_all_trainable(of).eval(), some_rows()) for of in (model, plain))
    assert ours.keys() == theirs.keys()
    assert torch.cosine_similarity(whole(ours), whole(theirs)).min() > 1 - 1e-9


@needs_bitsandbytes
@pytest.mark.parametrize("kind", KINDS)
def test_all_linear_layers_of_a_checkpoint_that_bitsandbytes_rounded_are_refused(kind: Kind, tmp_path: Path) -> None:
    save_tiny(tmp_path / "plain", "llama")
    found(tmp_path / "plain", quantization=kind).load(CPU).save_pretrained(tmp_path / "rounded")
    with pytest.raises(
        ModelError, match=r"all: expected linear layers with weights in float32 or bfloat16, found torch"
    ):
        make_all_trainable(found(tmp_path / "rounded").load(CPU))


@pytest.mark.parametrize(
    "method", ["gptq", "awq", "compressed-tensors", "mxfp4", "hqq", "torchao", "fbgemm_fp8", "quanto", "aqlm"]
)
def test_other_ways_of_rounding_are_refused_by_name(method: str, tmp_path: Path) -> None:
    says = json.loads((save_tiny(tmp_path, "llama") / "config.json").read_text())
    says["quantization_config"] = {"quant_method": method, "bits": 4}
    (tmp_path / "config.json").write_text(json.dumps(says))
    with pytest.raises(ModelError, match=rf"found quantization_config of {method}: .*model\.quantization=nf4") as told:
        found(tmp_path)
    assert ("Mxfp4Config(dequantize=True)" in str(told.value)) == (method == "mxfp4")
