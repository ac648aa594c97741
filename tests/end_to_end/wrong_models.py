"""The error catalogue: models, their weights, and layers to adapt."""

import json
from collections.abc import Callable

import torch
from hostile_models import MODELS as HOSTILE
from safetensors.torch import load_file, save_file
from small_run import MODEL
from transformers import AutoTokenizer
from wrong_input import GOOD, Case, Place, case, setting


def model(*without: str, flags: tuple[object, ...] = (), **settings: object) -> Callable[[Place], list[object]]:
    return lambda place: place.select(*flags, model=place.model(without, **settings))


def _weights(spoil: Callable[[bytes], bytes]) -> Callable[[Place], list[object]]:
    def command(place: Place) -> list[object]:
        folder = place.model()
        (folder / "model.safetensors").write_bytes(spoil((MODEL / "model.safetensors").read_bytes()))
        return place.select(model=folder)

    return command


def _hostile(name: str) -> Callable[[Place], list[object]]:
    def command(place: Place) -> list[object]:
        folder = place.model()
        dict(HOSTILE)[name](folder)
        return place.select(model=folder)

    return command


def _missing_shard(place: Place) -> list[object]:
    folder = place.model()
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = {"metadata": {}, "weight_map": shards}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return place.select(model=folder)


def _pickled(place: Place) -> list[object]:
    folder = place.model()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return place.select(model=folder)


def _fewer_layers(place: Place) -> list[object]:
    folder = place.model()
    config = json.loads((folder / "config.json").read_text())
    config["num_hidden_layers"] -= 1
    config.pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps(config))
    return place.select(model=folder)


def _config_of_no_json(place: Place) -> list[object]:
    folder = place.model()
    (folder / "config.json").write_text("{")
    return place.select(model=folder)


def _spoiled(value: float, dtype: torch.dtype = torch.float32) -> Callable[[Place], list[object]]:
    def command(place: Place) -> list[object]:
        folder = place.model()
        weights = load_file(MODEL / "model.safetensors")
        name = "model.layers.1.mlp.up_proj.weight"
        weights[name] = weights[name].to(dtype).clone()
        weights[name][3, 5] = value
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return place.select("--set", "model.dtype=float16", model=folder)

    return command


def _token_beyond_the_embedding(place: Place) -> list[object]:
    folder = place.model()
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|tool|>"]})
    tokenizer.save_pretrained(folder)
    asked = {"role": "user", "content": "<|tool|> 2 + 2?"}
    pool = place.rows("tool.jsonl", GOOD, {"messages": [asked, {"role": "assistant", "content": "4"}]})
    return place.select(pool=pool, model=folder)


def _adapter_alone(place: Place) -> list[object]:
    folder = place.here / "adapter"
    place.text("adapter/adapter_config.json", json.dumps({"base_model_name_or_path": "org/base", "peft_type": "LORA"}))
    place.text("adapter/adapter_model.safetensors", (MODEL / "model.safetensors").read_bytes())
    return place.select(model=folder)


def _gguf(in_folder: bool) -> Callable[[Place], list[object]]:
    def command(place: Place) -> list[object]:
        file = place.text("gguf/model-Q4_K_M.gguf", b"GGUF")
        place.text("gguf/config.json", (MODEL / "config.json").read_bytes())
        return place.select(model=file.parent if in_folder else file)

    return command


def _code_of_its_own(place: Place) -> list[object]:
    code = {"AutoConfig": "configuration_own.Own", "AutoModelForCausalLM": "modeling_own.Own"}
    return place.select(model=place.model(model_type="own", auto_map=code))


# What is said of the folders of `hostile_models`, which lists more of each kind.
_FRAGMENTS: dict[str, tuple[str, ...]] = {
    "100,000 layers": (
        "expected a model that its weights fill, found num_hidden_layers = 100000",
        "take the config.json",
    ),
    "a vocabulary of 10^12": (
        "expected a model that its weights fill, found settings of a model of at least 128,000,",
    ),
    "a context of -5": ("expected max_position_embeddings to be a whole number above 0, found -5",),
    "NaN for epsilon": ("expected rms_norm_eps to be a number from 0 to 1, found nan",),
    "an activation that is none": ("that transformers makes of config.json, but: there is no 'evil'",),
    "an unknown kind of model": ("expected a config.json that transformers can read", "model type `evil`"),
    "rope scaling by 0": ("expected rope_parameters.factor to be a number above 0, found 0.0",),
    "a type of numbers that is a function of torch": ("expected dtype to be a type of torch", "found 'load'"),
    "quantised in an unknown way": (
        "expected quantization_config to name a way of quantising that transformers knows",
    ),
    "attention from a hub": ("expected _attn_implementation to be code of transformers", "found 'stranger/kernel'"),
    "a stray adapter of a hub's model": ("expected a whole model alone, found adapter_config.json beside it",),
    "a key of the settings twice": ("but: the key 'vocab_size' twice; leave one out",),
    "settings nested 100,000 deep": ("but: it is nested too deeply",),
    "settings of 10 MB": ("of at most 8,388,608 bytes; found 10,000,",),
    "an index that names a file outside": (
        "expected names of files in its folder",
        "found '../model-outside.safetensors'",
    ),
    "weights named outside": ("config.json: expected names of files in its folder", "found '../../evil.safetensors'"),
    "weights that are whole numbers": ("expected numbers with a fraction in every weight", "found I16 in"),
    "a header of 2^60 bytes": ("expected a whole safetensors file", "header too large"),
    "a tokenizer's regular expression without end": (
        "expected a tokenizer that makes tokens",
        "retry-limit-in-match over",
    ),
    "a tokenizer that makes texts a thousand times as long": ("found one that makes 500,000 tokens of 'e'",),
    "a tokenizer without a vocabulary": ("found one that makes none of any letter",),
}

MODELS: dict[str, Case] = {
    "model that is not there": case(
        lambda place: place.select(model=place.here / "none"),
        "none: expected a model folder, found no folder there; name a local folder, or a hub model",
    ),
    "model that the hub does not give": case(
        lambda place: place.select(model="nobody/nothing"),
        "nobody/nothing: expected a model, found no folder of that name, and the hub does not give it",
        "name a local folder, or a hub model that this machine can reach",
    ),
    "model without config": case(
        model("config.json"),
        "model: expected a Hugging Face model folder with config.json, found none there; name the folder",
    ),
    "model with a damaged config": case(
        _config_of_no_json,
        "config.json: expected a JSON object of settings that transformers can read, but: Expecting property name",
        "copy or download the model again",
    ),
    "model without tokenizer": case(
        model("tokenizer.json", "tokenizer_config.json"),
        "model: expected a tokenizer beside the model, found none of tokenizer.json",
        "Save it there with the tokenizer's save_pretrained",
    ),
    "model without safetensors": case(
        _pickled,
        "model: expected weights in *.safetensors, found pytorch_model.bin, which is pickled",
        "g2is loads no pickled weights: convert them",
    ),
    "model without a template where one is asked for": case(
        model("chat_template.jinja", flags=("--set", "examples.template=chat")),
        "model: expected a chat template, found none; use --set examples.template=plain",
    ),
    "model that is not causal": case(
        model(model_type="bert", architectures=["BertForMaskedLM"]),
        "model: expected a causal language model, found model_type 'bert', architectures ['BertForMaskedLM']",
        "name a model that writes text",
    ),
    "weights cut short": case(_weights(lambda whole: whole[:-999]), "model.safetensors: expected", "found", "download"),
    "weights that are none": case(_weights(lambda _: b"<html>"), "model.safetensors: expected", "found", "download"),
    "a shard of the weights is missing": case(
        _missing_shard,
        "model: expected the 2 files of weights that model.safetensors.index.json lists",
        "found no model-00002-of-00002.safetensors", "download",
    ),
    "fewer layers than the weights have": case(
        _fewer_layers,
        "model: expected config.json to have a place for every block of the weights, found none for",
        "take the config.json that came with them",
    ),
    "NaN in the weights": case(
        _spoiled(float("nan")),
        "model: expected numbers in every weight, found NaN or Inf in model.layers.1.mlp.up_proj.weight",
        "copy or download the model again",
    ),
    "Inf in the weights": case(_spoiled(float("inf")), "found NaN or Inf in model.layers.1.mlp.up_proj.weight"),
    "weights too large for their type": case(
        _spoiled(1e6),
        "model: expected weights that float16 can hold, found larger numbers in model.layers.1.mlp.up_proj.weight",
        "Set model.dtype to bfloat16 or float32",
    ),
    "token beyond the embedding": case(
        _token_beyond_the_embedding,
        "tool.jsonl:2 (row-1): expected tokens that the model has", "('<|tool|>'), which lies beyond its embedding",
        "resize_token_embeddings",
    ),
    "adapter in place of a model": case(
        _adapter_alone,
        "adapter: expected a whole model, found a LoRA adapter (adapter_config.json). Give the model it was trained on"
        " as --model (org/base) and this folder as --adapter",
    ),
    "GGUF file": case(_gguf(False), "Q4_K_M.gguf: expected a Hugging Face model folder", "found a GGUF file"),
    "GGUF folder": case(_gguf(True), "gguf: expected a Hugging Face model folder", "found GGUF (model-Q4_K_M.gguf)"),
    "weights file in place of its folder": case(
        lambda place: place.select(model=place.model() / "model.safetensors"),
        "model.safetensors: expected a Hugging Face model folder, found a file; name the folder it lies in",
    ),
    "code that comes with the model": case(
        _code_of_its_own,
        "config.json: expected a model whose code is part of transformers, found one that brings its own (auto_map)",
        "--set model.trust_remote_code=true if you trust it",
    ),
    **{name: case(_hostile(name), *fragments) for name, fragments in _FRAGMENTS.items()},
    "decoder that looks ahead": case(
        model(model_type="roberta", architectures=["RobertaForCausalLM"]),
        "model: expected a causal language model, found 'roberta', which looks at the very tokens",
        "set is_decoder to true",
    ),
    "unknown LoRA target": case(
        setting("warmup.lora.target_modules=[q_prj]"),
        "warmup.lora.target_modules: expected the name of a linear layer", "found 'q_prj'", "Its linear layers are: ",
        "q_proj",
    ),
    "LoRA target that is no linear layer": case(
        setting("warmup.lora.target_modules=[embed_tokens]"),
        "warmup.lora.target_modules: expected names of linear layers (nn.Linear or Conv1D)",
        "found 'embed_tokens', which names model.embed_tokens (Embedding)", "leave the name out",
    ),
}  # fmt: skip
