"""Where the store of a run lies whose folder was moved."""

from pathlib import Path

from g2is.config import Config
from g2is.store.manifest import MANIFEST

SELECTIONS = "selections"  # below a comparison's folder: a run folder of each cell that selects


def in_its_folder(config: Config, run: Path) -> Config:
    """The settings of the run in the folder `run`, which may have been moved there, and its store with it.

    The store of a comparison's cell lies in the comparison's folder.
    """
    comparison = next((above.parent for above in run.resolve().parents if above.name == SELECTIONS), None)
    places = [run / "store"]
    if comparison is not None and config.store is not None:
        places.append(comparison / "store" / Path(config.store).name)
    store = next((place for place in places if (place / MANIFEST).exists()), config.store)
    return config.model_copy(update={"out": run, "store": store})
