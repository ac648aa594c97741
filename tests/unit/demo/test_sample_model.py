"""The bundled model: the file its README describes, small, and fit for the sample."""

import hashlib
import re
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from g2is.demo.skills import pool_rows, target_rows


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with as_file(files("g2is.demo").joinpath("model")) as path:
        yield path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def test_the_recorded_hash_is_the_weights_hash(folder: Path) -> None:
    (recorded,) = re.findall(r"`([0-9a-f]{64})`", (folder / "README.md").read_text())
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == recorded


def test_the_folder_is_small_enough_to_bundle(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2_500_000


def test_the_model_loads_in_float32_and_predicts_better_than_chance(folder: Path, tokenizer: Any) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    assert model.dtype == torch.float32
    ids = tokenizer("<s>12 13 14 15 16 17 18 19 20 21\n4 6 8 10 12 14 16 18", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert model(input_ids=ids, labels=ids).loss < 2.0


def test_every_digit_is_a_token_of_its_own(tokenizer: Any) -> None:
    assert tokenizer.tokenize("1234567890") == list("1234567890")
    assert [token for token in tokenizer.get_vocab() if re.search(r"\d", token) and len(token) > 1] == []


def test_any_text_comes_back_from_its_tokens(tokenizer: Any) -> None:
    texts = [message["content"] for row in pool_rows() + target_rows() for message in row["messages"]]
    for text in [*texts, "Größe × 漢字 \t\n  end"]:
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_template_marks_the_answer_and_its_end_and_nothing_else(tokenizer: Any) -> None:
    for row in pool_rows(50) + target_rows():
        rendered = tokenizer.apply_chat_template(row["messages"], return_dict=True, return_assistant_tokens_mask=True)
        ids = rendered["input_ids"]
        answer = [i for i, marked in zip(ids, rendered["assistant_masks"], strict=True) if marked]
        assert tokenizer.decode(answer) == row["messages"][1]["content"] + tokenizer.eos_token
        prompt = tokenizer.apply_chat_template(row["messages"][:1], add_generation_prompt=True, return_dict=True)
        assert prompt["input_ids"] + answer == ids


def test_every_sample_row_fits_the_context(tokenizer: Any) -> None:
    lengths = [
        len(tokenizer.apply_chat_template(row["messages"], return_dict=True)["input_ids"])
        for row in pool_rows() + target_rows(200)
    ]
    assert max(lengths) <= tokenizer.model_max_length
