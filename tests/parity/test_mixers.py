"""The default layers of hybrid, recurrent and seeing models: every block is reached, every gradient is autograd's."""

from functools import cache
from typing import Any

import pytest
import torch
import transformers
from mixers import MIXERS, RIGHT_ONLY, WITHOUT_MIXER
from test_per_example_gradients import Side, collected, gradients_by_plain_autograd, random_rows
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMultimodalLM, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES

from g2is.config import LoraConfig, ModelConfig
from g2is.errors import ModelError
from g2is.model.adapter import attach_adapter, target_modules
from g2is.model.batches import pad_batch
from g2is.model.folder import find_model
from g2is.model.layers import reach, without_text
from g2is.model.losses import example_losses

SEEING = [name for name, settings in MIXERS.items() if "vision_config" in settings]
# Layers of one block of a kind, where they are not all named alike.
LAYERS = {
    "qwen3_5_text": {
        *("in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b", "out_proj", "q_proj", "k_proj", "v_proj", "o_proj")
    },
    "deepseek_v3": {"q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"},
    "minicpm3": {"q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"},
    "rwkv": {"key", "value", "receptance", "output"},
    "modernbert-decoder": {"q_proj", "k_proj", "v_proj", "Wo"},
    "lfm2": {"in_proj", "q_proj", "k_proj", "v_proj", "out_proj"},
    "jamba": {"in_proj", "x_proj", "out_proj", "q_proj", "k_proj", "v_proj", "o_proj"},
    "bamba": {"in_proj", "q_proj", "k_proj", "v_proj", "o_proj"},
    "nemotron_h": {"in_proj", "q_proj", "k_proj", "v_proj", "o_proj"},
    "mamba": {"in_proj"},
    "recurrent_gemma": {"linear_x", "linear_y", "linear_out", "q_proj", "k_proj", "v_proj", "o_proj"},
    "xlstm": {"q", "k", "v", "ogate_preact", "igate_preact", "fgate_preact", "out_proj"},
}


@cache
def settings_of(name: str) -> Any:
    if name not in CONFIG_MAPPING_NAMES:
        pytest.skip(f"transformers {transformers.__version__} does not have {name}")
    config = AutoConfig.for_model(name, **MIXERS[name])
    if name in SEEING:
        config.architectures = [MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES[name]]
    return config


def tiny(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    kind = AutoModelForMultimodalLM if name in SEEING else AutoModelForCausalLM
    return kind.from_config(settings_of(name), dtype=torch.float32)


@pytest.mark.parametrize("name", MIXERS)
def test_the_default_layers_reach_every_block_and_their_gradients_are_autograds(name: str) -> None:
    model = tiny(name)
    layers = target_modules(model, LoraConfig())
    found = reach(model, layers)
    assert found.missed == WITHOUT_MIXER.get(name, {})
    assert found.blocks_reached == found.blocks - sum(found.missed.values())
    if name in LAYERS:
        assert {path.rsplit(".", 1)[-1] for path in layers} == LAYERS[name]
    assert bool(found.beside_text) == (name in SEEING)

    adapted = attach_adapter(model, LoraConfig(rank=4, alpha=8, dropout=0.1), seed=0)
    for path, parameter in adapted.named_parameters():
        if "lora_B" in path:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.eval()
    rows = random_rows((5, 19, 7))
    sides: tuple[Side, ...] = ("right",) if name in RIGHT_ONLY else ("right", "left")
    for side in sides:
        gradients = collected(adapted, rows, side)
        losses = gradients.pop("loss")
        for b, row in enumerate(rows):
            expected, loss = gradients_by_plain_autograd(adapted, row)
            assert losses[b].item() == pytest.approx(loss, rel=1e-5)
            assert gradients.keys() == expected.keys()
            whole = torch.cat(list(expected.values())).norm()
            for parameter, gradient in gradients.items():
                own = expected[parameter].norm()
                assert own > 0, parameter
                # a gate's gradient may be a 10⁻⁵ of the whole, and rounding is of the whole
                error = (gradient[b] - expected[parameter]).norm()
                assert error < 1e-4 * own + 1e-6 * whole, f"{name} {side} row {b} {parameter}: {error / own:.2e}"


@pytest.mark.parametrize("name", [name for name in MIXERS if name not in WITHOUT_MIXER])
def test_every_default_layer_gets_a_gradient_in_training_mode(name: str) -> None:
    adapted = attach_adapter(tiny(name), LoraConfig(rank=2, alpha=4, dropout=0.0), seed=0).train()
    example_losses(adapted, pad_batch(random_rows((6, 9)))).sum().backward()
    # B is zero at first, so that it alone has a gradient
    without = [n for n, p in adapted.named_parameters() if "lora_B" in n and (p.grad is None or not p.grad.any())]
    assert not without


@pytest.mark.parametrize("name", SEEING)
def test_a_seeing_checkpoint_is_loaded_whole_and_writes_as_its_own_class_does(name: str, tmp_path: Any) -> None:
    model = tiny(name).eval()
    model.save_pretrained(tmp_path)
    folder = find_model(ModelConfig(name=str(tmp_path), dtype="float32"))
    loaded = folder.load(torch.device("cpu"))
    assert type(loaded) is type(model)
    assert type(folder.without_weights()) is type(model)
    ids = torch.arange(1, 12)[None]
    assert torch.equal(loaded(input_ids=ids).logits, model(input_ids=ids).logits)
    assert folder.num_embeddings == 97


@pytest.mark.parametrize("name", SEEING)
def test_a_name_that_the_part_that_sees_shares_means_the_layers_of_the_text(name: str) -> None:
    model = tiny(name)
    beside = without_text(model)
    chosen = target_modules(model, LoraConfig(target_modules=("q_proj",)))
    assert chosen
    assert not any(path.startswith(tuple(f"{part}." for part in beside)) for path in chosen)


@pytest.mark.parametrize(
    ("name", "layer"), [("mamba", "out_proj"), ("mamba", "x_proj"), ("mamba2", "out_proj"), ("bamba", "out_proj")]
)
def test_a_layer_that_a_state_space_kernel_reads_by_itself_is_refused_by_name(name: str, layer: str) -> None:
    with pytest.raises(ModelError, match=rf"{layer}' names .*takes by itself.*leave the name out: --set"):
        target_modules(tiny(name), LoraConfig(target_modules=("in_proj", layer)))
