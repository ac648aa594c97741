"""TACS (arXiv 2605.09404): by how much tuning on the target alone lowers each row's loss, by forward passes only.

An adapter of rank 1 is tuned on each target for a moment (`jobs/target_adapters.py`). What is kept of an example are
its losses, per learned token: L₀ after the first passes over the target, which teach its form, and L₁ after all. A pool
row's score for a target is (L₀ - L₁) / L₀. The rate is constant and each pass goes through the examples as the passes
of any longer tuning do, so the adapter of L₀ is that of L₁ on its way (a test compares the losses of their steps),
tuned by itself. Losses belong to the targets they were made for, so each set of targets has a folder of its own in the
store.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import product
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

    from g2is.config import TuningConfig
    from g2is.model.batches import Row

VERSION = 2  # to be raised with every change of ours that changes losses
ADAPTERS = "adapters"  # the folder of the tunings, beside the tables of rows
_RANK = 1
_UNCLIPPED = 1e9  # the release clips no gradient


class TacsSettings(Section):
    """How an adapter of rank 1 is tuned on each target, and when losses are taken."""

    path_epochs: int = Field(
        5, ge=1, description="passes over the target's examples between the first losses and the second"
    )
    path_reference_epochs: int = Field(
        5, ge=0, description="passes before the first losses are taken; 0: these are the untuned model's"
    )
    path_batch_size: int = Field(1, ge=1, description="examples an optimizer step")
    path_learning_rate: float = Field(
        1e-5, gt=0, description="of these passes, constant; a few-million-parameter model needs about 1e-3"
    )


def tacs(materials: Materials) -> Maker:
    """Losses after the first passes over each of the targets and after all; of no target where none are given."""
    settings, tunings = materials.settings.part(TacsSettings), _tunings(materials.settings)
    from_start = len(tunings) == 1
    # an adapter depends on its target's examples and their order, wherever they lie and whatever it is called
    of_targets = [hashlib.blake2b(of.keys.tobytes(), digest_size=16).hexdigest() for of in materials.targets.values()]
    fingerprint: Fingerprint = {
        "tacs.version": VERSION,
        "tacs.epochs": settings.path_epochs,
        "tacs.reference_epochs": settings.path_reference_epochs,
        "tacs.batch_size": settings.path_batch_size,
        "tacs.learning_rate": settings.path_learning_rate,
        "tacs.targets": ", ".join(of_targets),
        **materials.model_fingerprint,
    }
    place = f"tacs-{digest(fingerprint)[:16]}"
    tuned = [
        Tuned(name, materials.store / place / ADAPTERS / f"{number}", tuning, partial(_all_rows, of))
        for number, (tuning, (name, of)) in enumerate(product(tunings, materials.targets.items()))
    ]
    return Maker(
        "tacs",
        "loss row",
        fingerprint,
        lambda: _open(materials, [of.adapter for of in tuned], from_start),
        score=falls if from_start else lambda pool, targets: falls(pool, targets, len(targets)),
        array="losses",
        place=place,
        tuned=tuned,
    )


def _tunings(given: Section) -> "list[TuningConfig]":
    """That of L₁ on each target; before it that of L₀, unless this is the untuned model's."""
    from g2is.config import LoraConfig, TuningConfig

    settings = given.part(TacsSettings)
    tuning = TuningConfig(
        lora=LoraConfig(rank=_RANK),
        epochs=settings.path_reference_epochs + settings.path_epochs,
        learning_rate=settings.path_learning_rate,
        schedule="constant",
        lr_warmup_fraction=0.0,
        batch_size=settings.path_batch_size,
        max_grad_norm=_UNCLIPPED,
    )
    if settings.path_reference_epochs == 0:
        return [tuning]
    return [tuning.model_copy(update={"epochs": settings.path_reference_epochs}), tuning]


def _passes(given: Section, num_targets: int) -> int:
    num_tunings = len(_tunings(given))
    return num_tunings * num_targets + (num_tunings == 1)


def _all_rows(of: TargetExamples) -> "list[Row]":
    return of.token_rows(np.arange(len(of.keys)))


def falls(pool: np.ndarray, targets: Sequence[np.ndarray], num_first: int = 1) -> Scores:
    """The fall (L₀ - L₁) / L₀ of each pool row's loss by tuning on each target.

    `pool` (N, num_first + T) float32 are losses: L₀ of the untuned model or, where there are T, by target, and L₁ by
    target; `targets` are the same of each target's M examples. Each target's (N, M) scores have M equal columns: no
    example has one of its own. A row is usable if its losses are numbers, and L₀ is above 0.
    """
    usable = _usable(pool, num_first)
    losses = np.where(usable[:, None], pool, 1.0).astype(np.float64)
    first, second = losses[:, :num_first], losses[:, num_first:]
    found = (first - second) / first
    scores = [
        np.repeat(column[:, None], len(of), axis=1).astype(np.float32)
        for column, of in zip(found.T, targets, strict=True)
    ]
    return Scores(scores, usable, [_usable(of, num_first) for of in targets], what="loss", by_example=False)


def _usable(losses: np.ndarray, num_first: int) -> np.ndarray:
    return np.asarray(np.isfinite(losses).all(axis=1) & (losses[:, :num_first] > 0).all(axis=1))


def _open(materials: Materials, adapters: Sequence[Path], from_start: bool) -> ArraysOf:
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
        as_it_is = from_start or not adapters  # without targets it is asked for the pace alone
        return {"losses": row_losses(model, len(adapters), rows, batch_tokens, progress, as_it_is=as_it_is)}

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
    *,
    as_it_is: bool = True,
) -> np.ndarray:
    """Mean losses of `rows` per learned token, in nats, (R, num_adapters) float32; with those of the model `as_it_is`,
    without an adapter, before them.

    Batches are a pure function of lengths and budget. Raises ModelError if one does not fit in memory.
    """
    import torch

    from g2is.machine.memory import batches_that_fit
    from g2is.model.angles import length_of_other_angles
    from g2is.model.batches import pad_batch, plan_batches
    from g2is.model.losses import example_losses

    device = next(model.parameters()).device
    lengths = np.array([len(ids) for ids, _ in rows])
    batches = plan_batches(lengths, batch_tokens, length_of_other_angles(model.config))
    found = np.empty((len(rows), as_it_is + num_adapters), np.float32)
    with batches_that_fit(batch_tokens), torch.inference_mode():
        for chosen in batches:
            batch = pad_batch([rows[i] for i in chosen], device)
            losses: list[torch.Tensor] = []
            if as_it_is:
                with model.disable_adapter() if num_adapters else nullcontext():
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
    tunings=_tunings,
    passes=_passes,
)
