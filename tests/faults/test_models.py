"""Model folders of strangers: a seeded sample of what `make faults` tries, and each attack works on a naive reader."""

import json
import sys
from pathlib import Path

import hostile_models
import pytest
from transformers import AutoConfig, AutoModelForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from faults import models

NAMES = [name for name, _ in hostile_models.MODELS]


def test_every_folder_has_a_name_of_its_own_and_the_harmless_are_among_them() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert set(NAMES) > hostile_models.HARMLESS


@pytest.mark.slow
def test_a_sample_of_hostile_models_is_refused_in_one_message() -> None:
    (row,) = models.run(budget_s=8.0, seed=0)
    assert row["tried"] > 2
    assert row["refused"] + row["same"] == row["tried"], row


def test_a_naive_reader_makes_as_many_parts_as_the_settings_say(tmp_path: Path) -> None:
    folder = hostile_models.make(tmp_path / "model", dict(hostile_models.MODELS)["a billion labels"])
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"num_labels": 100_000}))
    assert len(AutoConfig.from_pretrained(folder).id2label) == 100_000


def test_a_naive_reader_takes_weights_of_whole_numbers_for_others(tmp_path: Path) -> None:
    folder = hostile_models.make(tmp_path / "model", dict(hostile_models.MODELS)["weights that are whole numbers"])
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert float(model.get_input_embeddings().weight.abs().max()) > 1000


def test_a_naive_reader_takes_an_unknown_way_of_quantising_for_none(tmp_path: Path) -> None:
    folder = hostile_models.make(tmp_path / "model", dict(hostile_models.MODELS)["quantised in an unknown way"])
    assert AutoModelForCausalLM.from_pretrained(folder) is not None


def test_a_naive_reader_is_sent_to_the_hub_by_a_stray_adapter(tmp_path: Path) -> None:
    folder = hostile_models.make(tmp_path / "model", dict(hostile_models.MODELS)["a stray adapter of a hub's model"])
    # an older PEFT fails where transformers asks it for that adapter
    with pytest.raises((OSError, ImportError), match=r"adapter_model|peft"):
        AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
