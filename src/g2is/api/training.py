"""What becomes of a selection: a tuned model, its test, methods side by side; and a look at files before."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from g2is.api.given import ORIGIN, Locations, Model, Targets, model_section, own_of, reporting, section_of
from g2is.api.settings import (
    CompareSettings,
    EvaluateSettings,
    InspectSettings,
    RepresentationSettings,
    TrainSettings,
)
from g2is.comparison.evidence import Comparison
from g2is.config import EvaluateConfig, InspectConfig, TrainConfig
from g2is.config.compare import COMPARED, CompareConfig
from g2is.config.io import parse
from g2is.evaluation.rows import Evaluation
from g2is.examples.inspect import Inspection
from g2is.jobs import compare as compare_job
from g2is.jobs import evaluate as evaluate_job
from g2is.jobs import inspect as inspect_job
from g2is.jobs import merge as merge_job
from g2is.jobs import train as train_job
from g2is.jobs.train import Tuned
from g2is.progress import Reporter, default_reporter
from g2is.representations.own import Representation
from g2is.selection.problem import Selector


def train(
    *,
    data: Locations,
    model: Model,
    out: str | Path,
    reporter: Reporter | None = None,
    wait: bool = False,
    **settings: Unpack[TrainSettings],
) -> Tuned:
    """Tune a LoRA adapter on `data`, folders of runs or files of examples; `g2is train`.

    The model may be another than the one that selected. `settings` are the sections examples, tuning and execution.
    """
    values = {"data": data, "model": model_section(model), "out": out, **settings}
    config: TrainConfig = parse(TrainConfig, values, ORIGIN)
    with reporting(reporter, wait) as reporter:
        return train_job.train(config, reporter)


def evaluate(
    *,
    model: Model,
    out: str | Path,
    test: Locations = (),
    adapter: str | Path | None = None,
    reporter: Reporter | None = None,
    wait: bool = False,
    **settings: Unpack[EvaluateSettings],
) -> Evaluation:
    """Test a model, with a LoRA `adapter` or untuned, on rows of `test`, on tasks, or on both; `g2is evaluate`.

    `settings` are the sections examples, evaluation and execution; evaluation={"tasks": ["gsm8k"]} names tasks of
    lm-evaluation-harness.
    """
    values = {"test": test, "model": model_section(model), "out": out, "adapter": adapter, **settings}
    config: EvaluateConfig = parse(EvaluateConfig, values, ORIGIN)
    with reporting(reporter, wait) as reporter:
        return evaluate_job.evaluate(config, reporter)


def compare(
    *,
    pool: Locations,
    target: Targets,
    test: Targets,
    model: Model,
    out: str | Path,
    methods: Sequence[str] | Mapping[str, Mapping[str, Any]] = COMPARED,
    budgets: str | int | Sequence[str | int] = ("1%",),
    num_seeds: int = 3,
    reporter: Reporter | None = None,
    wait: bool = False,
    selector: Selector | None = None,
    representation: Representation | RepresentationSettings | None = None,
    **settings: Unpack[CompareSettings],
) -> Comparison:
    """Select, tune and test with each of `methods`; `g2is compare`.

    `methods` are names, or settings of `selection` by a name of yours: {"no sign": {"method": "g2is", "orient":
    False}}. `test` has a location for each target, by its name if `target` has names. A `selector` or `representation`
    of your own is compared by settings that name it: {"mine": {"method": "random", "selector": "own:NAME"}}. Called
    again it goes on with the next cell. `settings` are the sections of `select`, `train` and `evaluate`.
    """
    own = own_of(selector, representation)
    values = {
        **{"pool": pool, "targets": target, "tests": test, "out": out, "model": model_section(model)},
        **{"methods": methods, "budgets": budgets, "num_seeds": num_seeds},
        **settings,
        **section_of(representation),
    }
    config: CompareConfig = parse(CompareConfig, values, ORIGIN)
    own.check_named(config.selection_of(method, config.budgets[0], 0) for method in config.methods)
    with reporting(reporter, wait) as reporter:
        return compare_job.compare_methods(config, reporter, own)


def inspect(
    files: Locations,
    *,
    model: Model | None = None,
    reporter: Reporter | None = None,
    **settings: Unpack[InspectSettings],
) -> Inspection:
    """What is recognised in files of examples, and with a `model` what that would see and learn; `g2is inspect`.

    Rows that cannot be used are its `problems`; nothing is raised of them. `settings` is the section examples.
    """
    values = {"files": files, "model": None if model is None else model_section(model), **settings}
    config: InspectConfig = parse(InspectConfig, values, ORIGIN)
    return inspect_job.inspect(config, reporter or default_reporter())


def merge(run: str | Path, to: str | Path | None = None, reporter: Reporter | None = None, wait: bool = False) -> Path:
    """Write the model with the adapter of the training in `run` added to its weights; `g2is merge`.

    Returns where it lies: `to`, a new folder, or RUN/merged. Sums are made in float32 and kept in the type that the
    training computed in.
    """
    with reporting(reporter, wait) as reporter:
        return merge_job.merge(Path(run), None if to is None else Path(to), reporter)
