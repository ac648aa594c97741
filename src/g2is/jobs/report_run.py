"""`g2is report RUN`: the page of a finished selection, from what lies in its folder and store."""

from contextlib import ExitStack
from pathlib import Path

from g2is.config import Config
from g2is.config.commands import settings_in, told_of
from g2is.config.compare import CompareConfig
from g2is.errors import StoreError
from g2is.jobs.export import check_pool
from g2is.jobs.moved import in_its_folder
from g2is.jobs.prepare import prepare
from g2is.jobs.read_data import read_inputs
from g2is.jobs.report import AT_LEISURE, held, write_report
from g2is.jobs.report_comparison import comparison_around, report_comparison
from g2is.jobs.representation import MadeBy, maker_of
from g2is.methods import GRADIENT, NONE, OWN
from g2is.outputs.tables import SELECTION
from g2is.progress import Reporter, Silent
from g2is.report.plane import check_method
from g2is.store.manifest import open_store
from g2is.store.reach import reached
from g2is.warmup.train import finished_warmup


def report_run(path: Path, out: Path | None = None, method: str = "tsne", reporter: Reporter | None = None) -> Path:
    """Write the page of the selection or comparison in the folder `path`; returns where it lies.

    `out` is another place than report.html in that folder. The run's summary stays as it is: so the same run gives the
    same page. Raises StoreError if the folder holds no selection of examples or is in use, InputError if the pool has
    changed since, ConfigError if `method` is not installed.
    """
    reporter = reporter or Silent()
    layout = check_method(method)
    config = reported(path)
    if isinstance(config, CompareConfig):
        return report_comparison(config, path, out, reporter)
    check_pool(config, path / SELECTION)
    with held(path, "run", out), ExitStack() as opened:
        folder = opened.enter_context(reached(config.store, reporter))
        if not folder.is_dir():
            raise StoreError(
                f"{folder}: expected the store that {path} selected from, found no such folder; put it back, or in"
                f" {path / 'store'}"
            )
        prepared = prepare(config.model_copy(update={"store": folder}), reporter)
        config, representation = prepared.config, prepared.config.selection.representation
        fingerprint = prepared.fingerprint if representation == GRADIENT else None
        store = opened.enter_context(open_store(folder, fingerprint, config.execution.shard_rows))
        cache = store.examples if store.writable else path / "examples"
        examples = read_inputs(prepared, cache, reporter, store.examples)
        made_by: MadeBy = None
        notes = []
        if representation == GRADIENT:
            made_by = finished_warmup(store.warmup) or []
        elif representation.startswith(OWN):
            notes.append(f"The rows of {representation} are known to Python alone: `g2is.select` draws their map.")
        elif representation != NONE:
            made_by = maker_of(representation, prepared, reporter, examples=examples)
        beside = None
        try:
            beside = comparison_around(path)
        except StoreError as error:
            notes.append(f"What the comparison says that this selection belongs to is left out. {error}")
        return write_report(*(config, store, examples, made_by, path, reporter, AT_LEISURE, layout, out, notes, beside))


def reported(path: Path) -> Config | CompareConfig:
    """The settings of the selection or comparison in the folder `path`, wherever that was moved to.

    Raises StoreError for other work, and for a run that has selected nothing yet.
    """
    config = settings_in(path)
    if isinstance(config, CompareConfig):
        return config
    if isinstance(config, Config) and (path / SELECTION).exists():
        return in_its_folder(config, path)
    found = {
        "select": "a run that has selected nothing yet",
        "walk": "a walk on matrices, whose rows have no texts",
    }
    command = None if config is None else config.command
    raise StoreError(
        f"{path}: expected the folder of a selection (`g2is select`, or `g2is walk POOL TARGET`) or of a comparison"
        f" (`g2is compare`), found {found.get(str(command)) or told_of(path, command)}"
    )
