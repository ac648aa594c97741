"""`g2is plan` with `gradients.parameters: all`, beside what `--dry-run` says and what the run then does and keeps."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llamas import config_alone
from small_run import MODEL, SMALL, set_flags

from g2is.store.files import remove

Command = Callable[..., tuple[int, str, str]]
ALL = {name: of for name, of in SMALL.items() if name != "warmup.lora.rank"} | {
    "warmup.learning_rate": "5e-4",
    "gradients.parameters": "all",
    "execution.resume_steps": "1",
}
TWO_SIDED = {"gradients.projection.kind": "two-sided", "selection.form": "sgd"}


@pytest.fixture
def pool(sample: Path) -> list[Path | str]:
    return [sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--budget", "10%"]


@pytest.mark.parametrize(
    "settings",
    [{}, {"gradients.second_moments": "adam"}, {"model.dtype": "bfloat16"}, TWO_SIDED],
    ids=["factored", "adam", "bfloat16", "two-sided"],
)
def test_a_plan_is_what_a_dry_run_says_and_what_the_run_keeps(
    settings: dict[str, str],
    pool: list[Path | str],
    as_json: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flags = set_flags(ALL | settings)
    plan = as_json("plan", *pool, "--out", tmp_path / "run", *flags)
    assert not (tmp_path / "run").exists()
    dry = as_json("select", *pool, "--out", tmp_path / "run", "--dry-run", *flags)
    size, shape, steps = 2 if "model.dtype" in settings else 4, plan["shape"], plan["steps"]
    num = shape["coordinates"]
    assert (plan["parameters"], num, plan["row_length"]) == ("all", dry["num_coordinates"], dry["dim"])
    assert plan["disk"]["gradient rows"] == dry["gradient_bytes"]
    assert plan["disk"]["weights and moments"] == dry["warmup_bytes"]
    whole = 0 if settings == TWO_SIDED else num
    assert dry["num_whole"] == whole
    assert dry["flops"] == (4 * shape["parameters"] + 2 * whole) * plan["pool_tokens"]
    assert steps["gradients"]["flops"] == (4 * shape["parameters"] + 2 * whole) * steps["gradients"]["tokens"]
    assert steps["warm-up"]["flops"] == (4 * shape["parameters"] + 2 * num) * steps["warm-up"]["tokens"]
    assert all(step["seconds"] > 0 for step in steps.values())
    assert set(dry["time"]["seconds"]) == {"warm-up", "gradients"}

    # what then happens
    kept_to_go_on: list[int] = []

    def measured_remove(path: Path) -> None:
        if path.name == "trainer" and path.exists():
            assert len(list(path.iterdir())) == 2
            kept_to_go_on.append(sum(of.stat().st_size for of in path.rglob("*") if of.is_file()))
        remove(path)

    monkeypatch.setattr("g2is.warmup.train.remove", measured_remove)
    as_json("select", *pool, "--out", tmp_path / "run", *flags)
    store = tmp_path / "run/store"
    names = ("linear_weights.safetensors", "moments.safetensors")
    kept = sum((store / "warmup/epoch-1" / name).stat().st_size for name in names)
    assert plan["disk"]["weights and moments"] == pytest.approx(kept, abs=30_000)  # and the names
    while_training = 2 * (4 * num + size * (shape["parameters"] - num) + dry["warmup_bytes"] - size * num)
    assert plan["disk"]["while the warm-up trains"] == while_training
    # beside them the Trainer's own notes, of tens of kilobytes a checkpoint
    assert kept_to_go_on == [pytest.approx(while_training, abs=250_000)]
    shards = [of for of in store.glob("gradients/*/**/rows/c/*/*") if of.is_file()]
    forms = 1 if settings == TWO_SIDED else 2
    assert len(shards) == 3 * forms + 1  # 150 rows in shards of 64, and the target's 8
    assert plan["disk"]["gradient rows"] == len(shards) * 64 * plan["row_length"] * 2
    # float16, and a checksum
    assert {of.stat().st_size for of in shards} == {64 * plan["row_length"] * 2 + 4}
    ready = as_json("plan", *pool, "--out", tmp_path / "run", *flags)
    assert [ready["steps"][name]["rows"] for name in ("warm-up", "gradients")] == [0, 0]
    assert (ready["disk"], ready["peaks"], ready["fit"]) == ({"gradient rows": 0}, [], None)


def test_the_page_says_what_is_held_and_what_an_adapter_would_do(
    pool: list[Path | str], g2is: Command, as_json: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    settings = config_alone(tmp_path / "llama-70b", "70B")
    ask = (*pool[:2], "--model", settings, "--budget", "10%", "--set", "gradients.parameters=all")
    code, out, err = g2is("plan", *ask, "--devices", "8xH100")
    assert code == 0, err
    for words in (
        "of them weights and biases of linear layers, which gradients are of",
        "    trained weights  ",
        "    the same in bfloat16 ",
        "    Adafactor's moments ",
        "    projection's signs ",
        "  fits       no: ",
        "no setting of memory makes it fit on one device",
        "an adapter takes less: ask anew with --set gradients.parameters=lora",
        "not told: 8 x H100 hold no copy of the model",
        "times are those of operations alone, so the least there can be: Γ and the projection go over every weight",
    ):
        assert words in out, words
    assert "device_map" not in out
    small = config_alone(tmp_path / "llama-13b", "13B")
    found = as_json("plan", *pool[:2], "--model", small, *ask[4:], "--devices", "2xB200")
    assert (found["fit"]["fits"], found["fit"]["devices_a_copy"], found["fit"]["spread_settings"]) == (True, 1, {})
    step = found["steps"]["gradients"]
    assert step["flops"] == (4 * 13_015_864_320 + 2 * found["shape"]["coordinates"]) * step["tokens"]
    assert step["seconds"] == pytest.approx(step["flops"] / (2250e12 * 0.35 * 2))  # on both, without what Γ takes


def test_notes_are_of_what_is_asked_for(
    pool: list[Path | str], as_json: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    settings = config_alone(tmp_path / "llama-13b", "13B")
    ask = (*pool[:2], "--model", settings, "--budget", "10%", "--set", "gradients.parameters=all")
    here = as_json("plan", *ask)["notes"]
    assert len(here) == 1, "no times are told, so nothing is said of them"
    assert "there is no tokenizer" in here[0]
    two_sided = as_json("plan", *ask, "--devices", "2xB200", *set_flags(TWO_SIDED))["notes"]
    assert [of for of in two_sided if "the projection's own products are not among them" in of]
    assert not [of for of in two_sided if "Γ" in of]


@pytest.mark.parametrize("devices", [(), ("--devices", "8xB200")], ids=["here", "named"])
def test_a_checkpoint_that_bitsandbytes_rounded_is_refused_as_the_run_refuses_it(
    devices: tuple[str, ...], pool: list[Path | str], g2is: Command, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    settings = config_alone(tmp_path / "rounded", "13B")
    values = json.loads((settings / "config.json").read_text())
    rounded = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    (settings / "config.json").write_text(json.dumps(values | {"quantization_config": rounded}))
    ask = (*pool[:2], "--model", settings, "--budget", "10%", *devices)
    assert g2is("plan", *ask)[0] == 0
    code, out, err = g2is("plan", *ask, "--set", "gradients.parameters=all")
    assert (code, out) == (2, "")
    assert "expected plain weights beside gradients.parameters: all, found a checkpoint that is rounded" in err


def test_the_adapter_that_is_proposed_is_taken_by_the_next_plan(
    pool: list[Path | str], g2is: Command, tmp_path: Path
) -> None:
    settings = config_alone(tmp_path / "llama-70b", "70B")
    ask = (*pool[:2], "--model", settings, "--budget", "10%", "--devices", "8xH100")
    of_all = ("--set", "gradients.parameters=all", "--set", "gradients.second_moments=adam")
    code, out, err = g2is("plan", *ask, *of_all)
    assert code == 0, err
    assert "ask anew with --set gradients.parameters=lora, and without\n" in out
    assert " gradients.second_moments and gradients.projection.kind\n" in out
    assert g2is("plan", *ask, "--set", "gradients.parameters=lora")[0] == 0


def test_what_cannot_be_held_while_it_is_measured_is_not_loaded(
    pool: list[Path | str], as_json: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []

    def fits(num_bytes: int) -> bool:
        held.append(num_bytes)
        return False

    monkeypatch.setattr("g2is.jobs.forecast.fits_in_memory", fits)
    monkeypatch.setattr("g2is.model.folder.ModelFolder.load", lambda *_: pytest.fail("it was loaded"))
    found = as_json("plan", *pool, "--out", tmp_path / "run", *set_flags(ALL | {"gradients.second_moments": "adam"}))
    shape = found["shape"]
    assert held == [4 * shape["parameters"] + 12 * shape["coordinates"]]
    assert "of the model and its training do not fit into the memory that this machine has left" in found["time_by"]
    assert found["seconds"] is None
