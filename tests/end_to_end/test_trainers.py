"""`g2is export --for`: what each trainer makes of it, by the trainers themselves where they are installed."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import Dataset, load_dataset, load_from_disk
from safetensors.numpy import load_file
from small_run import MODEL, selected_ids
from transformers import AutoTokenizer

from g2is.config import ExamplesConfig
from g2is.examples.make_table import tokenize_files
from g2is.examples.sources import find_sources
from g2is.examples.tokenize import make_renderer
from g2is.store.digests import record_digests, record_text

Command = Callable[..., tuple[int, str, str]]
Learned = tuple[list[int], list[int]]  # input_ids, labels
# a folder with an environment for each trainer, in which it is installed: FOLDER/axolotl/bin/python
ENVIRONMENTS = os.environ.get("G2IS_TRAINERS", "")
TWO_STEPS = {  # for the first the learning rate is still 0
    "trl": ["--max_steps", "2", "--use_cpu", "True"],
    "llama-factory": ["max_steps=2", "use_cpu=true"],
    "axolotl": ["--max-steps", "2"],
    "ms-swift": ["--max_steps", "2"],
}
TRAINERS = ("trl", "llama-factory", "axolotl", "open-instruct", "ms-swift")
QUESTION, ANSWER = {"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "2 + 2 = 4."}
MARKED: list[dict[str, Any]] = [
    {"id": "context", "messages": [QUESTION, {**ANSWER, "train": False}, QUESTION, ANSWER]},
    {"id": "begun", "messages": [QUESTION, {**ANSWER, "prefill": "2 + "}]},
    {"id": "long", "messages": [{"role": "user", "content": "again and " * 300}, ANSWER]},
    {"id": "two answers", "messages": [{"role": "system", "content": "Be brief."}, *[QUESTION, ANSWER] * 2]},
]


def test_the_tokens_are_those_of_the_run(g2is: Command, finished: Path, tmp_path: Path) -> None:
    own = tokens_of_the_run(finished)
    assert g2is("export", finished, "--for", "axolotl", "--to", tmp_path / "axolotl")[0] == 0
    rows = load_dataset("parquet", data_files=str(tmp_path / "axolotl/tokens.parquet"), split="train")
    assert rows["id"] == selected_ids(finished)
    assert {row["id"]: (row["input_ids"], row["labels"]) for row in rows} == {
        name: own[name] for name in selected_ids(finished)
    }
    assert all(set(row["attention_mask"]) == {1} for row in rows)


def test_a_template_that_has_changed_since_is_told_and_nothing_is_written(
    g2is: Command, run: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(MODEL, tmp_path / "model"))
    values = yaml.safe_load((run / "config.yaml").read_text())
    values["model"]["name"] = str(model)
    (run / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    record_text(run, "config.yaml", (run / "config.yaml").read_text())
    assert g2is("export", run, "--for", "trl", "--to", tmp_path / "same")[0] == 0
    template = model / "chat_template.jinja"
    template.write_text("Today. " + template.read_text())
    code, _, err = g2is("export", run, "--for", "trl", "--to", tmp_path / "other")
    assert code == 2
    said = " ".join(err.split())
    assert f"found {len(selected_ids(run))} of {len(selected_ids(run))} with others" in said
    assert "chat template or tokenizer has changed since" in said
    assert not (tmp_path / "other").exists()


def test_trl_trains_a_step_and_learns_the_very_tokens_of_messages(
    g2is: Command, finished: Path, tmp_path: Path
) -> None:
    code, out, err = g2is("export", finished, "--for", "trl", "--to", tmp_path / "trl")
    assert code == 0, err
    assert "note:" not in err
    assert f"trl sft --config {tmp_path / 'trl/sft.yaml'}" in out
    settings = yaml.safe_load((tmp_path / "trl/sft.yaml").read_text())
    assert settings["assistant_only_loss"] is True
    own = tokens_of_the_run(finished)
    assert trained_by_trl(tmp_path / "trl/sft.yaml") == [own[name] for name in selected_ids(finished)]


def test_a_path_that_the_datasets_library_takes_for_a_pattern_is_refused(
    g2is: Command, finished: Path, tmp_path: Path
) -> None:
    code, _, err = g2is("export", finished, "--for", "axolotl", "--to", tmp_path / "lr=1[a]")
    assert code == 2
    assert "found [ and ] in it, which the datasets library takes for a pattern" in " ".join(err.split())
    assert not list(tmp_path.iterdir())


def test_trl_gets_tokens_where_it_would_learn_otherwise_and_that_is_said(
    g2is: Command, run: Path, tmp_path: Path
) -> None:
    own = select_instead(run, MARKED)
    code, _, err = g2is("export", run, "--for", "trl", "--to", tmp_path / "trl")
    assert code == 0, err
    said = " ".join(err.split())
    assert "TRL gets tokens with labels, since it would learn 3 of the 4 rows otherwise (context, begun, long)" in said
    assert trained_by_trl(tmp_path / "trl/sft.yaml") == own


def test_trl_gets_messages_of_rows_of_several_learned_answers_and_with_system(
    g2is: Command, run: Path, tmp_path: Path
) -> None:
    own = select_instead(run, [MARKED[3]])
    assert g2is("export", run, "--for", "trl", "--to", tmp_path / "trl")[0] == 0
    assert "assistant_only_loss: true" in (tmp_path / "trl/sft.yaml").read_text()
    assert trained_by_trl(tmp_path / "trl/sft.yaml") == own


@pytest.mark.parametrize("trainer", ["llama-factory", "axolotl"])
def test_tokens_hold_every_mark_and_cut(trainer: str, g2is: Command, run: Path, tmp_path: Path) -> None:
    own = select_instead(run, MARKED)
    assert g2is("export", run, "--for", trainer, "--to", tmp_path / "to")[0] == 0
    if trainer == "axolotl":
        rows = load_dataset("parquet", data_files=str(tmp_path / "to/tokens.parquet"), split="train")
        texts = [json.loads(line) for line in (tmp_path / "to/rows.jsonl").read_text().splitlines()]
        assert [[turn["train"] for turn in row["messages"]] for row in texts] == [
            [False, False, False, True],
            [False, True],
            [False, True],
            [False, False, True, False, True],
        ]
    else:
        rows = load_from_disk(str(tmp_path / "to/tokens"))
        assert isinstance(rows, Dataset)
        texts = [json.loads(line) for line in (tmp_path / "to/rows.jsonl").read_text().splitlines()]
        assert [len(row["conversations"]) for row in texts] == [2, 5]  # those that its layout has a place for
    assert [(row["input_ids"], row["labels"]) for row in rows] == own


def test_what_open_instruct_cannot_express_is_refused_by_name_and_nothing_is_written(
    g2is: Command, run: Path, tmp_path: Path
) -> None:
    select_instead(run, MARKED)
    code, _, err = g2is("export", run, "--for", "open-instruct", "--to", tmp_path / "to")
    assert code == 2
    assert "found 2 with answers that are context only (context, begun)" in " ".join(err.split())
    assert list(tmp_path.iterdir()) == [run]


@pytest.mark.long
@pytest.mark.parametrize("trainer", ["llama-factory", "axolotl", "ms-swift"])  # TRL's is in the tests above
def test_a_trainer_s_own_parser_takes_every_setting_and_makes_the_run_s_tokens(
    trainer: str, g2is: Command, run: Path, tmp_path: Path
) -> None:
    python = program(trainer, "python")
    own = select_instead(run, MARKED)
    assert g2is("export", run, "--for", trainer, "--to", tmp_path / "to")[0] == 0
    script = Path(__file__).parents[1] / "helpers/in_trainer.py"
    found = json.loads(run_there([python, str(script), trainer, str(tmp_path / "to")], tmp_path).splitlines()[-1])
    assert sorted((ids, labels) for ids, labels in found["rows"]) == sorted(own)
    (path,) = (tmp_path / "to").glob("*.yaml")
    given = yaml.safe_load(path.read_text())
    assert set(found["settings"]) == set(given)
    numbers = {key: value for key, value in given.items() if isinstance(value, int | float)}
    assert len(numbers) > 12
    assert {key: found["settings"][key] for key in numbers} == numbers


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("trainer", TWO_STEPS)
def test_a_trainer_trains_on_an_export_by_the_command_that_is_printed(
    trainer: str, g2is: Command, finished: Path, tmp_path: Path
) -> None:
    code, out, err = g2is("export", finished, "--for", trainer, "--to", tmp_path / "to")
    assert code == 0, err
    name, *words = shlex.split(out.splitlines()[-1])
    run_there([program(trainer, name), *words, *TWO_STEPS[trainer]], tmp_path)
    adapters = sorted((tmp_path / "to/tuned").rglob("adapter_model.safetensors"))
    assert adapters
    assert any(float(np.abs(tensor).max()) > 0 for key, tensor in load_file(adapters[0]).items() if "lora_B" in key)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_datasets_loads_what_the_configuration_names(
    trainer: str, g2is: Command, finished: Path, tmp_path: Path
) -> None:
    assert g2is("export", finished, "--for", trainer, "--to", tmp_path / "to")[0] == 0
    num = len(selected_ids(finished))
    for path in (tmp_path / "to").glob("*.jsonl"):
        assert len(load_dataset("json", data_files=str(path), split="train")) == num
    (settings,) = (yaml.safe_load(path.read_text()) for path in (tmp_path / "to").glob("*.yaml"))
    lengths = {settings.get(key) for key in ("max_length", "cutoff_len", "sequence_len", "max_seq_length")}
    assert 256 in lengths  # the model's, below the run's 2048
    for value in json.dumps(settings).split('"'):
        assert (
            not value.startswith(str(tmp_path / "to")) or value.endswith(("tuned", "prepared")) or Path(value).exists()
        )


def test_ms_swift_s_turns_have_the_tokens_and_labels_of_the_run(g2is: Command, run: Path, tmp_path: Path) -> None:
    own = select_instead(run, MARKED)
    assert g2is("export", run, "--for", "ms-swift", "--to", tmp_path / "to")[0] == 0
    tokenizer: Any = AutoTokenizer.from_pretrained(MODEL)
    made: list[Learned] = []
    for line in (tmp_path / "to/rendered.jsonl").read_text().splitlines():
        ids: list[int] = []
        labels: list[int] = []
        for turn in json.loads(line)["messages"]:
            found = tokenizer(turn["content"], add_special_tokens=False)["input_ids"]
            ids += found
            labels += found if turn.get("loss") else [-100] * len(found)
        eos = tokenizer.eos_token_id  # which swift adds, and learns
        made.append(([*ids, eos], [*labels, eos]))
    assert made == own


def test_a_folder_in_use_half_a_command_and_an_unknown_trainer_are_refused(
    g2is: Command, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "used").mkdir()
    (tmp_path / "used/file").touch()
    for arguments, message in {
        ("--for", "trl", "--to", tmp_path / "used"): "expected a new or empty folder",
        ("--for", "trl", "--to", tmp_path / "used/file/below"): f"found the file {tmp_path / 'used/file'}",
        ("--for", "trl", "--to", "."): "expected another folder than the one this is called from",
        ("--for", "trl", "--to", tmp_path / "new", "--wait"): "found it beside --for",
        ("--for", "trl"): "found --for alone",
        ("--to", tmp_path / "new"): "found --to alone",
        ("--for", "unsloth", "--to", tmp_path / "new"): "expected one of trl, llama-factory, axolotl, open-instruct",
    }.items():
        code, _, err = g2is("export", finished, *arguments)
        assert (code, message in " ".join(err.split())) == (2, True), err
    assert not (tmp_path / "new").exists()
    assert not any((tmp_path / "here").iterdir())


def test_the_command_names_a_folder_with_a_space_as_a_shell_takes_it(
    g2is: Command, finished: Path, tmp_path: Path
) -> None:
    code, out, err = g2is("export", finished, "--for", "axolotl", "--to", tmp_path / "a b")
    assert code == 0, err
    assert shlex.split(out.splitlines()[-1]) == ["axolotl", "train", str(tmp_path / "a b/axolotl.yaml")]


def program(trainer: str, name: str) -> str:
    """The program `name` of the environment in which `trainer` is installed; skips where there is none.

    TRL is in this one, with which g2is is developed.
    """
    environment = Path(sys.prefix) if trainer == "trl" else Path(ENVIRONMENTS, trainer)
    path = environment / "bin" / name
    if not (ENVIRONMENTS or trainer == "trl") or not path.exists():
        pytest.skip(f"G2IS_TRAINERS={ENVIRONMENTS or 'unset'} names no folder with an environment of {trainer}")
    return str(path)


def run_there(command: list[str], folder: Path) -> str:
    """Run a trainer's program on the CPU, without a network; returns its standard output."""
    apart = {"HF_HOME": str(folder / "hf"), "MODELSCOPE_CACHE": str(folder / "modelscope"), "CUDA_VISIBLE_DEVICES": ""}
    alone = {"AXOLOTL_DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    path = {"PATH": f"{Path(command[0]).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=folder, env=os.environ | apart | alone | path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def tokens_of_the_run(run: Path) -> dict[str, Learned]:
    """What the run's store has of each row of the pool."""
    tables = [pq.read_table(path) for path in (run / "store/examples").glob("*.parquet")]
    table = max(tables, key=len)  # the pool's
    found = {}
    for row in table.select(["id", "input_ids", "answer_spans"]).to_pylist():
        mask = np.zeros(len(row["input_ids"]), bool)
        for begin, end in np.array(row["answer_spans"]).reshape(-1, 2):
            mask[begin:end] = True
        found[row["id"]] = (row["input_ids"], np.where(mask, row["input_ids"], -100).tolist())
    return found


def select_instead(run: Path, rows: list[dict[str, Any]]) -> list[Learned]:
    """Make a run's selection these rows; returns what it learns of them."""
    path = run / "selected.messages.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    record_digests(run, [path.name])
    tokenizer: Any = AutoTokenizer.from_pretrained(MODEL)
    renderer = make_renderer(tokenizer, ExamplesConfig(), 256)
    table = tokenize_files(find_sources([str(path)]), renderer, ExamplesConfig(), run.parent / "run/examples")
    return [(ids.tolist(), np.where(mask, ids, -100).tolist()) for ids, mask in table.token_rows()]


def trained_by_trl(settings: Path) -> list[Learned]:
    """Train a step as `trl sft --config` does; returns the tokens and labels that it learned, in the file's order."""
    trl = pytest.importorskip("trl", reason="TRL is not installed")
    parser = trl.TrlParser((trl.ScriptArguments, trl.SFTConfig, trl.ModelConfig, trl.DatasetMixtureConfig))
    one_step = ["--max_steps", "1", "--use_cpu", "True", "--save_strategy", "no", "--dataset_num_proc", "1"]
    _, training, model, data = parser.parse_args_and_config(
        ["--config", str(settings), *one_step], fail_with_unknown_args=True
    )
    trainer = trl.SFTTrainer(
        model=model.model_name_or_path,
        args=training,
        train_dataset=trl.get_dataset(data)["train"],
        peft_config=trl.get_peft_config(model),
    )
    rows = trainer.train_dataset
    batch = next(iter(trainer.get_train_dataloader()))
    assert batch["labels"].shape == batch["input_ids"].shape
    assert trainer.train().global_step == 1
    return [(row["input_ids"], row["labels"]) for row in rows]
