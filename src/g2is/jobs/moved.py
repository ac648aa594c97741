"""Where the store of a run lies whose folder was moved."""

from pathlib import Path

from g2is.comparison.files import JSON
from g2is.config import Config
from g2is.store.manifest import MANIFEST

SELECTIONS = "selections"  # below a comparison's folder: OUT/selections/METHOD/TARGET/BUDGET/seed-S


def comparison_above(run: Path) -> Path | None:
    """The folder of the comparison that made the run in the folder `run`; None if it belongs to none."""
    above = run.resolve().parents
    is_cell = len(above) > 4 and above[3].name == SELECTIONS and (above[4] / JSON).is_file()
    return above[4] if is_cell else None


def in_its_folder(config: Config, run: Path) -> Config:
    """The settings of the run in the folder `run`, which may have been moved there, and its store with it.

    The store of a comparison's cell lies in the comparison's folder.
    """
    places, comparison = [run / "store"], comparison_above(run)
    if comparison is not None and config.store is not None:
        places.append(comparison / "store" / Path(str(config.store)).name)
    store = next((place for place in places if (place / MANIFEST).exists()), config.store)
    return config.model_copy(update={"out": run, "store": store})
