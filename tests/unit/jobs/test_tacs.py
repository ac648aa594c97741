"""TACS with the bundled model: adapters tuned on the targets, and losses against a plain loop."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

import g2is.demo
from g2is.config import Config
from g2is.config.io import parse
from g2is.demo.skills import write_pool, write_target
from g2is.errors import ModelError, StoreError
from g2is.jobs.findings import Findings
from g2is.jobs.representation import ScoresOf, maker_of, read_pool_and_targets, wanted_rows
from g2is.jobs.run_folder import RunFolder
from g2is.jobs.select import _open, tokenize
from g2is.jobs.store_rows import store_rows
from g2is.jobs.verify_store import check_store
from g2is.jobs.worker import open_worker
from g2is.model.batches import Row
from g2is.progress import Progress, Silent
from g2is.representations.maker import Maker
from g2is.representations.tacs import falls

MODEL = Path(g2is.demo.__file__).parent / "model"
FROM_START = {"path_reference_epochs": 0, "path_batch_size": 32}  # L₀ is the untuned model's; a pass is a step


@dataclass
class Listener(Silent):
    """Keeps the titles of stages with their last progress, and notices."""

    stages: dict[str, tuple[int, int]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def notice(self, text: str) -> None:
        self.notices.append(text)

    @contextmanager
    def stage(self, title: str, unit: str) -> Iterator[Progress]:
        self.stages[title] = (0, 0)
        yield lambda done, total: self.stages.__setitem__(title, (done, total))


@dataclass
class Stopping(Listener):
    """Stops a tuning in its second step."""

    @contextmanager
    def stage(self, title: str, unit: str) -> Iterator[Progress]:
        def stop(done: int, total: int) -> None:
            if title == "tune on target" and done == 2 <= total:
                raise KeyboardInterrupt

        yield stop


@dataclass
class Ran:
    maker: Maker
    scores: ScoresOf
    pool: list[Row]
    targets: dict[str, list[Row]]
    listener: Listener


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_pool(tmp_path / "pool.jsonl", num_rows=20)
    write_target(tmp_path / "one.jsonl", num_rows=6)
    lines = (tmp_path / "pool.jsonl").read_text().splitlines()
    (tmp_path / "two.jsonl").write_text("\n".join(lines[:3]) + "\n")
    return tmp_path


def configuration(place: Path, *targets: str, **more: Any) -> Config:
    values = {
        "pool": place / "pool.jsonl",
        "targets": {name: place / f"{name}.jsonl" for name in targets},
        "out": place / f"run{len(list(place.glob('run*')))}",
        "store": place / "store",
        "model": {"name": str(MODEL), "dtype": "float32"},
        "selection": {"method": "tacs", "budget": "5"},
        "representation": {"path_learning_rate": 1e-2, "path_epochs": 4, **FROM_START},
        "execution": {"shard_rows": 8, "device": "cpu", "batch_tokens": 512},
        **more,
    }
    config: Config = parse(Config, values, "a test")
    return config


def make(place: Path, *targets: str, listener: Listener | None = None, **more: Any) -> Ran:
    listener = listener or Listener()
    with _open(configuration(place, *targets, **more), listener, True, measures=False) as (prepared, store, folder):
        examples = tokenize(prepared, store, folder)
        listener.stages.clear()
        maker = maker_of("tacs", prepared, folder, examples=examples)
        store_rows(maker, prepared, store, examples, folder)
        scores = read_pool_and_targets(maker, store, examples)
        assert isinstance(scores, ScoresOf)
        rows = {name: of.token_rows(np.arange(len(of))) for name, of in examples.targets.items()}
        return Ran(maker, scores, examples.pool.token_rows(np.arange(len(examples.pool))), rows, listener)


def plain_losses(rows: list[Row], adapter: Path | None = None) -> np.ndarray:
    """Each row by itself, without padding: the mean of -log p over its learned tokens."""
    model: Any = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter))
    model.eval()
    found = []
    with torch.no_grad():
        for ids, learned in rows:
            logits = model(torch.from_numpy(ids.astype(np.int64))[None]).logits[0].double()
            total = 0.0
            for at in range(1, len(ids)):
                if learned[at]:
                    total -= float(torch.log_softmax(logits[at - 1], 0)[int(ids[at])])
            found.append(total / int(learned[1:].sum()))
    return np.array(found)


def files_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
def test_scores_are_the_falls_of_a_plain_loop_with_an_adapter_of_rank_1_for_each_target(place: Path) -> None:
    ran = make(place, "one", "two")
    titles = ["tune on target one", "tune on target two", "loss rows of target", "loss rows of pool"]
    assert list(ran.listener.stages) == titles
    before = plain_losses(ran.pool)
    for of in ran.maker.tuned:
        settings = json.loads((of.adapter / "adapter_config.json").read_text())
        assert (settings["r"], settings["lora_alpha"], settings["lora_dropout"]) == (1, 4, 0.1)
        assert json.loads((of.folder / "training.json").read_text())["num_steps"] == 4
        expected = (before - plain_losses(ran.pool, of.adapter)) / before
        scores = ran.scores.targets[of.target]
        assert scores.shape == (20, len(ran.targets[of.target]))
        np.testing.assert_allclose(scores, np.repeat(expected[:, None], scores.shape[1], 1), atol=2e-5)
        assert np.abs(expected).max() > 1e-3
        rows = ran.targets[of.target]
        assert plain_losses(rows, of.adapter).mean() < plain_losses(rows).mean()
    assert ran.scores.pool_usable.all()
    assert not ran.scores.by_example


@pytest.mark.slow
def test_by_default_the_first_losses_are_taken_on_the_way_as_released(place: Path) -> None:
    ran = make(place, "one", "two", representation={"path_learning_rate": 1e-3})
    assert [(of.target, of.tuning.epochs) for of in ran.maker.tuned] == [
        ("one", 5),
        ("two", 5),
        ("one", 10),
        ("two", 10),
    ]
    titles = [f"tune on target {name}, {passes} passes" for passes in (5, 10) for name in ("one", "two")]
    assert list(ran.listener.stages) == [*titles, "loss rows of target", "loss rows of pool"]
    for first, second in zip(ran.maker.tuned[:2], ran.maker.tuned[2:], strict=True):
        num_examples = len(ran.targets[first.target])
        records = [json.loads((of.folder / "training.json").read_text()) for of in (first, second)]
        assert [of["num_steps"] for of in records] == [5 * num_examples, 10 * num_examples]  # a step an example
        # the shorter tuning is the longer one on its way
        assert records[1]["loss_by_step"][: 5 * num_examples] == records[0]["loss_by_step"]
        before, after = plain_losses(ran.pool, first.adapter), plain_losses(ran.pool, second.adapter)
        np.testing.assert_allclose(ran.scores.targets[first.target][:, 0], (before - after) / before, atol=2e-5)
    assert ran.scores.pool_usable.all()


@pytest.mark.slow
def test_what_is_stored_serves_again_and_another_target_has_its_own(place: Path) -> None:
    first = make(place, "one")
    stored = files_below(place / "store" / first.maker.folder)
    again = make(place, "one")
    assert not again.listener.stages
    assert files_below(place / "store" / first.maker.folder) == stored
    np.testing.assert_array_equal(again.scores.targets["one"], first.scores.targets["one"])
    other = make(place, "two")
    assert list(other.listener.stages) == ["tune on target", "loss rows of target", "loss rows of pool"]
    assert other.maker.folder != first.maker.folder
    shallow = make(place, "one", representation={"path_learning_rate": 1e-2, "path_epochs": 1, **FROM_START})
    assert shallow.maker.folder not in (first.maker.folder, other.maker.folder)
    assert files_below(place / "store" / first.maker.folder) == stored


def test_a_damaged_adapter_is_named_tuned_again_and_its_rows_are_made_again(place: Path) -> None:
    first = make(place, "one")
    adapter = first.maker.tuned[0].adapter / "adapter_model.safetensors"
    stored = files_below(place / "store" / first.maker.folder)
    sound = Findings(place / "store")
    check_store(place / "store", sound)
    assert not sound.damages
    assert adapter in sound.checked
    adapter.write_bytes(adapter.read_bytes()[:-1] + b"\x55")
    found = Findings(place / "store")
    check_store(place / "store", found)
    assert [damage.path for damage in found.damages] == [adapter]
    again = make(place, "one")
    assert any("adapter_model.safetensors damaged; it is tuned again" in text for text in again.listener.notices)
    assert list(again.listener.stages) == ["tune on target", "loss rows of target", "loss rows of pool"]
    np.testing.assert_array_equal(again.scores.targets["one"], first.scores.targets["one"])
    names = {path for path in stored if path.name not in ("training.json",)}
    assert {path: of for path, of in files_below(place / "store" / first.maker.folder).items() if path in names} == {
        path: stored[path] for path in names
    }


def test_where_only_the_first_passes_are_done_the_rest_is_made_to_the_same_scores(place: Path) -> None:
    on_the_way = {**FROM_START, "path_learning_rate": 1e-2, "path_epochs": 2, "path_reference_epochs": 1}
    first = make(place, "one", representation=on_the_way)
    stored = files_below(place / "store" / first.maker.folder)
    short, long = first.maker.tuned
    (long.adapter / "adapter_model.safetensors").unlink()
    again = make(place, "one", representation=on_the_way)
    titles = ["tune on target, 3 passes", "loss rows of target", "loss rows of pool"]
    assert list(again.listener.stages) == titles
    np.testing.assert_array_equal(again.scores.targets["one"], first.scores.targets["one"])
    found = files_below(place / "store" / first.maker.folder)
    assert found.keys() == stored.keys()
    of_first_passes = [path for path in stored if path.is_relative_to(short.folder)]
    assert of_first_passes
    assert all(found[path] == stored[path] for path in of_first_passes)


def test_a_worker_makes_the_same_rows_and_refuses_to_without_an_adapter(place: Path) -> None:
    config, listener = configuration(place, "one"), Listener()
    expected = make(place, "one")
    with _open(config, listener, True, measures=False) as (prepared, store, folder):
        examples = tokenize(prepared, store, folder)
        table = store.tables(expected.maker.folder, expected.maker.fingerprint)["pool"]
        stored = table.read("losses", table.positions_of(examples.pool.keys))
        for marker in (table.path / "markers").iterdir():
            marker.unlink()
        wanted = wanted_rows(expected.maker, store, examples)[1]
        jobs = [wanted.job(shard) for shard in wanted.plan(listener.notice)]
        assert len(jobs) > 1
        worker = open_worker(config.model_dump_json(), "cpu", 1, pytest.fail)
        for job in jobs:
            worker.make(job, lambda _: None)
        table = store.tables(expected.maker.folder, expected.maker.fingerprint)["pool"]
        np.testing.assert_allclose(table.read("losses", table.positions_of(examples.pool.keys)), stored, rtol=1e-5)
        table.marker_place(0).unlink()
        (expected.maker.tuned[0].adapter / "adapter_model.safetensors").unlink()
        with pytest.raises(StoreError, match=r"adapters/0/adapter: expected the adapter that was tuned on a target"):
            open_worker(config.model_dump_json(), "cpu", 1, pytest.fail).make(jobs[0], lambda _: None)
        assert isinstance(folder, RunFolder)


def test_a_tuning_that_was_stopped_goes_on_to_the_same_adapter(place: Path, tmp_path: Path) -> None:
    undisturbed = make(place, "one", store=tmp_path / "other")
    resumes = {"shard_rows": 8, "device": "cpu", "batch_tokens": 512, "resume_steps": 1}
    with pytest.raises(KeyboardInterrupt):
        make(place, "one", execution=resumes, listener=Stopping())
    folder = place / "store" / undisturbed.maker.folder
    assert (folder / "adapters/0/trainer/checkpoint-1").is_dir()
    assert not (folder / "adapters/0/adapter").exists()
    resumed = make(place, "one", execution=resumes)
    assert resumed.listener.stages["tune on target"] == (4, 4)
    adapters = [of.maker.tuned[0].adapter / "adapter_model.safetensors" for of in (resumed, undisturbed)]
    assert adapters[0].read_bytes() == adapters[1].read_bytes()
    np.testing.assert_array_equal(resumed.scores.targets["one"], undisturbed.scores.targets["one"])


def test_a_tuning_that_diverges_is_one_error_and_leaves_nothing(place: Path) -> None:
    with pytest.raises(ModelError, match="it diverged"):
        make(place, "one", representation={"path_learning_rate": 1e30, "path_epochs": 3, **FROM_START})
    assert not list((place / "store").glob("tacs-*/adapters/0/adapter"))


def test_rows_without_a_loss_are_not_usable_and_a_rising_loss_is_a_negative_score() -> None:
    pool = np.array([[2.0, 1.0, 3.0], [np.nan, 1, 1], [1, np.inf, 1], [0, 0, 0], [4, 4, 1]], np.float32)
    found = falls(pool, [np.ones((2, 3), np.float32), np.array([[1, 1, np.nan]], np.float32)])
    assert found.pool_usable.tolist() == [True, False, False, False, True]
    assert [usable.tolist() for usable in found.target_usable] == [[True, True], [False]]
    np.testing.assert_allclose(found.targets[0], np.array([[0.5, 0.5], [0, 0], [0, 0], [0, 0], [0, 0]]))
    np.testing.assert_allclose(found.targets[1], np.array([[-0.5], [0], [0], [0], [0.75]]))
