"""From a pool, a target and a model to the selected examples, as Python functions."""

from pathlib import Path
from typing import Unpack

from g2is.api.given import (
    ORIGIN,
    Locations,
    Model,
    Targets,
    own_of,
    reporting,
    run_config,
    section_of,
    with_selection,
)
from g2is.api.settings import MatrixSettings, RepresentationSettings, SelectSettings, StageSettings
from g2is.config import MatrixWalkConfig
from g2is.config.home import at_home
from g2is.config.io import parse
from g2is.errors import ConfigError
from g2is.jobs import export as export_job
from g2is.jobs import hand_over as hand_over_job
from g2is.jobs import publish as publish_job
from g2is.jobs import select as select_job
from g2is.jobs import select_matrices as matrices_job
from g2is.jobs.gradient_rows import Gradients
from g2is.jobs.run_folder import Selection
from g2is.progress import Reporter
from g2is.representations.own import Representation
from g2is.selection.problem import Selector
from g2is.selection.record import Picks, Walk


def select(
    *,
    pool: Locations,
    target: Targets,
    model: Model,
    out: str | Path,
    budget: str | int | None = None,
    method: str | None = None,
    store: str | Path | None = None,
    reporter: Reporter | None = None,
    wait: bool = False,
    selector: Selector | None = None,
    representation: Representation | RepresentationSettings | None = None,
    **settings: Unpack[SelectSettings],
) -> Selection:
    """Select `budget` rows of `pool` (default 1 %) that teach `model` what `target` shows; `g2is select`.

    Pool and target are one location or several (docs/formats.md); `target` may also be locations by the names of
    several targets: {"math": "a.jsonl", "med": ["b.jsonl", "c.jsonl"]}. `method` is one of `g2is methods`, by default
    design.

    `settings` are the sections examples, warmup, gradients, selection and execution. A `selector` or `representation`
    of your own is used where `selection` names it `own:NAME`; `representation` as a mapping is that section.

    >>> selection = g2is.select(pool="pool.jsonl", target="target.jsonl", model="model", out="run")  # doctest: +SKIP
    >>> selection.ids[:2]  # doctest: +SKIP
    ['arithmetic-17', 'arithmetic-204']
    """
    given = with_selection("select", {"budget": budget, "method": method}, settings)
    own = own_of(selector, representation)
    config = run_config(pool, target, model, out, store, {**given, **section_of(representation)})
    own.check_named([config.selection])
    with reporting(reporter, wait) as reporter:
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
    **settings: Unpack[StageSettings],
) -> list[Path]:
    """Tune the adapter; `g2is warmup`. Returns the kept checkpoints' folders, each an adapter that PEFT loads.

    Settings as of `select`.
    """
    config = run_config(pool, target, model, out, store, settings)
    with reporting(reporter, wait) as reporter:
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
    **settings: Unpack[StageSettings],
) -> Gradients:
    """Store whatever gradient rows are missing and return all, as arrays; `g2is gradients`.

    `core_knowledge` and `walk` take the arrays as they are. Settings as of `select`.
    """
    config = run_config(pool, target, model, out, store, settings)
    with reporting(reporter, wait) as reporter:
        select_job.run(config, "gradients", reporter)
        return select_job.read_gradients(config, reporter)


def walk_matrices(
    *,
    pool_gradients: str | Path,
    target_gradients: str | Path,
    out: str | Path,
    graph: str | Path | None = None,
    budget: str | int | None = None,
    method: str | None = None,
    reporter: Reporter | None = None,
    wait: bool = False,
    **settings: Unpack[MatrixSettings],
) -> Walk | Picks:
    """Select `budget` rows (default 1 %) of a matrix that was computed elsewhere; `g2is walk --pool-gradients …`.

    The files hold (N, k) and (M, k) floats: .npy, .safetensors, .pt or zarr. `graph`, (N, n) .npy, names each row's
    nearest rows, best first. `settings` is the section selection. A `Walk` is returned if the method walks, `Picks` for
    another selector; a row goes by its number.
    """
    files = {"pool_gradients": pool_gradients, "target_gradients": target_gradients, "graph": graph, "out": out}
    given = with_selection("walk_matrices", {"budget": budget, "method": method}, settings)
    config: MatrixWalkConfig = parse(MatrixWalkConfig, {**files, **given}, ORIGIN)
    with reporting(reporter, wait) as reporter:
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
    run = at_home(Path(run))
    with reporting(reporter, wait) as reporter:
        if trainer is not None and to is not None:
            hand_over_job.hand_over(run, trainer, Path(to), reporter)
        if push_to_hub is not None:
            publish_job.publish(run, push_to_hub, reporter)
        return export_job.selection_in(run) if found else export_job.export_run(run, reporter)
