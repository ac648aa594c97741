"""The commands as Python functions: what they return, any setting, and the command line's messages."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from peft import PeftModel
from small_run import MODEL
from transformers import AutoModelForCausalLM

import g2is as package
from g2is.api.settings import ModelSettings, TuningSettings
from g2is.errors import ConfigError, InputError, MatrixError
from g2is.progress import Progress
from g2is.selection.record import Picks

Command = Callable[..., tuple[int, str, str]]
TUNING: TuningSettings = {"lora": {"rank": 4}, "epochs": 1, "learning_rate": 2e-3}


class Noted:
    """A reporter that keeps the titles of the stages."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    @contextmanager
    def stage(self, title: str, unit: str) -> Iterator[Progress]:
        self.stages.append(title)
        yield lambda done, total: None

    def notice(self, text: str) -> None:
        pass


@pytest.fixture
def matrices(tmp_path: Path) -> dict[str, Any]:
    """A pool of 40 rows and a target of 5."""
    rng = np.random.default_rng(3)
    files = {"pool_gradients": tmp_path / "pool.npy", "target_gradients": tmp_path / "target.npy"}
    for path, rows in zip(files.values(), (40, 5), strict=True):
        np.save(path, rng.normal(size=(rows, 8)).astype(np.float32))
    return files


def test_a_model_is_tuned_on_a_run_and_tested_with_the_adapter(finished: Path, sample: Path, tmp_path: Path) -> None:
    tuned = package.train(data=finished, model=MODEL, out=tmp_path / "tuned", tuning=TUNING)
    assert tuned.adapter == tmp_path / "tuned/adapter"
    assert tuned.record["num_examples"] == 15
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(MODEL), str(tuned.adapter))
    reporter = Noted()
    again = package.train(data=[finished], model=MODEL, out=tmp_path / "tuned", tuning=TUNING, reporter=reporter)
    assert again == tuned
    assert "check model" in reporter.stages
    assert "tune" not in reporter.stages
    found = {
        name: package.evaluate(
            test=sample / "target.jsonl",
            model=MODEL,
            adapter=adapter,
            out=tmp_path / name,
            evaluation={"generate": False},
        )
        for name, adapter in (("tuned-test", tmp_path / "tuned"), ("untuned-test", None))
    }
    assert [len(evaluation.losses) for evaluation in found.values()] == [8, 8]
    losses = {name: evaluation.summary["means"]["loss"] for name, evaluation in found.items()}
    assert losses["tuned-test"] != losses["untuned-test"]
    written = json.loads((tmp_path / "tuned-test/evaluation.json").read_text())
    assert written["means"]["loss"] == pytest.approx(losses["tuned-test"])


def test_any_setting_of_the_model_can_be_given(sample: Path, tmp_path: Path) -> None:
    files: dict[str, Any] = {"test": sample / "target.jsonl", "evaluation": {"generate": False}}
    model: ModelSettings = {"name": MODEL, "dtype": "bfloat16"}
    rough = package.evaluate(**files, model=model, out=tmp_path / "bfloat16")
    exact = package.evaluate(**files, model={"name": str(MODEL)}, out=tmp_path / "float32")
    assert rough.summary["means"]["loss"] != exact.summary["means"]["loss"]
    for name in ("bfloat16", "float32"):
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        assert manifest["model.dtype"] == f"torch.{name}"
    assert model == {"name": MODEL, "dtype": "bfloat16"}
    run = package.select(
        pool=sample / "pool.jsonl",
        target=sample / "target.jsonl",
        model=model,
        out=tmp_path / "run",
        selection={"method": "random"},
    )
    assert yaml.safe_load((run.folder / "config.yaml").read_text())["model"] == {
        **{"name": str(MODEL), "revision": None, "dtype": "bfloat16", "trust_remote_code": False},
        **{"quantization": None, "device_map": None, "activation_checkpointing": False},
    }
    with pytest.raises(ConfigError, match=r"model\.name: required, but not given"):
        package.evaluate(**files, model={"dtype": "bfloat16"}, out=tmp_path / "none")
    with pytest.raises(ConfigError, match=r"model\.dtyp: unknown; did you mean model\.dtype\?"):
        package.evaluate(**files, model={"name": MODEL, "dtyp": "bfloat16"}, out=tmp_path / "none")  # type: ignore[arg-type]


def test_rows_of_matrices_are_selected_as_the_command_does(
    matrices: dict[str, Any], g2is: Command, tmp_path: Path
) -> None:
    picks = package.walk_matrices(**matrices, budget=7, out=tmp_path / "picks")
    assert isinstance(picks, Picks)
    assert len(picks.steps) == 7
    walked = package.walk_matrices(**matrices, budget="10%", out=tmp_path / "walk", selection={"method": "g2is"})
    assert isinstance(walked, package.Walk)
    flags = [part for name, path in matrices.items() for part in (f"--{name.replace('_', '-')}", path)]
    code, _, err = g2is("walk", *flags, "--budget", "10%", "--method", "g2is", "--out", tmp_path / "command")
    assert code == 0, err
    assert (tmp_path / "walk/selection.parquet").read_bytes() == (tmp_path / "command/selection.parquet").read_bytes()
    np.save(tmp_path / "graph.npy", np.tile(np.arange(3), (39, 1)))
    graph: dict[str, Any] = {"graph": tmp_path / "graph.npy", "selection": {"method": "g2is"}, "budget": 3}
    with pytest.raises(MatrixError, match=r"graph\.npy"):
        package.walk_matrices(**{**matrices, **graph}, out=tmp_path / "graph")
    with pytest.raises(ConfigError, match=r"walk_matrices: expected one budget, found budget= and selection="):
        package.walk_matrices(**matrices, budget=7, out=tmp_path / "two", selection={"budget": 8})


def test_a_method_is_a_keyword_beside_the_budget(matrices: dict[str, Any], sample: Path, tmp_path: Path) -> None:
    walked = package.walk_matrices(**matrices, budget=4, method="g2is", out=tmp_path / "walk")
    assert isinstance(walked, package.Walk)
    files: dict[str, Any] = {"pool": sample / "pool.jsonl", "target": sample / "target.jsonl", "model": MODEL}
    run = package.select(**files, out=tmp_path / "run", method="random", selection={"seed": 3, "budget": 5})
    written = yaml.safe_load((run.folder / "config.yaml").read_text())["selection"]
    assert (written["method"], written["seed"], written["budget"]) == ("random", 3, "5")
    for name, arguments in (("select", files), ("walk_matrices", matrices)):
        function = getattr(package, name)
        with pytest.raises(ConfigError, match=r": expected one method, found method= and selection=\{'method': …\}"):
            function(**arguments, method="less", selection={"method": "g2is"}, out=tmp_path / "two")
        made = package.SelectionConfig(method="less")
        with pytest.raises(ConfigError, match=r"expected one method, found method= and selection="):
            function(**arguments, method="random", selection=made, out=tmp_path / "two")
        with pytest.raises(ConfigError, match=r"unknown method 'les'; did you mean less\?"):
            function(**arguments, method="les", out=tmp_path / "two")
    assert not (tmp_path / "two").exists()


def test_files_are_looked_at_with_and_without_a_model(sample: Path, tmp_path: Path) -> None:
    reporter = Noted()
    found = package.inspect(sample / "target.jsonl", reporter=reporter)
    assert (found.num_rows, found.num_examples, found.lengths and found.lengths.unit) == (8, 8, "characters")
    assert reporter.stages == ["read"]
    both = package.inspect([sample / "pool.jsonl", sample / "target.jsonl"], model=MODEL, examples={"max_length": 40})
    assert both.num_rows == 158
    assert both.lengths is not None
    assert (both.lengths.unit, both.lengths.limit) == ("tokens", 40)
    assert both.lengths.num_over > 0
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{\n')
    assert len(package.inspect(tmp_path / "bad.jsonl").problems) == 1
    with pytest.raises(InputError, match=r"none\.jsonl: expected a file, found none"):
        package.inspect(tmp_path / "none.jsonl")


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "select": ({"warmup": {"epoch": 2}}, ["--set", "warmup.epoch=2"]),
    "warm_up": ({"wramup": {"epochs": 2}}, ["--set", "wramup.epochs=2"]),
    "extract_gradients": ({"gradients": {"forms": ["les"]}}, ["--set", "gradients.forms=[les]"]),
    "walk_matrices": ({"selection": {"metod": "less"}}, ["--set", "selection.metod=less"]),
    "train": ({"tuning": {"epoch": 3}, "warmup": {}}, ["--set", "tuning.epoch=3", "--set", "warmup={}"]),
    "evaluate": ({"evaluation": {"metrics": "bleu"}}, ["--set", "evaluation.metrics=bleu"]),
    "compare": ({"tuning": {"seed": -1}}, ["--set", "tuning.seed=-1"]),
    "inspect": ({"examples": {"layout": "chatml"}}, ["--schema", "chatml"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_setting_that_cannot_be_used_is_refused_in_the_command_s_words(
    name: str, matrices: dict[str, Any], sample: Path, g2is: Command, tmp_path: Path
) -> None:
    pool, target, out = sample / "pool.jsonl", sample / "target.jsonl", tmp_path / "out"
    model: dict[str, Any] = {"model": MODEL, "out": out}
    files: dict[str, Any] = {"pool": pool, "target": target, **model}
    flags = ["--model", MODEL, "--out", out]
    given: dict[str, tuple[dict[str, Any], list[object]]] = {
        "select": (files, ["select", pool, target, *flags]),
        "warm_up": (files, ["warmup", pool, target, *flags]),
        "extract_gradients": (files, ["gradients", pool, target, *flags]),
        "walk_matrices": (
            {**matrices, "out": out},
            ["walk", *(f"--{key.replace('_', '-')}={path}" for key, path in matrices.items()), "--out", out],
        ),
        "train": ({"data": target, **model}, ["train", target, *flags]),
        "evaluate": ({"test": target, **model}, ["evaluate", target, *flags]),
        "compare": ({**files, "test": target}, ["compare", pool, target, "--test", target, *flags]),
        "inspect": ({"files": pool}, ["inspect", pool]),
    }
    arguments, command = given[name]
    settings, said = WRONG[name]
    with pytest.raises(ConfigError) as error:
        getattr(package, name)(**arguments, **settings)
    code, _, err = g2is(*command, *said)
    assert code == 2
    assert err.startswith("error: the command line: ")
    assert str(error.value) == "g2is" + err.removeprefix("error: the command line").removesuffix("\n")
    assert not out.exists()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"out": 7}, "out: expected"),
        ({"store": 7}, "store: expected"),
        ({"selector": 5}, "selector: expected g2is.Selector(name, version, function), found 5"),
        ({"selector": "top"}, "a built-in one is named in selection="),
        ({"representation": 5}, "representation: expected"),
        ({"selection": None, "budget": 5}, "expected a mapping of settings as selection="),
    ],
)
def test_what_is_of_another_kind_is_one_message(wrong: dict[str, Any], told: str, tmp_path: Path) -> None:
    files = {"pool": "pool.jsonl", "target": "target.jsonl", "model": "model", "out": tmp_path / "out"}
    for function in (package.select, package.compare):
        if function is package.compare and not {"out", "selector"} & wrong.keys():
            continue
        test = {"test": "test.jsonl"} if function is package.compare else {}
        with pytest.raises(ConfigError) as error:
            function(**{**files, **test, **wrong})
        assert told in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_command_is_no_setting(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="command: expected train, whose settings these are, found 'select'; leave"):
        package.train(data=sample / "target.jsonl", model=MODEL, out=tmp_path / "out", command="select")  # type: ignore[call-arg]
    assert not (tmp_path / "out").exists()


def test_the_version_is_told_and_nothing_heavy_is_loaded_for_it() -> None:
    program = (
        "import sys, g2is; print(g2is.__version__)\n"
        "assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "assert {'train', 'evaluate', 'inspect', 'walk_matrices'} <= set(g2is.__all__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == version("g2is")
