"""Which settings are those of a causal language model, and which of transformers' classes they are loaded with."""

from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForMultimodalLM
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
)

from g2is.errors import ModelError

_CAUSAL_HEADS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
# In transformers' mapping of causal models, and yet every token sees those after it: always, or without is_decoder.
_LOOK_AHEAD = frozenset({"xlm", "xlnet", "cpmant"})
_ENCODERS = frozenset(
    {
        *("bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert"),
        *("reformer", "rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta"),
        *("xlm-roberta-xl", "xmod"),
    }
)


def brings_code(hf_config: Any) -> bool:
    """Whether the settings name code of the model's own that makes a language model."""
    named = getattr(hf_config, "auto_map", None) or {}
    return bool({"AutoModelForCausalLM", "AutoModelForMultimodalLM"} & set(named))


def is_known(hf_config: Any) -> bool:
    """Whether transformers itself has the model's code."""
    return hf_config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or _also_sees(hf_config)


def check_causal(hf_config: Any, path: Path) -> None:
    """Raise ModelError unless the settings of the folder `path` are those of a causal language model."""
    # an encoder such as BERT is in the mapping too, and would attend to the answer it is to predict
    heads = hf_config.architectures or ["ForCausalLM"]
    writes = is_known(hf_config) and (any(head.endswith(_CAUSAL_HEADS) for head in heads) or _also_sees(hf_config))
    if getattr(hf_config, "is_encoder_decoder", False) or (not brings_code(hf_config) and not writes):
        raise ModelError(
            f"{path}: expected a causal language model, found model_type {hf_config.model_type!r}, architectures"
            f" {hf_config.architectures}; name a model that writes text, such as a Llama"
        )
    kind = hf_config.model_type
    if kind in _LOOK_AHEAD or (kind in _ENCODERS and not hf_config.is_decoder):
        raise ModelError(
            f"{path}: expected a causal language model, found {hf_config.model_type!r}, which looks at the very tokens"
            " that it is to predict (is_decoder false in config.json, or a model that is made so); set is_decoder to"
            " true if it was trained as a decoder, or name a model that writes text, such as a Llama"
        )


def auto_class(hf_config: Any) -> Any:
    """The class that a checkpoint was saved from: of one that also sees or hears, that with all its parts."""
    return AutoModelForMultimodalLM if _also_sees(hf_config) else AutoModelForCausalLM


def _also_sees(hf_config: Any) -> bool:
    whole = MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES.get(hf_config.model_type)
    text = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(hf_config.model_type)
    return whole is not None and whole != text and (whole in (hf_config.architectures or ()) or text is None)
