"""`--dry-run`: what a run would do, from reading the files and the model's settings.

Neither run nor store is touched; a model that is not on this machine yet is fetched from the hub.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import nn

from g2is.config import Config, Parameters
from g2is.examples.dataset import Examples
from g2is.gradients.projection import sketch_dim
from g2is.gradients.two_sided import two_sided_dim
from g2is.jobs.custom import BUILT_IN_ONLY
from g2is.jobs.forecast import Forecast, Load, Work, forecast, sampled, tokens_to_do
from g2is.jobs.measured import to_measure
from g2is.jobs.pace import SECONDS, pace_of_gradients, pace_of_rows, pace_of_training
from g2is.jobs.prepare import Prepared, prepare
from g2is.jobs.read_data import plan_for, read_inputs
from g2is.jobs.representation import maker_of
from g2is.methods import GRADIENT, NONE, representation_kind
from g2is.model.batches import Row
from g2is.model.folder import resolve_device, resolve_dtype
from g2is.model.parameters import trainable_parameters
from g2is.progress import Reporter
from g2is.selection.budget import Budget
from g2is.store.manifest import check_store
from g2is.store.reach import looked_at
from g2is.store.stored_as import BITS
from g2is.warmup.imported import read_checkpoint
from g2is.warmup.train import sample_size


@dataclass(frozen=True)
class Estimate:
    """What a run would read, compute and store.

    Rows and tokens as read and rendered, without the `num_excluded` rows that are left out; rows of each target and its
    part of the budget (in its unit, without what `num_included` rows take) by its name; `adapter` is the checkpoint
    taken in place of the warm-up; `num_parameters` of the model and `num_coordinates` of the gradients, which are of
    `parameters`; `gradient_bytes` on disk for pool and targets, duplicates once; `warmup_bytes` of weights and moments
    that the warm-up of all linear layers keeps there; `flops` of extracting the pool by the cost model, 4 · parameters
    · tokens, and 2 · coordinates · tokens for the products that gradients of all layers are. A `representation` other
    than gradient needs neither warm-up nor gradients: these are 0.
    `time` is that of making what the store does not hold; reading files, choosing and the page come on top.
    """

    representation: str

    num_pool_rows: int
    num_pool_tokens: int
    num_pool_duplicates: int
    num_pool_truncated: int
    num_excluded: int
    num_included: int
    num_target_rows: Mapping[str, int]
    budget: Budget
    target_budgets: Mapping[str, int]
    num_warmup_rows: int
    adapter: Path | None
    num_parameters: int
    parameters: Parameters
    num_coordinates: int
    dim: int
    warmup_bytes: int
    gradient_bytes: int
    flops: float
    store_exists: bool
    time: Forecast


def estimate(config: Config, reporter: Reporter) -> Estimate:
    """Read both files and the model's settings. Raises what the run would raise of files, model, budget and store."""
    BUILT_IN_ONLY.check(config.selection)
    with looked_at(config.store) as store:
        prepared = prepare(config.model_copy(update={"store": store}), reporter)
        measures = config.selection.representation == GRADIENT
        check_store(store, prepared.fingerprint if measures else None)
        exists = store.exists()
    with tempfile.TemporaryDirectory() as scratch:
        examples = read_inputs(prepared, Path(scratch), reporter)
        return _estimated(prepared, examples, exists, isinstance(config.store, Path), reporter)


def _estimated(
    prepared: Prepared, examples: Examples, store_exists: bool, can_look: bool, reporter: Reporter
) -> Estimate:
    config, pool = prepared.config, examples.pool
    plan = plan_for(config.selection, examples)
    measures = config.selection.representation == GRADIENT
    model = prepared.model.without_weights()
    num_parameters = sum(p.numel() for p in model.parameters())
    warmup_bytes, trainable = 0, dict[str, nn.Parameter]()
    if not measures:
        num_coordinates = 0
    elif prepared.checkpoint is not None:
        num_coordinates = read_checkpoint(prepared.checkpoint, prepared.model).num_coordinates
    else:
        with torch.device("meta"):
            adapted = to_measure(model, config)
        trainable = trainable_parameters(adapted)
        num_coordinates = sum(p.numel() for p in trainable.values())
        if config.gradients.parameters == "all":
            warmup_bytes = _bytes_of_weights(trainable, config)
    if config.gradients.projection.kind == "two-sided":
        dim = two_sided_dim(config.gradients.projection, {name: tuple(p.shape) for name, p in trainable.items()})
    else:
        dim = sketch_dim(config.gradients.projection, num_coordinates)
    trained = measures and prepared.checkpoint is None
    num_checkpoints = config.warmup.epochs if trained and config.warmup.checkpoints == "each" else 1
    num_of_pool = (len(pool) - pool.num_duplicates) * len(config.gradients.forms)
    num_bits = num_of_pool * BITS[config.gradients.storage] + len(examples.all_targets) * BITS["float16"]
    num_tokens = int(pool.num_tokens.sum())
    return Estimate(
        representation=config.selection.representation,
        num_pool_rows=len(pool),
        num_pool_tokens=num_tokens,
        num_pool_duplicates=pool.num_duplicates,
        num_pool_truncated=pool.num_truncated,
        num_excluded=len(examples.filtered.reasons),
        num_included=len(examples.filtered.included),
        num_target_rows={name: len(target) for name, target in examples.targets.items()},
        budget=plan.budget,
        target_budgets=plan.target_budgets,
        num_warmup_rows=sample_size(len(pool), config.warmup.fraction) if trained else 0,
        adapter=config.warmup.adapter,
        num_parameters=num_parameters,
        parameters=config.gradients.parameters,
        num_coordinates=num_coordinates,
        dim=dim,
        warmup_bytes=warmup_bytes * num_checkpoints,
        gradient_bytes=num_bits * dim // 8 * num_checkpoints,
        flops=_flops(num_parameters, num_coordinates if config.gradients.parameters == "all" else 0)
        * (num_tokens * num_checkpoints)
        if measures
        else 0.0,
        store_exists=store_exists,
        time=_time(prepared, examples, num_parameters, num_checkpoints, can_look, reporter),
    )


def _flops(num_parameters: int, num_whole: int) -> float:
    """Operations a token: forward, and back through activations; for whole weights their gradient, too."""
    return 4.0 * num_parameters + 2.0 * num_whole


def _bytes_of_weights(trainable: Mapping[str, nn.Parameter], config: Config) -> int:
    """What the warm-up of all linear layers keeps of a checkpoint: weights in the model's type, float32 moments."""
    dtype = resolve_dtype(config.model, resolve_device(config.execution.device))
    total = 0
    for parameter in trainable.values():
        factored = config.gradients.is_factored
        moments = (
            (sum(parameter.shape) if parameter.ndim > 1 else parameter.numel()) if factored else (2 * parameter.numel())
        )
        total += parameter.numel() * dtype.itemsize + 4 * moments
    return total


def _time(
    prepared: Prepared,
    examples: Examples,
    num_parameters: int,
    num_checkpoints: int,
    can_look: bool,
    reporter: Reporter,
) -> Forecast:
    """How long the rows take that the store does not hold, measured on rows of the pool."""
    config, pool, name = prepared.config, examples.pool, prepared.config.selection.representation
    if name == NONE:
        return Forecast(why_not="there is nothing to compute: this method looks at no rows")
    rows = sampled(pool, len(pool))
    if name != GRADIENT:
        return _time_of_rows(prepared, examples, num_parameters, rows, reporter)
    has_to_warm_up, num_tokens = tokens_to_do(config, prepared.fingerprint, examples, can_look)
    trains = has_to_warm_up and prepared.checkpoint is None
    if not trains and not num_tokens:
        return Forecast(why_not="there is nothing to compute: the store holds all rows")

    def measure(load: Load) -> Work:
        model: Any = load()
        if prepared.checkpoint is None:
            adapted = to_measure(model, config)
        else:
            adapted = PeftModel.from_pretrained(model, str(prepared.checkpoint.folder), is_trainable=True)
        limit = SECONDS / (2 if trains else 1)
        work = {"gradients": (pace_of_gradients(adapted, config, rows, limit), float(num_tokens * num_checkpoints))}
        if not trains:
            return work
        drawn = sample_size(len(pool), config.warmup.fraction) / len(pool) * int(pool.num_tokens.sum())
        of_training = pace_of_training(adapted, config.warmup, rows, limit, factored=config.gradients.is_factored)
        return {"warm-up": (of_training, drawn * config.warmup.epochs), **work}

    with reporter.stage("measure", "passes"):
        return forecast(prepared.model, num_parameters, config.execution, measure, shared=("gradients",))


def _time_of_rows(
    prepared: Prepared, examples: Examples, num_parameters: int, rows: list[Row], reporter: Reporter
) -> Forecast:
    config = prepared.config
    maker = maker_of(config.selection.representation, prepared, reporter)
    num_parameters = num_parameters if "model.weights" in maker.fingerprint else 0  # others do without the model
    num_tokens = int(examples.pool.num_tokens.sum()) + int(examples.all_targets.num_tokens.sum())
    if representation_kind(maker.name).tunes:
        num_tokens *= 1 + len(examples.targets)  # a pass for each adapter, which are not there to be measured
    batch_tokens = config.execution.tokens_a_batch(resolve_device(config.execution.device).type)

    def measure(_: Load) -> Work:
        return {"rows": (pace_of_rows(maker.open(), rows, batch_tokens, SECONDS), float(num_tokens))}

    with reporter.stage("measure", "passes"):
        return forecast(prepared.model, num_parameters, config.execution, measure, shared=("rows",))
