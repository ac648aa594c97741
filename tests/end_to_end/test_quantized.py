"""The commands with rounded weights: a store of its own, warm-up, rows, training, tests, and what --dry-run says."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from small_run import MODEL, SMALL, set_flags

import g2is as package
from g2is.api.settings import ModelSettings, TuningSettings
from g2is.store.files import read_json

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None,
    reason="bitsandbytes is not installed: pip install 'g2is[quantized]'",
)
Command = Callable[..., tuple[int, str, str]]
TUNING: TuningSettings = {"lora": {"rank": 4}, "epochs": 1, "learning_rate": 2e-3}


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize(("kind", "share"), [("nf4", 0.6), ("int8", 0.9)])
def test_select_with_rounded_weights(
    kind: str, share: float, sample: Path, finished: Path, g2is: Command, tmp_path: Path
) -> None:
    files = (sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--budget", "10%")
    command = (*files, "--out", tmp_path / "run", *set_flags({**SMALL, "model.quantization": kind}))
    code, out, err = g2is("select", *command, "--dry-run")
    assert code == 0, err
    assert f"weights are rounded ({kind}); the frozen model takes 0.0" in err + out
    code, _, err = g2is("select", *command)
    assert code == 0, err
    stored = read_json(tmp_path / "run/store/manifest.json")["fingerprint"]
    assert stored["model.quantization"] == kind
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["model"]["quantization"] == kind
    again = (*files, "--out", tmp_path / "again", "--store", tmp_path / "run/store", *set_flags(SMALL))
    code, _, err = g2is("select", *again)
    assert code == 2
    assert f"model.quantization: there {kind}, asked for (absent)" in err
    taken = [{json.loads(line)["id"] for line in (of / "selected.jsonl").open()} for of in (tmp_path / "run", finished)]
    assert len(taken[0] & taken[1]) >= share * len(taken[1])


def test_activation_checkpointing_leaves_every_stored_byte(sample: Path, tmp_path: Path) -> None:
    for anew in (False, True):
        package.select(
            pool=sample / "pool.jsonl",
            target=sample / "target.jsonl",
            model={"name": MODEL, "quantization": "nf4", "activation_checkpointing": anew},
            out=tmp_path / str(anew),
            budget="10%",
            warmup={"learning_rate": 2e-3, "lora": {"rank": 4}, "fraction": 0.3, "epochs": 1},
            gradients={"projection": {"dim": 512}},
            execution={"shard_rows": 64, "report": False},
        )
    stored = [files_of(tmp_path / of / "store/gradients") for of in ("False", "True")]
    assert len(stored[0]) > 8
    assert stored[0] == stored[1]
    ids = [(tmp_path / of / "selected.jsonl").read_bytes() for of in ("False", "True")]
    assert ids[0] == ids[1]


def test_train_evaluate_and_merge_beside_rounded_weights(sample: Path, g2is: Command, tmp_path: Path) -> None:
    tuned = tmp_path / "tuned"
    model: ModelSettings = {"name": MODEL, "quantization": "int8"}
    package.train(data=sample / "target.jsonl", model=model, out=tuned, tuning=TUNING)
    assert read_json(tuned / "manifest.json")["model.quantization"] == "int8"
    tests = {}
    for kind in ("int8", None):
        out = tmp_path / f"test {kind}"
        package.evaluate(
            test=sample / "target.jsonl",
            model={"name": MODEL, "quantization": kind},
            adapter=tuned / "adapter",
            out=out,
            evaluation={"generate": False},
        )
        tests[kind] = json.loads((out / "evaluation.json").read_text())
    losses = [of["means"]["loss"] for of in tests.values()]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert losses[0] != losses[1]
    code, said, err = g2is("merge", tuned)
    assert code == 0, err
    assert "the adapter was trained beside weights rounded to int8" in err + said
