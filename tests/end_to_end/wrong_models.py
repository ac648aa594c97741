"""The error catalogue: models, their weights, and layers to adapt."""

import json
from collections.abc import Callable

from small_run import MODEL
from wrong_input import Case, Place, case, setting


def model(*without: str, flags: tuple[object, ...] = (), **settings: object) -> Callable[[Place], list[object]]:
    return lambda place: place.select(*flags, model=place.model(without, **settings))


def _weights(spoil: Callable[[bytes], bytes]) -> Callable[[Place], list[object]]:
    def command(place: Place) -> list[object]:
        folder = place.model()
        (folder / "model.safetensors").write_bytes(spoil((MODEL / "model.safetensors").read_bytes()))
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


def _config_of_no_json(place: Place) -> list[object]:
    folder = place.model()
    (folder / "config.json").write_text("{")
    return place.select(model=folder)


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
        "model: expected a config.json that transformers can read", "JSON",
    ),
    "model without tokenizer": case(
        model("tokenizer.json", "tokenizer_config.json"),
        "model: expected a tokenizer beside the model, found none of tokenizer.json",
        "Save it there with the tokenizer's save_pretrained",
    ),
    "model without safetensors": case(
        _pickled,
        "model: expected weights in *.safetensors, found pytorch_model.bin, which is pickled", "g2is loads no pickled weights: convert them",
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
