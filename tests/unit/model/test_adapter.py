from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES, tiny_adapted_model
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from g2is.config import LoraConfig
from g2is.errors import ModelError
from g2is.model.adapter import attach_adapter, target_modules
from g2is.model.parameters import canonical_name, trainable_parameters
from g2is.model.trainer import save_adapter
from g2is.representations.tacs import with_adapters


def tiny_model(name: str, **settings: object) -> PreTrainedModel:
    common = {"vocab_size": 61, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    shape = {"num_key_value_heads": 2, "intermediate_size": 24, "max_position_embeddings": 32}
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **common, **shape, **settings))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_attention_means_all_attention_projections_and_nothing_else(name: str) -> None:
    adapted = tiny_adapted_model(name, "attention")
    paths = {canonical_name(n).rsplit(".lora_", 1)[0] for n, p in adapted.named_parameters() if p.requires_grad}
    assert len(paths) == (4 if name == "gpt2" else 8)  # two layers; GPT-2 keeps q, k and v in one
    assert all("attn" in path for path in paths)


def test_a_name_that_matches_nothing_lists_the_layers_there_are() -> None:
    with pytest.raises(ModelError, match=r"found 'q_prj'\. Its linear layers are: .*down_proj.*q_proj"):
        target_modules(tiny_model("llama"), LoraConfig(target_modules=("q_proj", "q_prj")))


@pytest.mark.parametrize("name", ["gate_proj", "up_proj", "down_proj", "experts"])
def test_experts_in_one_fused_parameter_are_refused_by_name(name: str) -> None:
    model = tiny_model("mixtral", num_local_experts=2, num_experts_per_tok=1)
    with pytest.raises(ModelError, match=name):
        target_modules(model, LoraConfig(target_modules=("q_proj", name)))


def test_experts_beside_a_shared_expert_are_not_skipped_in_silence() -> None:
    model = tiny_model("qwen2_moe", num_experts=2, num_experts_per_tok=1, shared_expert_intermediate_size=8)
    linear = [path for path, module in model.named_modules() if path.endswith("gate_proj")]
    assert linear  # the shared expert has a linear layer of that name, the routed experts have not
    with pytest.raises(ModelError, match="fused parameter"):
        target_modules(model, LoraConfig(target_modules=("gate_proj",)))


def test_embeddings_are_refused_by_name() -> None:
    with pytest.raises(ModelError, match="Embedding"):
        target_modules(tiny_model("llama"), LoraConfig(target_modules=("embed_tokens",)))


def test_the_same_seed_gives_the_same_adapter() -> None:
    adapters = []
    for seed in (1, 1, 2):
        torch.manual_seed(99)
        model = AutoModelForCausalLM.from_config(
            AutoConfig.for_model("llama", vocab_size=61, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
        )
        adapters.append(trainable_parameters(attach_adapter(model, LoraConfig(rank=2), seed)))
    first, same, other = adapters
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight",
        "module.base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight",
        "_orig_mod.base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight",
        "module._orig_mod.model.layers.0.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
    ],
)
def test_a_canonical_name_does_not_tell_who_wrapped_the_model(name: str) -> None:
    assert canonical_name(name) == "model.layers.0.self_attn.q_proj.lora_A.weight"


def test_a_model_with_everything_frozen_is_refused() -> None:
    model = tiny_model("llama").requires_grad_(False)
    with pytest.raises(ModelError, match="found every parameter frozen"):
        trainable_parameters(model)


def test_a_saved_adapter_is_read_on_the_models_own_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = tiny_adapted_model("llama", "attention")
    save_adapter(model, tmp_path)
    monkeypatch.setattr("peft.peft_model.infer_device", lambda: "cuda")  # what PEFT takes where nothing is said
    adapted = with_adapters(model.unload(), [tmp_path, tmp_path])
    assert {parameter.device.type for parameter in adapted.parameters()} == {"cpu"}
