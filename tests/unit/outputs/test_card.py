"""The card of a selection on the hub: what it tells of licences and of this machine."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from g2is.config import Config
from g2is.outputs.card import dataset_card


def card_of(rows: list[dict[str, Any]], **settings: Any) -> str:
    given: dict[str, Any] = {"pool": ["hf:org/pool:train"], "targets": {"target": ["/data/mine/target.jsonl"]}}
    config = Config.model_validate(given | {"out": "run", "model": {"name": "org/model"}} | settings)
    return dataset_card("org/name", config, "`m`", "1", [json.dumps(row).encode() for row in rows], ["target"], None)


def head_of(card: str) -> dict[str, Any]:
    head: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return head


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"license": "Apache-2.0"}] * 2, {"license": "other", "license_name": "apache-2.0"}),
        ([{"licence": "mine alone"}], {}),
        ([{"license": "mit"}, {}], {}),
    ],
)
def test_a_licence_is_told_to_the_hub_where_all_rows_say_one_that_it_takes(
    rows: list[dict[str, Any]], told: dict[str, str]
) -> None:
    head = head_of(card_of(rows))
    assert {key: head[key] for key in ("license", "license_name") if key in head} == told


def test_a_target_goes_by_the_name_that_it_was_given() -> None:
    card = card_of([{}], targets={"GSM8K": ["a.jsonl"], "target": ["b.jsonl"]})
    assert "- **Target GSM8K**: " in card
    assert "- **Target**: " in card


def test_a_folder_of_datasets_tells_its_name_alone_and_what_rows_say_stays_text(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    card = card_of([{"source": "a|b\n---\n<img src=x>"}], pool=[f"hf:{tmp_path / 'kept'}:train"])
    assert "- **Pool**: kept:train" in card
    assert str(tmp_path) not in card
    assert "| a\\|b --- \\<img src=x\\> | 1 | not said by the pool |" in card
    assert "[hf:org/pool:train](https://huggingface.co/datasets/org/pool)" in card_of([{}])
