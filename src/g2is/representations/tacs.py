"""TACS (arXiv 2605.09404): by how much tuning on the target alone lowers each row's loss, by forward passes only.

An adapter of rank 1 is tuned on each target for a moment (`jobs/target_adapters.py`). What is kept of an example are
its losses, per learned token: of the model as it is, and with each adapter. A pool row's score for a target is
(L₀ - L₁) / L₀. Losses belong to the targets they were made for, so each set of targets has a folder of its own in the
store.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from g2is.errors import StoreError
from g2is.methods import RepresentationKind, Section
from g2is.representations.maker import ArraysOf, Maker, Materials, Scores, TargetExamples, Tuned
from g2is.store.fingerprint import Fingerprint, digest

if TYPE_CHECKING:
    from torch import nn

    from g2is.model.batches import Row

VERSION = 1  # to be raised with every change of ours that changes losses
ADAPTERS = "adapters"  # the folder of the tunings, beside the tables of rows
_RANK = 1
_BATCH_SIZE = 32  # examples an optimizer step


class TacsSettings(Section):
    """How an adapter of rank 1 is tuned on each target."""

    path_epochs: int = Field(4, ge=1, description="passes over the target's examples, in steps of 32")
    path_learning_rate: float = Field(
        2e-5, gt=0, description="of these passes, with linear decay; a few-million-parameter model needs about 1e-3"
    )


def tacs(materials: Materials) -> Maker:
    """Losses of the model as it is and as tuned on each of the targets; of no target where none are given."""
    from g2is.config import LoraConfig, TuningConfig

    settings = materials.settings.part(TacsSettings)
    tuning = TuningConfig(
        lora=LoraConfig(rank=_RANK),
        epochs=settings.path_epochs,
        learning_rate=settings.path_learning_rate,
        schedule="linear",
        batch_size=_BATCH_SIZE,
    )
    # an adapter depends on its target's examples and their order, wherever they lie and whatever it is called
    of_targets = [hashlib.blake2b(of.keys.tobytes(), digest_size=16).hexdigest() for of in materials.targets.values()]
    fingerprint: Fingerprint = {
        "tacs.version": VERSION,
        "tacs.epochs": tuning.epochs,
        "tacs.learning_rate": tuning.learning_rate,
        "tacs.targets": ", ".join(of_targets),
        **materials.model_fingerprint,
    }
    place = f"tacs-{digest(fingerprint)[:16]}"
    folders = [materials.store / place / ADAPTERS / f"{number}" for number in range(len(of_targets))]
    tuned = [
        Tuned(name, folder, tuning, partial(_all_rows, of))
        for (name, of), folder in zip(materials.targets.items(), folders, strict=True)
    ]
    return Maker(
        "tacs",
        "loss row",
        fingerprint,
        lambda: _open(materials, [of.adapter for of in tuned]),
        score=falls,
        array="losses",
        place=place,
        tuned=tuned,
    )


def _all_rows(of: TargetExamples) -> "list[Row]":
    return of.token_rows(np.arange(len(of.keys)))


def falls(pool: np.ndarray, targets: Sequence[np.ndarray]) -> Scores:
    """The fall (L₀ - L₁) / L₀ of each pool row's loss by tuning on each target.

    `pool` (N, 1 + T) float32 are losses, the first of the untuned model, the others by target; `targets` are the same
    of each target's M examples. Each target's (N, M) scores have M equal columns: no example has one of its own. A row
    is usable if its losses are numbers above 0.
    """
    usable = _usable(pool)
    losses = np.where(usable[:, None], pool, 1.0).astype(np.float64)
    found = (losses[:, :1] - losses[:, 1:]) / losses[:, :1]
    scores = [
        np.repeat(column[:, None], len(of), axis=1).astype(np.float32)
        for column, of in zip(found.T, targets, strict=True)
    ]
    return Scores(scores, usable, [_usable(of) for of in targets], what="loss", by_example=False)


def _usable(losses: np.ndarray) -> np.ndarray:
    return np.asarray(np.isfinite(losses).all(axis=1) & (losses[:, 0] > 0))


def _open(materials: Materials, adapters: Sequence[Path]) -> ArraysOf:
    from g2is.model.folder import resolve_device
    from g2is.store.digests import DIGESTS, damaged_files

    for adapter in adapters:
        if not (adapter / DIGESTS).is_file() or damaged_files(adapter):
            raise StoreError(
                f"{adapter}: expected the adapter that was tuned on a target, found none or a damaged one. Give the"
                " command again that selects with it: it is tuned first"
            )
    device = resolve_device(materials.execution.device)
    model = with_adapters(materials.model.load(device), adapters)
    batch_tokens = materials.execution.tokens_a_batch(device.type)

    def arrays_of(rows: "Sequence[Row]", progress: Callable[[int], None]) -> Mapping[str, np.ndarray]:
        return {"losses": row_losses(model, len(adapters), rows, batch_tokens, progress)}

    return arrays_of


def with_adapters(base: Any, adapters: Sequence[Path]) -> "nn.Module":
    """The model `base` with all `adapters`, by the names "0", "1", …, in eval mode; `base` itself if there are none."""
    from g2is.model.adapter import read_on, with_saved

    model = base
    for number, adapter in enumerate(adapters):
        if number:
            model.load_adapter(str(adapter), adapter_name=str(number), torch_device=read_on(base))
        else:
            model = with_saved(base, adapter, adapter_name="0")
    found: nn.Module = model.eval()
    return found


def row_losses(
    model: Any,
    num_adapters: int,
    rows: "Sequence[Row]",
    batch_tokens: int,
    progress: Callable[[int], None] = lambda _: None,
) -> np.ndarray:
    """Mean losses of `rows` per learned token, in nats: (R, 1 + num_adapters) float32, the first without an adapter.

    Batches are a pure function of lengths and budget. Raises ModelError if one does not fit in memory.
    """
    import torch

    from g2is.machine.memory import batches_that_fit
    from g2is.model.batches import pad_batch, plan_batches
    from g2is.model.losses import example_losses

    device = next(model.parameters()).device
    batches = plan_batches(np.array([len(ids) for ids, _ in rows]), batch_tokens)
    found = np.empty((len(rows), 1 + num_adapters), np.float32)
    with batches_that_fit(batch_tokens), torch.inference_mode():
        for chosen in batches:
            batch = pad_batch([rows[i] for i in chosen], device)
            losses: list[torch.Tensor] = []
            if num_adapters:
                with model.disable_adapter():
                    losses.append(example_losses(model, batch))
            else:
                losses.append(example_losses(model, batch))
            for number in range(num_adapters):
                model.set_adapter(str(number))
                losses.append(example_losses(model, batch))
            found[chosen] = torch.stack(losses, dim=1).float().cpu().numpy()
            progress(int(batch.attention_mask.sum()))
    return found


TACS = RepresentationKind(
    line="how much tuning an adapter of rank 1 on the target lowers each row's loss: forward passes only",
    source="Yang et al., arXiv 2605.09404",
    gives="scores",
    scored_by="the fall of the loss",
    score="by how much tuning on the target lowers the row's loss, over the loss before",
    score_unit="part of the loss, at most 1",
    settings=TacsSettings,
    make=tacs,
    tunes=True,
)
