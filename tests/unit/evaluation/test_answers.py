"""Loss and greedy answers against the plain way: one example at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from g2is.config import ExamplesConfig, ModelConfig
from g2is.demo.skills import pool_rows
from g2is.evaluation.answers import Answers, answer
from g2is.evaluation.greedy import batching_of
from g2is.evaluation.questions import Question
from g2is.examples.read import read_examples
from g2is.examples.sources import find_sources
from g2is.examples.tokenize import make_renderer
from g2is.model.batches import Row
from g2is.model.folder import find_model

MODEL = Path(__file__).resolve().parents[3] / "src/g2is/demo/model"
Setting = tuple[Any, Any, list[Row], list[Question]]  # a model, its tokenizer, rows, what they ask


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """The bundled model, its tokenizer, and 12 rows of different lengths."""
    from g2is.demo.skills import write_pool

    path = tmp_path_factory.mktemp("rows") / "pool.jsonl"
    write_pool(path, num_rows=12)
    folder = find_model(ModelConfig(name=str(MODEL)))
    tokenizer = folder.tokenizer()
    renderer = make_renderer(tokenizer, ExamplesConfig(), folder.context_length)
    rows = [
        (item.input_ids, item.label_mask) for item in map(renderer.render, read_examples(find_sources([str(path)])))
    ]
    questions = [Question(row["messages"][1]["content"]) for row in pool_rows(12)]
    return folder.load(torch.device("cpu")), tokenizer, rows, questions


def test_losses_are_those_of_each_example_alone(setting: Setting) -> None:
    model, tokenizer, rows, questions = setting
    found = answer(model, tokenizer, rows, questions, 4096, lambda done, total: None)
    for (ids, mask), loss, num_learned in zip(rows, found.losses, found.num_learned, strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor(ids[None].astype(np.int64))).logits[0, :-1]
        learned = torch.tensor(mask[1:])
        expected = F.cross_entropy(logits[learned], torch.tensor(ids[1:].astype(np.int64))[learned])
        assert loss == pytest.approx(float(expected), rel=1e-4)
        assert num_learned == mask.sum()
    assert found.loss == pytest.approx((found.losses * found.num_learned).sum() / found.num_learned.sum())


@pytest.mark.slow
def test_answers_are_the_most_likely_tokens_one_by_one_whatever_the_batch(setting: Setting) -> None:
    model, tokenizer, rows, questions = *setting[:2], setting[2][:5], setting[3][:5]
    together = answer(model, tokenizer, rows, questions, 100_000, lambda done, total: None)
    apart = answer(model, tokenizer, rows, questions, 1, lambda done, total: None)
    longest = max(int(mask.sum()) for _, mask in rows)
    ends = {int(ids[np.flatnonzero(mask)[-1]]) for ids, mask in rows} | {tokenizer.eos_token_id}
    for (ids, mask), given, alone in zip(rows, together.given, apart.given, strict=True):
        tokens = ids[: np.flatnonzero(mask)[0]].tolist()
        prompt = len(tokens)
        while len(tokens) - prompt < longest and not (len(tokens) > prompt and tokens[-1] in ends):
            with torch.no_grad():
                tokens.append(int(model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()))
        plain = tokenizer.decode(tokens[prompt:], skip_special_tokens=True)
        assert str(given).startswith(plain)  # an answer may run on a little longer before it is cut off
        assert given == alone


def test_what_a_model_says_of_its_answers_is_passed_over_without_a_warning(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model, tokenizer, rows, questions = *setting[:2], setting[2][:3], setting[3][:3]
    plain = answer(model, tokenizer, rows, questions, 4096, lambda done, total: None)
    own = {"min_length": 90, "min_new_tokens": 40, "repetition_penalty": 9.0, "num_beams": 3, "do_sample": True}
    for name, value in own.items():
        monkeypatch.setattr(model.generation_config, name, value)
    monkeypatch.setattr(transformers_logging.get_logger("transformers"), "propagate", True)
    assert answer(model, tokenizer, rows, questions, 4096, lambda done, total: None).given == plain.given
    assert not caplog.records


def test_an_answer_is_exact_but_for_space_around_it() -> None:
    given = [" a b\n", "a  b", "A b", None]
    assert Answers(np.zeros(4), np.ones(4), ["a b"] * 4, given, given).is_exact.tolist() == [True, False, False, False]


def test_progress_ends_with_all_rows(setting: Setting) -> None:
    seen = []
    answer(*setting, 512, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (12, 12)


@pytest.mark.parametrize("name", ["rwkv", "mamba", "llama"])
def test_a_model_that_answers_otherwise_in_batches_is_asked_one_by_one(name: str, setting: Setting) -> None:
    _, tokenizer, rows, questions = setting
    settings: dict[str, dict[str, Any]] = {
        "rwkv": {"hidden_size": 32, "attention_hidden_size": 32, "intermediate_size": 48, "context_length": 512},
        "mamba": {"hidden_size": 32, "state_size": 4},
        "llama": {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48},
    }
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, vocab_size=len(tokenizer), num_hidden_layers=2, **settings[name])
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    assert batching_of(model).together == (name != "rwkv")
    some, asked = [*rows[:4], rows[0]], [*questions[:4], questions[0]]
    together, apart = (
        answer(model, tokenizer, some, asked, size, lambda done, total: None, max_new_tokens=4) for size in (4096, 1)
    )
    assert together.given == apart.given
