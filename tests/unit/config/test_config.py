import glob
from pathlib import Path

import pytest
import yaml

from g2is.config import (
    Config,
    EvaluateConfig,
    EvaluationConfig,
    ExecutionConfig,
    GradientsConfig,
    LoraConfig,
    MatrixWalkConfig,
    SelectionConfig,
)
from g2is.config.compare import CompareConfig
from g2is.config.io import dump, load, parse
from g2is.config.strict import parse_yaml
from g2is.errors import ConfigError
from g2is.methods import METHODS, Section

OFFICIAL = METHODS["official"].settings
REQUIRED = {"pool": "p.jsonl", "target": "t.jsonl", "out": "run", "model": {"name": "m"}}


def problems(**values: object) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse(Config, REQUIRED | values, "the command line")
    first, *lines = str(error.value).splitlines()
    assert first == f"the command line: {len(lines)} setting(s) cannot be used:"
    return [line.strip() for line in lines]


def test_the_official_preset_fills_what_is_not_given_and_nothing_else() -> None:
    official = SelectionConfig(method="official")
    assert {key: getattr(official, key) for key in OFFICIAL} == OFFICIAL
    assert SelectionConfig(method="official", core="svd").core == "svd"
    ours, theirs = SelectionConfig().model_dump(), official.model_dump()
    assert {key for key in ours if ours[key] != theirs[key]} == {"method", *OFFICIAL}


def test_a_dumped_config_is_read_back_the_same(tmp_path: Path) -> None:
    config = parse(Config, REQUIRED | {"selection": {"method": "official", "delta": 0.9}}, "x")
    (tmp_path / "config.yaml").write_text(dump(config))
    assert parse(Config, load(tmp_path / "config.yaml"), "y") == config
    assert yaml.safe_load(dump(config))["store"] == str(Path("run/store").absolute())


def test_a_home_folder_is_read_as_a_shell_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    ours: Config = parse(Config, REQUIRED | {"pool": ["~/p.jsonl", "~t.jsonl", "~nobody-such/p"], "out": "~x"}, "x")
    assert ours.pool == (
        "/home/someone/p.jsonl",
        *(str(Path(name).absolute()) for name in ("~t.jsonl", "~nobody-such/p")),
    )
    assert ours.out == Path("~x").absolute()


def test_all_problems_come_together_each_once_under_its_setting_s_name() -> None:
    found = problems(
        warmup={"epochs": 0, "lora": {"rnk": 3, "target_modules": 7}},
        selection={"conflict_tolerance": "foo", "method": ["a"]},
        modle="x",
    )
    keys = [line.split(":")[0] for line in found]
    assert sorted(keys) == [
        *("modle", "selection.conflict_tolerance", "selection.method"),
        *("warmup.epochs", "warmup.lora.rnk", "warmup.lora.target_modules"),
    ]
    assert "warmup.lora.rnk: unknown; did you mean warmup.lora.rank?" in found


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"selection": {"form": "adam"}, "gradients": {"forms": "less"}},
            "one of gradients.forms, which stores only ['less'], found 'adam'",
        ),
        ({"selection": {"conflict_tolerance": -0.1}}, "found -0.1"),
        ({"examples": {"date": "today"}}, "examples.date"),
        ({"examples": {"date": "2025-02-31"}}, "examples.date: expected a day of the calendar"),
        ({"gradients": {"projection": {"dim": 0}}}, "gradients.projection.dim"),
        ({"warmup": {"learning_rate": float("nan")}}, "warmup.learning_rate"),
        ({"target": {"a b": "t.jsonl"}}, "targets: expected names of letters, digits, _ and -, found the name 'a b'"),
        ({"selection": {"representation": "bert"}}, "selection.representation: unknown representation 'bert'"),
        ({"representation": {"max_terms": 0}}, "representation.max_terms"),
        ({"representation": {"embedding_model": ""}}, "representation.embedding_model"),
        ({"target": {}}, "targets: expected a file, or files by the names of their targets"),
        ({"target": {"math": []}}, "expected a file or a list of files for target 'math', found []"),
        ({"targets": "t.jsonl"}, "target: unknown; did you mean targets?"),
        ({"selection": {"shares": {"taget": 1}}}, "no target is called 'taget'; did you mean 'target'?"),
        ({"selection": {"shares": {}}}, "found none for target"),
        ({"selection": {"shares": {"target": 0}}}, "expected positive numbers, found target = 0"),
        ({"selection": {"shares": {"target": "two"}}}, "selection.shares"),
    ],
)
def test_a_value_out_of_range_is_named(values: dict[str, object], expected: str) -> None:
    assert expected in " ".join(problems(**values))


def test_one_form_may_stand_alone() -> None:
    assert parse(Config, REQUIRED | {"gradients": {"forms": "momentum-free"}}, "x").pool_form == "momentum-free"


@pytest.mark.parametrize(
    ("model", "name", "twice"),
    [
        (GradientsConfig, "forms", ["less", "sgd", "less"]),
        (EvaluationConfig, "metrics", ["loss", "loss"]),
        (EvaluationConfig, "tasks", ["gsm8k", "gsm8k"]),
        (ExecutionConfig, "report_to", ["wandb", "wandb"]),
    ],
)
def test_a_list_may_be_one_and_has_nothing_twice(model: type[Section], name: str, twice: list[str]) -> None:
    assert getattr(parse(model, {name: twice[0]}, "a test"), name) == (twice[0],)
    with pytest.raises(ConfigError, match=f"{name}: expected each once, found"):
        parse(model, {name: twice}, "a test")


def test_a_date_stays_text() -> None:
    assert parse_yaml("2026-01-31") == "2026-01-31"
    assert parse_yaml("[1, 2.5, true, 2026-13-01]") == [1, 2.5, True, "2026-13-01"]


def test_numbers_as_yaml_writes_them_are_understood() -> None:
    config = parse(
        Config, REQUIRED | {"warmup": yaml.safe_load("{learning_rate: 1e-3}"), "selection": {"budget": 500}}, "x"
    )
    assert config.warmup.learning_rate == 1e-3
    assert config.selection.budget == "500"


@pytest.mark.parametrize("key", ["target", "targets"])
def test_a_target_is_a_file_some_files_or_either_by_name(key: str) -> None:
    required = {name: value for name, value in REQUIRED.items() if name != "target"}
    here = Path.cwd()
    for given, expected in (
        ("t.jsonl", {"target": (f"{here}/t.jsonl",)}),
        (Path("t.jsonl"), {"target": (f"{here}/t.jsonl",)}),
        (["t.jsonl", "u.jsonl"], {"target": (f"{here}/t.jsonl", f"{here}/u.jsonl")}),
        ({"med": "t.jsonl", "math": ["/u"]}, {"med": (f"{here}/t.jsonl",), "math": ("/u",)}),
    ):
        assert parse(Config, required | {key: given}, "x").targets == expected


def test_settings_that_need_examples_are_refused_for_a_walk_on_matrices() -> None:
    files = {"pool_gradients": "p.npy", "target_gradients": "t.npy", "out": "run"}
    for setting in (
        {"include": ["a"]},
        {"exclude": ["a"]},
        {"exclude_overlap": "a"},
        {"quotas": {"web": 3}},
        {"shares": {"target": 1}},
    ):
        with pytest.raises(ConfigError, match=f"selection.{next(iter(setting))}: matrices have one target"):
            parse(MatrixWalkConfig, files | {"selection": setting}, "x")


def test_a_pattern_in_a_folder_whose_name_looks_like_one_finds_that_folder_s_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("g [1]", "g 1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"of {name}.jsonl").touch()
    monkeypatch.chdir(tmp_path / "g [1]")
    config = parse(Config, REQUIRED | {"pool": ["*.jsonl", "of g [1].jsonl"]}, "x")
    pattern, path = config.pool
    assert glob.glob(pattern) == [f"{tmp_path}/g [1]/of g [1].jsonl"] == [path]  # noqa: PTH207, as sources are found


def test_local_locations_become_absolute_and_those_of_the_hub_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    config = parse(
        Config,
        REQUIRED
        | {"pool": ["a/*.jsonl", "saved:train", "hf:org/name:train[:9]", "hf:folder:train"], "target": Path("t")},
        "x",
    )
    assert config.pool == (
        *(f"{tmp_path}/a/*.jsonl", f"{tmp_path}/saved:train", "hf:org/name:train[:9]", f"hf:{tmp_path}/folder:train"),
    )
    assert config.targets == {"target": (f"{tmp_path}/t",)}
    assert parse(Config, yaml.safe_load(dump(config)), "y") == config


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"pool": []}, "pool: "),
        ({"pool": ""}, "pool: expected a file, glob, folder or hf:org/name:split, found nothing"),
        ({"pool": ["a", "hf:"]}, "pool: expected a file, glob, folder or hf:org/name:split, found nothing"),
        ({"target": 3}, "targets: expected a file"),
        ({"examples": {"layout": "chatml"}}, "'messages', 'sharegpt'"),
        ({"examples": {"columns": {"anwser": "x"}}}, "unknown standard column 'anwser'; did you mean answer?"),
        ({"examples": {"columns": {"zzz": "x"}}}, "unknown standard column 'zzz'; known: id, source, group"),
        ({"examples": {"columns": {"answer": 3}}}, "examples.columns"),
        ({"examples": {"on_bad_row": "ignore"}}, "'stop' or 'skip'"),
        ({"warmup": {"epochs": True}}, "warmup.epochs: expected a number, found True"),
        ({"selection": {"noise": True}}, "selection.noise: expected a number"),
        ({"selection": {"shares": {"target": True}}}, "selection.shares: expected a number"),
        ({"execution": {"worker_resources": {"GPU": True}}}, "execution.worker_resources: expected a number"),
        ({"selection": {"budget": None}}, "selection.budget: expected a valid string, found None"),
        ({"warmup.epochs": 3}, "warmup.epochs: expected a section and its settings below it, as `warmup: {epochs: …}`"),
    ],
)
def test_a_value_that_a_setting_cannot_have_is_named(values: dict[str, object], expected: str) -> None:
    assert expected in " ".join(problems(**values))


def test_without_answers_only_the_loss_is_measured() -> None:
    assert EvaluationConfig().metrics == ("loss", "exact_match", "rouge_l", "numeric_match")
    alone = EvaluationConfig(generate=False)
    assert alone.metrics == ("loss",)
    assert EvaluationConfig.model_validate(alone.model_dump()) == alone
    assert EvaluationConfig(metrics="rouge_l").metrics == ("rouge_l",)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"generate": False, "metrics": ["loss", "rouge_l"]}, "found rouge_l, which need the model's answers"),
        ({"metrics": ["loss", "loss"]}, "evaluation.metrics: expected each once"),
        ({"metrics": []}, "evaluation.metrics"),
        (
            {"metrics": ["bleu"]},
            "evaluation.metrics: expected 'loss', 'exact_match', 'rouge_l' or 'numeric_match'",
        ),
        ({"tasks": ["mmlu", "mmlu"]}, "evaluation.tasks: expected each once"),
        ({"max_new_tokens": 0}, "evaluation.max_new_tokens"),
    ],
)
def test_settings_of_an_evaluation_that_cannot_be_used(values: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(EvaluateConfig, {"test": "t.jsonl", "out": "o", "model": {"name": "m"}, "evaluation": values}, "x")
    assert expected in str(error.value)


def test_an_evaluation_needs_rows_or_tasks_and_keeps_a_task_s_file_by_its_whole_path() -> None:
    with pytest.raises(ConfigError, match=r"expected files of test rows, or tasks of lm-eval \(--task NAME\), found"):
        parse(EvaluateConfig, {"out": "o", "model": {"name": "m"}}, "x")
    tasks = EvaluationConfig(tasks=("mmlu", "own.yaml")).tasks
    assert tasks == ("mmlu", str(Path("own.yaml").absolute()))


COMPARED = {"pool": "p", "targets": "t", "tests": "s", "out": "o", "model": {"name": "m"}, "methods": "less"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"methods": {"less": None}}, "methods: expected names of methods, or settings of selections by name"),
        ({"methods": {"less": "less"}}, "methods: expected names of methods, or settings of selections by name"),
        ({"methods": {"mine": {"method": "less", "exclude": "ids.txt"}}}, "mine: expected settings that a comparison"),
        ({"evaluation": {"metrics": ["exact_match"]}}, "evaluation.metrics: expected loss among them"),
        ({"warmup": {"seed": 1}}, "warmup.seed: a comparison's seeds are 0, 1"),
        ({"methods": {"random": {"method": "less"}}}, "expected no settings for random, which every comparison has"),
        ({"tuning": {"seed": 2**32}}, "tuning.seed"),
    ],
)
def test_settings_of_a_comparison_that_cannot_be_used(values: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(CompareConfig, COMPARED | values, "g2is")
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("given", "budgets"), [("1%, 5%", ("1%", "5%")), ("64", ("64",)), (64, ("64",)), ([64, "5%"], ("64", "5%"))]
)
def test_budgets_of_a_comparison_are_one_or_several(given: object, budgets: tuple[str, ...]) -> None:
    assert parse(CompareConfig, COMPARED | {"budgets": given}, "g2is").budgets == budgets


def test_what_is_called_as_a_method_and_names_none_is_that_method() -> None:
    methods = {"bm25": {}, "less": {"form": "sgd"}, "mine": {"noise": 3.0}, "match": {"method": "less"}}
    found = parse(CompareConfig, COMPARED | {"methods": methods}, "g2is")
    of = {name: found.selection_of(name, "1%", 0) for name in methods}
    assert [of[name].method for name in methods] == ["bm25", "less", "design", "less"]
    assert (of["bm25"].representation, of["less"].form, of["less"].selector) == ("lexical", "sgd", "top")


def test_lists_of_a_comparison_are_kept_by_their_whole_path() -> None:
    found = parse(CompareConfig, COMPARED | {"selection": {"exclude": "ids.txt"}}, "g2is")
    assert found.selection == {"exclude": [str(Path("ids.txt").absolute())]}


@pytest.mark.parametrize(("given", "alpha"), [({}, 512.0), ({"rank": 8}, 32.0), ({"rank": 8, "alpha": 16}, 16.0)])
def test_alpha_follows_the_rank_unless_it_is_given(given: dict[str, object], alpha: float) -> None:
    assert LoraConfig.model_validate(given).alpha == alpha


def test_a_selector_of_one_s_own_gets_near_copies_unless_told_otherwise() -> None:
    assert SelectionConfig(selector="own:mine").duplicate_threshold is None
    assert SelectionConfig(selector="own:mine", duplicate_threshold=0.9).duplicate_threshold == 0.9
    assert SelectionConfig().duplicate_threshold == 0.98


@pytest.mark.parametrize(
    ("beside", "named"),
    [
        ({"model": {"name": "m", "quantization": "nf4"}}, "no model.quantization beside all"),
        ({"model": {"name": "m", "device_map": "auto"}}, "no model.device_map beside all"),
        ({"model": {"name": "m", "dtype": "float16"}}, "model.dtype: bfloat16, float32 or auto beside all"),
        ({"selection": {"warmup_seeds": 2}}, "selection.warmup_seeds: 1 beside all"),
        ({"selection": {"rounds": 2}}, "selection.rounds: 1 beside all"),
    ],
)
def test_gradients_of_all_linear_layers_are_refused_beside_what_they_cannot_be_taken_with(
    beside: dict[str, object], named: str
) -> None:
    (found,) = problems(gradients={"parameters": "all"}, **beside)
    assert f"gradients.parameters: expected {named}" in found
    parse(Config, REQUIRED | beside, "of an adapter they are taken")
