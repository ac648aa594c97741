"""Tiny random models of every architecture whose per-example gradients are compared with autograd."""

from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from g2is.config import LoraConfig
from g2is.model.adapter import attach_adapter

VOCABULARY = 97
_COMMON = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_GROUPED = {**_COMMON, "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 128}
_MLP = ("gate_proj", "up_proj", "down_proj")

# name -> (settings, attention layers, MLP layers)
ARCHITECTURES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "llama": ({**_GROUPED, "tie_word_embeddings": False}, _MLP),
    "llama-tied": ({**_GROUPED, "tie_word_embeddings": True}, _MLP),
    "qwen2": (_GROUPED, _MLP),
    "qwen3": ({**_GROUPED, "head_dim": 8}, _MLP),
    "gemma": ({**_GROUPED, "head_dim": 8}, _MLP),
    "gemma2": ({**_GROUPED, "head_dim": 8, "sliding_window": 8, "final_logit_softcapping": 3.0}, _MLP),
    "mistral": ({**_GROUPED, "sliding_window": 8}, _MLP),
    "gpt2": (
        {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
        ("c_fc", "mlp.c_proj"),
    ),
    "opt": (
        {**_COMMON, "ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 128, "pad_token_id": 0},
        ("fc1", "fc2"),
    ),
    "granite": ({**_GROUPED, "logits_scaling": 4.0, "residual_multiplier": 0.5}, _MLP),
}
_DROPOUTS = ("attention_dropout", "attn_pdrop", "resid_pdrop", "embd_pdrop", "dropout", "activation_dropout")


def tiny_adapted_model(name: str, layers: str, dropout: float = 0.1) -> PeftModel:
    """A random float32 model of architecture `name` with LoRA on its "attention" or "mlp" layers, in eval mode.

    LoRA's B matrices are random too: at zero, A would have no gradient to compare. Dropout is configured wherever the
    architecture knows it.
    """
    model = tiny_model(name, dropout)
    modules = "attention" if layers == "attention" else ARCHITECTURES[name][1]
    adapted = attach_adapter(model, LoraConfig(rank=4, alpha=8, dropout=dropout, target_modules=modules), seed=0)
    for path, parameter in adapted.named_parameters():
        if "lora_B" in path:
            nn.init.normal_(parameter, std=0.1)
    return adapted.eval()


def tiny_model(name: str, dropout: float = 0.1) -> Any:
    """A random float32 model of architecture `name`, without an adapter, in eval mode."""
    config = AutoConfig.for_model(name.removesuffix("-tied"), **ARCHITECTURES[name][0])
    for key in _DROPOUTS:
        if hasattr(config, key):
            setattr(config, key, dropout)
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
