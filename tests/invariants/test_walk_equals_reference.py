"""The matrix-free walk is the plain one: same rows, order and roles over random cases and combinations of options."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from reference_walk import ReferenceWalk

from g2is.config import SelectionConfig
from g2is.errors import SelectionError
from g2is.selection.core import CoreKnowledge, core_knowledge
from g2is.selection.record import Walk
from g2is.selection.similarity import UnitRows
from g2is.selection.walk import TargetShare, walk, walk_targets

NUM_CASES = 200
BATCH = 20
SLOW, LONG = ((pytest.mark.slow,), (pytest.mark.slow, pytest.mark.long))
BATCHES = [0, *(pytest.param(batch, marks=SLOW if batch < 4 else LONG) for batch in range(1, NUM_CASES // BATCH))]


@dataclass
class Case:
    pool: Any  # (N, k) numpy array, or a torch tensor where the dtype is bfloat16
    targets: list[TargetShare]
    settings: SelectionConfig
    graph: np.ndarray | None

    @property
    def values(self) -> np.ndarray:
        return self.pool.double().numpy() if isinstance(self.pool, torch.Tensor) else self.pool.astype(np.float64)

    def __str__(self) -> str:
        return f"pool {tuple(self.pool.shape)} {self.pool.dtype}, graph {self.graph is not None}, {self.settings!r}"


def random_settings(rng: np.random.Generator) -> SelectionConfig:
    def one(*choices: Any) -> Any:
        return choices[rng.integers(len(choices))]

    return SelectionConfig(
        method=one("g2is", "official"),
        core=one("pca", "svd", "svd", "mean"),
        core_fraction=one(0.3, 0.5, 0.9, 1.0),
        orient=one(True, False),
        normalize_targets=one(True, False),
        exact_budget=one(True, False),
        delta=one(0.0, 0.5, 0.8, 0.97, 1.0),
        conflict_tolerance=one(0.0, 0.0, 0.05, 0.3, 1.0, "noise"),
        consistency_sign=one("absolute", "signed"),
        consistency_reference=one("previous", "anchor", "best"),
        duplicate_threshold=one(None, 0.7, 0.98, 1.0),
        cross_component_conflicts=one(True, False),
        keep_zero_rows=one(True, False),
        take_opposed=one(True, False),
    )


def random_pool(rng: np.random.Generator, num_rows: int, k: int) -> np.ndarray:
    """Clusters round a shared direction, with copies, scaled copies, opposites, zero rows and orthogonal rows."""
    centres = rng.normal(size=(rng.integers(1, 8), k)) + rng.choice([0.0, 0.5]) * rng.normal(size=k)
    pool = centres[rng.integers(len(centres), size=num_rows)] + rng.choice([0.1, 1.0]) * rng.normal(size=(num_rows, k))
    pool *= np.exp(rng.normal(size=(num_rows, 1)))
    if rng.random() < 0.3:
        pool = np.round(pool)  # small whole numbers: many exact ties and exact zeros
    for change in (1.0, 2.0, -1.0, 3.0):
        if rng.random() < 0.4 and num_rows > 2:
            count = rng.integers(1, num_rows // 2 + 1)
            pool[rng.integers(num_rows, size=count)] = change * pool[rng.integers(num_rows, size=count)]
    if rng.random() < 0.3:
        pool[rng.integers(num_rows, size=3)] = 0
    if rng.random() < 0.2:
        pool *= rng.random(pool.shape) < 0.15  # sparse: most pairs exactly orthogonal, some rows zero
    return np.clip(pool, -1000, 1000)


def random_case(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    num_rows, k = int(rng.integers(1, 151)), int(rng.integers(1, 41))
    settings = random_settings(rng)
    islands = rng.random() < 0.3 and k >= 6
    if islands:
        settings = settings.model_copy(update={"exact_budget": True, "conflict_tolerance": 0.0})
    pool: Any = island_pool(rng, num_rows, k) if islands else random_pool(rng, num_rows, k)
    dtype = ("float16", "float32", "float64", "bfloat16")[seed % 4]
    pool = torch.from_numpy(pool).bfloat16() if dtype == "bfloat16" else pool.astype(dtype)
    graph = None
    if rng.random() < 0.4:
        values = pool.double().numpy() if isinstance(pool, torch.Tensor) else pool.astype(np.float64)
        units = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-10)
        graph = np.argsort(-(units @ units.T), axis=1, kind="stable")[:, : rng.integers(1, 13)]
    budget = int(rng.integers(1, max(2, round(num_rows * rng.choice([0.1, 0.5, 1.0])) + 1)))
    num_targets = int(rng.choice([1, 1, 2, 3]))
    targets = []
    for index in range(num_targets):
        share = budget // num_targets + (index < budget % num_targets)
        core = island_core(rng, k) if islands else random_core(rng, k, settings)
        examples = None
        if rng.random() < 0.7:  # few, so that some rows oppose them all
            examples = rng.normal(size=(int(rng.integers(1, 4)), k)) + 0.3 * core.components[0]
        targets.append(TargetShare(f"t{index}", core, share, examples))
    return Case(pool, targets, settings, graph)


def island_pool(rng: np.random.Generator, num_rows: int, k: int) -> np.ndarray:
    """Six clusters of unequal size, each in conflict with the others: some components run dry, others could go on."""
    centres = 3 * (np.eye(6, k) - np.r_[np.full(6, 1 / 6), np.zeros(k - 6)])
    return centres[rng.choice(6, size=num_rows, p=[0.4, 0.3, 0.12, 0.1, 0.05, 0.03])] + 0.1 * rng.normal(
        size=(num_rows, k)
    )


def island_core(rng: np.random.Generator, k: int) -> CoreKnowledge:
    components = np.eye(6, k)[rng.permutation(6)[: rng.integers(2, 6)]]
    return CoreKnowledge(components, rng.random(len(components)), np.zeros(len(components)), 6, 0)


def random_core(rng: np.random.Generator, k: int, settings: SelectionConfig) -> CoreKnowledge:
    rows = rng.normal(size=(int(rng.integers(2, 12)), k)) * rng.normal(size=k) + rng.choice([0.0, 0.5])
    try:
        return core_knowledge(rows, settings)
    except SelectionError:  # one dimension, normalised: rows may be equal, or cancel
        return CoreKnowledge(np.eye(k)[:1], np.ones(1), np.zeros(1), 1, 0)


def select(case: Case, **changes: Any) -> Walk:
    return walk_targets(changes.get("pool", case.pool), case.targets, case.settings, case.graph)


def reference(case: Case, grain: float = 1e-12) -> ReferenceWalk:
    plain = ReferenceWalk(case.values, case.settings, case.graph, grain)
    run_plain(plain, case)
    return plain


def run_plain(plain: ReferenceWalk, case: Case) -> None:
    nothing = np.zeros((1, case.pool.shape[1]))  # opposed by no row
    plain.run(
        [(t.name, t.core.components, t.core.variance.tolist(), t.budget) for t in case.targets],
        [t.core.mean_alignment for t in case.targets],
        [nothing if t.examples is None else t.examples for t in case.targets],
    )


def taken(result: Walk) -> list[tuple[int, str, str | None, int | None]]:
    return [(step.row, step.role, step.target, step.component) for step in result.steps]


def every_screen(pool: Any) -> dict[str, UnitRows]:
    found = {
        "stored": UnitRows(pool),
        "8-bit": UnitRows(pool, quantise=True),
        "device": UnitRows(pool, device="cpu"),
        "without foresight": UnitRows(pool),
    }
    found["without foresight"].most_ahead = 0
    return found


@pytest.mark.parametrize("batch", BATCHES)
def test_rows_order_and_roles_are_those_of_the_plain_walk_by_every_screen(batch: int) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        case = random_case(seed)
        plain = reference(case)
        for name, rows in every_screen(case.pool).items():
            result = select(case, pool=rows)
            assert taken(result) == plain.selected, f"{name}, seed {seed}: {case}"
            assert (result.ran_out is not None) == plain.ran_out, f"{name}, seed {seed}: {result.ran_out}"


@pytest.mark.slow
def test_without_ties_the_plain_walk_needs_no_grain() -> None:
    for seed in range(10):
        case = random_case(seed)
        rng = np.random.default_rng(seed)
        case.pool = rng.normal(size=case.pool.shape) + 0.3
        case.settings = case.settings.model_copy(update={"delta": 0.8})
        assert taken(select(case)) == reference(case, grain=0.0).selected, f"seed {seed}: {case}"


@pytest.mark.slow
def test_wide_rows_are_walked_as_the_plain_walk_does() -> None:
    """k beyond one float32 sum, and near-orthogonal rows, so that many cosines lie near the conflict threshold."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        k = 5000
        settings = random_settings(rng).model_copy(update={"conflict_tolerance": 0.0, "delta": 0.8})
        pool = (rng.normal(size=(120, k)) + 0.1 * rng.normal(size=k)).astype(np.float16)
        core = core_knowledge(rng.normal(size=(6, k)) + 0.1, settings)
        case = Case(pool, [TargetShare("t", core, 40)], settings, None)
        plain = reference(case)
        for name, rows in every_screen(case.pool).items():
            assert taken(select(case, pool=rows)) == plain.selected, f"{name}, seed {seed}: {case}"


@pytest.mark.slow
def test_the_cases_reach_every_role_and_both_endings() -> None:
    """Guards the test above: cases that never fall back, refill or run out would prove nothing about it."""
    results = [select(random_case(seed)) for seed in range(60)]
    roles = {step.role for result in results for step in result.steps}
    assert roles == {"anchor", "step", "fallback", "refill"}
    assert {result.ran_out is None for result in results} == {True, False}
    assert any(component.num_trails > 1 for result in results for component in result.components)
    assert any(result.num_duplicates for result in results)
    assert sum(goes_on_in_a_later_deal(result) for result in results) >= 3


def goes_on_in_a_later_deal(result: Walk) -> bool:
    of_trail: dict[int | None, set[bool]] = {}
    for step in result.steps:
        of_trail.setdefault(step.trail, set()).add(step.role == "refill")
    return any(len(kinds) == 2 for kinds in of_trail.values())


@pytest.mark.slow
def test_a_walk_keeps_its_own_rules() -> None:
    for seed in range(60):
        case = random_case(seed)
        result = select(case)
        rows = result.rows.tolist()
        budget = sum(target.budget for target in case.targets)
        assert len(set(rows)) == len(rows) <= budget
        assert [step.order for step in result.steps] == list(range(len(rows)))
        if case.settings.exact_budget:
            assert len(rows) == budget or result.ran_out is not None
        values = case.values
        if not case.settings.keep_zero_rows:
            assert np.abs(values[rows]).max(axis=1, initial=0).all(), "a zero row was taken"
        check_trails(result, case)


def check_trails(result: Walk, case: Case) -> None:
    """(a) and (b) of method.md step 7 for every row that does not begin its trail."""
    values, settings = case.values, case.settings
    units = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-10)
    cores: dict[str | None, np.ndarray] = {target.name: target.core.components for target in case.targets}
    for trail in {step.trail for step in result.steps}:
        steps = [step for step in result.steps if step.trail == trail]
        assert len({(step.target, step.component) for step in steps}) == 1
        direction = cores[steps[0].target][steps[0].component]
        assert math.isnan(steps[0].similarity_to_previous)
        consistencies: list[float] = []
        for place, step in enumerate(steps):
            members = [earlier.row for earlier in steps[: place + 1]]
            total = units[members].sum(axis=0)
            length = np.linalg.norm(total)
            assert step.consistency == pytest.approx(total @ direction / length if length > 1e-10 else 0, abs=1e-9)
            assert step.similarity_to_core == pytest.approx(units[step.row] @ direction, abs=1e-12)
            if place:
                assert step.similarity_to_previous == pytest.approx(units[step.row] @ units[members[-2]], abs=1e-12)
                assert (units[members[:-1]] @ units[step.row]).min() >= -result.conflict_tolerance - 1e-11
                signed = settings.consistency_sign == "signed"
                held = [value if signed else abs(value) for value in (*consistencies, step.consistency)]
                bar = {"previous": held[-2], "anchor": held[0], "best": max(held[:-1])}[settings.consistency_reference]
                assert held[-1] >= settings.delta * bar - 1e-11
            consistencies.append(step.consistency)


@pytest.mark.slow
def test_block_size_changes_nothing_not_even_a_digit() -> None:
    for seed in range(10):
        case = random_case(seed)
        whole = select(case)
        for block_values in (1, 7 * case.pool.shape[1]):
            assert select(case, pool=UnitRows(case.pool, block_values)) == whole, f"seed {seed}: {case}"


@pytest.mark.slow
def test_threads_change_nothing() -> None:
    rng = np.random.default_rng(5)
    pool = rng.normal(size=(3000, 96)).astype(np.float16)
    settings = SelectionConfig(method="g2is", budget="60")
    core = core_knowledge(rng.normal(size=(9, 96)) + 0.2, settings)
    before = torch.get_num_threads()
    walks = []
    try:
        for num_threads in (1, 3):
            torch.set_num_threads(num_threads)
            walks.append(walk(UnitRows(pool, block_values=96 * 16), core, 60, settings))
            assert torch.get_num_threads() == num_threads, "the walk must leave torch's threads as it found them"
    finally:
        torch.set_num_threads(before)
    assert walks[0] == walks[1]


@pytest.mark.slow
def test_scaling_rows_by_powers_of_two_changes_nothing() -> None:
    for seed in range(25):
        case = random_case(seed)
        case.pool = case.values.astype(np.float32)
        scales = 2.0 ** np.random.default_rng(seed).integers(-20, 20, size=(len(case.pool), 1))
        scaled = (case.pool * scales).astype(np.float32)
        assert select(case, pool=scaled) == select(case), f"seed {seed}: {case}"


@pytest.mark.slow
def test_permuting_the_pool_permutes_the_selection_where_nothing_ties() -> None:
    for seed in range(15):
        case = random_case(seed)
        rng = np.random.default_rng(seed)
        case.graph = None
        case.pool = rng.normal(size=case.pool.shape) + 0.2
        if case.pool.shape[1] == 1:
            continue  # all rows of one sign tie
        order = rng.permutation(len(case.pool))
        permuted = select(case, pool=case.pool[order])
        assert order[permuted.rows].tolist() == select(case).rows.tolist(), f"seed {seed}: {case}"


class CoarseRows(UnitRows):
    """Screens as badly as `margin` allows: every screened cosine is off by up to 0.05."""

    def __init__(self, pool: Any, seed: int) -> None:
        super().__init__(pool)
        self.margin += 0.05
        self._rng = np.random.default_rng(seed)

    def cosines(self, direction: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        screened = super().cosines(direction, rows)
        return screened + self._rng.uniform(-0.05, 0.05, size=screened.shape).astype(np.float32)


@pytest.mark.slow
def test_the_screen_decides_nothing_that_its_margin_leaves_open() -> None:
    for seed in range(100):
        case = random_case(seed)
        coarse, fine = select(case, pool=CoarseRows(case.pool, seed)), select(case)
        # What the screen counts differs: near-copies noticed, conflicts told for sure, cosines within the noise.
        assert coarse.steps == fine.steps, f"seed {seed}: {case}"
        assert (coarse.ran_out is None) == (fine.ran_out is None)
