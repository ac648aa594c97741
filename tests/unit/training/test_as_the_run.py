"""What a training says of runs whose examples were rendered otherwise than it renders them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from g2is.config import TrainConfig
from g2is.jobs.train import _rendered_otherwise
from g2is.outputs.examples import MESSAGES


@pytest.mark.parametrize(
    ("of_adapter", "asked", "is_told"),
    [("theirs", {}, True), ("ours", {}, False), (None, {}, False), ("theirs", {"chat_template": "mine"}, False)],
)
def test_a_template_of_the_run_s_adapter_is_told_of_where_the_model_s_is_another(
    of_adapter: str | None, asked: dict[str, Any], is_told: bool, tmp_path: Path
) -> None:
    run, adapter = tmp_path / "run", tmp_path / "adapter"
    run.mkdir()
    adapter.mkdir()
    (run / MESSAGES).write_text("")
    (run / "config.yaml").write_text(yaml.safe_dump({"command": "select", "warmup": {"adapter": str(adapter)}}))
    if of_adapter:
        (adapter / "chat_template.jinja").write_text(of_adapter)
    values = {"data": [str(run)], "model": {"name": "m"}, "out": "o", "examples": asked}
    told = list(_rendered_otherwise(TrainConfig.model_validate(values), SimpleNamespace(chat_template="ours")))
    assert len(told) == is_told
    assert all(f"examples.chat_template={adapter / 'chat_template.jinja'}" in text for text in told)
