"""The adapters that some representations have tuned on the targets, kept in the store beside the rows made with them.

NAME/adapters/0/    the tuning on the first target, 1/ on the second, …: as `training/tune.py` lays it out. Where losses
                    are compared with those after fewer passes, first the tunings of these, then the others
"""

from g2is.errors import ModelError
from g2is.jobs.engines import Course
from g2is.jobs.prepare import Prepared
from g2is.jobs.stages import Stage
from g2is.model.folder import resolve_device
from g2is.representations.maker import Maker, Tuned
from g2is.store.files import remove
from g2is.store.manifest import Kind, Store
from g2is.store.markers import markers_in
from g2is.training.tune import damaged_adapter, finished_tuning, tune

_KINDS: tuple[Kind, ...] = ("pool", "target")


def tune_on_targets(maker: Maker, prepared: Prepared, store: Store, folder: Course) -> None:
    """Tune the adapters of `maker` that the store lacks; one that was stopped goes on.

    Where one is gone or damaged, rows that were made with it go: another machine's may differ by a rounding. Raises
    StoreError if the store cannot be written to, ModelError as `tune`.
    """
    lacking = [of for of in maker.tuned if _problem(of) is not None]
    if not lacking:
        return
    store.check_writable("the adapters tuned on the targets")
    tables = [store.path / maker.folder / kind for kind in _KINDS]
    if any(markers_in(table) for table in tables):
        folder.notice(f"{lacking[0].folder}: {_problem(lacking[0])}; it is tuned again, and the rows made with it, too")
        for table in tables:
            remove(table)
    for of in lacking:
        if _problem(of) != _UNFINISHED:
            remove(of.folder)
        title = _title(maker, of)
        with folder.stage(title, "steps", Stage.TUNE_ON_TARGET) as progress:
            device = resolve_device(prepared.config.execution.device)
            try:
                tune(
                    *(prepared.model, of.rows(), of.folder, of.tuning, prepared.config.execution, device),
                    *(progress, folder.notice),
                )
            except ModelError:
                remove(of.folder)  # nothing in it serves: other settings have another
                raise


_UNFINISHED = "not finished"


def _title(maker: Maker, of: Tuned) -> str:
    """What a tuning is called: by its target and its passes, where others have others."""
    title = "tune on target"
    if len({other.target for other in maker.tuned}) > 1:
        title += f" {of.target}"
    if len({other.tuning.epochs for other in maker.tuned}) > 1:
        title += f", {of.tuning.epochs} passes"
    return title


def _problem(of: Tuned) -> str | None:
    """Why an adapter cannot be used as it is; None if it can."""
    if damaged := damaged_adapter(of.folder):
        return f"found {', '.join(damaged)} damaged"
    return _UNFINISHED if finished_tuning(of.folder) is None else None
