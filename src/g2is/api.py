"""The commands as Python functions. Settings are those of config.yaml, as keyword mappings: warmup={"epochs": 2}."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from g2is.comparison.evidence import Comparison
from g2is.config import Config
from g2is.config.compare import CompareConfig
from g2is.config.io import parse
from g2is.errors import ConfigError
from g2is.jobs import select as pipeline
from g2is.jobs.compare import make_cells
from g2is.jobs.custom import Own
from g2is.jobs.gradient_rows import Gradients
from g2is.jobs.run_folder import Selection
from g2is.progress import Reporter
from g2is.representations.own import Representation
from g2is.selection.problem import Selector

Locations = str | Path | Sequence[str | Path]  # files, globs, folders of save_to_disk, hf:org/name:split
Targets = Locations | Mapping[str, Locations]


def select(
    *,
    pool: Locations,
    target: Targets,
    model: str | Path,
    out: str | Path,
    budget: str | int | None = None,
    store: str | Path | None = None,
    reporter: Reporter | None = None,
    selector: Selector | None = None,
    representation: Representation | Mapping[str, Any] | None = None,
    **settings: Any,
) -> Selection:
    """Select `budget` rows of `pool` (default 1 %) that teach `model` what `target` shows; `g2is select`.

    Pool and target are one location or several (docs/formats.md); `target` may also be locations by the names of
    several targets: {"math": "a.jsonl", "med": ["b.jsonl", "c.jsonl"]}.

    `settings` are sections of the configuration (examples, warmup, gradients, selection, execution) as mappings.
    A `selector` or `representation` of your own is used where `selection` names it `own:NAME`; `representation` as a
    mapping is that section.

    Called again with the same arguments it goes on from what is done. Raises a G2isError for what a user can mend.

    >>> selection = g2is.select(pool="pool.jsonl", target="target.jsonl", model="model", out="run")  # doctest: +SKIP
    >>> selection.ids[:2]  # doctest: +SKIP
    ['arithmetic-17', 'arithmetic-204']
    """
    if budget is not None:
        selection = settings.get("selection", {})
        if "budget" in selection:
            raise ConfigError("select: expected one budget, found budget= and selection={'budget': …}; leave one out")
        settings["selection"] = {**selection, "budget": budget}
    own = _own(selector, representation, settings)
    config = _config(pool, target, model, out, store, settings)
    own.check_named([config.selection])
    return pipeline.select(config, reporter, own)


def warm_up(
    *,
    pool: Locations,
    target: Targets,
    model: str | Path,
    out: str | Path,
    store: str | Path | None = None,
    reporter: Reporter | None = None,
    **settings: Any,
) -> list[Path]:
    """Tune the adapter; `g2is warmup`. Returns the kept checkpoints' folders, each an adapter that PEFT loads.

    Raises as `select`.
    """
    config = _config(pool, target, model, out, store, settings)
    return [checkpoint.folder for checkpoint in pipeline.run(config, "warmup", reporter).checkpoints]


def extract_gradients(
    *,
    pool: Locations,
    target: Targets,
    model: str | Path,
    out: str | Path,
    store: str | Path | None = None,
    reporter: Reporter | None = None,
    **settings: Any,
) -> Gradients:
    """Store whatever gradient rows are missing and return all, as arrays; `g2is gradients`.

    `core_knowledge` and `walk` take the arrays as they are. Raises as `select`.
    """
    config = _config(pool, target, model, out, store, settings)
    pipeline.run(config, "gradients", reporter)
    return pipeline.read_gradients(config, reporter)


def compare(
    *,
    pool: Locations,
    target: Targets,
    test: Targets,
    model: str | Path,
    out: str | Path,
    methods: Sequence[str] | Mapping[str, Mapping[str, Any]] = ("design", "g2is", "less", "less-rr", "rds+"),
    budgets: str | int | Sequence[str | int] = ("1%",),
    num_seeds: int = 3,
    reporter: Reporter | None = None,
    selector: Selector | None = None,
    representation: Representation | Mapping[str, Any] | None = None,
    **settings: Any,
) -> Comparison:
    """Select, tune and test with each of `methods`; `g2is compare`.

    `methods` are names, or settings of `selection` by a name of yours: {"no sign": {"method": "g2is", "orient":
    False}}. `test` has a location for each target, by its name if `target` has names. A `selector` or `representation`
    of your own is compared by settings that name it: {"mine": {"method": "random", "selector": "own:NAME"}}. Called
    again it goes on with the next cell. Raises a G2isError for what a user can mend.
    """
    own = _own(selector, representation, settings)
    values = {
        **{"pool": pool, "targets": target, "tests": test, "out": out, "model": {"name": str(model)}},
        **{"methods": methods, "budgets": budgets, "num_seeds": num_seeds},
        **settings,
    }
    config: CompareConfig = parse(CompareConfig, values, "g2is")
    own.check_named(config.selection_of(method, config.budgets[0], 0) for method in config.methods)
    return make_cells(config, reporter, own)


def export(run: str | Path, reporter: Reporter | None = None) -> Selection:
    """Write the selected examples of a run again; `g2is export`."""
    return pipeline.export_run(Path(run), reporter)


def _own(
    selector: Selector | None, representation: Representation | Mapping[str, Any] | None, settings: dict[str, Any]
) -> Own:
    """What is the user's own; the section `representation` goes to `settings`."""
    if representation is None or isinstance(representation, Representation):
        return Own(selector, representation)
    settings["representation"] = representation
    return Own(selector)


def _config(
    pool: Locations,
    target: Targets,
    model: str | Path,
    out: str | Path,
    store: str | Path | None,
    settings: dict[str, Any],
) -> Config:
    files = {"pool": pool, "targets": target, "out": out, "store": store}
    values = {**files, "model": {"name": str(model)}, **settings}
    config: Config = parse(Config, values, "g2is")
    return config
