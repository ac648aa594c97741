"""A model on test examples: a value of every metric for each, and their means."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from g2is.config import EvaluationConfig
from g2is.evaluation.answers import Answers, answer
from g2is.evaluation.metrics import MATH_VERIFY, exact_match, math_match, numeric_match, rouge_l
from g2is.evaluation.questions import Question
from g2is.machine.memory import batches_that_fit
from g2is.model.batches import Row
from g2is.progress import Progress


@dataclass(frozen=True)
class Evaluation:
    """How a model does on (T,) test rows, and on tasks of lm-evaluation-harness.

    `losses` (T,) float64 mean cross-entropy over a row's learned tokens, nats, NaN if not asked for; `num_learned` (T,)
    int64 of those tokens; `expected` the rows' own (T,) answers; `given` (T,) the model's, empty if it was not to
    answer, None for a row whose question was cut away; `metrics` by name, (T,) float64, NaN where one does not apply to
    the row; `cut` the rows whose question lost all (`num_question_cut`), or its beginning (`num_question_shortened`);
    `tasks` lm-evaluation-harness's results by task.
    """

    losses: np.ndarray
    num_learned: np.ndarray
    expected: Sequence[str] = ()
    given: Sequence[str | None] = ()
    metrics: Mapping[str, np.ndarray] = field(default_factory=dict)
    cut: Mapping[str, int] = field(default_factory=dict)
    tasks: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> dict[str, Any]:
        """Counts and means: the loss per learned token, metrics over the rows they apply to (None if to no row).

        The loss is None where that of a row is NaN or Inf.
        """
        measured = {name: values[~np.isnan(values)] for name, values in self.metrics.items()}
        means = {name: float(values.mean()) if len(values) else None for name, values in measured.items()}
        if len(self.losses) and not np.isnan(self.losses).all():
            loss = (self.losses * self.num_learned).sum() / self.num_learned.sum()
            means = {"loss": float(loss) if math.isfinite(loss) else None, **means}
        return {
            "num_rows": len(self.losses),
            "num_learned": int(self.num_learned.sum()),
            "means": means,
            "num_applicable": {name: len(values) for name, values in measured.items()},
            **self.cut,
            "tasks": dict(self.tasks),
        }


def evaluate_rows(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    questions: Sequence[Question],
    config: EvaluationConfig,
    batch_tokens: int,
    progress: Progress,
) -> Evaluation:
    """Measure what `config.metrics` asks for on each of `rows`; `progress` counts rows.

    `model` is in eval mode; `questions` has an item for each row. `batch_tokens` changes no value beyond float
    rounding. Raises ModelError if a batch does not fit in memory.
    """
    with batches_that_fit(batch_tokens):
        answers = answer(
            model,
            tokenizer,
            rows,
            questions,
            batch_tokens,
            progress,
            measure_loss="loss" in config.metrics,
            generate=config.generate,
            max_new_tokens=config.max_new_tokens,
        )
    metrics = _score(answers, questions, config) if config.generate else {}
    expected = [question.expected for question in questions]
    cut = count_cut(questions) if config.generate else {}
    return Evaluation(answers.losses, answers.num_learned, expected, answers.given, metrics, cut)


def count_cut(questions: Sequence[Question]) -> dict[str, int]:
    """How many rows ask nothing, since their question was cut away, and how many ask what is left of it."""
    return {
        "num_question_cut": sum(not question.asked for question in questions),
        "num_question_shortened": sum(question.asked and question.shortened for question in questions),
    }


def _score(answers: Answers, questions: Sequence[Question], config: EvaluationConfig) -> dict[str, np.ndarray]:
    same_number = math_match if config.numeric == MATH_VERIFY else numeric_match
    measures = {
        "exact_match": lambda given, question: exact_match(given, (question.right, *question.others)),
        "rouge_l": lambda given, question: rouge_l(given, (question.right, *question.others)),
        "numeric_match": lambda given, question: same_number(
            given, question.right if question.short is None else question.short
        ),
    }
    pairs = list(zip(answers.final, questions, strict=True))
    return {
        name: np.array(
            [math.nan if given is None or of.calls else measures[name](given, of) for given, of in pairs], np.float64
        )
        for name in config.metrics
        if name in measures
    }
