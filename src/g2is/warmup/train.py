"""The warm-up: a short training with the stock Trainer, resumable after a kill at any moment (method.md step 1).

It trains a LoRA adapter, or all linear layers (`gradients.parameters: all`).

Folder layout below `warmup/`:

    sample.json              keys of the pool rows drawn, in the order in which they are trained on, written before
                             training: a pool that grows redraws nothing
    trainer/checkpoint-N/    the Trainer's own (`model/checkpoints.py`); removed in the end
    epoch-E/                 adapter_model.safetensors, adapter_config.json, moments.safetensors, README.md, tokenizer,
                             g2is_examples.json, digests.json; of all linear layers linear_weights.safetensors,
                             moments.safetensors, digests.json
    complete.json            written last: the kept checkpoints, their digests, their mean learning rates, the losses
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from g2is.config import ExecutionConfig, GradientsConfig, ModelConfig, WarmupConfig
from g2is.errors import StoreError
from g2is.model.batches import Row
from g2is.progress import Progress
from g2is.store.digests import damaged_files, digest_of
from g2is.store.draw import random_order
from g2is.store.files import read_json, remove, write_json
from g2is.store.given import inside, part
from g2is.store.moments import ADAPTER, LINEAR_WEIGHTS, adapter_digest

if TYPE_CHECKING:  # what trains is imported when it trains: a finished warm-up is only read
    from torch import nn

SAMPLE = "sample.json"
REACH = "reach"  # of complete.json: how far the adapter reaches
COMPLETE = "complete.json"
_KEY = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Checkpoint:
    """A kept adapter with its moments.

    `weight` is the mean learning rate of its epoch over the sum of all kept epochs' (method.md, several checkpoints);
    `digest` is a hash of adapter and moments.
    """

    name: str
    folder: Path
    weight: float
    digest: str

    def check(self) -> None:
        """Raise StoreError if adapter or moments are not what was kept."""
        found = adapter_digest(self.folder)
        if found != self.digest:
            raise StoreError(
                f"{self.folder}: expected the adapter and moments that the warm-up kept ({self.digest}), found them"
                f" damaged or changed ({found}). Put them back, or name another --store"
            )


def sample_size(num_rows: int, fraction: float) -> int:
    """How many of `num_rows` the warm-up draws: the `fraction`, rounded down, at least one."""
    return max(1, int(num_rows * fraction))


def draw_anew(keys: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """The rows that a warm-up draws which has drawn none yet, (n,) int64: `keys` (N, 16) uint8 and the seed decide."""
    return random_order(keys, seed, "warm-up")[: sample_size(len(keys), fraction)]


def draw_rows(folder: Path, keys: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """The pool rows to warm up on, (n,) int64, drawn at random without repetition.

    `keys` is (N, 16) uint8. They and the seed decide draw and order, the pool's order does not. The draw is kept in
    `folder`, so that a pool that grew while the warm-up was interrupted draws nothing anew. Raises StoreError if a
    drawn row is no longer in the pool.
    """
    record = folder / SAMPLE
    if not record.exists():
        drawn = draw_anew(keys, fraction, seed)
        write_json(record, {"keys": [keys[row].tobytes().hex() for row in drawn], "seed": seed, "fraction": fraction})
        return drawn
    row_of = {key.tobytes().hex(): row for row, key in reversed(list(enumerate(keys)))}
    drawn_before = read_json(record)
    if (drawn_before.get("seed", seed), drawn_before.get("fraction", fraction)) != (seed, fraction):
        raise StoreError(
            f"{record}: expected the draw of seed {seed} and fraction {fraction}, found that of seed"
            f" {drawn_before.get('seed')} and fraction {drawn_before.get('fraction')}: it is another store's. Put this"
            " one's back, or name another --store"
        )
    wanted = _keys(record)
    missing = [key for key in wanted if key not in row_of]
    if missing:
        raise StoreError(
            f"{record}: expected the {len(wanted)} pool rows that the interrupted warm-up was trained on, found"
            f" {len(missing)} of them gone from the pool or excluded. Give the pool it was started with, or name"
            " another --store"
        )
    return np.array([row_of[key] for key in wanted], np.int64)


def drawn_keys(folder: Path, keys: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """The content keys of the rows that the warm-up in `folder` was trained on, (n, 16) uint8; none if it was given.

    Where their list was lost they are drawn again, from the pool of `keys` (N, 16) uint8; none where that pool is
    another one than was drawn from.
    """
    expected = None if (folder / SAMPLE).exists() else read_json(folder / COMPLETE).get("sample_digest")
    if expected is not None:
        draw_rows(folder, keys, fraction, seed)
        if digest_of(folder / SAMPLE) != expected:
            remove(folder / SAMPLE)
    drawn = _keys(folder / SAMPLE) if (folder / SAMPLE).exists() else []
    return np.frombuffer(bytes.fromhex("".join(drawn)), np.uint8).reshape(len(drawn), 16)


def _keys(record: Path) -> list[str]:
    """The content keys, 32 hex digits each, that a draw kept. Raises StoreError if they are none."""
    keys = part(read_json(record), "keys", list, record)
    if wrong := [key for key in keys if not (isinstance(key, str) and _KEY.fullmatch(key))]:
        raise StoreError(
            f"{record}: expected content keys of 32 hex digits as `keys`, found {str(wrong[0])[:80]!r}. Put a whole"
            " copy back, or name another --store"
        )
    return keys


def finished_warmup(folder: Path) -> list[Checkpoint] | None:
    """The checkpoints of a warm-up that ran to its end, or None.

    Raises StoreError if what says so is damaged, or names what is not in the folder.
    """
    record = folder / COMPLETE
    if not record.exists():
        return None
    entries = part(read_json(record), "checkpoints", list, record)
    checkpoints = [
        Checkpoint(
            part(entry, "name", str, record),
            _place(folder, entry, record),
            part(entry, "weight", float, record),
            part(entry, "digest", str, record),
        )
        for entry in (of if isinstance(of, dict) else {} for of in entries)
    ]
    if not checkpoints:
        raise StoreError(
            f"{record}: expected at least one checkpoint, found none. Put a whole copy back, or name another --store"
        )
    weights = [checkpoint.weight for checkpoint in checkpoints]
    if not (all(weight >= 0 for weight in weights) and abs(sum(weights) - 1) < 1e-6):  # NaN is neither
        raise StoreError(
            f"{record}: expected weights of checkpoints that are at least 0 and come to 1, found {weights}. Put a whole"
            " copy back, or name another --store"
        )
    for checkpoint in checkpoints:
        if not any((checkpoint.folder / name).exists() for name in (ADAPTER, LINEAR_WEIGHTS)):
            raise StoreError(
                f"{checkpoint.folder}: expected the adapter that the warm-up kept, found none. Put it back, or train it"
                f" again with `g2is verify {folder.parent} --repair` and the same command"
            )
    return checkpoints


def remove_leftovers(folder: Path) -> None:
    """Remove what a kill left of the Trainer's own in a finished warm-up, by who holds the store alone."""
    if os.access(folder, os.W_OK):
        remove(folder / "trainer")


def _place(folder: Path, entry: Mapping[str, Any], record: Path) -> Path:
    """Where the checkpoint of an `entry` lies: below its name, or of several warm-ups in the folder it names."""
    key = "folder" if "folder" in entry else "name"
    return inside(folder, entry[key], f"{record}: `{key}`")


def kept_reach(folder: Path) -> dict[str, Any] | None:
    """How far the adapter of the finished warm-up in `folder` reaches, as it was noted when that was made; or None.

    Raises StoreError if it is not what is noted there.
    """
    record = folder / COMPLETE
    if not record.exists() or REACH not in (written := read_json(record)):  # older ones do not say it
        return None
    found = part(written, REACH, dict, record)
    kinds = {"layers": int, "blocks_reached": int, "blocks": int, "missed": dict, "beside_text": list}
    kinds |= {"left_out": dict} if "left_out" in found else {}  # of all linear layers
    return {name: part(found, name, kind, record) for name, kind in kinds.items()}


def train_warmup(
    model: "nn.Module",
    rows: Sequence[Row],
    folder: Path,
    config: WarmupConfig,
    execution: ExecutionConfig,
    progress: Progress,
    notice: Callable[[str], None],
    base: ModelConfig | None = None,
    reach: Mapping[str, Any] | None = None,
    keep_beside: Callable[[Path], None] | None = None,
    gradients: GradientsConfig | None = None,
    save: "Callable[[nn.Module, Path], None] | None" = None,
) -> list[Checkpoint]:
    """Train what is trainable of `model` on `rows` and keep it, with its moments, for the last epoch or each.

    That is an adapter, or all linear layers where `gradients` say so; then `save` writes them. `base` names the model
    without the adapter, for the others of several processes; `reach` says how far the adapter
    reaches, and is kept with it; `keep_beside` writes what else is to lie in an adapter's folder. Goes on from the last
    sound checkpoint in `folder`; `notice` is told of damaged ones. Batch order, dropout and optimizer come out bit for
    bit as in an undisturbed run on the same machine, threads, versions and number of processes.
    """
    from g2is.model.trainer import save_adapter, train_adapter
    from g2is.warmup.keeper import Keeper

    gradients = gradients or GradientsConfig()
    trainer_folder = folder / "trainer"
    _check_kept(folder, notice)
    keep_each = config.checkpoints == "each"
    state = train_adapter(
        model,
        rows,
        trainer_folder,
        config,
        "linear",
        execution,
        progress,
        Keeper(folder, model, keep_each, keep_beside, save or save_adapter),
        notice=notice,
        base=base,
        parameters=gradients.parameters,
        optimizer="adafactor" if gradients.is_factored else "adamw_torch",
    )
    history = [entry for entry in state.log_history if "learning_rate" in entry]
    names = [f"epoch-{epoch}" for epoch in range(1, config.epochs + 1)]
    kept = names if keep_each else names[-1:]
    rates = {name: _mean_rate(history, epoch) for epoch, name in enumerate(names, start=1)}
    total = sum(rates[name] for name in kept)
    checkpoints = [
        Checkpoint(
            name, folder / name, rates[name] / total if total > 0 else 1 / len(kept), adapter_digest(folder / name)
        )
        for name in kept
    ]
    record = {
        "checkpoints": [{"name": c.name, "weight": c.weight, "digest": c.digest} for c in checkpoints],
        "num_examples": len(rows),
        "num_steps": state.global_step,
        "loss_by_step": [round(entry["loss"], 6) for entry in history],
        "sample_digest": digest_of(folder / SAMPLE),
    }
    if reach is not None:
        record[REACH] = dict(reach)
    write_json(folder / COMPLETE, record)
    remove(trainer_folder)
    return checkpoints


def _check_kept(folder: Path, notice: Callable[[str], None]) -> None:
    """Begin anew where an epoch's adapter that a stopped warm-up kept is not as it was written."""
    kept = sorted(folder.glob("epoch-*"))
    damaged = [f"{epoch / name}" for epoch in kept for name in damaged_files(epoch)]
    if damaged:
        notice(f"{damaged[0]}: expected what the stopped warm-up kept, found it damaged; the warm-up begins anew")
        for leftover in (*kept, folder / "trainer"):
            remove(leftover)


def _mean_rate(history: Sequence[dict[str, Any]], epoch: int) -> float:
    rates = [entry["learning_rate"] for entry in history if epoch - 1 < entry["epoch"] <= epoch + 1e-9]
    return float(np.mean(rates)) if rates else 0.0
