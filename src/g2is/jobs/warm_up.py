"""The warm-up of a run: what the store holds, or trained now; of several seeds, one training after the other."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from g2is.errors import ModelError
from g2is.examples.filter import Filtered
from g2is.examples.keys import overlap
from g2is.jobs.beside_adapter import beside_warmup
from g2is.jobs.measured import to_measure
from g2is.jobs.prepare import Prepared
from g2is.jobs.run_folder import RunFolder
from g2is.jobs.stages import Stage
from g2is.model.all_linear import saver_of_weights
from g2is.model.folder import resolve_device, resolve_dtype
from g2is.store.files import remove
from g2is.store.manifest import Store
from g2is.warmup.seeds import join_warmups, seed_folder, seed_folders, seeds_from
from g2is.warmup.train import (
    COMPLETE,
    Checkpoint,
    draw_rows,
    drawn_keys,
    finished_warmup,
    remove_leftovers,
    train_warmup,
)


def warm_up(prepared: Prepared, store: Store, filtered: Filtered, folder: RunFolder) -> list[Checkpoint]:
    """The store's adapters and moments, trained now if this store has none yet and was given none.

    Raises StoreError where they are to be trained in a store that cannot be written to, ModelError as `train_warmup`.
    """
    finished = finished_warmup(store.warmup)
    if finished is not None:
        remove_leftovers(store.warmup)
        _say_excluded(prepared, store, filtered, folder)
        return finished
    store.check_writable("a finished warm-up")
    config = prepared.config
    seeds = seeds_from(config.warmup.seed, config.selection.warmup_seeds)
    if len(seeds) == 1:
        return _train(prepared, store, store.warmup, "warm up", filtered, folder)
    for number, seed in enumerate(seeds, start=1):
        place = seed_folder(store.warmup, seed)
        if finished_warmup(place) is not None:
            remove_leftovers(place)
        else:
            title = f"warm up {number} of {len(seeds)}, seed {seed}"
            _train(_with_seed(prepared, seed), store, place, title, filtered, folder)
    return join_warmups(store.warmup, seeds)


def _train(
    prepared: Prepared, store: Store, place: Path, title: str, filtered: Filtered, folder: RunFolder
) -> list[Checkpoint]:
    config, pool = prepared.config, filtered.pool
    with folder.stage(title, "steps", Stage.WARM_UP) as progress:
        device = resolve_device(config.execution.device)
        of_all = config.gradients.parameters == "all"
        model = to_measure(prepared.model.load(device), config, to_train=True)
        rows = draw_rows(place, pool.keys, config.warmup.fraction, config.warmup.seed)
        sample = pool.token_rows(rows)
        try:
            return train_warmup(
                *(model, sample, place, config.warmup, config.execution, progress, folder.notice),
                base=prepared.model.config,
                reach=folder.counts.get("all_linear" if of_all else "lora"),
                keep_beside=None if of_all else beside_warmup(prepared, folder),
                gradients=config.gradients,
                save=saver_of_weights(resolve_dtype(config.model, device)) if of_all else None,
            )
        except ModelError as error:
            remove(place)
            if any((of / COMPLETE).exists() for of in seed_folders(store.warmup).values()):
                kept = f"The warm-ups in {store.warmup} that are finished are kept: the same command goes on from there"
                error.args = (f"{error}. {kept}; for other settings, name another --store",)
            else:
                remove(store.warmup)  # nothing in it serves: other settings may be tried on the same store
            raise


def _with_seed(prepared: Prepared, seed: int) -> Prepared:
    warmup = prepared.config.warmup.model_copy(update={"seed": seed})
    return replace(prepared, config=prepared.config.model_copy(update={"warmup": warmup}))


def _say_excluded(prepared: Prepared, store: Store, filtered: Filtered, folder: RunFolder) -> None:
    """Say how many rows that the store's warm-up was trained on are excluded now."""
    drawn = np.concatenate(list(_drawn(prepared, store, filtered)))
    read_only = overlap(drawn, filtered.read.keys) & ~overlap(drawn, filtered.pool.keys)
    if num_excluded := int(read_only.sum()):
        folder.notice(
            f"{num_excluded} of the {len(drawn)} rows that the store's warm-up was trained on are now excluded; it"
            " serves all the same. To train without them, name another --store"
        )


def _drawn(prepared: Prepared, store: Store, filtered: Filtered) -> Iterator[np.ndarray]:
    """The content keys (n, 16) of the rows that each warm-up of the store was trained on."""
    config = prepared.config.warmup
    for seed, place in (seed_folders(store.warmup) or {config.seed: store.warmup}).items():
        yield drawn_keys(place, filtered.pool.keys, config.fraction, seed)
