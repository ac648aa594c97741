"""Tiny settings of architectures whose blocks do not all hold plain attention, and of checkpoints that also see."""

from typing import Any

VOCABULARY = 97
_COMMON = {
    "vocab_size": VOCABULARY,
    "pad_token_id": 0,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_GROUPED = {**_COMMON, "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 128}
_FOUR = {**_GROUPED, "num_hidden_layers": 4, "head_dim": 8}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_LINEAR = {
    **{"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8},
    "linear_conv_kernel_dim": 3,
}
_MLA = {"q_lora_rank": 16, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8}
_ROUTED = {
    **{"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_group": 1, "topk_group": 1},
    **{"n_shared_experts": 1, "first_k_dense_replace": 1},
}
_MAMBA2 = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 8, "mamba_expand": 2}
_TEXT = {**_GROUPED, "head_dim": 8}
_SIGHT = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
_QWEN_SIGHT = {"depth": 1, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 32}
_ROPE = {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}}

# name -> settings. Layers with the default target_modules, blocks reached, blocks: below.
MIXERS: dict[str, dict[str, Any]] = {
    "qwen3_5_text": {**_FOUR, **_LINEAR},
    "qwen3_5_moe_text": {**_FOUR, **_LINEAR, **_EXPERTS, "shared_expert_intermediate_size": 16},
    "qwen3_next": {**_FOUR, **_LINEAR, **_EXPERTS, "shared_expert_intermediate_size": 16},
    "olmo_hybrid": {**_FOUR, **_LINEAR, "linear_num_value_heads": 4, "linear_num_key_heads": 4},
    "deepseek_v2": {**_GROUPED, **_MLA, **_ROUTED, "num_key_value_heads": 4, "topk_method": "greedy"},
    "deepseek_v3": {**_GROUPED, **_MLA, **_ROUTED, "num_key_value_heads": 4},
    "glm4_moe_lite": {**_GROUPED, **_MLA, **_ROUTED, "num_key_value_heads": 4},
    "minicpm3": {**_GROUPED, **_MLA, "num_key_value_heads": 4},
    "rwkv": {**_COMMON, "attention_hidden_size": 32, "intermediate_size": 48, "context_length": 64},
    "modernbert-decoder": {**_COMMON, "intermediate_size": 48, "max_position_embeddings": 128, "local_attention": 8},
    "lfm2": {**_FOUR, "layer_types": ["conv", "conv", "full_attention", "conv"], "block_multiple_of": 16},
    "lfm2_moe": {
        **{**_FOUR, **_EXPERTS, "num_dense_layers": 1},
        "layer_types": ["conv", "conv", "full_attention", "conv"],
    },
    "jamba": {
        **{**_GROUPED, "num_hidden_layers": 4, "attn_layer_period": 4, "attn_layer_offset": 2, "num_experts": 2},
        **{"mamba_d_state": 4, "mamba_dt_rank": 4, "use_mamba_kernels": False},
    },
    "bamba": {**_FOUR, **_MAMBA2, "attn_layer_indices": [2]},
    "granitemoehybrid": {
        **{**_FOUR, **_MAMBA2, "num_local_experts": 2, "num_experts_per_tok": 1, "shared_intermediate_size": 16},
        "layer_types": ["mamba", "mamba", "attention", "mamba"],
    },
    "falcon_h1": {**_GROUPED, **_MAMBA2, "mamba_d_ssm": 64, "head_dim": 8},
    "zamba": {
        **{**_COMMON, "num_hidden_layers": 4, "num_key_value_heads": 4, "intermediate_size": 48, "n_mamba_heads": 2},
        **{"mamba_d_state": 4, "mamba_dt_rank": 4, "use_mamba_kernels": False},
        "layer_types": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        **{"attn_layer_period": 2, "attn_layer_offset": 1, "attention_head_dim": 16, "attention_hidden_size": 64},
    },
    "zamba2": {
        **{**_COMMON, "num_hidden_layers": 4, "num_key_value_heads": 4, "intermediate_size": 48, "n_mamba_heads": 8},
        **{"mamba_headdim": 8, "mamba_d_state": 8, "mamba_ngroups": 1, "use_mamba_kernels": False, "adapter_rank": 4},
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        **{"num_mem_blocks": 1},
    },
    "nemotron_h": {
        **{**_FOUR, "mamba_num_heads": 8, "mamba_head_dim": 8, "n_groups": 1, "ssm_state_size": 8},
        "layers_block_type": ["mamba", "mlp", "attention", "moe"],
        **{"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_group": 1, "topk_group": 1},
        "moe_shared_expert_intermediate_size": 16,
    },
    "recurrent_gemma": {**_GROUPED, "num_hidden_layers": 3, "head_dim": 8, "lru_width": 32},
    "xlstm": {
        **{"vocab_size": VOCABULARY, "hidden_size": 32, "embedding_dim": 32, "num_hidden_layers": 2, "num_blocks": 2},
        **{"num_heads": 2, "chunk_size": 8},
    },
    "mamba": {**_COMMON, "state_size": 4, "time_step_rank": 4},
    "mamba2": {**_COMMON, "num_heads": 8, "head_dim": 8, "n_groups": 1, "state_size": 8, "chunk_size": 8},
    "falcon_mamba": {**_COMMON, "state_size": 4, "time_step_rank": 4},
    "kimi_linear": {
        **{**_GROUPED, **_MLA, "num_key_value_heads": 4, "num_hidden_layers": 4, "num_experts": 4},
        **{"num_experts_per_token": 2, "moe_intermediate_size": 16, "linear_head_dim": 8, "linear_num_heads": 4},
    },
    "minimax": {**_FOUR, "num_local_experts": 2, "num_experts_per_tok": 1, "block_size": 8},
    "gemma3": {
        "text_config": {**_TEXT, "sliding_window": 8},
        "vision_config": {**_SIGHT, "image_size": 28, "patch_size": 14},
    },
    "mistral3": {
        "text_config": {"model_type": "mistral", **_TEXT},
        "vision_config": {"model_type": "pixtral", **_SIGHT},
    },
    "qwen2_5_vl": {"text_config": {**_GROUPED, **_ROPE}, "vision_config": _QWEN_SIGHT},
    "qwen3_vl": {
        "text_config": {**_TEXT, **_ROPE},
        "vision_config": {**_QWEN_SIGHT, "deepstack_visual_indexes": [0], "num_position_embeddings": 16},
    },
    "qwen3_5": {"text_config": {**_FOUR, **_LINEAR}, "vision_config": {**_QWEN_SIGHT, "num_position_embeddings": 16}},
    "llava": {
        "text_config": {"model_type": "llama", **_GROUPED},
        "vision_config": {"model_type": "clip_vision_model", **_SIGHT},
    },
}

# Blocks that hold no token mixing at all: nothing to adapt there by default.
WITHOUT_MIXER = {"nemotron_h": {"NemotronHBlock (NemotronHMLP)": 1, "NemotronHBlock (NemotronHMoE)": 1}}
# Their recurrence does not read the attention mask: rows are padded on the right, where nothing follows.
RIGHT_ONLY = {"rwkv", "xlstm"}
