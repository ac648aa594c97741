"""How fast this machine goes through tokens: real passes over rows of the very files, for ten seconds at most.

A pass over a batch that `--dry-run` measures is the one that the command makes: the same model and adapter, the same
batches of rows as long as the files' own. The shortest row comes before, twice, and one of middle length: they set up
what batches find, and tell whether one would take minutes. Where it would, the last of them is what is measured: work
that is done once a row weighs too much in the shortest.

Of all linear layers most of the work may be done once a row: Γ and the projection go over every weight. So half of a
part's tokens are counted by its rows, each as long as the mean: of a part with rows like all, that is its tokens; of
the shortest row alone, it is off by two at most. What is done once, before all, is not timed there.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import nn

from g2is.config import Config, EvaluationConfig, TuningConfig, WarmupConfig
from g2is.errors import tells_of_memory
from g2is.evaluation.questions import Question
from g2is.evaluation.rows import evaluate_rows
from g2is.gradients.extract import AdapterState, Extractor, projection_of
from g2is.model.batches import Row, pad_batch, plan_batches
from g2is.model.devices import frozen_dtype
from g2is.model.losses import token_losses
from g2is.model.parameters import trainable_parameters
from g2is.representations.maker import ArraysOf
from g2is.store.moments import Factored, Moments

SECONDS = 10.0  # that all measurements of a command take, at most
SAMPLE_ROWS = 256  # that are looked at, at most
_TOO_LONG = 6  # times the limit: a part that is to take longer is left out
_RUN_UP = 3  # parts before the first batch


@dataclass(frozen=True)
class Pace:
    """Tokens that were gone through, and the seconds that this took; of tests, rows in place of tokens.

    None were where `why_not` says why.
    """

    num_done: float = 0
    seconds: float = 0.0
    why_not: str = ""

    def time_for(self, num: float) -> float | None:
        """Seconds that so many would take; None if nothing could be measured."""
        return None if not self.num_done else num * self.seconds / self.num_done


def pace_of_gradients(model: Any, config: Config, rows: Sequence[Row], limit: float) -> Pace:
    """Tokens through forward, backward and projection, of an adapter or linear layers, which stay as they are."""
    parameters = trainable_parameters(model)
    device = next(model.parameters()).device
    state = AdapterState({name: of.detach() for name, of in parameters.items()}, _no_moments(parameters, config))
    batch_tokens = config.execution.tokens_a_batch(device.type)
    extractor = Extractor(
        *(
            model,
            {"now": state},
            projection_of(config.gradients.projection, parameters),
            batch_tokens,
            lambda _: None,
        ),
        most_bytes=config.execution.bytes_of_gradients(device.type),
    )

    def work(batch: Sequence[Row]) -> Callable[[], None]:
        def run() -> None:
            extractor.extract(batch, np.zeros((len(batch), 16), np.uint8), config.gradients.forms)

        return run

    def before() -> None:
        """Whether batches mix is asked once, and Γ compiled on a GPU for one row and for several: longer than all that
        is measured.
        """
        for few in (1, 2) if device.type == "cuda" or config.gradients.parameters == "lora" else (1,):
            work(sorted(rows, key=lambda row: len(row[0]))[:few])()

    if config.gradients.parameters == "lora":
        return _measured_over(rows, batch_tokens, work, limit, before)
    mean = _tokens(rows) / len(rows)
    middle = _run_up(rows)[-1]
    parts = (
        ((len(batch) * mean + _tokens(batch)) / 2, work(batch)) for batch in (middle, *_batches(rows, batch_tokens))
    )
    return _measured(parts, limit, 1, before=before)


def _no_moments(parameters: Mapping[str, nn.Parameter], config: Config) -> Moments:
    """Moments of 0 as the warm-up would keep them, in float32 on the parameters' device."""
    if not config.gradients.is_factored:
        zeros = {name: torch.zeros_like(of, dtype=torch.float32) for name, of in parameters.items()}
        return Moments(zeros, dict(zeros), 1)
    parts = {name: [torch.zeros(size, device=of.device) for size in of.shape] for name, of in parameters.items()}
    factored = {name: Factored(*of) for name, of in parts.items() if len(of) > 1}
    return Moments({}, {name: of[0] for name, of in parts.items() if len(of) == 1}, 1, factored=factored)


def pace_of_rows(arrays_of: ArraysOf, rows: Sequence[Row], batch_tokens: int, limit: float) -> Pace:
    """Tokens through what makes the rows of another representation."""

    def work(batch: Sequence[Row]) -> Callable[[], None]:
        def run() -> None:
            arrays_of(batch, lambda _: None)

        return run

    # a library's first pass takes as long as hundreds of others, and would be taken for all where time is short
    return _measured_over(rows, batch_tokens, work, limit, before=work(_run_up(rows)[0]))


def pace_of_training(
    model: Any, config: WarmupConfig | TuningConfig, rows: Sequence[Row], limit: float, *, factored: bool = False
) -> Pace:
    """Tokens through optimizer steps: forward and backward of each of a step's batches, then AdamW or Adafactor."""
    from transformers import Adafactor  # whose file brings half of transformers along

    device = next(model.parameters()).device
    trained = list(trainable_parameters(model).values())
    optimizer: torch.optim.Optimizer = (
        Adafactor(trained, lr=0.0, scale_parameter=False, relative_step=False)
        if factored
        else torch.optim.AdamW(trained, lr=0.0)
    )
    # as the Trainer is told (`model/trainer.py`)
    mixed = frozen_dtype(model) == torch.bfloat16 or (isinstance(config, TuningConfig) and config.bf16)

    def parts() -> Iterator[tuple[int, Callable[[], None]]]:
        yield from ((_tokens(batch), work(batch, False)) for batch in _run_up(rows))
        for low in range(0, len(rows), config.batch_size):
            step = sorted(rows[low : low + config.batch_size], key=lambda row: -len(row[0]))
            size = config.device_batch_size
            for at in range(0, len(step), size):
                yield _tokens(step[at : at + size]), work(step[at : at + size], at + size >= len(step))

    def work(batch: Sequence[Row], is_last: bool) -> Callable[[], None]:
        def run() -> None:
            with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                loss = token_losses(model, pad_batch(batch, device)).sum()
            loss.backward()
            if is_last:
                optimizer.step()
                optimizer.zero_grad()
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        return run

    model.train()
    try:
        return _measured(parts(), limit, _RUN_UP)
    finally:
        optimizer.zero_grad()
        model.eval()


def pace_of_tests(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    questions: Sequence[Question],
    config: EvaluationConfig,
    batch_tokens: int,
    limit: float,
) -> Pace:
    """Test rows, by their number, through loss and answers."""
    size = 32  # so that answers are written in batches, as they will be

    def work(some: slice) -> Callable[[], None]:
        def run() -> None:
            evaluate_rows(model.eval(), tokenizer, rows[some], questions[some], config, batch_tokens, lambda *_: None)

        return run

    one = slice(0, 1)  # twice: the first pass of all sets up much, which may take longer than the limit
    cut = [one, *(slice(at, at + size) for at in range(0, len(rows), size))]
    return _measured(((len(rows[some]), work(some)) for some in cut), limit, 1, work(one))


def sample_of(num_rows: int, seed: int = 0) -> np.ndarray:
    """Which of so many rows are looked at, in a random order that is always the same."""
    return np.random.default_rng(seed).permutation(num_rows)[:SAMPLE_ROWS]


def _measured_over(
    rows: Sequence[Row],
    batch_tokens: int,
    work: Callable[[Sequence[Row]], Callable[[], None]],
    limit: float,
    before: Callable[[], None] | None = None,
) -> Pace:
    """The pace of `work` on batches of `rows`, after what is done `before` and its run-up."""
    batches = [*_run_up(rows), *_batches(rows, batch_tokens)]
    return _measured(((_tokens(batch), work(batch)) for batch in batches), limit, _RUN_UP, before)


def _run_up(rows: Sequence[Row]) -> list[list[Row]]:
    """What comes before the batches."""
    by_length = sorted(rows, key=lambda row: len(row[0]))
    return [by_length[:1], by_length[:1], by_length[len(rows) // 2 :][:1]]


def _batches(rows: Sequence[Row], batch_tokens: int) -> Iterator[list[Row]]:
    """Batches as a shard of these rows is cut into, in a random order: of any length."""
    planned = plan_batches(np.array([len(ids) for ids, _ in rows]), batch_tokens)
    for at in np.random.default_rng(0).permutation(len(planned)):
        yield [rows[row] for row in planned[at]]


def _tokens(rows: Iterable[Row]) -> int:
    return sum(len(ids) for ids, _ in rows)


def _measured(
    parts: Iterable[tuple[float, Callable[[], None]]],
    limit: float,
    run_up: int = 1,
    before: Callable[[], None] | None = None,
) -> Pace:
    """The pace of the `parts`, of which each tells how much it does, until `limit` seconds are over or all are done.

    The first `run_up` are not counted, unless nothing follows: then the last that was done is all that is known. What
    is done `before` them is not timed at all.
    """
    done, seconds, last = 0.0, 0.0, Pace()
    try:
        if before is not None:
            before()
        begin = monotonic()
        for number, (num, work) in enumerate(parts):
            if (last.time_for(num) or 0.0) > _TOO_LONG * limit:
                break
            since = monotonic()
            work()
            last = Pace(num, monotonic() - since)
            if number >= run_up:
                done, seconds = done + num, seconds + last.seconds
            if monotonic() - begin > limit:
                break
    except Exception as error:
        if not tells_of_memory(error):
            raise
        return Pace(why_not="a batch did not fit in memory")
    return Pace(done, seconds) if done else last
