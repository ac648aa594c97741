"""What flags, --set and the file of --config come to: the command line is read for real, and nothing is run."""

import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import g2is
from g2is.cli.app import app
from g2is.cli.build import compare_config, evaluate_config, inspect_config, matrix_walk_config, run_config, train_config
from g2is.cli.given import without_what_followed
from g2is.cli.options import assign
from g2is.config import Config
from g2is.config.evaluation import EvaluationConfig
from g2is.config.io import dump
from g2is.errors import ConfigError

MODEL = Path(__file__).resolve().parents[3] / "src/g2is/demo/model"
GROUP: Any = typer.main.get_command(app)
FILES = ("pool.jsonl", "target.jsonl", "--model", MODEL, "--out", "run")


def context(command: str, *arguments: object) -> Any:
    root = GROUP.context_class(GROUP, info_name="g2is", **GROUP.context_settings)
    return GROUP.commands[command].make_context(command, list(map(str, arguments)), parent=root)


def select(*arguments: object, command: str = "select") -> Config:
    return run_config(command, context(command, *arguments))


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")

    def write(name: str = "own.yaml", **values: Any) -> Path:
        (tmp_path / name).write_text(yaml.safe_dump(values))
        return tmp_path / name

    return write


def test_a_file_of_a_few_sections_stands_beside_flags(file: Callable[..., Path]) -> None:
    own = file(warmup={"epochs": 2, "learning_rate": 1e-3}, selection={"budget": "7"}, execution={"report": False})
    config = select(*FILES, "--config", own, "--learning-rate", "5e-4", "--set", "warmup.lora.rank=8")
    assert (config.warmup.epochs, config.warmup.learning_rate, config.warmup.lora.rank) == (2, 5e-4, 8)
    assert (config.selection.budget, config.execution.report) == ("7", False)
    assert select(*FILES, "--config", own, "--budget", "3%").selection.budget == "3%"


def test_what_a_run_wrote_serves_whole_and_only_the_flags_differ(tmp_path: Path) -> None:
    first = select(*FILES, "--method", "g2is", "--rank", "16", "--seed", "3", "--exclude-overlap", "test.jsonl")
    (tmp_path / "config.yaml").write_text(dump(first))
    given = ("--config", tmp_path / "config.yaml")
    assert select(*given) == first
    for command in ("warmup", "gradients", "walk"):
        assert select(*given, command=command) == first
    other = select(*given, "--out", "other", "--budget", "5%")
    assert other.out == tmp_path / "other"
    assert other.store == first.store  # whose gradients serve again
    changed = {"out": first.out, "selection": first.selection}
    assert other.model_copy(update=changed) == first
    assert other.selection.model_copy(update={"budget": first.selection.budget}) == first.selection


@pytest.mark.parametrize("method", ["less", "random", "design", "bm25", "official"])
def test_another_method_has_its_own_settings_and_not_those_of_the_files(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(dump(select(*FILES, "--method", "g2is", "--set", "selection.delta=0.5")))
    anew = select(*FILES, "--method", method)
    replaced = select("--config", tmp_path / "config.yaml", "--method", method)
    walks = method == "official"  # which reads it as well
    assert replaced.selection == anew.selection.model_copy(update={"delta": 0.5} if walks else {})
    said = f"file's selection.delta left out, which the method {method} does not look at" in capsys.readouterr().err
    assert said is not walks


def test_of_a_file_that_is_replayed_only_what_followed_from_replaced_settings_goes() -> None:
    lora = {"rank": 16, "alpha": 64, "dropout": 0.0}
    values = {
        "targets": {"a": ["x"], "b": ["y"]},
        "model": {"name": "m", "revision": "c0ffee", "dtype": "float32"},
        "warmup": {"lora": lora, "epochs": 1},
        "selection": {"method": "random", "representation": "none", "selector": "random", "quotas": {"web": "5%"}},
    }
    asked = {"targets": {"a": "z"}, "warmup": {"lora": {"rank": 2}}, "selection": {"quotas": {"code": "1%"}}}
    assert without_what_followed(values, asked) == values | {
        "warmup": {"lora": {"rank": 16, "dropout": 0.0}, "epochs": 1}
    }
    others = {"model": {"name": "n"}, "selection": {"method": "bm25"}, "warmup": {"lora": {"rank": None}}}
    found = without_what_followed(values, others)
    assert found["model"] == {"name": "m", "dtype": "float32"}
    assert found["selection"] == {"quotas": {"web": "5%"}}


def test_what_was_set_apart_from_the_method_stays_with_another(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(dump(select(*FILES, "--method", "g2is", "--budget", "9", "--quota", "a=5")))
    selection = select("--config", tmp_path / "config.yaml", "--method", "less").selection
    assert (selection.method, selection.budget, selection.quotas) == ("less", "9", {"a": "5"})


def test_alpha_follows_another_rank_unless_it_was_set(file: Callable[..., Path]) -> None:
    follows = file("a.yaml", warmup={"lora": {"rank": 16, "alpha": 64.0}})
    assert select(*FILES, "--config", follows, "--rank", "8").warmup.lora.alpha == 32
    was_set = file("b.yaml", warmup={"lora": {"rank": 16, "alpha": 16.0}})
    assert select(*FILES, "--config", was_set, "--rank", "8").warmup.lora.alpha == 16


def test_another_model_has_not_the_revision_of_the_files(file: Callable[..., Path]) -> None:
    own = file(model={"name": "org/name", "revision": "a" * 40, "dtype": "bfloat16"})
    config = select(*FILES, "--config", own)
    assert (config.model.revision, config.model.dtype) == (None, "bfloat16")


def test_targets_of_flags_take_the_place_of_the_files(file: Callable[..., Path], tmp_path: Path) -> None:
    own = file(pool=["p.jsonl"], target={"math": "m.jsonl"}, model={"name": str(MODEL)}, out="run")
    assert list(select("--config", own).targets) == ["math"]
    config = select("--config", own, "--target", "med=x.jsonl")
    assert config.pool == (str(tmp_path / "p.jsonl"),)
    assert config.targets == {"med": (str(tmp_path / "x.jsonl"),)}
    config = select("other.jsonl", "y.jsonl", "--config", own)
    assert config.pool == (str(tmp_path / "other.jsonl"),)
    assert config.targets == {"target": (str(tmp_path / "y.jsonl"),)}


def test_every_command_with_settings_takes_a_file(file: Callable[..., Path], tmp_path: Path) -> None:
    own = file(data="rows.jsonl", model={"name": str(MODEL)}, out="tuned", tuning={"epochs": 1})
    assert train_config(context("train", "--config", own, "--rank", "4")).tuning.lora.rank == 4
    own = file(test="rows.jsonl", model={"name": str(MODEL)}, out="tested", evaluation={"generate": False})
    assert evaluate_config(context("evaluate", "--config", own)).evaluation.metrics == ("loss",)
    own = file(pool_gradients="p.npy", target_gradients="t.npy", out="run", selection={"budget": "4"})
    assert matrix_walk_config(context("walk", "--config", own)).selection.budget == "4"
    own = file(
        **{"pool": "p.jsonl", "targets": "t.jsonl", "tests": "x.jsonl", "out": "out", "model": {"name": str(MODEL)}},
        **{"methods": {"mine": {"method": "less"}}, "budgets": "2%"},
    )
    config = compare_config(context("compare", "--config", own))
    assert (list(config.methods), config.budgets, config.num_seeds) == (["mine"], ("2%",), 3)
    config = compare_config(context("compare", "--config", own, "--methods", "design", "--seeds", "1"))
    assert (list(config.methods), config.budgets, config.num_seeds) == (["design"], ("2%",), 1)
    (tmp_path / "config.yaml").write_text(dump(select(*FILES, "--set", "examples.max_length=99")))
    looked = inspect_config(context("inspect", "rows.jsonl", "--config", tmp_path / "config.yaml"))
    assert looked.model is not None
    assert (looked.examples.max_length, looked.model.name) == (99, str(MODEL))


def test_a_seed_is_of_all_that_is_drawn() -> None:
    config = select(*FILES, "--seed", "5", "--method", "random")
    assert (config.warmup.seed, config.gradients.projection.seed, config.selection.seed) == (5, 5, 5)
    config = select(*FILES, "--seed", "5", "--set", "warmup.seed=1")
    assert (config.warmup.seed, config.gradients.projection.seed, config.selection.seed) == (1, 5, 0)
    assert train_config(context("train", "x.jsonl", *FILES[2:], "--seed", "5")).tuning.seed == 5


def test_command_and_python_compare_the_same_methods_where_none_are_named() -> None:
    in_python = inspect.signature(g2is.compare).parameters["methods"].default
    (flag,) = (of for of in GROUP.commands["compare"].params if of.name == "methods")
    assert flag.default.split(",") == list(in_python)


def test_the_flags_of_a_comparison_are_of_both_trainings() -> None:
    flags = (*FILES, "--test", "x.jsonl", "--learning-rate", "1e-3", "--rank", "8")
    config = compare_config(context("compare", *flags, "--set", "warmup.learning_rate=2e-3"))
    assert (config.warmup.learning_rate, config.tuning.learning_rate) == (2e-3, 1e-3)
    assert (config.warmup.lora.rank, config.tuning.lora.rank) == (8, 8)
    assert (config.warmup.lora.alpha, config.tuning.lora.alpha) == (32, 32)


def test_a_store_is_that_of_the_flag_the_file_the_environment_or_the_run(
    file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = file(store="of-file")
    assert select(*FILES).store == tmp_path / "run/store"
    monkeypatch.setenv("G2IS_STORE", "")
    assert select(*FILES).store == tmp_path / "run/store"
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("G2IS_STORE", "of-environment")
    assert select(*FILES).store == tmp_path / "of-environment"
    assert f"store: {tmp_path / 'of-environment'}, by G2IS_STORE" in capsys.readouterr().err
    assert select(*FILES, "--config", own).store == tmp_path / "of-file"
    assert select(*FILES, "--config", own, "--store", "of-flag").store == tmp_path / "of-flag"
    monkeypatch.setenv("G2IS_STORE", "s3://bucket/prefix/")
    assert select(*FILES).store == "s3://bucket/prefix"
    monkeypatch.setenv("G2IS_STORE", "s3:/bucket")
    with pytest.raises(ConfigError, match=r"store: expected a folder, or s3://BUCKET/PREFIX"):
        select(*FILES)


def test_null_and_an_empty_mapping_of_set_count_over_the_file(file: Callable[..., Path]) -> None:
    own = file(
        selection={"quotas": {"web": 5}, "candidates": 10, "shares": {"target": 1}},
        examples={"columns": {"answer": "A"}, "layout": "alpaca"},
        warmup={"adapter": "trained", "epochs": 2},
    )
    asked = ["selection.quotas={}", "selection.candidates=null", "examples.columns={}", "examples.layout=null"]
    flags = [part for text in (*asked, "warmup.adapter=null") for part in ("--set", text)]
    config = select(*FILES, "--config", own, *flags)
    assert (config.selection.quotas, config.selection.candidates, config.selection.shares) == ({}, None, {"target": 1})
    assert (config.examples.columns, config.examples.layout) == ({}, None)
    assert (config.warmup.adapter, config.warmup.epochs) == (None, 2)
    own = file(test="rows.jsonl", model={"name": str(MODEL)}, out="tested", adapter="trained")
    assert evaluate_config(context("evaluate", "--config", own, "--set", "adapter=null")).adapter is None


def test_a_mapping_for_a_section_is_of_some_of_its_settings(file: Callable[..., Path]) -> None:
    values: dict[str, Any] = {"warmup": {"epochs": 2, "lora": {"rank": 4, "dropout": 0.0}}, "selection": {"quotas": {}}}
    assign(values, ["warmup.lora={rank: 8}", "selection={budget: 3}"], flags=False, model=Config)
    assert values == {
        "warmup": {"epochs": 2, "lora": {"rank": 8, "dropout": 0.0}},
        "selection": {"quotas": {}, "budget": 3},
    }
    assign(values, ["selection.quotas={web: 1}", "selection.quotas={code: 1}"], flags=False, model=Config)
    assert values["selection"]["quotas"] == {"code": 1}  # which is no section: another value in place of the first
    config = select(*FILES, "--config", file(warmup=values["warmup"]), "--set", "warmup.lora={rank: 2}")
    assert (config.warmup.lora.rank, config.warmup.lora.dropout) == (2, 0.0)
    assert select(*FILES, "--set", "selection={method: less}").selection.method == "less"
    empty: dict[str, Any] = {"warmup": None}
    assign(empty, ["warmup.lora.rank=3"], flags=False, model=Config)
    assert empty == {"warmup": {"lora": {"rank": 3}}}


def test_one_entry_of_a_mapping_is_set_beside_those_of_the_file(file: Callable[..., Path]) -> None:
    own = file(selection={"quotas": {"web": "5%", "code": "3"}}, examples={"columns": {"answer": "A"}})
    given = (*FILES, "--config", own)
    config = select(*given, "--set", "selection.quotas.web=10%", "--set", "examples.columns.question=Q")
    assert config.selection.quotas == {"web": "10%", "code": "3"}
    assert config.examples.columns == {"answer": "A", "question": "Q"}
    assert select(*given, "--set", "selection.quotas={web: 10%}").selection.quotas == {"web": "10%"}
    assert select(*given, "--quota", "math=4").selection.quotas == {"math": "4"}
    values = yaml.safe_load(own.read_text())
    assign(values, ["selection.quotas.web=10%"], flags=False, model=Config)  # as `g2is run` does
    assert values["selection"]["quotas"] == config.selection.quotas


def test_a_file_whose_choice_is_not_its_methods_is_told(
    file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = select(*FILES).selection.model_dump(mode="json")
    select(*FILES, "--config", file(selection=chosen))
    assert capsys.readouterr().err == ""
    select(*FILES, "--config", file(selection=chosen | {"method": "bm25"}))
    assert "bm25 means lexical and top; the file says gradient and design, which count" in capsys.readouterr().err
    select(*FILES, "--config", file(selection=chosen | {"method": "bm25"}), "--method", "less")
    assert "which count" not in capsys.readouterr().err


def test_a_section_with_nothing_below_it_is_none(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("warmup:\n  lora:\n  # rank: 8\nselection:\n  # budget: 3\n")
    assert select(*FILES, "--config", tmp_path / "own.yaml") == select(*FILES)


def test_metrics_that_followed_go_with_what_they_followed_from(file: Callable[..., Path]) -> None:
    def metrics(generate: bool, of_file: Sequence[str], asked: bool) -> tuple[str, ...]:
        written = {"generate": generate, "metrics": list(of_file)}
        own = file(test="rows.jsonl", model={"name": str(MODEL)}, out="tested", evaluation=written)
        flags = ("--config", own, "--set", f"evaluation.generate={str(asked).lower()}")
        return evaluate_config(context("evaluate", *flags)).evaluation.metrics

    every = list(EvaluationConfig().metrics)
    assert metrics(False, ["loss"], True) == tuple(every)
    assert metrics(True, every, False) == ("loss",)
    null = file(test="rows.jsonl", model={"name": str(MODEL)}, out="tested", evaluation={"metrics": None})
    with pytest.raises(ConfigError, match=r"evaluation\.metrics: expected a valid tuple, found None"):
        evaluate_config(context("evaluate", "--config", null, "--set", "evaluation.generate=false"))
    with pytest.raises(ConfigError, match="expected loss alone"):
        metrics(True, ["loss", "rouge_l"], False)  # chosen, not followed


def test_stored_forms_that_followed_go_with_the_form_or_the_method(tmp_path: Path) -> None:
    place = tmp_path / "config.yaml"
    place.write_text(dump(select(*FILES, "--set", "selection.form=normalized")))
    assert yaml.safe_load(place.read_text())["gradients"]["forms"] == ["normalized"]
    config = select("--config", place, "--set", "selection.form=less")
    assert config.gradients.forms == select(*FILES, "--set", "selection.form=less").gradients.forms
    place.write_text(dump(select(*FILES, "--set", "gradients.forms=[less, momentum-free, sgd]")))
    place.write_text(yaml.safe_dump(yaml.safe_load(place.read_text()) | {"gradients": {"forms": None}}))
    with pytest.raises(ConfigError, match=r"gradients\.forms: expected a valid tuple, found None"):
        select("--config", place, "--method", "less")
    place.write_text(dump(select(*FILES, "--set", "gradients.forms=[less, momentum-free, sgd]")))
    assert select("--config", place, "--method", "less").gradients.forms == (
        "less",
        "momentum-free",
        "sgd",
    )  # chosen, not followed


def test_a_section_of_the_file_that_is_none_is_reported(file: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match=r"own.yaml: 1 setting\(s\) cannot be used:\n  warmup: expected"):
        select(*FILES, "--config", file(warmup=3))
    with pytest.raises(ConfigError, match=r"own.yaml: 1 setting\(s\) cannot be used:\n  selection: expected"):
        select(*FILES, "--config", file(selection="design"), "--budget", "3")


def test_json_serves_as_a_file_of_settings(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text(json.dumps({"warmup": {"epochs": 2}}))
    assert select(*FILES, "--config", tmp_path / "own.json").warmup.epochs == 2
