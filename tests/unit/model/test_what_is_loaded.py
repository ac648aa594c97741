"""What a model is hashed by is what it is loaded from: the system says which files of its folder were opened."""

import ctypes
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import g2is.demo
from g2is.config import ExamplesConfig, ModelConfig
from g2is.errors import ModelError
from g2is.examples.tokenize import make_renderer
from g2is.model.folder import ModelFolder, find_model

MODEL = Path(g2is.demo.__file__).parent / "model"
CPU = torch.device("cpu")
INDEX = "model.safetensors.index.json"
_IN_OPEN, _IN_ISDIR, _IN_NONBLOCK = 0x20, 0x40000000, 0o4000


@contextmanager
def opened_in(folder: Path) -> Iterator[set[str]]:
    """The files below `folder` that anything opens meanwhile, libraries of Rust included: Linux tells by inotify."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "inotify_init1"):
        pytest.skip("only Linux tells of opened files by inotify")
    watch = libc.inotify_init1(_IN_NONBLOCK)
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    places = {libc.inotify_add_watch(watch, str(path).encode(), _IN_OPEN): path for path in folders}
    found: set[str] = set()
    try:
        yield found
        while True:
            try:
                events = os.read(watch, 1 << 16)
            except BlockingIOError:
                break
            while events:
                place, mask, _, length = struct.unpack_from("iIII", events)
                name = events[16 : 16 + length].rstrip(b"\0").decode()
                if name and not mask & _IN_ISDIR:
                    found.add((places[place] / name).relative_to(folder).as_posix())
                events = events[16 + length :]
    finally:
        os.close(watch)


def single(folder: Path) -> None:
    """As it is."""


def sharded(folder: Path, below: str = "") -> None:
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    (folder / below).mkdir(exist_ok=True)
    files = {f"{below}model-0000{i}-of-00002.safetensors": names[i - 1 :: 2] for i in (1, 2)}
    for file, part in files.items():
        save_file({name: weights[name] for name in part}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, part in files.items() for name in part}}
    (folder / INDEX).write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()


def sharded_below(folder: Path) -> None:
    sharded(folder, "parts/")


def both(folder: Path) -> None:
    kept = (folder / "model.safetensors").read_bytes()
    sharded(folder)
    (folder / "model.safetensors").write_bytes(kept)


def named_in_the_settings(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    settings(folder, transformers_weights="other.safetensors")


def code_of_its_own(folder: Path) -> None:
    auto_map = {"AutoConfig": "own_config.OwnConfig", "AutoModelForCausalLM": "own_model.OwnForCausalLM"}
    settings(folder, model_type="own", auto_map=auto_map, architectures=["OwnForCausalLM"])
    (folder / "own_config.py").write_text(
        "from transformers import LlamaConfig\n\nclass OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
    )
    (folder / "own_model.py").write_text(
        "from transformers import LlamaForCausalLM\nfrom .own_config import OwnConfig\nfrom .own_scale import SCALE\n\n"
        "class OwnForCausalLM(LlamaForCausalLM):\n    config_class = OwnConfig\n    scale = SCALE\n"
    )
    (folder / "own_scale.py").write_text("from .own_deep import SCALE\n")
    (folder / "own_deep.py").write_text("SCALE = 2\n")
    (folder / "setup.py").write_text("raise SystemExit('never run')\n")
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate/generate.py").write_text("def generate(model, **rest):\n    return None\n")


def settings(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


# transformers brings code that the code of a model imports from 5.11 on, and does not find it before.
NO_CODE_OF_CODE = tuple(map(int, transformers.__version__.split(".")[:2])) < (5, 11)

KINDS: dict[str, Callable[[Path], None]] = {
    kind.__name__: kind for kind in (single, sharded, sharded_below, both, named_in_the_settings, code_of_its_own)
}
# What a tokenizer reads is told by what it does with text, and by its template; what generates, by `evaluate`.
OF_TOKENIZER = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json"}
BESIDE = OF_TOKENIZER | {"generation_config.json", INDEX}


def made(folder: Path, kind: str) -> ModelFolder:
    shutil.copytree(MODEL, folder)
    KINDS[kind](folder)
    return find_model(ModelConfig(name=str(folder), trust_remote_code=kind == "code_of_its_own"))


def digest(folder: Path, *, trust: bool = False) -> str:
    return find_model(ModelConfig(name=str(folder), trust_remote_code=trust)).digest(lambda done, total: None)


def names(model: ModelFolder) -> set[str]:
    return {file.relative_to(model.path).as_posix() for file in model.files()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_that_is_opened_is_hashed_and_every_hashed_one_opened(kind: str, tmp_path: Path) -> None:
    model = made(tmp_path / "model", kind)
    if kind == "code_of_its_own" and NO_CODE_OF_CODE:
        with pytest.raises(ModelError, match=r"cannot be loaded: .*own_deep\.py"):
            model.load(CPU)
        return
    with opened_in(model.path) as opened:
        model.load(CPU)
        model.tokenizer()
    assert "config.json" in opened
    assert opened - BESIDE <= names(model)
    # settings were read when the model was found, and code as it was first imported
    assert {name for name in names(model) if name.endswith(".safetensors")} <= opened
    assert ("setup.py" in names(model)) is False


@pytest.mark.parametrize("kind", KINDS)
def test_each_hashed_file_counts_and_a_readme_does_not(kind: str, tmp_path: Path) -> None:
    model, trust = made(tmp_path / "model", kind), kind == "code_of_its_own"
    before = digest(model.path, trust=trust)
    (model.path / "README.md").write_text("Another word.")
    (model.path / "setup.py").write_text("and = another")
    assert digest(model.path, trust=trust) == before
    seen = {before}
    for file in model.files():
        whole = file.read_bytes()
        at = len(whole) // 2 if file.suffix == ".safetensors" else len(whole)
        file.write_bytes(whole[:at] + b" " + whole[at + (file.suffix == ".safetensors") :])
        seen.add(digest(model.path, trust=trust))
        file.write_bytes(whole)
    assert len(seen) == 1 + len(model.files())
    assert digest(model.path, trust=trust) == before


def test_of_a_plain_folder_settings_and_weights_are_hashed_as_ever(tmp_path: Path) -> None:
    # stores that were made before hold these words
    assert digest(MODEL) == "64b1eeceee1b640cab43d31f577edaa3"
    model = made(tmp_path / "model", "sharded")
    assert model.digest(lambda done, total: None) == "5bcc0652665642fc0d0e64abf474834b"


def test_weights_that_lie_there_and_are_not_read_are_said(tmp_path: Path) -> None:
    (notice,) = made(tmp_path / "model", "both").notices()
    assert notice.endswith(
        "weights are read from model.safetensors; not read: model-00001-of-00002.safetensors,"
        f" model-00002-of-00002.safetensors, {INDEX}"
    )
    assert find_model(ModelConfig(name=str(MODEL))).notices() == []


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_that_is_another_when_it_is_loaded_is_refused(name: str, tmp_path: Path) -> None:
    model = made(tmp_path / "model", "single")
    model.digest(lambda done, total: None)
    other = tmp_path / "other"
    other.write_bytes((model.path / name).read_bytes())
    other.replace(model.path / name)
    with pytest.raises(ModelError, match=f"as it was when the command began, found {name} changed since"):
        model.load(CPU)


def test_code_that_another_hub_model_brings_is_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(MODEL, tmp_path / "model"))
    settings(folder, auto_map={"AutoModelForCausalLM": "stranger/repo--evil.Evil"})
    with pytest.raises(ModelError, match=r"expected auto_map to name modules of this folder, found 'stranger/repo--ev"):
        find_model(ModelConfig(name=str(folder), trust_remote_code=True))


def _edited(folder: Path, name: str, old: str, new: str) -> None:
    content = (folder / name).read_text()
    assert old in content
    (folder / name).write_text(content.replace(old, new))


OTHER_TOKENS: dict[str, Callable[[Path], None]] = {
    "tokenizer.json": lambda folder: _edited(folder, "tokenizer.json", '"content": "</s>"', '"content": "</t>"'),
    "tokenizer_config.json": lambda folder: _edited(folder, "tokenizer_config.json", '"</s>"', '"<pad>"'),
    "chat_template.jinja": lambda folder: _edited(folder, "chat_template.jinja", "Assistant:", "Helper:"),
}


@pytest.mark.parametrize("name", OTHER_TOKENS)
def test_every_file_of_the_tokenizer_counts_by_what_it_does(name: str, tmp_path: Path) -> None:
    model = made(tmp_path / "model", "single")
    with opened_in(model.path) as opened:
        before = make_renderer(model.tokenizer(), ExamplesConfig(), 256).fingerprint
    assert opened & OF_TOKENIZER == set(OTHER_TOKENS)
    OTHER_TOKENS[name](model.path)
    after = make_renderer(replace(model, stamps={}).tokenizer(), ExamplesConfig(), 256).fingerprint
    assert after != before


def test_weights_that_are_not_loaded_need_not_be_whole(tmp_path: Path) -> None:
    """`save_pretrained` of one file over several leaves their index, and a download may bring another format's."""
    folder = shutil.copytree(MODEL, tmp_path / "model")
    (folder / "consolidated.safetensors").write_text("version https://git-lfs.github.com/spec/v1")
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}}))
    assert find_model(ModelConfig(name=str(folder))).load(CPU) is not None
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=rf"expected the 1 files of weights that {INDEX} lists, found no model-00001"):
        find_model(ModelConfig(name=str(folder)))
