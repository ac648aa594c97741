"""A model on test examples: a value of every metric for each, and their means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from g2is.config import EvaluationConfig
from g2is.evaluation.answers import Answers, answer
from g2is.evaluation.metrics import exact_match, numeric_match, rouge_l
from g2is.machine.memory import batches_that_fit
from g2is.model.batches import Row
from g2is.progress import Progress


@dataclass(frozen=True)
class Reference:
    """What a test row says of right answers beside the expected one: `others` as right, and the short `answer`."""

    others: tuple[str, ...] = ()
    answer: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """How a model does on (T,) test rows, and on tasks of lm-evaluation-harness.

    `losses` (T,) float64 mean cross-entropy over a row's learned tokens, nats, NaN if not asked for; `num_learned` (T,)
    int64 of those tokens; `expected` and `given` (T,) texts, `given` empty if the model was not to answer; `metrics` by
    name, (T,) float64, NaN where one does not apply to the row; `tasks` lm-evaluation-harness's results by task.
    """

    losses: np.ndarray
    num_learned: np.ndarray
    expected: Sequence[str] = ()
    given: Sequence[str] = ()
    metrics: Mapping[str, np.ndarray] = field(default_factory=dict)
    tasks: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> dict[str, Any]:
        """Counts and means: the loss per learned token, metrics over the rows they apply to (None if to no row)."""
        measured = {name: values[~np.isnan(values)] for name, values in self.metrics.items()}
        means = {name: float(values.mean()) if len(values) else None for name, values in measured.items()}
        if len(self.losses) and not np.isnan(self.losses).all():
            loss = (self.losses * self.num_learned).sum() / self.num_learned.sum()
            means = {"loss": float(loss), **means}
        return {
            "num_rows": len(self.losses),
            "num_learned": int(self.num_learned.sum()),
            "means": means,
            "num_applicable": {name: len(values) for name, values in measured.items()},
            "tasks": dict(self.tasks),
        }


def evaluate_rows(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    references: Sequence[Reference] | None,
    config: EvaluationConfig,
    batch_tokens: int,
    progress: Progress,
) -> Evaluation:
    """Measure what `config.metrics` asks for on each of `rows`; `progress` counts rows.

    `model` is in eval mode; `references` has an item for each row, or is None if no row has any. `batch_tokens` changes
    no value beyond float rounding. Raises ModelError if a batch does not fit in memory.
    """
    with batches_that_fit(batch_tokens):
        answers = answer(
            model,
            tokenizer,
            rows,
            batch_tokens,
            progress,
            measure_loss="loss" in config.metrics,
            generate=config.generate,
            max_new_tokens=config.max_new_tokens,
        )
    metrics = _score(answers, references or [Reference()] * len(rows), config) if config.generate else {}
    return Evaluation(answers.losses, answers.num_learned, answers.expected, answers.given, metrics)


def _score(answers: Answers, references: Sequence[Reference], config: EvaluationConfig) -> dict[str, np.ndarray]:
    texts = list(zip(answers.given, answers.expected, references, strict=True))
    measures = {
        "exact_match": lambda given, expected, reference: exact_match(given, (expected, *reference.others)),
        "rouge_l": lambda given, expected, reference: rouge_l(given, (expected, *reference.others)),
        "numeric_match": lambda given, expected, reference: numeric_match(
            given, expected if reference.answer is None else reference.answer
        ),
    }
    return {
        name: np.array([measures[name](*of_row) for of_row in texts], np.float64)
        for name in config.metrics
        if name in measures
    }
