"""How passes are measured, how minutes are said, and how one bar goes over the stages of all cells."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from architectures import tiny_adapted_model, tiny_model

from g2is.cli.show_time import about, time_lines
from g2is.comparison.cells import Key
from g2is.config import Config, EvaluationConfig, ExecutionConfig, TuningConfig
from g2is.evaluation.questions import Question
from g2is.jobs import pace
from g2is.jobs.comparison_work import CellWork
from g2is.jobs.forecast import Forecast
from g2is.jobs.overall import Overall
from g2is.jobs.pace import Pace, pace_of_gradients, pace_of_tests, pace_of_training, sample_of
from g2is.model.all_linear import make_all_trainable
from g2is.model.parameters import trainable_parameters
from g2is.progress import Progress

Row = tuple[np.ndarray, np.ndarray]


class Clock:
    """A clock that only work moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def takes(self, seconds: float, done: list[float]) -> Callable[[], None]:
        def work() -> None:
            self.now += seconds
            done.append(seconds)

        return work


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "monotonic", lambda: clock.now)
    return clock


def rows(num: int = 40) -> list[Row]:
    rng = np.random.default_rng(3)
    return [(rng.integers(1, 97, n).astype(np.int32), np.arange(n) >= n // 2) for n in rng.integers(6, 30, num)]


def test_the_first_part_is_not_counted_and_the_limit_ends_it(clock: Clock) -> None:
    done: list[float] = []
    parts = [(10, clock.takes(5.0, done)), *((100, clock.takes(2.0, done)) for _ in range(50))]
    found = pace._measured(iter(parts), 10.0)
    assert (found.num_done, found.seconds) == (300, 6.0)  # 5 + 2 + 2 + 2 are over the limit
    assert found.time_for(1000) == pytest.approx(20.0)
    assert len(done) == 4


def test_what_is_done_before_the_limit_is_all_and_one_part_alone_counts(clock: Clock) -> None:
    done: list[float] = []
    found = pace._measured([(10, clock.takes(1.0, done)), (30, clock.takes(3.0, done))], 100.0)
    assert (found.num_done, found.seconds) == (30, 3.0)
    alone = pace._measured([(10, clock.takes(1.0, done))], 100.0)
    assert (alone.num_done, alone.seconds) == (10, 1.0)
    assert pace._measured([], 1.0).time_for(5) is None


def test_a_batch_that_would_take_minutes_is_left_out(clock: Clock) -> None:
    done: list[float] = []
    found = pace._measured([(10, clock.takes(8.0, done)), (1000, clock.takes(800.0, done))], 10.0)
    assert done == [8.0]
    assert (found.num_done, found.seconds) == (10, 8.0)


@pytest.mark.parametrize("seconds", [2.0, 20.0])  # of a limit of 5
def test_a_first_pass_that_sets_up_much_does_not_stand_for_all_tests(
    seconds: float, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []

    def evaluated(*given: Any) -> None:
        passes.append(len(given[2]))
        clock.now += seconds if len(passes) == 1 else 0.01 * passes[-1]

    monkeypatch.setattr(pace, "evaluate_rows", evaluated)
    found = pace_of_tests(torch.nn.Linear(1, 1), None, rows(40), [Question("4")] * 40, EvaluationConfig(), 512, 5.0)
    assert (passes, found.num_done) == ([1, 1, 32, 8], 40)
    assert found.time_for(80) == pytest.approx(0.8)


def test_a_first_pass_that_sets_up_much_does_not_stand_for_all_rows(clock: Clock) -> None:
    passes: list[int] = []

    def arrays_of(batch: Any, _: Any) -> dict[str, Any]:
        passes.append(len(batch))
        clock.now += 9.0 if len(passes) == 1 else 0.01 * len(batch)
        return {}

    found = pace.pace_of_rows(arrays_of, rows(40), 512, 5.0)
    assert passes[:2] == [1, 1]
    assert len(passes) > 4
    assert found.seconds < 1.0


def test_where_batches_take_minutes_the_last_of_the_run_up_counts(clock: Clock) -> None:
    done: list[float] = []
    parts = [(10, clock.takes(4.0, done)), (10, clock.takes(1.0, done)), (100, clock.takes(2.0, done))]
    found = pace._measured([*parts, (9000, clock.takes(180.0, done))], 10.0, 3)
    assert (done, found.num_done, found.seconds) == ([4.0, 1.0, 2.0], 100, 2.0)
    done.clear()
    found = pace._measured([*parts, (900, clock.takes(18.0, done))], 10.0, 3)
    assert (found.num_done, found.seconds) == (900, 18.0)
    done.clear()
    found = pace._measured([(10, clock.takes(11.0, done)), *parts], 10.0, 3)
    assert (done, found.num_done) == ([11.0], 10)


def test_too_little_memory_is_a_reason_and_other_errors_are_raised() -> None:
    def fail(error: Exception) -> Callable[[], None]:
        def work() -> None:
            raise error

        return work

    found = pace._measured([(1, fail(MemoryError()))], 1.0)
    assert found == Pace(why_not="a batch did not fit in memory")
    with pytest.raises(ValueError, match="ours"):
        pace._measured([(1, fail(ValueError("ours")))], 1.0)


def test_real_passes_are_measured_and_leave_the_model_as_it_was() -> None:
    model: Any = tiny_adapted_model("llama", "attention")
    before = {name: of.detach().clone() for name, of in trainable_parameters(model).items()}
    config = Config.model_validate(
        {
            **{"pool": "p", "targets": {"t": ["t"]}, "out": "o", "model": {"name": "m"}},
            "gradients": {"projection": {"dim": 64}},
            "execution": {"batch_tokens": 64},
        }
    )
    total = sum(len(ids) for ids, _ in rows())
    of_gradients = pace_of_gradients(model, config, rows(), 60.0)
    of_training = pace_of_training(model, TuningConfig(batch_size=16, device_batch_size=4), rows(), 60.0)
    for found in (of_gradients, of_training):
        assert found.num_done == total  # all rows; those that come before are not counted
        assert found.seconds > 0
    after = trainable_parameters(model)
    assert all(torch.equal(before[name], of) for name, of in after.items())
    assert all(of.grad is None or not of.grad.any() for of in after.values())
    assert not model.training


def test_the_sample_is_always_the_same_and_no_larger_than_it_is_to_be() -> None:
    assert sample_of(1000).tolist() == sample_of(1000).tolist()
    assert len(set(sample_of(1000).tolist())) == pace.SAMPLE_ROWS
    assert sorted(sample_of(5).tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.2, "less than a second"),
        (1.2, "about 1 second"),
        (47, "about 47 seconds"),
        (119, "about 119 seconds"),
        (121, "about 2 minutes"),
        (850, "about 14 minutes"),
        (2 * 3600 - 1, "about 120 minutes"),
        (3.42 * 3600, "about 3.4 hours"),
        (5 * 86400, "about 5 days"),
    ],
)
def test_a_time_is_said_as_people_say_it(seconds: float, told: str) -> None:
    assert about(seconds) == told


def test_the_line_of_a_dry_run_says_parts_and_what_was_measured() -> None:
    found = Forecast({"warm-up": 180.0, "gradients": 660.0}, "10 s on this machine (cpu, 2 threads)")
    assert time_lines(found, "reading") == [
        "  time       about 14 minutes (warm-up 3 minutes, gradients 11 minutes),",
        "             by passes of 10 s on this machine (cpu, 2 threads); reading come on top",
    ]
    assert time_lines(Forecast(why_not="so"), "") == ["  time       not measured: so"]
    assert ExecutionConfig().engine == "local"


class Told:
    """A reporter that keeps what is said."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    @contextmanager
    def stage(self, title: str, unit: str) -> Iterator[Progress]:
        raise AssertionError(f"{title}: a stage of a cell is no stage of the comparison")
        yield

    def notice(self, text: str) -> None:
        self.notices.append(text)


def test_one_bar_goes_over_all_cells_and_never_back() -> None:
    random, less = Key("random", "t", "1%", 0), Key("less", "t", "1%", 0)
    work = {
        random: CellWork(tune=100, tests={"t": 2}),
        less: CellWork(warm_up=100, gradients=1000, tune=100, tests={"t": 2}),
    }
    seen: list[tuple[int, int]] = []
    reporter = Told()
    overall = Overall(reporter, lambda done, total: seen.append((done, total)), work, generates=False)
    with overall.cell(random):
        with overall.stage("read pool", "bytes") as progress:
            progress(5, 10)
        with overall.stage("tune", "steps") as progress:
            progress(1, 2)
            assert seen[-1][0] == 150  # half of 100 tokens, forward and back
        with overall.stage("test on target t", "rows") as progress:
            progress(1, 2)
    overall.notice("kept")
    overall.notice("kept")
    first = seen[-1][0]
    assert first == 300 + 2 * 500
    with overall.cell(less):
        with overall.stage("warm up", "steps") as progress:
            progress(4, 4)
        assert seen[-1][0] == first + 300
        with overall.stage("gradients of pool", "tokens") as progress:
            progress(500, 1000)
            assert seen[-1][0] == first + 300 + 1500
        with overall.stage("select", "rows") as progress:
            progress(1, 10)
        assert seen[-1][0] == first + 300 + 3000
    total = 300 + 1000 + 300 + 3000 + 300 + 1000
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {of for _, of in seen} == {total}
    assert reporter.notices == ["kept"]


def test_the_bar_moves_with_each_of_several_trainings() -> None:
    key = Key("m", "t", "1%", 0)
    work = CellWork(
        warm_up=100, tunings=20, rounds=40, gradients=50, tune=10, trained={"warm_up": 2, "tunings": 2, "rounds": 4}
    )
    seen: list[tuple[int, int]] = []
    overall = Overall(Told(), lambda done, total: seen.append((done, total)), {key: work}, generates=False)
    reached = []
    with overall.cell(key):
        for title in (
            *("warm up 1 of 2, seed 0", "warm up 2 of 2, seed 7", "tune on target", "tune on target, 5 passes"),
            *("gradients of pool", *(f"tune on {num} rows taken" for num in (1, 2, 30, 1000)), "tune"),
        ):
            with overall.stage(title, "steps") as progress:
                progress(1, 2)
                reached.append(seen[-1][0])
    assert reached == [75, 225, 315, 345, 360 + 75, 510 + 15, 510 + 45, 510 + 75, 510 + 105, 630 + 15]
    assert seen[-1] == (660, 660)


def test_of_all_linear_layers_a_row_that_is_short_does_not_stand_for_its_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each row takes 3 s, whatever its length, and what is done once 100: as on a slow machine."""
    clock, seen = Clock(), list[int]()
    monkeypatch.setattr(pace, "monotonic", lambda: clock.now)

    def extract(_: Any, batch: list[Row], *__: Any) -> None:
        clock.now += 3.0 * len(batch) + (0 if seen else 100.0)
        seen.append(len(batch))

    monkeypatch.setattr("g2is.gradients.extract.Extractor.extract", extract)
    config = Config.model_validate(
        {
            **{"pool": "p", "targets": {"t": ["t"]}, "out": "o", "model": {"name": "m"}},
            "gradients": {"parameters": "all", "projection": {"dim": 64}},
            "execution": {"batch_tokens": 64},
        }
    )
    model, some = make_all_trainable(tiny_model("llama")), rows()
    total, exact = sum(len(ids) for ids, _ in some), 3.0 * len(some)
    found = pace_of_gradients(model, config, some, 1.0)  # which the row of middle length exceeds
    assert seen == [1, 1]
    assert found.time_for(total) == pytest.approx(exact, rel=0.2)
    seen.clear()
    assert pace_of_gradients(model, config, some, 1e6).time_for(total) == pytest.approx(exact)
    assert seen[:2] == [1, 1]
    assert sum(seen[2:]) == len(some)
