"""`g2is merge`: the merged model answers as the one with its adapter does, needs no PEFT, and is whole or not there."""

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import PeftModel
from safetensors.torch import load_file, save_file
from small_run import MODEL
from transformers import AutoModelForCausalLM, AutoTokenizer

import g2is as package
from g2is.api.settings import TuningSettings
from g2is.errors import InputError, ModelError, StoreError
from g2is.store.digests import record_text
from g2is.store.files import write_atomically

Command = Callable[..., tuple[int, str, str]]
TOLERANCE = 1e-4  # of logits, from weights in float32: what docs/evaluation.md promises
TUNING: TuningSettings = {"lora": {"rank": 4}, "epochs": 2, "learning_rate": 2e-2}


@pytest.fixture(scope="module")
def trained(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small training whose adapter changes the model; its model's folder beside it is a copy."""
    place = tmp_path_factory.mktemp("merge")
    model = shutil.copytree(MODEL, place / "model")
    package.train(data=sample / "target.jsonl", model=model, out=place / "tuned", tuning=TUNING)
    return place / "tuned"


@pytest.fixture
def tuned(trained: Path, tmp_path: Path) -> Path:
    """A copy of it, whose settings name the copies."""
    shutil.copytree(trained.parent, tmp_path / "copy")
    run = tmp_path / "copy/tuned"
    values = yaml.safe_load((run / "config.yaml").read_text())
    values["model"]["name"] = str(run.parent / "model")
    values["out"] = str(run)

    (run / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    record_text(run, "config.yaml", (run / "config.yaml").read_text())
    return run


def logits_of(model: Any, tokenizer: Any) -> torch.Tensor:
    ids = tokenizer("12 * 34 = ? Work it out on paper.", return_tensors="pt").input_ids
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(ids).logits
    return logits


def test_the_merged_model_s_logits_are_those_of_the_adapter_beside_the_model(tuned: Path, g2is: Command) -> None:
    code, out, err = g2is("merge", tuned)
    assert code == 0, err
    merged = tuned / "merged"
    assert out.startswith(f"{merged}  (")
    tokenizer: Any = AutoTokenizer.from_pretrained(merged)
    base: Any = AutoModelForCausalLM.from_pretrained(tuned.parent / "model", dtype=torch.float32)
    plain = logits_of(base, tokenizer)
    beside = logits_of(PeftModel.from_pretrained(base, str(tuned / "adapter")), tokenizer)
    own: Any = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)
    assert not isinstance(own, PeftModel)
    found = logits_of(own, tokenizer)
    assert (found - beside).abs().max() < TOLERANCE
    assert (plain - beside).abs().max() > 100 * TOLERANCE, "the adapter changes nothing, so the test says nothing"
    assert not any("lora" in name for name in load_file(merged / "model.safetensors"))
    code, out, err = g2is("merge", tuned, "--to", tuned.parent / "other", "--json")
    assert code == 0, err
    size = sum(file.stat().st_size for file in (tuned.parent / "other").iterdir())
    assert json.loads(out) == {"model": str(tuned.parent / "other"), "num_bytes": size}


def test_the_folder_has_all_that_a_model_has_and_is_read_by_a_group(tuned: Path, tmp_path: Path) -> None:
    to = tmp_path / "deep/merged"
    assert package.merge(tuned, to) == to
    model = tuned.parent / "model"
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md", "digests.json"} <= {
        path.name for path in to.iterdir()
    }
    assert (to / "generation_config.json").exists() == (model / "generation_config.json").exists()
    ours, theirs = (AutoTokenizer.from_pretrained(folder) for folder in (to, model))
    assert ours.chat_template == theirs.chat_template
    assert ours.get_vocab() == theirs.get_vocab()
    head = yaml.safe_load((to / "README.md").read_text().split("---\n")[1])
    assert (head["base_model"], head["library_name"]) == (str(model), "transformers")
    assert {tensor.dtype for tensor in load_file(to / "model.safetensors").values()} == {torch.float32}
    for path in to.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o044 == 0o044, path.name
    again = package.merge(tuned, tmp_path / "again")
    assert {path.name: path.read_bytes() for path in to.iterdir()} == {
        path.name: path.read_bytes() for path in again.iterdir()
    }


def test_it_is_tested_as_the_adapter_is_and_checked_with_its_training(
    tuned: Path, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    merged = package.merge(tuned)
    test: dict[str, Any] = {"test": sample / "target.jsonl", "evaluation": {"generate": False}}
    losses = [
        package.evaluate(**test, model=tuned.parent / "model", adapter=tuned / "adapter", out=tmp_path / "adapter"),
        package.evaluate(**test, model=merged, out=tmp_path / "merged"),
    ]
    assert losses[0].summary["means"]["loss"] == pytest.approx(losses[1].summary["means"]["loss"], rel=1e-5)
    code, out, err = g2is("verify", tuned, "--json")
    assert code == 0, err
    assert not json.loads(out)["unknown"]
    content = (merged / "config.json").read_bytes()
    (merged / "config.json").write_bytes(content + b" ")
    assert g2is("verify", tuned)[0] == 2
    assert g2is("verify", tuned, "--repair")[0] == 0
    assert package.merge(tuned) == merged
    assert (merged / "config.json").read_bytes() == content


def test_a_training_in_bfloat16_is_merged_in_bfloat16_which_rounds_once_more(sample: Path, tmp_path: Path) -> None:
    model = shutil.copytree(MODEL, tmp_path / "model")
    package.train(
        data=sample / "target.jsonl", model={"name": model, "dtype": "bfloat16"}, out=tmp_path / "tuned", tuning=TUNING
    )
    merged = package.merge(tmp_path / "tuned")
    assert {tensor.dtype for tensor in load_file(merged / "model.safetensors").values()} == {torch.bfloat16}
    tokenizer: Any = AutoTokenizer.from_pretrained(merged)
    base: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    beside = logits_of(PeftModel.from_pretrained(base, str(tmp_path / "tuned/adapter")), tokenizer)
    own: Any = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)
    difference = (logits_of(own, tokenizer) - beside).abs().max()
    assert TOLERANCE < difference < 0.5


def test_what_cannot_be_merged_is_one_message_and_nothing_is_written(
    tuned: Path, finished: Path, g2is: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    unfinished = shutil.copytree(tuned, tmp_path / "unfinished")
    (unfinished / "training.json").unlink()
    damaged = shutil.copytree(tuned, tmp_path / "damaged")
    (damaged / "adapter/adapter_config.json").write_text("{}")
    told: list[tuple[tuple[object, ...], str]] = [
        ((tmp_path / "none",), "expected the folder of a finished `g2is train`, found no such folder"),
        ((finished,), "found the folder of `g2is select`"),
        ((unfinished,), "found one that has not come to its end"),
        ((damaged,), "adapter_config.json: expected what the training wrote, found it changed or gone"),
        ((tuned, "--to", tmp_path / "full"), "--to: expected a new or empty folder"),
        ((tuned, "--to", tmp_path / "x", "--wait"), "expected --wait without --to"),
    ]
    for arguments, text in told:
        code, out, err = g2is("merge", *arguments)
        assert (code, out) == (2, ""), arguments
        assert text in err, arguments
    monkeypatch.setattr("g2is.jobs.merge.fits_in_memory", lambda _: False)
    with pytest.raises(ModelError, match=r"expected memory for its weights in float32, 0\.0 GiB, found less"):
        package.merge(tuned)
    monkeypatch.undo()
    weights = load_file(tuned.parent / "model/model.safetensors")
    name = next(name for name in weights if "norm" in name)
    save_file({**weights, name: weights[name] * 2}, tuned.parent / "model/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"expected the model that the adapter in .* was trained on, found other"):
        package.merge(tuned)
    assert not (tuned / "merged").exists()
    with pytest.raises(StoreError, match="found no such folder"):
        package.merge(tmp_path / "none")
    with pytest.raises(InputError, match="in use"):
        package.merge(tuned, tmp_path / "full")


def test_weights_that_two_layers_share_are_not_added_to_once_for_both(sample: Path, tmp_path: Path) -> None:
    on_head: TuningSettings = {**TUNING, "epochs": 1, "lora": {"rank": 4, "target_modules": ["lm_head", "q_proj"]}}
    package.train(data=sample / "target.jsonl", model=MODEL, out=tmp_path / "tuned", tuning=on_head)
    with pytest.raises(
        ModelError, match=r"embed_tokens\.weight and lm_head\.weight share: merged, it would change both"
    ):
        package.merge(tmp_path / "tuned")
    assert not (tmp_path / "tuned/merged").exists()


def test_a_link_in_its_place_leads_to_where_it_is_written(tuned: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name in ("elsewhere", "to-come"):
        (tuned / "merged").symlink_to(tmp_path / name)
        package.merge(tuned)
        assert (tmp_path / name / "model.safetensors").is_file()
        (tuned / "merged").unlink()


def test_a_merge_that_fails_while_it_writes_leaves_nothing(
    tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("g2is.jobs.merge.write_merged_card", fail)
    with pytest.raises(OSError, match="No space left"):
        package.merge(tuned, tmp_path / "to")
    assert not list(tmp_path.glob("*to*"))


def test_files_that_a_library_made_for_its_owner_alone_get_what_the_umask_leaves(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        (folder / "inner").mkdir(parents=True)
        for name, mode in (("closed", 0o600), ("inner/closed", 0o600), ("read only", 0o444), ("open", 0o664)):
            (folder / name).touch()
            (folder / name).chmod(mode)

    def modes(folder: Path) -> list[int]:
        names = ("closed", "inner/closed", "read only", "open")
        return [stat.S_IMODE((folder / name).stat().st_mode) for name in names]

    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "group", write)
        os.umask(0o077)
        write_atomically(tmp_path / "own", write)
    finally:
        os.umask(before)
    assert modes(tmp_path / "group") == [0o640, 0o640, 0o444, 0o664]
    assert modes(tmp_path / "own") == [0o600, 0o600, 0o444, 0o664]


def test_all_that_a_run_and_a_training_keep_is_read_by_a_group(finished: Path, trained: Path) -> None:
    for folder in (finished, trained):
        files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
        assert files
        closed = [str(path) for path in files if stat.S_IMODE(path.stat().st_mode) & 0o040 == 0]
        assert not closed


def test_an_adapter_carries_a_card_and_its_tokenizer(finished: Path, trained: Path, sample: Path) -> None:
    (epoch,) = (finished / "store/warmup").glob("epoch-*")
    for folder, title, method in (
        (trained / "adapter", "An adapter tuned on selected examples", "LoRA of rank 4, `g2is train`"),
        (epoch, "The adapter of a warm-up", "LoRA of rank 4, the warm-up of `g2is select`"),
    ):
        text = (folder / "README.md").read_text()
        head = yaml.safe_load(text.split("---\n")[1])
        assert head["library_name"] == "peft"
        assert head["base_model"] == json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
        assert f"# {title}" in text
        assert f"**Method**: {method}" in text
        settings = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
        assert (settings.get("tuning") or settings["warmup"])["lora"]["rank"] == 4
        assert str(sample) not in text
        assert AutoTokenizer.from_pretrained(folder).get_vocab() == AutoTokenizer.from_pretrained(MODEL).get_vocab()
        assert {"README.md", "tokenizer.json", "g2is_examples.json"} <= set(
            json.loads((folder / "digests.json").read_text())
        )
