"""Evaluating rows: batches change nothing, references count, and every row has a value or none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from g2is.config import EvaluationConfig, ExamplesConfig, ModelConfig
from g2is.demo.skills import pool_rows, write_pool
from g2is.errors import StoreError
from g2is.evaluation.answers import answer
from g2is.evaluation.questions import Question, ends
from g2is.evaluation.rows import Evaluation, evaluate_rows
from g2is.evaluation.table import read_answers, write_answers
from g2is.examples.read import read_examples
from g2is.examples.sources import find_sources
from g2is.examples.tokenize import make_renderer
from g2is.model.batches import Row
from g2is.model.folder import find_model

MODEL = Path(__file__).resolve().parents[3] / "src/g2is/demo/model"
Setting = tuple[Any, Any, list[Row], list[Question]]  # a model, its tokenizer, rows, what they ask
SHORT = EvaluationConfig(max_new_tokens=12)


def silent(done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """The bundled model, its tokenizer, and 20 rows of different lengths."""
    path = tmp_path_factory.mktemp("rows") / "pool.jsonl"
    write_pool(path, num_rows=20)
    folder = find_model(ModelConfig(name=str(MODEL)))
    tokenizer = folder.tokenizer()
    renderer = make_renderer(tokenizer, ExamplesConfig(), folder.context_length)
    rows = [
        (item.input_ids, item.label_mask) for item in map(renderer.render, read_examples(find_sources([str(path)])))
    ]
    questions = [Question(row["messages"][1]["content"]) for row in pool_rows(20)]
    return folder.load(torch.device("cpu")), tokenizer, rows, questions


@pytest.mark.slow
def test_the_batch_size_changes_no_answer_and_no_loss_beyond_rounding(setting: Setting) -> None:
    apart, few, together = (evaluate_rows(*setting, SHORT, size, silent) for size in (1, 400, 100_000))
    for other in (few, together):
        assert other.given == apart.given
        np.testing.assert_allclose(other.losses, apart.losses, rtol=1e-5)
        for name, values in apart.metrics.items():
            np.testing.assert_array_equal(other.metrics[name], values)
    assert len(set(apart.given)) > 1


def test_references_count_for_texts_and_the_short_answer_for_numbers(setting: Setting) -> None:
    model, tokenizer, rows, questions = setting
    plain = evaluate_rows(model, tokenizer, rows[:4], questions[:4], SHORT, 4096, silent)
    assert plain.metrics["exact_match"].tolist() == [0, 0, 0, 0]
    asked = [
        replace(questions[0], others=("something else", str(plain.given[0]))),
        replace(questions[1], others=("something else",)),
        replace(questions[2], short="there is none"),
        replace(questions[3], short=f"it is {plain.given[3]} 17"),
    ]
    found = evaluate_rows(model, tokenizer, rows[:4], asked, SHORT, 4096, silent)
    assert found.given == plain.given
    assert found.metrics["exact_match"].tolist() == [1, 0, 0, 0]
    assert found.metrics["rouge_l"][0] == 1
    assert np.isnan(found.metrics["numeric_match"][2])
    assert not np.isnan(plain.metrics["numeric_match"][2])
    assert found.metrics["numeric_match"][3] == 0


def test_an_answer_that_is_to_call_tools_is_judged_by_no_metric(setting: Setting) -> None:
    model, tokenizer, rows, questions = setting
    asked = [replace(questions[0], expected="", calls=True), questions[1]]
    found = evaluate_rows(model, tokenizer, rows[:2], asked, SHORT, 4096, silent)
    assert all(np.isnan(values[0]) for values in found.metrics.values())
    assert not np.isnan([found.metrics["exact_match"][1], found.metrics["rouge_l"][1]]).any()
    assert np.isfinite(found.losses).all()


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_mean_of_losses_that_are_no_numbers_is_none(loss: float) -> None:
    summary = Evaluation(losses=np.array([1.0, loss]), num_learned=np.array([3, 1])).summary
    assert summary["means"] == {"loss": None}


def test_without_answers_there_is_the_loss_alone(setting: Setting) -> None:
    found = evaluate_rows(*setting, EvaluationConfig(generate=False), 4096, silent)
    assert found.metrics == {}
    assert list(found.given) == []
    np.testing.assert_allclose(found.losses, answer(*setting, 4096, silent, generate=False).losses)
    assert found.summary["means"].keys() == {"loss"}


def test_without_the_loss_there_are_answers_alone(setting: Setting) -> None:
    found = evaluate_rows(*setting, EvaluationConfig(metrics=("rouge_l",), max_new_tokens=3), 4096, silent)
    assert np.isnan(found.losses).all()
    assert found.metrics.keys() == found.summary["means"].keys() == {"rouge_l"}


def test_the_summary_weighs_losses_by_tokens_and_leaves_out_rows_that_a_metric_does_not_apply_to() -> None:
    found = Evaluation(
        losses=np.array([1.0, 4.0]),
        num_learned=np.array([3, 1]),
        metrics={"numeric_match": np.array([1.0, np.nan]), "rouge_l": np.array([np.nan, np.nan])},
    )
    assert found.summary == {
        "num_rows": 2,
        "num_learned": 4,
        "means": {"loss": 1.75, "numeric_match": 1.0, "rouge_l": None},
        "num_applicable": {"numeric_match": 1, "rouge_l": 0},
        "tasks": {},
    }


def test_an_answer_is_cut_off_where_it_is_told(setting: Setting) -> None:
    model, tokenizer, rows, questions = setting
    found = evaluate_rows(model, tokenizer, rows, questions, EvaluationConfig(max_new_tokens=2), 4096, silent)
    assert all(1 <= len(tokenizer(text, add_special_tokens=False)["input_ids"]) <= 3 for text in found.given)


def test_a_model_s_own_habits_of_generation_are_left_aside(setting: Setting) -> None:
    model, tokenizer, rows, questions = setting
    before = evaluate_rows(model, tokenizer, rows[:6], questions[:6], SHORT, 4096, silent).given
    habits = {"repetition_penalty": 5.0, "do_sample": True, "temperature": 3.0, "no_repeat_ngram_size": 1}
    plain = {name: getattr(model.generation_config, name) for name in habits}
    model.generation_config.update(**habits)
    try:
        assert evaluate_rows(model, tokenizer, rows[:6], questions[:6], SHORT, 4096, silent).given == before
    finally:
        model.generation_config.update(**plain)


def test_no_answer_runs_past_the_context_of_a_model_with_learned_positions(setting: Setting) -> None:
    _, tokenizer, rows, questions = setting
    longest = max(len(ids) for ids, _ in rows[:6])
    torch.manual_seed(0)
    shape = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": longest}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=1, **shape)).eval()
    found, apart = (
        evaluate_rows(model, tokenizer, rows[:6], questions[:6], EvaluationConfig(max_new_tokens=longest), size, silent)
        for size in (100_000, 1)
    )
    assert found.given == apart.given


class Words:
    """A tokenizer of numbered words, of which 1 is special, without an end-of-sequence token."""

    all_special_ids = (1,)
    eos_token_id = None

    def get_added_vocab(self) -> dict[str, int]:
        return {}

    def decode(self, tokens: list[int], **_: object) -> str:
        return " ".join(map(str, tokens))


@pytest.mark.parametrize(
    ("answers", "following", "closed", "expected"),
    [
        ([[5, 6, 9], [7, 9]], [[], []], [True, True], [9]),  # closes every answer and stands nowhere else: an end
        ([[5, 6, 9], [9, 7, 9]], [[], []], [True, True], []),
        ([[5, 6, 9], [7, 8]], [[], []], [True, True], []),  # last words that differ are words
        ([[5, 6, 9], [7, 9]], [[], []], [True, False], []),
        ([[5, 1], [9, 7, 1]], [[], [8]], [True, True], [1]),
        ([[5, 2, 9], [1, 9, 7]], [[], [1, 8]], [True, True], []),
        ([[5], [9, 7]], [[1, 4], [8]], [False, False], [1]),  # it is not learned, but follows
    ],
)
def test_only_what_can_be_nothing_else_ends_an_answer(
    answers: list[list[int]], following: list[list[int]], closed: list[bool], expected: list[int]
) -> None:
    kept, after = list(map(np.array, answers)), [np.array(of, int) for of in following]
    closings = sorted({str(tokens[-1]) for tokens, is_closed in zip(answers, closed, strict=True) if is_closed})
    assert ends(Words(), kept, after, closed, closings) == expected
    assert ends(Words(), kept, after, closed, ["more of them"]) == [token for token in expected if token == 1]


def test_progress_ends_with_all_rows(setting: Setting) -> None:
    seen = []
    evaluate_rows(*setting, SHORT, 512, lambda done, total: seen.append((done, total)))
    assert len(seen) > 1
    assert seen[-1] == (20, 20)


def test_a_table_of_answers_is_read_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "answers.parquet"
    texts: list[tuple[list[str | None], list[float]]] = [
        (["x", ""], [1.5, 2.5]),
        ([None, "x"], [1.5, 2.5]),
        ([], [np.nan, np.nan]),
    ]
    for given, losses in texts:
        metrics, cut = {"rouge_l": np.array([np.nan, 0.25])}, {"num_question_cut": 1}
        written = Evaluation(np.array(losses), np.array([3, 1]), ["a", "ß"], given, metrics, cut)
        write_answers(path, np.array([4, 7]), ["id-4", "id-7"], written)
        read = read_answers(path)
        np.testing.assert_array_equal(read.losses, written.losses)
        np.testing.assert_array_equal(read.num_learned, written.num_learned)
        np.testing.assert_array_equal(read.metrics["rouge_l"], written.metrics["rouge_l"])
        assert (read.expected, read.given, read.cut) == (written.expected, written.given, written.cut)
    path.write_bytes(b"PAR1")
    with pytest.raises(StoreError, match="Remove it and give the same command again"):
        read_answers(path)
