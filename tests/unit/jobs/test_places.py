"""The environment of worker processes of this machine: a device each, and a share of the threads."""

from typing import Any

import pytest
import torch

from g2is.config import ExecutionConfig, ModelConfig
from g2is.engine.worker import Notice, Worker
from g2is.jobs.engines import _places


def open_nothing(device: str, threads: int, notice: Notice) -> Worker[Any]:
    raise LookupError(f"on {device}, {threads} threads, {notice}")


def test_each_process_is_told_of_its_device_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("g2is.jobs.engines.resolve_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    places = _places(ExecutionConfig(), ModelConfig(name="m"), 3, open_nothing)
    assert [environment["CUDA_VISIBLE_DEVICES"] for _, environment in places] == ["5", "7", "5"]
    for opens, _ in places:
        with pytest.raises(LookupError, match="on cuda, 1 threads"):
            opens(pytest.fail)


def test_one_whose_model_is_spread_and_one_on_a_cpu_are_told_of_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for kind, model in (("cuda", ModelConfig(name="m", device_map="auto")), ("cpu", ModelConfig(name="m"))):
        monkeypatch.setattr("g2is.jobs.engines.resolve_device", lambda name, kind=kind: torch.device(kind))
        places = _places(ExecutionConfig(), model, 2, open_nothing)
        assert all("CUDA_VISIBLE_DEVICES" not in environment for _, environment in places)
