"""Which cells of a comparison look at the same rows."""

from pathlib import Path

from g2is.comparison.cells import Key
from g2is.config.compare import CompareConfig
from g2is.config.io import parse
from g2is.jobs.trials import Represented, represented, run_config


def of_cell(method: str, target: str, tmp_path: Path) -> Represented:
    values = {
        "pool": "pool.jsonl",
        "targets": {"a": "a.jsonl", "b": "b.jsonl"},
        "tests": {"a": "c.jsonl", "b": "d.jsonl"},
        "model": {"name": "model"},
        "out": tmp_path,
        "methods": [method],
        "budgets": ["1%"],
    }
    config: CompareConfig = parse(CompareConfig, values, "here")
    key = Key(method, target, "1%", 0)
    return represented(run_config(config, key, [target]), key)


def test_rows_that_a_target_s_own_adapter_makes_are_that_target_s_alone(tmp_path: Path) -> None:
    """So one whose tuning diverges keeps no other from being tried."""
    assert of_cell("tacs", "a", tmp_path) != of_cell("tacs", "b", tmp_path)
    for method in ("less", "rds+", "bm25", "random"):
        assert of_cell(method, "a", tmp_path) == of_cell(method, "b", tmp_path)
    assert of_cell("less", "a", tmp_path) == of_cell("less-rr", "a", tmp_path) != of_cell("rds+", "a", tmp_path)
