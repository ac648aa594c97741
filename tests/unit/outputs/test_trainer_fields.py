"""Every key of every file that an export writes is one that the trainer takes, with a type that it takes there.

The tables are in tests/helpers/trainer_fields.py, with their sources. TRL and transformers are installed: their own
classes are asked too. The others' are asked in tests/end_to_end/test_in_trainers.py, where they are installed.
"""

import dataclasses
import json
import typing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_from_disk
from handed import ANSWER, CALL, CALLS, CHATML, MODEL, PLAIN, QUESTION, TOOL, handover, written
from pydantic import TypeAdapter, ValidationError
from trainer_fields import (
    FILES,
    SETTINGS,
    WITHOUT_KEYS,
    AxolotlTextDataset,
    Fields,
    TrainingArguments,
    TRLDataset,
    TRLSettings,
)
from transformers import Seq2SeqTrainingArguments
from transformers.trainer_utils import SchedulerType

SYSTEM = {"role": "system", "content": "Be brief."}
TWO = {"id": "two", "messages": [SYSTEM, QUESTION, ANSWER, QUESTION, ANSWER]}
CONTEXT = {"id": "context", "messages": [QUESTION, {**ANSWER, "train": False}, QUESTION, ANSWER]}
BEGUN = {"id": "begun", "messages": [QUESTION, {**ANSWER, "prefill": "It is "}]}
THOUGHT = {"id": "thought", "messages": [QUESTION, {**ANSWER, "reasoning_content": "One more than one."}]}
CALLED = {
    "id": "called",
    "messages": [
        QUESTION,
        {"role": "assistant", "content": "", "tool_calls": [{**CALL, "id": "c1"}]},
        {"role": "tool", "content": "2", "tool_call_id": "c1", "name": "add"},
        ANSWER,
    ],
    "tools": [TOOL],
}
OF_THE_HUB = {"revision": "abc", "trust_remote_code": True, "dtype": "bfloat16"}
THINKING = CHATML.replace("~ m.content", "~ (m.reasoning_content or '') ~ m.content")
LISTING = (
    "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{{ '<|' ~ m.role ~ '|>' }}"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content ~ eos_token }}{% endgeneration %}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
# what a run may hand over: its rows, its settings
GIVEN: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "plain": ([PLAIN, TWO], {"model": OF_THE_HUB}),
    "marked": ([PLAIN, CONTEXT, BEGUN], {"model": OF_THE_HUB}),
    "tools": ([PLAIN, CALLED], {"chat_template": CALLS}),
    "listed": ([PLAIN, {**PLAIN, "id": "with tools", "tools": [TOOL]}], {"chat_template": LISTING}),
    "thoughts": ([PLAIN, THOUGHT], {"chat_template": THINKING}),
}
REFUSED = {("open-instruct", "marked"), ("open-instruct", "tools"), ("open-instruct", "listed")}
EACH = [(trainer, given) for trainer in FILES for given in GIVEN if (trainer, given) not in REFUSED]


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """The folder that each trainer gets of each run."""
    made = {}
    for trainer, given in EACH:
        rows, settings = GIVEN[given]
        folder = tmp_path_factory.mktemp(given)
        made[trainer, given] = written(trainer, handover(folder, *rows, **settings))[1]
    return made


def values(path: Path) -> list[dict[str, Any]]:
    """The mappings in a file of an export: its rows, or the one that it is."""
    if path.is_dir():
        return list(load_from_disk(str(path)))
    if path.suffix == ".parquet":
        found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return found
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return [yaml.safe_load(path.read_text())]  # JSON is YAML too


@pytest.mark.parametrize(("trainer", "given"), EACH)
def test_every_key_and_value_is_one_that_the_trainer_takes(
    trainer: str, given: str, exports: dict[tuple[str, str], Path]
) -> None:
    files = {path.name: path for path in exports[trainer, given].iterdir()}
    assert set(files) <= set(FILES[trainer]) | WITHOUT_KEYS
    assert SETTINGS[trainer] in files
    for name, path in files.items():
        if name not in WITHOUT_KEYS:
            found = values(path)
            assert found, name
            for value in found:
                FILES[trainer][name].model_validate(value)


@pytest.mark.parametrize("trainer", FILES)
def test_no_file_and_no_setting_of_the_tables_is_left_untried(
    trainer: str, exports: dict[tuple[str, str], Path]
) -> None:
    folders = [folder for (of, _), folder in exports.items() if of == trainer]
    assert {path.name for folder in folders for path in folder.iterdir()} - WITHOUT_KEYS == set(FILES[trainer])
    for name, fields in FILES[trainer].items():
        tried = {key for folder in folders if (folder / name).exists() for row in values(folder / name) for key in row}
        assert tried == set(fields.model_fields), name


@pytest.mark.parametrize("trainer", FILES)
def test_the_tables_refuse_a_key_that_is_unknown_lacking_or_of_another_type(
    trainer: str, exports: dict[tuple[str, str], Path]
) -> None:
    for name, fields in FILES[trainer].items():
        folder = next(folder for (of, _), folder in exports.items() if of == trainer and (folder / name).exists())
        good = values(folder / name)[0]
        fields.model_validate(good)
        changed: dict[str, dict[str, Any]] = {"unknown": {**good, "no_such_key": 1}}
        for key, value in good.items():
            changed[f"{key} as text"] = {**good, key: [value] if isinstance(value, str) else str(value)}
            if fields.model_fields[key].is_required():
                changed[f"no {key}"] = {of: kept for of, kept in good.items() if of != key}
        taken = [what for what, mapping in changed.items() if is_taken(fields, mapping)]
        assert not taken, name


def is_taken(fields: type[Fields], mapping: dict[str, Any]) -> bool:
    try:
        fields.model_validate(mapping)
    except ValidationError:
        return False
    return True


def test_the_remark_of_axolotl_is_a_dataset_that_it_takes(exports: dict[tuple[str, str], Path]) -> None:
    folder = exports["axolotl", "plain"]
    remark = (folder / "axolotl.yaml").read_text().split("# datasets:\n")[1]
    (of,) = yaml.safe_load("".join(line.removeprefix("# ") for line in remark.splitlines(keepends=True)))
    AxolotlTextDataset.model_validate(of)
    assert Path(of["path"]).name == "rows.jsonl"


def takes(classes: list[Any], fields: type[Fields], settings: dict[str, Any]) -> None:
    """Hold a table and settings against the trainer's own classes, as they are installed."""
    names: dict[str, Any] = {}
    for of in classes:
        hints = typing.get_type_hints(of)
        names |= {field.name: hints[field.name] for field in dataclasses.fields(of)}
    assert set(fields.model_fields) <= set(names)
    for key, value in settings.items():
        TypeAdapter(names[key]).validate_python(value, strict=not isinstance(value, list))


def test_trl_s_own_classes_have_every_setting(exports: dict[tuple[str, str], Path]) -> None:
    trl = pytest.importorskip("trl", reason="TRL is not installed")
    from trl.scripts.utils import DatasetConfig

    for given in GIVEN:
        (settings,) = values(exports["trl", given] / "sft.yaml")
        (dataset,) = settings["datasets"]
        takes([DatasetConfig], TRLDataset, dataset)
        takes([trl.SFTConfig, trl.ModelConfig, trl.DatasetMixtureConfig], TRLSettings, settings)


def test_transformers_own_class_has_every_setting_of_a_training(exports: dict[tuple[str, str], Path]) -> None:
    (settings,) = values(exports["llama-factory", "plain"] / "train.yaml")
    of_training = {key: settings[key] for key in TrainingArguments.model_fields}
    takes([Seq2SeqTrainingArguments], TrainingArguments, of_training)
    assert {"linear", "cosine", "constant_with_warmup"} <= {of.value for of in SchedulerType}


def test_the_bundled_model_s_settings_are_beside_the_tokenizer(exports: dict[tuple[str, str], Path]) -> None:
    folder = exports["open-instruct", "plain"] / "tokenizer"
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    assert kind == json.loads((MODEL / "config.json").read_text())["model_type"]
    assert {"tokenizer.json", "tokenizer_config.json"} <= {path.name for path in folder.iterdir()}
