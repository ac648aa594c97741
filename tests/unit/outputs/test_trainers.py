"""What each trainer is given of rows, and what it refuses; on the bundled model's tokenizer."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from handed import ANSWER, CALL, CALLS, CHATML, MODEL, PLAIN, QUESTION, TOOL, handover, written
from transformers import AutoConfig, AutoTokenizer, GPT2Config

import g2is.demo
from g2is.errors import InputError
from g2is.outputs.trainers.table import TRAINERS


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"chat_template": CHATML}, "does not mark what is learned with {% generation %}"),
        ({"template": "plain"}, "it knows no template such as examples.template=plain"),
        ({"learn_end_of_turn": "none"}, "it would learn 1 of the 1 rows otherwise (plain)"),
    ],
)
def test_trl_is_given_tokens_where_it_would_not_learn_the_run_s(
    settings: dict[str, Any], why: str, tmp_path: Path
) -> None:
    given = handover(tmp_path, PLAIN, **settings)
    said, folder = written("trl", given)
    assert why in said
    assert "assistant_only_loss" not in (folder / "sft.yaml").read_text()
    (row,) = pq.read_table(folder / "tokens.parquet").to_pylist()
    assert row["input_ids"] == given.rows[0].input_ids.tolist()
    assert [label != -100 for label in row["labels"]] == given.rows[0].label_mask.tolist()


def test_open_instruct_says_what_it_learns_beside_and_saves_the_run_s_template(tmp_path: Path) -> None:
    said, folder = written("open-instruct", handover(tmp_path, PLAIN, chat_template=CHATML))
    assert "open-instruct also learns 1 tokens of 1 rows" in said
    assert AutoTokenizer.from_pretrained(folder / "tokenizer").chat_template == CHATML
    # by which open-instruct tells OLMo's tokenizers from others
    assert AutoConfig.from_pretrained(folder / "tokenizer").model_type == AutoConfig.from_pretrained(MODEL).model_type
    assert yaml.safe_load((folder / "finetune.yaml").read_text())["max_seq_length"] == 256


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"template": "plain"}, "expected a run with a chat template, found examples.template=plain"),
        ({"chat_template": CHATML + "{{ strftime_now('%Y')[:0] }}"}, "expected a chat template without a date"),
    ],
)
def test_open_instruct_refuses_templates_that_it_cannot_write(
    settings: dict[str, Any], found: str, tmp_path: Path
) -> None:
    given = handover(tmp_path, PLAIN, **settings)
    with pytest.raises(InputError, match=found):
        TRAINERS["open-instruct"](given, tmp_path)


def test_ms_swift_refuses_rows_that_do_not_end_as_it_ends_rows(tmp_path: Path) -> None:
    given = handover(tmp_path, PLAIN, learn_end_of_turn="none")
    with pytest.raises(InputError, match=r"found 1 that end without the tokenizer's EOS.* \(plain\)"):
        TRAINERS["ms-swift"](given, tmp_path)


def test_ms_swift_refuses_rows_that_end_with_the_eos_twice_since_it_adds_none_to_them(tmp_path: Path) -> None:
    eos = AutoTokenizer.from_pretrained(MODEL).eos_token
    row = {"id": "twice", "messages": [QUESTION, {"role": "assistant", "content": f"It is 2.{eos}"}]}
    with pytest.raises(InputError, match=r"\(twice\)"):
        TRAINERS["ms-swift"](handover(tmp_path, row, chat_template=CHATML), tmp_path)


def test_ms_swift_gets_every_answer_and_what_stands_between_as_a_turn_with_its_loss(tmp_path: Path) -> None:
    row = {"id": "two", "messages": [QUESTION, ANSWER, QUESTION, ANSWER]}
    _, folder = written("ms-swift", handover(tmp_path, row, chat_template=CHATML))
    (line,) = (folder / "rendered.jsonl").read_text().splitlines()
    turns = json.loads(line)["messages"]
    assert [(turn["role"], turn.get("loss")) for turn in turns] == [
        ("user", None),
        ("assistant", True),
        ("assistant", False),
        ("assistant", True),
    ]


def test_llama_factory_has_calls_and_tools_in_its_own_layout_and_tells_what_has_no_place(tmp_path: Path) -> None:
    turns = [QUESTION, {"role": "assistant", "content": "", "tool_calls": [CALL]}]
    turns += [{"role": "tool", "content": "2"}, ANSWER]
    rows: list[dict[str, Any]] = [
        {"id": "calls", "messages": turns, "tools": [TOOL]},
        {"id": "two users", "messages": [QUESTION, QUESTION, ANSWER]},
    ]
    said, folder = written("llama-factory", handover(tmp_path, *rows, chat_template=CALLS))
    assert "1 rows have no place in rows.jsonl" in said
    assert "(two users)" in said
    (line,) = (folder / "rows.jsonl").read_text().splitlines()
    made = json.loads(line)
    assert [turn["from"] for turn in made["conversations"]] == ["human", "function_call", "observation", "gpt"]
    assert json.loads(made["conversations"][1]["value"]) == [{"name": "add", "arguments": {"a": 1}}]
    assert json.loads(made["tools"]) == [TOOL]
    info = json.loads((folder / "dataset_info.json").read_text())
    assert list(info) == ["g2is_selection"]


def test_the_table_names_the_trainers_that_the_help_names() -> None:
    help_text = (Path(g2is.demo.__file__).parents[1] / "cli/export.py").read_text()
    assert all(name in help_text for name in TRAINERS)


def test_ms_swift_is_told_of_which_kind_a_model_is_where_it_would_ask_and_no_precision_is_left_to_it(
    tmp_path: Path,
) -> None:
    given = handover(tmp_path, PLAIN, chat_template=CHATML)
    for kind, settings in {"llama": given.model_settings, None: GPT2Config()}.items():
        folder = tmp_path / str(kind)
        _, folder = written("ms-swift", replace(given, folder=folder, model_settings=settings))
        made = yaml.safe_load((folder / "sft.yaml").read_text())
        assert made.get("model_type") == kind
        assert (made["bf16"], made["fp16"]) == (False, False)
        assert (made["template"], made["use_chat_template"]) == ("dummy", False)
