"""What does not fit in memory is cut in two, or said: a real limit on a real process, no error that is made up."""

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
from architectures import tiny_adapted_model
from forked import ended, start

from g2is.config import EvaluationConfig, ExecutionConfig, ModelConfig, ProjectionConfig, TrainConfig, TuningConfig
from g2is.errors import ModelError, TooLittleMemoryError
from g2is.evaluation.questions import Question
from g2is.evaluation.rows import evaluate_rows
from g2is.gradients.extract import AdapterState, Extractor
from g2is.gradients.projection import Projection
from g2is.jobs.train import train
from g2is.model.batches import Row
from g2is.model.folder import find_model
from g2is.model.parameters import trainable_parameters
from g2is.model.step_order import StepOrder
from g2is.model.trainer import train_adapter
from g2is.progress import Progress, Silent
from g2is.store.moments import Moments

MODEL = Path(__file__).resolve().parents[2] / "src/g2is/demo/model"


def make_extractor(notices: list[str], batch_tokens: int) -> Extractor:
    model = tiny_adapted_model("llama", "attention")
    parameters = {name: p.detach().clone() for name, p in trainable_parameters(model).items()}
    moments = Moments({n: p * 1e-3 for n, p in parameters.items()}, {n: p**2 for n, p in parameters.items()}, step=10)
    projection = Projection(ProjectionConfig(dim=64), {name: p.numel() for name, p in parameters.items()})
    return Extractor(model, {"epoch-1": AdapterState(parameters, moments)}, projection, batch_tokens, notices.append)


def make_rows(num_rows: int, length: int) -> list[Row]:
    rng = np.random.default_rng(0)
    return [(rng.integers(1, 97, length).astype(np.int32), np.arange(length) >= length // 2) for _ in range(num_rows)]


def allow_bytes_beyond_those_in_use(num_bytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + num_bytes,) * 2)


def extract_with_little_memory(result: Path) -> None:
    rows = make_rows(2_000, 64)
    notices: list[str] = []
    keys = np.zeros((len(rows), 16), np.uint8)
    calm = make_extractor(notices, batch_tokens=4_096).extract(rows, keys, ["less"]).arrays
    extractor = make_extractor(notices, batch_tokens=10**6)
    allow_bytes_beyond_those_in_use(200 * 2**20)
    pressed = extractor.extract(rows, keys, ["less"]).arrays
    cosines = np.einsum("rk,rk->r", *(a["epoch-1/less/rows"].astype(np.float64) for a in (calm, pressed)))
    told = {"splits": extractor.splits, "notices": notices, "lowest_cosine": cosines.min()}
    result.write_text(json.dumps(told))


def extract_a_row_too_long(result: Path) -> None:
    extractor = make_extractor([], batch_tokens=64)
    keys = np.zeros((1, 16), np.uint8)
    extractor.extract(make_rows(1, 100), keys, ["less"])
    allow_bytes_beyond_those_in_use(4 * 2**20)
    try:
        extractor.extract(make_rows(1, 60_000), keys, ["less"])
    except ModelError as error:
        result.write_text(str(error))


def tell_why_it_ends(result: Path, work: Callable[[], object], num_bytes: int) -> None:
    allow_bytes_beyond_those_in_use(num_bytes)
    try:
        work()
    except ModelError as error:
        result.write_text(str(error))


def train_with_little_memory(result: Path, folder: Path) -> None:
    tuning, execution = TuningConfig(epochs=1, batch_size=8, device_batch_size=4), ExecutionConfig()

    def train(num_rows: int, length: int, name: str) -> None:
        rows, place = make_rows(num_rows, length), folder / name
        train_adapter(tiny_adapted_model("llama", "attention"), rows, place, tuning, "linear", execution, print)

    train(8, 8, "calm")  # every library is loaded
    tell_why_it_ends(result, lambda: train(8, 8_000, "pressed"), 300 * 2**20)


class LittleMemoryAfterAStep(Silent):
    """Takes memory away while a training is under way, as others do on a machine that is shared."""

    @contextmanager
    def stage(self, title: str, unit: str) -> Iterator[Progress]:
        def progress(done: int, _: int) -> None:
            if title == "tune" and done == 1:
                allow_bytes_beyond_those_in_use(30 * 2**20)

        yield progress


def training(folder: Path) -> TrainConfig:
    """Steps of eight rows, of which the first has no long one and the others have."""
    words = [2] * 40 + [450] * 24

    def begins_short(seed: int) -> bool:
        return all(words[row] == 2 for row in list(StepOrder(words, 8, seed))[:8])

    rows = ({"id": str(i), "prompt": "a", "completion": "b " * number} for i, number in enumerate(words))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    seed = next(seed for seed in range(1_000) if begins_short(seed))
    return TrainConfig(
        data=str(folder / "rows.jsonl"),
        out=folder / "out",
        model={"name": str(MODEL)},
        tuning={"lora": {"rank": 4}, "epochs": 1, "batch_size": 8, "seed": seed},
        execution={"resume_steps": 1},
    )


def train_until_memory_is_too_little(folder: Path) -> None:
    try:
        train(training(folder), LittleMemoryAfterAStep())
    except TooLittleMemoryError as error:
        (folder / "error.txt").write_text(str(error))


def answer_with_little_memory(result: Path) -> None:
    model, config = tiny_adapted_model("llama", "attention"), EvaluationConfig(generate=False)

    def evaluate(num_rows: int) -> None:
        tokenizer = find_model(ModelConfig(name=str(MODEL))).tokenizer()
        evaluate_rows(model, tokenizer, make_rows(num_rows, 64), [Question("")] * num_rows, config, 10**6, print)

    evaluate(2)
    tell_why_it_ends(result, lambda: evaluate(10_000), 200 * 2**20)


def test_a_batch_that_does_not_fit_is_cut_until_it_does_with_the_same_rows_and_a_record(tmp_path: Path) -> None:
    assert ended(start(extract_with_little_memory, tmp_path / "result.json")) == 0
    told = json.loads((tmp_path / "result.json").read_text())
    assert told["splits"][0] == {"rows": 2_000, "tokens": 128_000}
    assert all(later["tokens"] <= earlier["tokens"] / 2 for earlier, later in pairwise(told["splits"]))
    assert len(told["notices"]) == len(told["splits"])
    assert "2000 rows, 128000 tokens padded, did not fit in memory" in told["notices"][0]
    assert told["lowest_cosine"] > 1 - 2e-3  # of float16 rows


def test_an_example_that_does_not_fit_alone_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    assert ended(start(extract_a_row_too_long, tmp_path / "error.txt")) == 0
    text = (tmp_path / "error.txt").read_text()
    assert "one example of 60000 tokens" in text
    assert "Lower examples.max_length" in text


def test_a_training_step_that_does_not_fit_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    assert ended(start(train_with_little_memory, tmp_path / "error.txt", tmp_path)) == 0
    text = (tmp_path / "error.txt").read_text()
    assert "4 examples of up to 8000 tokens in a training step" in text
    assert "Lower tuning.device_batch_size" in text


def test_a_training_that_runs_out_of_memory_later_is_kept_and_goes_on_where_there_is_more(tmp_path: Path) -> None:
    assert ended(start(train_until_memory_is_too_little, tmp_path)) == 0
    text = (tmp_path / "error.txt").read_text()
    assert "checkpoint-1 is kept: where there is more memory, the same command goes on from it" in text
    tuned = train(training(tmp_path))
    assert tuned.record["num_steps"] == 8


def test_a_batch_of_an_evaluation_that_does_not_fit_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    assert ended(start(answer_with_little_memory, tmp_path / "error.txt")) == 0
    text = (tmp_path / "error.txt").read_text()
    assert "a batch of up to 1000000 tokens" in text
    assert "Lower execution.batch_tokens" in text
