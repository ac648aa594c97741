"""Model folders from strangers: each a copy of the bundled model with one thing in it that lies, or that wants to act.

`MODELS` holds (name, what makes the folder). A folder is made in full, so that it stands alone wherever it is taken.
"""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODEL = Path(__file__).resolve().parents[2] / "src/g2is/demo/model"
CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
INDEX = "model.safetensors.index.json"

# What looks like an attack and is none: the model works as it did, for what is named there is neither run nor made.
HARMLESS = frozenset(
    {
        "a context of 10^12",
        "code in config.json",
        "code of a hub in config.json",
        "code for the tokenizer",
        "a token number of 2^31",
        "a class of the tokenizer that is none",
        "a length of the tokenizer of -1",
    }
)

Spoil = Callable[[Path], None]


def make(folder: Path, spoil: Spoil) -> Path:
    """The bundled model as a folder of its own, spoiled."""
    shutil.copytree(MODEL, folder)
    spoil(folder)
    return folder


def edited(name: str, edit: Callable[[Any], Any]) -> Spoil:
    """The folder's JSON file `name` as `edit` returns it, which may change what it gets in place and return None."""

    def spoil(folder: Path) -> None:
        values = json.loads((folder / name).read_text())
        changed = edit(values)
        (folder / name).write_text(json.dumps(values if changed is None else changed))

    return spoil


def config(**values: Any) -> Spoil:
    return edited(CONFIG, lambda now: {**now, **values})


def text(name: str, content: str | bytes) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return spoil


def header(edit: Callable[[dict[str, Any]], Any]) -> Spoil:
    """Weights whose header says what `edit` makes of it, and the same numbers after it."""

    def spoil(folder: Path) -> None:
        whole = (folder / WEIGHTS).read_bytes()
        (size,) = struct.unpack("<Q", whole[:8])
        said = json.loads(whole[8 : 8 + size])
        changed = json.dumps(edit(said) or said).encode()
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(changed)) + changed + whole[8 + size :])

    return spoil


def _first(said: dict[str, Any]) -> dict[str, Any]:
    return next(value for name, value in said.items() if name != "__metadata__")


def _overlapping(said: dict[str, Any]) -> None:
    for name, value in list(said.items())[1:4]:
        if name != "__metadata__":
            value["data_offsets"] = [0, value["data_offsets"][1] - value["data_offsets"][0]]


def index_to(*files: str) -> Spoil:
    """An index in place of the single file, which names `files`."""

    def spoil(folder: Path) -> None:
        (folder / WEIGHTS).rename(folder.parent / f"{folder.name}-outside.safetensors")
        shards = {f"weight.{number}": file for number, file in enumerate(files)}
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": shards}))

    return spoil


def both(first: Spoil, second: Spoil) -> Spoil:
    def spoil(folder: Path) -> None:
        first(folder)
        second(folder)

    return spoil


def replaced(name: str, old: str, new: str) -> Spoil:
    def spoil(folder: Path) -> None:
        content = (folder / name).read_text()
        assert old in content
        (folder / name).write_text(content.replace(old, new))

    return spoil


def removed(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def stray_adapter(base: str) -> Spoil:
    return text("adapter_config.json", json.dumps({"peft_type": "LORA", "base_model_name_or_path": base, "r": 4}))


def own_code(where: str, **auto_map: object) -> Spoil:
    """Settings that name code; were it run, it would leave a file `ran` beside the folder."""

    def spoil(folder: Path) -> None:
        edited(where, lambda now: {**now, "auto_map": auto_map})(folder)
        (folder / "evil.py").write_text(f"open({str(folder.parent / 'ran')!r}, 'w').write('x')\n")

    return spoil


def split_by(pattern: str) -> Spoil:
    """A tokenizer that cuts texts by this regular expression first."""
    step = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return edited(TOKENIZER, lambda now: {**now, "pre_tokenizer": step})


def replaces(pattern: str) -> Spoil:
    step = {"type": "Replace", "pattern": {"Regex": pattern}, "content": "b"}
    return edited(TOKENIZER, lambda now: {**now, "normalizer": step})


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


# What each of these does to someone who loads the folder as it is: memory or time without end, a file that is read or
# code that is run from elsewhere, a word to the network, a wrong number taken for a right one.
MODELS: list[tuple[str, Spoil]] = [
    ("100,000 layers", config(num_hidden_layers=100_000)),
    ("a billion layers", config(num_hidden_layers=10**9)),
    ("10^30 layers", config(num_hidden_layers=10**30)),
    ("a billion layers in a text part", config(text_config={"num_hidden_layers": 10**9})),
    ("a vocabulary of 10^12", config(vocab_size=10**12)),
    ("a vocabulary of 10^7", config(vocab_size=10**7)),
    ("a hidden size of 10^9", config(hidden_size=10**9)),
    ("an inner size of 10^8", config(intermediate_size=10**8)),
    ("a billion labels", config(num_labels=10**9)),
    ("a context of 10^12", config(max_position_embeddings=10**12)),
    ("a context of -5", config(max_position_embeddings=-5)),
    ("a context of 0", config(max_position_embeddings=0)),
    ("a context of true", config(max_position_embeddings=True)),
    ("a context in letters", config(max_position_embeddings="many")),
    ("a context of 1.5", config(max_position_embeddings=1.5)),
    ("no layers", config(num_hidden_layers=0)),
    ("-1 layers", config(num_hidden_layers=-1)),
    ("layers in letters", config(num_hidden_layers="four")),
    ("layers as a list", config(num_hidden_layers=[4])),
    ("no heads", config(num_attention_heads=0)),
    ("-4 heads", config(num_attention_heads=-4)),
    ("3 heads that do not divide", config(num_attention_heads=3, head_dim=None)),
    ("a hidden size of 0", config(hidden_size=0)),
    ("a negative vocabulary", config(vocab_size=-448)),
    ("NaN for epsilon", config(rms_norm_eps=float("nan"))),
    ("a negative epsilon", config(rms_norm_eps=-1.0)),
    ("an activation that is none", config(hidden_act="evil")),
    ("an activation with a path", config(hidden_act="../../evil")),
    ("an unknown kind of model", config(model_type="evil")),
    ("a kind of model that is a number", config(model_type=7)),
    ("no kind of model", edited(CONFIG, lambda now: now.pop("model_type") and None)),
    ("another architecture", config(architectures=["EvilForCausalLM"], model_type="evil")),
    ("architectures that are numbers", config(architectures=[1])),
    ("rope scaling of nonsense", config(rope_scaling={"rope_type": "evil", "factor": -3}, rope_parameters=None)),
    ("rope scaling that is a list", config(rope_scaling=[1, 2], rope_parameters=None)),
    ("rope scaling by 0", config(rope_parameters={"rope_type": "linear", "factor": 0.0, "rope_theta": 1e4})),
    ("rope theta of 0", config(rope_parameters={"rope_type": "default", "rope_theta": 0})),
    ("rope theta in letters", config(rope_parameters={"rope_type": "default", "rope_theta": "evil"})),
    ("a type of numbers that is none", config(dtype="evil")),
    ("a type of numbers that is a function of torch", config(dtype="load")),
    ("a type of numbers in its old name", config(torch_dtype="load")),
    ("a type of numbers that is a list", config(dtype=[1])),
    ("quantised in an unknown way", config(quantization_config={"quant_method": "evil", "bits": 4})),
    ("quantised, no way said", config(quantization_config={"bits": 4})),
    ("quantised, as a number", config(quantization_config=4)),
    ("attention from a hub", config(_attn_implementation="stranger/kernel")),
    ("attention from a hub, in its new name", config(attn_implementation="stranger/kernel:evil")),
    ("experts from a hub", config(_experts_implementation="stranger/kernel")),
    ("an encoder and a decoder", config(is_encoder_decoder=True)),
    ("a stray adapter of a hub's model", stray_adapter("stranger/base")),
    ("a stray adapter of a folder", stray_adapter("/etc")),
    ("a stray adapter that is no JSON", text("adapter_config.json", "{")),
    ("code in config.json alone", both(config(model_type="evil"), own_code(CONFIG, AutoConfig="evil.Evil"))),
    ("code in config.json", own_code(CONFIG, AutoConfig="evil.Evil", AutoModelForCausalLM="evil.Evil")),
    ("code of a hub in config.json", own_code(CONFIG, AutoModelForCausalLM="stranger/repo--evil.Evil")),
    ("code for the tokenizer", own_code("tokenizer_config.json", AutoTokenizer=["evil.Evil", "evil.Evil"])),
    ("weights named outside", config(transformers_weights="../../evil.safetensors")),
    ("weights named as a pickle", config(transformers_weights="adapter_model.bin")),
    ("settings that are a list", text(CONFIG, "[1, 2]")),
    ("settings that are empty", text(CONFIG, "")),
    ("settings that are null", text(CONFIG, "null")),
    ("settings that are no text", text(CONFIG, b"\xff\xfe\x00")),
    ("settings of 10 MB", config(filler="x" * 10_000_000)),
    ("settings nested 100,000 deep", text(CONFIG, nested(100_000))),
    ("settings nested 500 deep", edited(CONFIG, lambda now: {**now, "deep": json.loads(nested(500))})),
    ("a key of the settings twice", replaced(CONFIG, '"vocab_size": 448', '"vocab_size": 448, "vocab_size": 449')),
    ("a number of 5,000 digits", replaced(CONFIG, '"vocab_size": 448', f'"vocab_size": {"9" * 5000}')),
    ("a header of 2^60 bytes", text(WEIGHTS, struct.pack("<Q", 1 << 60) + b"{}")),
    ("a header longer than the file", text(WEIGHTS, struct.pack("<Q", 90_000_000) + b"{}")),
    ("a header that is no JSON", text(WEIGHTS, struct.pack("<Q", 8) + b"{{{{{{{{")),
    ("weights without any", text(WEIGHTS, struct.pack("<Q", 2) + b"{}")),
    ("offsets that overlap", header(_overlapping)),
    ("offsets past the end", header(lambda said: _first(said).update(data_offsets=[0, 1 << 40]))),
    ("a shape larger than its bytes", header(lambda said: _first(said).update(shape=[1 << 40, 1 << 20]))),
    ("negative offsets", header(lambda said: _first(said).update(data_offsets=[-4, 0]))),
    ("a type of weights that is none", header(lambda said: _first(said).update(dtype="EVIL"))),
    ("weights that are whole numbers", header(lambda said: [v.update(dtype="I16") for n, v in said.items()
                                                           if n != "__metadata__"] and None)),
    ("weights with names of paths", header(lambda said: {f"../../{name}" if name != "__metadata__" else name: value
                                                         for name, value in said.items()})),
    ("an index that names a file outside", index_to("../model-outside.safetensors")),
    ("an index that names a whole path", index_to("/etc/passwd")),
    ("an index that names numbers", both(text(INDEX, '{"weight_map": {"a": 1}}'), removed(WEIGHTS))),
    ("an index that names a pickle", index_to("pytorch_model.bin")),
    ("an index that names itself", index_to(INDEX)),
    ("an index nested deep", both(text(INDEX, nested(100_000)), removed(WEIGHTS))),
    ("a tokenizer that is cut off", text(TOKENIZER, (MODEL / TOKENIZER).read_bytes()[:5000])),
    ("a tokenizer that is a list", text(TOKENIZER, "[]")),
    ("a tokenizer that is empty", text(TOKENIZER, "")),
    ("a tokenizer nested 100,000 deep", text(TOKENIZER, nested(100_000))),
    ("a tokenizer without a vocabulary", edited(TOKENIZER, lambda now: now["model"].update(vocab={}, merges=[]))),
    ("a tokenizer's regular expression that is none", split_by("(((((")),
    ("a tokenizer's regular expression of 2 MB", split_by("(a|b)" * 400_000)),
    ("a tokenizer's regular expression nested 100,000 deep", split_by("(" * 100_000 + "a" + ")" * 100_000)),
    ("a tokenizer's regular expression without end", split_by(r"(\w+\s?)+[.!]{9}")),
    ("a tokenizer's regular expression without end, on one letter", split_by("(e|e)*$")),
    ("a tokenizer's replacement without end", replaces(r"(\w+\s?)+[.!]{9}")),
    ("a tokenizer that makes texts a thousand times as long", edited(TOKENIZER, lambda now: {
        **now, "normalizer": {"type": "Replace", "pattern": {"String": "e"}, "content": "e" * 1_000_000}})),
    ("a token number of 2^31", edited(TOKENIZER, lambda now: now["added_tokens"][0].update(id=2**31))),
    ("a class of the tokenizer that is none", edited("tokenizer_config.json",
                                                     lambda now: now.update(tokenizer_class="EvilTokenizer"))),
    ("settings of the tokenizer that are a list", text("tokenizer_config.json", "[1]")),
    ("settings of the tokenizer nested deep", text("tokenizer_config.json", nested(100_000))),
    ("a length of the tokenizer of -1", edited("tokenizer_config.json", lambda now: now.update(model_max_length=-1))),
    ("generation settings that are a list", text("generation_config.json", "[1]")),
    ("generation settings nested deep", text("generation_config.json", nested(100_000))),
]  # fmt: skip
