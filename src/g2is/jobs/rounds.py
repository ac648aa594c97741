"""A target's gradients taken anew between rounds of a selection (`selection.rounds`).

The adapter of each of the run's checkpoints is tuned on the rows taken so far, with the settings of the warm-up, and
the target's gradients are taken there. The pool's rows stay what they are: to take them anew would cost a whole
extraction a round, and what has changed most is what the target asks for.

    OUT/rounds/HASH/CHECKPOINT/   such a tuning, laid out as a warm-up (`warmup/train.py`), with the adapter and Adam's
                                  moments; HASH is of all that decides it, among which the rows and their order

A tuning that was stopped goes on, one that is finished is used as it is: a run that is given again chooses the same
rows, so it comes to the same HASH. All of it is removed once the selection is written.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from g2is.config.targets import titled
from g2is.errors import ModelError, SelectionError, StoreError, first_line
from g2is.examples.dataset import Examples
from g2is.gradients.extract import load_extractor
from g2is.gradients.rows import rows_of_shard
from g2is.jobs.gradient_rows import target_rows
from g2is.jobs.prepare import Prepared
from g2is.jobs.representation import MadeBy
from g2is.jobs.run_folder import RunFolder
from g2is.model.adapter import load_adapter
from g2is.model.folder import resolve_device
from g2is.representations.maker import Maker
from g2is.selection.problem import Renew
from g2is.store.files import remove, write_json
from g2is.store.fingerprint import digest
from g2is.warmup.train import SAMPLE, Checkpoint, finished_warmup, remove_leftovers, train_warmup

ROUNDS = "rounds"


def renewing(prepared: Prepared, examples: Examples, made_by: MadeBy, folder: RunFolder) -> Renew | None:
    """What gives a target's gradients anew after a tuning on rows of the pool; None if the selection has no rounds.

    They are as `target_rows` gives them. What it gives raises StoreError where a checkpoint of `made_by` is damaged,
    SelectionError where it cannot be tuned so, or no example has a gradient any more.
    """
    config = prepared.config
    if config.selection.rounds == 1 or made_by is None or isinstance(made_by, Maker):
        return None
    checkpoints = made_by

    def renew(name: str, rows: Sequence[int]) -> np.ndarray:
        taken, of_target = np.array(rows, np.int64), examples.targets[name]
        place = folder.path / ROUNDS / _hash(prepared, checkpoints, examples.pool.keys[taken])
        try:
            tuned = {of.name: _tuned(prepared, examples, of, taken, place / of.name, folder) for of in checkpoints}
        except ModelError as error:  # of this selection: others over the same gradients can be made
            raise SelectionError(f"selection.rounds, {titled(name)} after {len(taken)} rows: {error}") from None
        extractor = load_extractor(
            *(prepared.model, tuned, config.gradients.projection, config.execution, folder.notice)
        )
        form = config.gradients.target_form
        shard = extractor.extract(of_target.token_rows(), of_target.keys, [form])
        stored = rows_of_shard(shard, [(of.name, of.weight) for of in checkpoints], form)
        if not stored.usable.any():
            raise SelectionError(
                f"{titled(name)}: expected an example with a gradient after {len(taken)} rows, found none of"
                f" {len(of_target)}: the tuning diverged. Lower warmup.learning_rate, or take fewer selection.rounds"
            )
        losses = np.stack([shard.arrays[f"{of.name}/loss"] for of in checkpoints])
        folder.notice(
            f"{titled(name)}: tuned on the {len(taken)} rows taken so far; its examples' loss is {np.mean(losses):.3f}"
            " an answer token, and what follows is chosen by their gradients there"
        )
        return target_rows(config, stored)

    return renew


def _hash(prepared: Prepared, checkpoints: Sequence[Checkpoint], keys: np.ndarray) -> str:
    """Of all that decides a tuning on rows of the content `keys` (n, 16), in this order."""
    warmup = prepared.config.warmup.model_dump(mode="json", exclude={"adapter"})
    made_of = {
        **prepared.fingerprint,
        "adapters": ", ".join(f"{of.name} {of.digest}" for of in checkpoints),
        "as": json.dumps(warmup, sort_keys=True),  # which a store of a user's own adapter does not say
        "rows": hashlib.blake2b(keys.tobytes(), digest_size=16).hexdigest(),
    }
    return digest(made_of)


def _tuned(
    prepared: Prepared, examples: Examples, start: Checkpoint, rows: np.ndarray, place: Path, folder: RunFolder
) -> Path:
    """The folder of the adapter that the one of `start` becomes by a tuning on `rows` of the pool, kept in `place`."""
    if (kept := _kept(place, folder)) is not None:
        return kept
    start.check()
    config = prepared.config
    execution = config.execution.model_copy(update={"report_to": ()})
    model = load_adapter(prepared.model, start.folder, resolve_device(execution.device))
    keys = [examples.pool.keys[row].tobytes().hex() for row in rows]
    write_json(place / SAMPLE, {"keys": keys, "seed": config.warmup.seed})
    warmup = config.warmup.model_copy(update={"checkpoints": "last"})
    # of the reporter itself: its seconds are the selection's, within which it is
    with folder.reporter.stage(f"tune on {len(rows)} rows taken", "steps") as progress:
        (made,) = train_warmup(
            *(model, examples.pool.token_rows(rows), place, warmup, execution, progress, folder.notice),
        )
    return made.folder


def _kept(place: Path, folder: RunFolder) -> Path | None:
    """The adapter of a tuning that is finished; one that is damaged is begun anew."""
    try:
        kept = finished_warmup(place)
        if kept is not None:
            kept[0].check()
            remove_leftovers(place)
            return kept[0].folder
    except StoreError as error:
        folder.notice(f"{place}: it is tuned again: {first_line(error)}")
        remove(place)
    return None
