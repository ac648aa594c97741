"""The settings of Llamas of public sizes, without weights."""

from pathlib import Path

from transformers import LlamaConfig

# hidden, inner, blocks, heads, heads of keys, vocabulary
LLAMAS = {
    "13B": (5120, 13824, 40, 40, 40, 32000),
    "70B": (8192, 28672, 80, 64, 8, 128256),
    "405B": (16384, 53248, 126, 128, 8, 128256),
}


def config_alone(folder: Path, name: str) -> Path:
    """`folder`, with the config.json of the Llama `name` in it and nothing else."""
    hidden, inner, blocks, heads, keys, vocabulary = LLAMAS[name]
    LlamaConfig(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        num_key_value_heads=keys,
        vocab_size=vocabulary,
        max_position_embeddings=8192,
        architectures=["LlamaForCausalLM"],
    ).save_pretrained(folder)
    return folder
