"""The sample's comparison: tune on parts of the pool and test each model."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from torch import nn

from g2is.config import TuningConfig
from g2is.evaluation.answers import answer
from g2is.examples.as_trained import keep_rendering
from g2is.examples.table import ExampleTable
from g2is.jobs.prepare import Prepared
from g2is.jobs.test_rows import TestRows
from g2is.model.folder import resolve_device
from g2is.progress import Reporter
from g2is.store.files import remove, write_json
from g2is.training.tune import tune


@dataclass(frozen=True)
class Outcome:
    """How one model does on the test rows.

    `loss` per learned token (nats), `exact_match_fraction` of the answers; `num_rows` it was tuned on, and the
    `seconds` which that took.
    """

    name: str
    num_rows: int
    loss: float
    exact_match_fraction: float
    seconds: float


def compare(
    prepared: Prepared,
    pool: ExampleTable,
    test: TestRows,
    subsets: Mapping[str, np.ndarray],
    tuning: TuningConfig,
    folder: Path,
    reporter: Reporter,
) -> list[Outcome]:
    """Test the untuned model, and it tuned on each of `subsets`, positions in `pool` (n,) by name.

    The adapters are kept below `folder`, and the outcomes in its comparison.json.
    """
    execution = prepared.config.execution
    device = resolve_device(execution.device)
    tokenizer, rows = prepared.tokenizer, test.table.token_rows()
    num_tokens = execution.tokens_a_batch(device.type, generates=True)

    def outcome(name: str, model: nn.Module, num_rows: int, seconds: float) -> Outcome:
        with reporter.stage(f"test {name}", "rows") as progress:
            answers = answer(model, tokenizer, rows, test.questions, num_tokens, progress)
        return Outcome(name, num_rows, answers.loss, float(answers.is_exact.mean()), seconds)

    keep = keep_rendering(prepared.model, tokenizer, prepared.renderer, prepared.config.examples, reporter.notice)
    outcomes = [outcome("untuned", prepared.model.load(device), 0, 0.0)]
    for name, positions in subsets.items():
        place = folder / name.replace(" ", "-")
        remove(place)
        begin = time.monotonic()
        with reporter.stage(f"tune on {name}", "steps") as progress:
            rows_of = pool.token_rows(positions)
            model = tune(prepared.model, rows_of, place, tuning, execution, device, progress, keep)
        outcomes.append(outcome(name, model, len(positions), time.monotonic() - begin))
    write_json(folder / "comparison.json", {"tuning": tuning.model_dump(), "outcomes": [asdict(o) for o in outcomes]})
    return outcomes
