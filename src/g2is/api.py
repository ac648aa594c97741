"""The commands as Python functions.

Settings are those of config.yaml, section by section, as keyword mappings: warmup={"epochs": 2}. Those that cannot be
used are one ConfigError, as on the command line. `model` is a folder's or hub model's name, or the mapping of its
section: {"name": "org/name", "dtype": "bfloat16"}. Called again with the same arguments, a function goes on from what
is done. Each raises a G2isError for what a user can mend. Where another process uses the folder or its store, that is
one; with `wait` its end is waited for.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from g2is.comparison.evidence import Comparison
from g2is.config import Config, EvaluateConfig, InspectConfig, MatrixWalkConfig, TrainConfig
from g2is.config.compare import CompareConfig
from g2is.config.io import parse
from g2is.errors import ConfigError
from g2is.evaluation.rows import Evaluation
from g2is.examples.inspect import Inspection
from g2is.jobs import compare as compare_job
from g2is.jobs import evaluate as evaluate_job
from g2is.jobs import export as export_job
from g2is.jobs import hand_over as hand_over_job
from g2is.jobs import inspect as inspect_job
from g2is.jobs import publish as publish_job
from g2is.jobs import select as select_job
from g2is.jobs import select_matrices as matrices_job
from g2is.jobs import train as train_job
from g2is.jobs.custom import Own
from g2is.jobs.gradient_rows import Gradients
from g2is.jobs.run_folder import Selection
from g2is.jobs.train import Tuned
from g2is.methods import Section
from g2is.progress import Reporter, Silent
from g2is.representations.own import Representation
from g2is.selection.problem import Selector
from g2is.selection.record import Picks, Walk
from g2is.store.lock import waiting

Locations = str | Path | Sequence[str | Path]  # files, globs, folders of save_to_disk, hf:org/name:split
Targets = Locations | Mapping[str, Locations]
Model = str | Path | Mapping[str, Any]  # a folder's or hub model's name, or the section `model` with its name in it
_ORIGIN = "g2is"


def select(
    *,
    pool: Locations,
    target: Targets,
    model: Model,
    out: str | Path,
    budget: str | int | None = None,
    store: str | Path | None = None,
    reporter: Reporter | None = None,
    wait: bool = False,
    selector: Selector | None = None,
    representation: Representation | Mapping[str, Any] | None = None,
    **settings: Any,
) -> Selection:
    """Select `budget` rows of `pool` (default 1 %) that teach `model` what `target` shows; `g2is select`.

    Pool and target are one location or several (docs/formats.md); `target` may also be locations by the names of
    several targets: {"math": "a.jsonl", "med": ["b.jsonl", "c.jsonl"]}.

    `settings` are the sections examples, warmup, gradients, selection and execution. A `selector` or `representation`
    of your own is used where `selection` names it `own:NAME`; `representation` as a mapping is that section.

    >>> selection = g2is.select(pool="pool.jsonl", target="target.jsonl", model="model", out="run")  # doctest: +SKIP
    >>> selection.ids[:2]  # doctest: +SKIP
    ['arithmetic-17', 'arithmetic-204']
    """
    settings = _with_budget("select", budget, settings)
    own = _own(selector, representation, settings)
    config = _config(pool, target, model, out, store, settings)
    own.check_named([config.selection])
    with _waiting(wait, reporter):
        return select_job.select(config, reporter, own)


def warm_up(
    *,
    pool: Locations,
    target: Targets,
    model: Model,
    out: str | Path,
    store: str | Path | None = None,
    reporter: Reporter | None = None,
    wait: bool = False,
    **settings: Any,
) -> list[Path]:
    """Tune the adapter; `g2is warmup`. Returns the kept checkpoints' folders, each an adapter that PEFT loads.

    Settings as of `select`.
    """
    config = _config(pool, target, model, out, store, settings)
    with _waiting(wait, reporter):
        return [checkpoint.folder for checkpoint in select_job.run(config, "warmup", reporter).checkpoints]


def extract_gradients(
    *,
    pool: Locations,
    target: Targets,
    model: Model,
    out: str | Path,
    store: str | Path | None = None,
    reporter: Reporter | None = None,
    wait: bool = False,
    **settings: Any,
) -> Gradients:
    """Store whatever gradient rows are missing and return all, as arrays; `g2is gradients`.

    `core_knowledge` and `walk` take the arrays as they are. Settings as of `select`.
    """
    config = _config(pool, target, model, out, store, settings)
    with _waiting(wait, reporter):
        select_job.run(config, "gradients", reporter)
        return select_job.read_gradients(config, reporter)


def walk_matrices(
    *,
    pool_gradients: str | Path,
    target_gradients: str | Path,
    out: str | Path,
    graph: str | Path | None = None,
    budget: str | int | None = None,
    reporter: Reporter | None = None,
    wait: bool = False,
    **settings: Any,
) -> Walk | Picks:
    """Select `budget` rows (default 1 %) of a matrix that was computed elsewhere; `g2is walk --pool-gradients …`.

    The files hold (N, k) and (M, k) floats: .npy, .safetensors, .pt or zarr. `graph`, (N, n) .npy, names each row's
    nearest rows, best first. `settings` is the section selection. A `Walk` is returned if the method walks, `Picks` for
    another selector; a row goes by its number.
    """
    files = {"pool_gradients": pool_gradients, "target_gradients": target_gradients, "graph": graph, "out": out}
    values = {**files, **_with_budget("walk_matrices", budget, settings)}
    config: MatrixWalkConfig = parse(MatrixWalkConfig, values, _ORIGIN)
    with _waiting(wait, reporter):
        return matrices_job.walk_matrices(config, reporter)


def export(
    run: str | Path,
    reporter: Reporter | None = None,
    wait: bool = False,
    *,
    trainer: str | None = None,
    to: str | Path | None = None,
    push_to_hub: str | None = None,
) -> Selection:
    """Write the selected examples again; for a `trainer` into `to`; as a dataset of the hub; `g2is export`."""
    given = {"trainer": trainer, "to": to, "push_to_hub": push_to_hub}
    found = " and ".join(name for name, value in given.items() if value is not None)
    if found not in ("", "trainer and to", "push_to_hub"):
        raise ConfigError(f"export: expected trainer and to together, push_to_hub alone, or none, found {found}")
    with _waiting(wait, reporter):
        if trainer is not None and to is not None:
            hand_over_job.hand_over(Path(run), trainer, Path(to), reporter)
        if push_to_hub is not None:
            publish_job.publish(Path(run), push_to_hub, reporter)
        return export_job.selection_in(Path(run)) if found else export_job.export_run(Path(run), reporter)


def train(
    *,
    data: Locations,
    model: Model,
    out: str | Path,
    reporter: Reporter | None = None,
    wait: bool = False,
    **settings: Any,
) -> Tuned:
    """Tune a LoRA adapter on `data`, folders of runs or files of examples; `g2is train`.

    The model may be another than the one that selected. `settings` are the sections examples, tuning and execution.
    """
    values = {"data": data, "model": _model(model), "out": out, **settings}
    config: TrainConfig = parse(TrainConfig, values, _ORIGIN)
    with _waiting(wait, reporter):
        return train_job.train(config, reporter)


def evaluate(
    *,
    model: Model,
    out: str | Path,
    test: Locations = (),
    adapter: str | Path | None = None,
    reporter: Reporter | None = None,
    wait: bool = False,
    **settings: Any,
) -> Evaluation:
    """Test a model, with a LoRA `adapter` or untuned, on rows of `test`, on tasks, or on both; `g2is evaluate`.

    `settings` are the sections examples, evaluation and execution; evaluation={"tasks": ["gsm8k"]} names tasks of
    lm-evaluation-harness.
    """
    values = {"test": test, "model": _model(model), "out": out, "adapter": adapter, **settings}
    config: EvaluateConfig = parse(EvaluateConfig, values, _ORIGIN)
    with _waiting(wait, reporter):
        return evaluate_job.evaluate(config, reporter)


def compare(
    *,
    pool: Locations,
    target: Targets,
    test: Targets,
    model: Model,
    out: str | Path,
    methods: Sequence[str] | Mapping[str, Mapping[str, Any]] = ("design", "g2is", "less", "less-rr", "rds+"),
    budgets: str | int | Sequence[str | int] = ("1%",),
    num_seeds: int = 3,
    reporter: Reporter | None = None,
    wait: bool = False,
    selector: Selector | None = None,
    representation: Representation | Mapping[str, Any] | None = None,
    **settings: Any,
) -> Comparison:
    """Select, tune and test with each of `methods`; `g2is compare`.

    `methods` are names, or settings of `selection` by a name of yours: {"no sign": {"method": "g2is", "orient":
    False}}. `test` has a location for each target, by its name if `target` has names. A `selector` or `representation`
    of your own is compared by settings that name it: {"mine": {"method": "random", "selector": "own:NAME"}}. Called
    again it goes on with the next cell. `settings` are the sections of `select`, `train` and `evaluate`.
    """
    own = _own(selector, representation, settings)
    values = {
        **{"pool": pool, "targets": target, "tests": test, "out": out, "model": _model(model)},
        **{"methods": methods, "budgets": budgets, "num_seeds": num_seeds},
        **settings,
    }
    config: CompareConfig = parse(CompareConfig, values, _ORIGIN)
    own.check_named(config.selection_of(method, config.budgets[0], 0) for method in config.methods)
    with _waiting(wait, reporter):
        return compare_job.compare_methods(config, reporter, own)


def inspect(
    files: Locations, *, model: Model | None = None, reporter: Reporter | None = None, **settings: Any
) -> Inspection:
    """What is recognised in files of examples, and with a `model` what that would see and learn; `g2is inspect`.

    Rows that cannot be used are its `problems`; nothing is raised of them. `settings` is the section examples.
    """
    values = {"files": files, "model": None if model is None else _model(model), **settings}
    config: InspectConfig = parse(InspectConfig, values, _ORIGIN)
    return inspect_job.inspect(config, reporter)


def _waiting(wait: bool, reporter: Reporter | None) -> AbstractContextManager[None]:
    return waiting(reporter or Silent()) if wait else nullcontext()


def _own(
    selector: Selector | None, representation: Representation | Mapping[str, Any] | None, settings: dict[str, Any]
) -> Own:
    """What is the user's own; the section `representation` goes to `settings`.

    Raises ConfigError where `selector` is none.
    """
    if selector is not None and not isinstance(selector, Selector):
        raise ConfigError(
            "selector: expected g2is.Selector(name, version, function), found"
            f" {selector!r}; a built-in one is named in selection={{'selector': …}}"
        )
    if representation is None or isinstance(representation, Representation):
        return Own(selector, representation)
    settings["representation"] = representation
    return Own(selector)


def _with_budget(function: str, budget: str | int | None, settings: dict[str, Any]) -> dict[str, Any]:
    """`settings` with the budget in the section selection. Raises ConfigError if that has one, too."""
    if budget is None:
        return settings
    given = settings.get("selection", {})
    selection = given.model_dump(exclude_unset=True) if isinstance(given, Section) else given
    if not isinstance(selection, Mapping):
        raise ConfigError(f"{function}: expected a mapping of settings as selection=, found {selection!r}")
    if "budget" in selection:
        raise ConfigError(
            f"{function}: expected one budget, found budget= and selection={{'budget': …}}; leave one out"
        )
    return {**settings, "selection": {**selection, "budget": budget}}


def _model(model: Model) -> dict[str, Any]:
    """The section `model`."""
    section = dict(model) if isinstance(model, Mapping) else {"name": model}
    return {key: str(value) if key == "name" and isinstance(value, Path) else value for key, value in section.items()}


def _config(
    pool: Locations,
    target: Targets,
    model: Model,
    out: str | Path,
    store: str | Path | None,
    settings: dict[str, Any],
) -> Config:
    files = {"pool": pool, "targets": target, "out": out, "store": store}
    config: Config = parse(Config, {**files, "model": _model(model), **settings}, _ORIGIN)
    return config
