"""`g2is train` on a run's selection, with another model than the one that selected."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from peft import PeftModel
from small_run import MODEL, set_flags
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from g2is.store.digests import record_digests

Command = Callable[..., tuple[int, str, str]]
WILD = set_flags({"tuning.learning_rate": "1e30", "tuning.max_grad_norm": "1e30", "tuning.epochs": "4"})
QUICK = set_flags({"tuning.lora.rank": "4", "tuning.epochs": "1", "tuning.learning_rate": "2e-3"})


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of another shape with the bundled model's tokenizer."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("other") / "model"
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    torch.manual_seed(0)
    settings = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4
    )
    LlamaForCausalLM(settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_another_model_is_tuned_on_the_selection_and_peft_loads_the_adapter(
    g2is: Command, finished: Path, other_model: Path, tmp_path: Path
) -> None:
    code, out, err = g2is("train", finished, "--model", other_model, "--out", tmp_path / "tuned", *QUICK)
    assert code == 0, err
    num_selected = len((finished / "selected.jsonl").read_text().splitlines())
    assert f"tuned on {num_selected} examples" in out
    record = json.loads((tmp_path / "tuned/training.json").read_text())
    assert record["num_examples"] == num_selected
    model = AutoModelForCausalLM.from_pretrained(other_model)
    PeftModel.from_pretrained(model, str(tmp_path / "tuned/adapter"))


def test_given_again_it_trains_nothing_replayed_it_gives_the_same_and_other_settings_are_refused(
    g2is: Command, finished: Path, tmp_path: Path
) -> None:
    command = ("train", finished, "--model", MODEL, "--out", tmp_path / "tuned", *QUICK)
    assert g2is(*command)[0] == 0
    adapter = tmp_path / "tuned/adapter/adapter_model.safetensors"
    before = adapter.stat().st_mtime_ns
    assert g2is(*command)[0] == 0
    assert adapter.stat().st_mtime_ns == before
    code, _, err = g2is("run", tmp_path / "tuned/config.yaml", "--out", tmp_path / "again")
    assert code == 0, err
    again = tmp_path / "again/adapter/adapter_model.safetensors"
    assert again.read_bytes() == adapter.read_bytes()
    code, _, err = g2is(*command, "--set", "tuning.epochs=2")
    assert code == 2
    assert "tuning.epochs: there 1, asked for 2" in err
    assert "name another --out" in err


def test_a_dry_run_over_a_training_of_other_settings_is_refused_as_the_training_would_be(
    g2is: Command, finished: Path, tmp_path: Path
) -> None:
    command = ("train", finished, "--model", MODEL, "--out", tmp_path / "tuned", *QUICK)
    assert g2is(*command)[0] == 0
    (tmp_path / "tuned/trainer").mkdir()  # as a kill just after the last step leaves it
    code, out, err = g2is(*command, "--dry-run")
    assert (code, "nothing to do" in out) == (0, True), err
    assert (tmp_path / "tuned/trainer").exists()
    refused = g2is(*command, "--learning-rate", "1e-4")
    assert refused[0] == 2
    assert "tuning.learning_rate" in refused[2]
    dry = g2is(*command, "--learning-rate", "1e-4", "--dry-run")
    assert dry[::2] == refused[::2]
    code, _, err = g2is("train", finished, "--model", MODEL, "--out", finished, "--dry-run", *QUICK)
    assert code == 2
    assert "expected a new folder or this command's own, found that of another command (g2is select)" in err


def test_selections_of_pools_whose_rows_have_no_ids_are_learned_together(
    g2is: Command, finished: Path, tmp_path: Path
) -> None:
    for name in "ab":
        shutil.copytree(finished, tmp_path / name)
        path = tmp_path / name / "selected.messages.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for number, row in enumerate(rows):
            row["id"] = f"row-{number}"  # as a run calls rows that have no id of their own
            row["messages"][0]["content"] += f" {name}" * (number > 1)  # two rows are in both runs
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        record_digests(tmp_path / name, [path.name])
    command = ("train", tmp_path / "a", tmp_path / "b", "--model", MODEL, "--out", tmp_path / "tuned", *QUICK)
    code, out, err = g2is(*command)
    assert code == 0, err
    assert f"tuned on {2 * len(rows)} examples" in out
    assert "examples: 2 stand in another run or file, too" in err
    pool = tmp_path / "more.jsonl"  # its first row is row-0, too
    pool.write_text('{"question": "What is 2 + 3?", "answer": "5"}\n')
    code, out, err = g2is("train", pool, tmp_path / "a", "--model", MODEL, "--out", tmp_path / "both", *QUICK)
    assert code == 0, err
    assert f"tuned on {1 + len(rows)} examples" in out


def test_a_file_of_examples_will_do_instead_of_a_run(g2is: Command, sample: Path, tmp_path: Path) -> None:
    code, out, err = g2is("train", sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "tuned", *QUICK)
    assert code == 0, err
    assert "tuned on 8 examples" in out


def test_a_run_without_a_selection_is_refused_and_nothing_is_left(g2is: Command, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_text("pool: x\n")
    code, _, err = g2is("train", tmp_path / "run", "--model", MODEL, "--out", tmp_path / "tuned", *QUICK)
    assert code == 2
    assert "expected a finished run, with selected.messages.jsonl in it" in err
    assert not (tmp_path / "tuned").exists()


def test_a_training_is_logged_if_asked_for_and_that_is_no_other_training(
    g2is: Command, sample: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    command = ("train", sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "tuned", *QUICK)
    code, _, err = g2is(*command, "--set", "execution.report_to=[tensorboard]")
    assert code == 0, err
    (events,) = (tmp_path / "tuned/logs").iterdir()
    assert events.stat().st_size > 100
    assert g2is(*command)[0] == 0  # without it the work is the same


def test_a_training_is_logged_to_wandb_if_asked_for(
    g2is: Command, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="W&B is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    command = ("train", sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "tuned", *QUICK)
    code, _, err = g2is(*command, "--set", "execution.report_to=wandb")
    assert code == 0, err
    (record,) = (tmp_path / "tuned/logs/wandb").glob("offline-run-*/run-*.wandb")
    assert record.stat().st_size > 100


def test_a_missing_package_to_log_to_is_named_before_anything_is_done(
    g2is: Command, sample: Path, tmp_path: Path
) -> None:
    if importlib.util.find_spec("wandb") is not None:
        pytest.skip("wandb is installed")
    command = ("train", sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "tuned", *QUICK)
    code, out, err = g2is(*command, "--set", "execution.report_to=wandb")
    assert (code, out) == (2, "")
    assert err == (
        "error: execution.report_to: expected the package wandb, found it not installed; pip install"
        " 'g2is[wandb]', or leave it out\n"
    )
    assert not (tmp_path / "tuned").exists()


def test_a_training_that_diverges_can_be_given_again_with_a_lower_rate(
    g2is: Command, sample: Path, tmp_path: Path
) -> None:
    command = ("train", sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "tuned", *QUICK)
    code, _, err = g2is(*command, *WILD)
    assert code == 2
    assert "Lower the learning_rate" in err
    assert g2is(*command)[0] == 0


def copy_with(run: Path, place: Path, **examples: object) -> Path:
    """The run with other settings of `examples` in its record, as if it had been selected with them."""
    place.mkdir()
    shutil.copyfile(run / "selected.messages.jsonl", place / "selected.messages.jsonl")
    record = yaml.safe_load((run / "config.yaml").read_text())
    record["examples"] |= examples
    (place / "config.yaml").write_text(yaml.safe_dump(record))
    record_digests(place, ["selected.messages.jsonl"])
    return place


def test_examples_are_rendered_as_the_run_did_unless_told_and_runs_that_differ_are_refused(
    g2is: Command, finished: Path, tmp_path: Path
) -> None:
    plain = copy_with(finished, tmp_path / "plain", template="plain", max_length=40)
    for out, given, expected in (
        ("as-selected", (), ("plain", 40)),
        ("as-told", ("--set", "examples.template=chat"), ("chat", 40)),
    ):
        code, _, err = g2is("train", plain, "--model", MODEL, "--out", tmp_path / out, *QUICK, *given)
        assert code == 0, err
        used = yaml.safe_load((tmp_path / out / "config.yaml").read_text())["examples"]
        assert (used["template"], used["max_length"]) == expected
    code, _, err = g2is("train", plain, finished, "--model", MODEL, "--out", tmp_path / "both", *QUICK)
    assert code == 2
    assert f"examples.max_length: 40 in {plain}, 2048 in {finished}" in err
    assert "examples.template: plain in" in err
    assert not (tmp_path / "both").exists()
