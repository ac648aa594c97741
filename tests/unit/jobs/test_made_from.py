"""What a comparison's cells were made from, and what of it counts when the comparison goes on."""

from pathlib import Path
from typing import Any

import pytest

from g2is.config.compare import CompareConfig
from g2is.config.io import parse
from g2is.errors import FingerprintError
from g2is.jobs.compare import made_from
from g2is.jobs.custom import Own
from g2is.jobs.made_from import as_selected, as_stored, store_identity
from g2is.jobs.work_folder import open_work
from g2is.store.fingerprint import Fingerprint

METHODS = {
    "random": {"selector": "random", "delta": 0.8, "noise": 1.0},
    "less": {"selector": "top", "score": "target", "delta": 0.8},
    "g2is": {"selector": "walk", "delta": 0.9},
}


def flat(**changes: Any) -> Fingerprint:
    """As a manifest has it; `changes` are settings of all methods, as they once were kept under each."""
    methods = {f"methods: {m}: {name}": v for m, of in METHODS.items() for name, v in {**of, **changes}.items()}
    return {"model.weights": "w", **methods}


@pytest.fixture
def config(tmp_path: Path) -> CompareConfig:
    values = {"pool": "p", "targets": "t", "tests": "t", "model": {"name": "m"}, "methods": "less,g2is"}
    found: CompareConfig = parse(CompareConfig, values | {"out": tmp_path / "out"}, "x")
    for method in METHODS:
        (tmp_path / "out/cells" / method).mkdir(parents=True)
    return found


def test_a_setting_that_a_method_passes_over_does_not_keep_a_comparison_from_going_on(config: CompareConfig) -> None:
    with open_work(config.out, config, "comparison") as work:
        work.bind(flat(delta=0.9, noise=2.0), config)  # shared by all, as the version before kept it
        assert made_from(work, config, flat())["methods: g2is: delta"] == 0.9


def test_a_setting_that_a_method_reads_does(config: CompareConfig) -> None:
    with open_work(config.out, config, "comparison") as work:
        work.bind(flat(delta=0.7), config)
        with pytest.raises(FingerprintError, match=r"methods: g2is: delta: there 0.7, asked for 0.9"):
            made_from(work, config, flat())


def test_cells_say_how_gradients_are_stored_and_which_candidates_where_it_is_not_as_ever(config: CompareConfig) -> None:
    def with_(storage: str, candidates: int | None) -> tuple[set[str], dict[str, Any]]:
        values = config.model_dump(mode="json") | {
            "gradients": {"storage": storage},
            "methods": {"g2is": {"selector": "walk", "candidates": candidates}},
        }
        found: CompareConfig = parse(CompareConfig, values, "x")
        return set(as_selected(found, "g2is", Own(), {})), as_stored(found)

    keys, stored = with_("float16", None)
    assert "methods: g2is: candidates" not in keys
    assert not [key for key in keys if "precondition" in key]
    assert stored == {}
    keys, stored = with_("sign", 50)
    assert "methods: g2is: candidates" in keys
    assert stored == {"storage": "sign"}


def test_a_store_is_known_by_what_its_rows_are_made_from() -> None:
    made_from: Fingerprint = {
        "model.weights": "a",
        "pool_sha256": "b",
        "warmup.epochs": 2,
        "tuning.epochs": 1,
        "methods: less.k": 1,
    }
    identity = store_identity(made_from, "seed-0")
    assert identity == store_identity({**made_from, "tuning.epochs": 3, "methods: other.k": 2}, "seed-0")
    assert identity != store_identity(made_from, "seed-1")
    assert identity != store_identity({**made_from, "pool_sha256": "c"}, "seed-0")
