"""The stores of a run or a comparison: where they lie, and holding them with its folder."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from g2is.config import Config
from g2is.config.commands import settings_in
from g2is.errors import G2isError
from g2is.jobs.verify_store import is_store
from g2is.store.lock import locked


def store_of(path: Path, config: Config) -> Path | str:
    """The store of the run in `path`: in its folder, wherever that was moved to, or where its settings say."""
    return path / "store" if is_store(path / "store") else config.store


@contextmanager
def held_with_stores(path: Path, what: str) -> Iterator[None]:
    """Hold the folder of a command, called a `what`, and its stores, as who writes to them does.

    So none that another process is at is checked or mended. Raises StoreError if one is in use.
    """
    stores = sorted((path / "store").glob("seed-*"))
    with suppress(G2isError):  # settings that cannot be read: a damage, said with the others
        if isinstance(config := settings_in(path), Config) and isinstance(store := store_of(path, config), Path):
            stores.append(store)
    with ExitStack() as held:
        for folder, kind in ((path, what), *((store, "store") for store in stores if is_store(store))):
            if os.access(folder, os.W_OK):  # else it has no lock of its own: what counts in it does not change
                held.enter_context(locked(folder, kind))
        yield
