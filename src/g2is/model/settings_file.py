"""A model's JSON files, read before transformers reads them: whole, of one meaning, and naming nothing but themselves.

transformers makes lists as long as config.json says, loads kernels and code that it names from the hub, and takes an
unknown way of quantising for none. What a folder of a stranger says is therefore looked at here first.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from g2is.config.strict import depth, parse_json, read_text_file
from g2is.errors import ModelError, first_line

CONFIG = "config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
GENERATION_CONFIG = "generation_config.json"

# Ways of rounding that are computed with: what bitsandbytes wrote, and fp8, which is read back to plain weights.
BITSANDBYTES, FP8 = "bitsandbytes", "fp8"
_COMPUTED_WITH = (BITSANDBYTES, FP8)
_WRITTEN_BACK = {
    "mxfp4": "AutoModelForCausalLM.from_pretrained(FOLDER, quantization_config=Mxfp4Config(dequantize=True))"
    ".save_pretrained(…), its tokenizer beside it"
}

_MOST_BYTES = 8 << 20  # the longest of public models are a tenth of it
_MOST_TOKENIZER_BYTES = 64 << 20  # which may list every added token, and hold templates
_MOST_DEPTH = 50
_AGAIN = "copy or download the model again"
_AS_IT_CAME = "take the config.json that came with the weights"
# Numbers without which there is no model: whole and positive, wherever they stand.
_SIZES = frozenset({"vocab_size", "hidden_size", "num_hidden_layers", "n_embd", "n_layer"})
_CONTEXTS = frozenset({"max_position_embeddings", "n_positions", "n_ctx"})
_BASES = frozenset({"rope_theta", "rope_local_base_freq", "rotary_emb_base", "factor"})  # what positions are divided by
# Numbers that something is made so many times of, each time taking memory.
_COUNTS = re.compile(r"(?:layers?|blocks?|experts?|heads?|labels?|groups?|depth)$")
_ALWAYS_FINE = 4096
_IMPLEMENTATION = re.compile(r"_?(?:attn|experts)_implementation(?:_internal)?$")
_IMPLEMENTATIONS = frozenset(
    {
        *("eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3", "flash_attention_4"),
        *("batched_mm", "grouped_mm"),
    }
)


def read_settings(file: Path) -> dict[str, Any]:
    """The JSON object in `file`.

    Raises ModelError if it is none, says a key twice, is longer or nested deeper than settings are.
    """
    expected = f"{file}: expected a JSON object of settings that transformers can read"
    try:
        most = _MOST_TOKENIZER_BYTES if file.name == TOKENIZER_CONFIG else _MOST_BYTES
        if (size := file.stat().st_size) > most:
            raise ModelError(f"{expected}, of at most {most:,} bytes; found {size:,}; {_AGAIN}")
        values = parse_json(read_text_file(file), with_constants=True)
    except (OSError, ValueError) as error:  # of json, of a number too long, of a key that stands there twice
        raise ModelError(f"{expected}, but: {first_line(error)}; {_AGAIN}") from None
    if not isinstance(values, dict):
        raise ModelError(f"{expected}, found {type(values).__name__}; {_AGAIN}")
    if (deepest := depth(values)) > _MOST_DEPTH:
        raise ModelError(f"{expected}, found one nested {deepest} deep; {_AGAIN}")
    return values


def foreign_code(settings: Mapping[str, Any], file: Path) -> list[str]:
    """The modules of the folder that `settings` say are to be run, such as modeling_own, by name.

    Raises ModelError for code that lies elsewhere: of another hub model, which may change under it.
    """
    named = settings.get("auto_map") or {}
    values = named.values() if isinstance(named, Mapping) else named if isinstance(named, list) else [named]
    modules = []
    for value in values:
        for reference in value if isinstance(value, list) else [value]:
            if reference is None:  # a tokenizer that has but one of a slow and a fast class
                continue
            if not isinstance(reference, str) or not re.fullmatch(r"\w[\w/]*\.\w+", reference):
                raise ModelError(
                    f"{file}: expected auto_map to name modules of this folder, found {reference!r}. Read the code it"
                    " means, put its files here, and write module.Class in its place"
                )
            modules.append(reference.rpartition(".")[0])
    return sorted(set(modules))


def check_settings(settings: Mapping[str, Any], file: Path, shapes: Sequence[Sequence[int]]) -> None:
    """Raise ModelError if `settings` are no numbers where numbers are due, more than weights of `shapes` can hold, or
    name what is loaded from elsewhere or known to nobody.
    """
    expected = f"{file}: expected"
    most = max(_ALWAYS_FINE, len(shapes), *(max(shape, default=0) for shape in shapes), 0)
    for key, value in _leaves(settings):
        name = key.rpartition(".")[2]
        if value is None:
            continue
        numbers = value if isinstance(value, list) else [value]
        if name in _SIZES | _CONTEXTS and not all(type(number) is int and number > 0 for number in numbers):
            raise ModelError(f"{expected} {key} to be a whole number above 0, found {_short(value)}: {_AS_IT_CAME}")
        if name.endswith(("_eps", "epsilon")) and not all(
            type(one) in (int, float) and 0 <= one < 1 for one in numbers
        ):
            raise ModelError(f"{expected} {key} to be a number from 0 to 1, found {_short(value)}: {_AS_IT_CAME}")
        if name in _BASES and not all(type(one) in (int, float) and 0 < one < float("inf") for one in numbers):
            raise ModelError(f"{expected} {key} to be a number above 0, found {_short(value)}: {_AS_IT_CAME}")
        if name == "architectures" and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
            raise ModelError(f"{expected} {key} to be a list of names, found {_short(value)}: {_AS_IT_CAME}")
        if _COUNTS.search(name) and any(type(number) is int and number > most for number in numbers):
            raise ModelError(
                f"{expected} a model that its weights fill, found {key} = {_short(value)}, where "
                + (f"no side of the {len(shapes)} weights has more than" if shapes else "no known model has more than")
                + f" {most:,}: {_AS_IT_CAME}"
            )
        if name in ("dtype", "torch_dtype") and not _is_dtype(value):
            raise ModelError(
                f"{expected} {key} to be a type of torch, such as bfloat16, found {_short(value)}; correct it there,"
                " or take it out: model.dtype says which type is computed in"
            )
    for key, value in _nodes(settings):
        name = key.rpartition(".")[2]
        if _IMPLEMENTATION.match(name):
            for one in [*value.values()] if isinstance(value, Mapping) else [value]:
                if one is not None and one not in _IMPLEMENTATIONS:
                    raise ModelError(
                        f"{expected} {key} to be code of transformers ({', '.join(sorted(_IMPLEMENTATIONS))}), found"
                        f" {_short(one)}, which may be loaded from a hub; take it out of config.json"
                    )
        if name == "quantization_config" and value is not None:
            _check_quantised(key, value, expected)


def way_of_rounding(value: Any) -> str | None:
    """The name of the way in which a `quantization_config` says that weights are rounded; None if there is none."""
    if value is None:
        return None
    values = value if isinstance(value, Mapping) else vars(value)
    if values.get("load_in_4bit") or values.get("load_in_8bit"):
        return BITSANDBYTES
    method = values.get("quant_method")
    return str(getattr(method, "value", method))  # a member of an enumeration, in some versions


def _check_quantised(key: str, value: Any, expected: str) -> None:
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    method = value.get("quant_method") if isinstance(value, Mapping) else None
    way = way_of_rounding(value) if isinstance(value, Mapping) else None
    known = {*AUTO_QUANTIZATION_CONFIG_MAPPING, BITSANDBYTES}
    if way != BITSANDBYTES and (not isinstance(method, str) or method not in known):
        raise ModelError(
            f"{expected} {key} to name a way of quantising that transformers knows (quant_method), found"
            f" {_short(method if isinstance(value, Mapping) else value)}: its weights would be taken for plain numbers."
            " Name the model that it was made from"
        )
    if way not in _COMPUTED_WITH or value.get("llm_int8_has_fp16_weight"):
        back = f", or write it back to plain weights once: {_WRITTEN_BACK[way]}" if way in _WRITTEN_BACK else ""
        raise ModelError(
            f"{expected} plain weights, or some rounded by bitsandbytes (to 4 or 8 bits) or as fp8, found {key} of"
            f" {way}: g2is takes no gradients through these. Name the model that it was made from{back}. Where that is"
            " too large, --set model.quantization=nf4 rounds it as it is loaded"
        )


def _is_dtype(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    name = value.removeprefix("torch.")
    return name == "auto" or isinstance(getattr(torch, name, None), torch.dtype)


def _leaves(values: Any) -> Iterator[tuple[str, Any]]:
    """Every setting that is no mapping, with its path; a list counts as one."""
    return ((key, value) for key, value in _nodes(values) if not isinstance(value, Mapping))


def _nodes(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting with its path, mappings before what is in them."""
    for key, value in values.items():
        yield f"{prefix}{key}", value
        if isinstance(value, Mapping):
            yield from _nodes(value, f"{prefix}{key}.")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
