"""`--dry-run`: what a run would do, from reading the files and the model's settings.

Neither run nor store is touched; a model that is not on this machine yet is fetched from the hub.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from g2is.config import Config, Parameters, ProjectionConfig
from g2is.config.passed_over import without_use
from g2is.examples.columns import check_columns
from g2is.examples.dataset import Examples
from g2is.gradients.projection import sketch_dim
from g2is.gradients.two_sided import two_sided_dim
from g2is.jobs.custom import BUILT_IN_ONLY
from g2is.jobs.forecast import (
    Forecast,
    InRounds,
    Left,
    Load,
    Work,
    forecast,
    left_to_make,
    sampled,
    work_in_rounds,
    work_of_rows,
)
from g2is.jobs.gradient_rows import bytes_of_rows
from g2is.jobs.measured import to_measure
from g2is.jobs.memory_needed import bytes_of_moments, bytes_to_train_all
from g2is.jobs.pace import SECONDS, pace_of_gradients, pace_of_rows, pace_of_training
from g2is.jobs.prepare import Prepared, prepare
from g2is.jobs.read_data import plan_for, read_inputs
from g2is.jobs.representation import maker_of
from g2is.jobs.run_folder import check_run
from g2is.jobs.same_rows import tell_of_other_rows
from g2is.methods import GRADIENT, NONE, representation_kind
from g2is.model.adapter import attach_adapter, saved_parameters, with_saved
from g2is.model.all_linear import check_plain_weights, make_all_trainable
from g2is.model.batches import Row
from g2is.model.folder import ModelFolder, resolve_device, resolve_dtype
from g2is.model.parameters import trainable_parameters
from g2is.model.reporting import check_reporting
from g2is.model.shape import ModelShape, shape_of
from g2is.progress import Reporter
from g2is.selection.budget import Budget
from g2is.store.manifest import Kind, check_store
from g2is.store.reach import record_of
from g2is.warmup.imported import CheckpointFiles, read_checkpoint
from g2is.warmup.train import sample_size


@dataclass(frozen=True)
class Estimate:
    """What a run would read, compute and store.

    Rows and tokens as read and rendered, without the `num_excluded` rows that are left out; rows of each target and its
    part of the budget (in its unit, without what `num_included` rows take) by its name; `num_warmups` are trained, on
    `num_warmup_rows` each; `adapter` is the checkpoint taken in place of them; `num_parameters` of the model and
    `num_coordinates` of the gradients, which are of `parameters`, `num_whole` of them as in `flops_of`;
    `gradient_bytes` on disk for pool and targets, duplicates once; `warmup_bytes` of weights and moments that the
    warm-up of all linear layers keeps there; `flops` of extracting the pool by the cost model (`flops_of`). A
    `representation` other than gradient needs neither warm-up nor gradients: these are 0. `time` is that of making what
    the store does not hold; reading files, choosing and the page come on top.
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
    num_warmups: int
    adapter: Path | None
    num_parameters: int
    parameters: Parameters
    num_coordinates: int
    num_whole: int
    dim: int
    warmup_bytes: int
    gradient_bytes: int
    flops: float
    store_exists: bool
    time: Forecast


def estimate(config: Config, reporter: Reporter) -> Estimate:
    """Read both files and the model's settings. Raises what the run would raise of files, model, budget and store."""
    BUILT_IN_ONLY.check(config.selection)
    check_run(config.out, config)
    with record_of(config.store) as store:
        prepared = prepare(config.model_copy(update={"store": store}), reporter)
        measures = config.selection.representation == GRADIENT
        check_store(store, prepared.fingerprint if measures else None)
        exists = store.exists()
    with tempfile.TemporaryDirectory() as scratch:
        examples = read_inputs(prepared, Path(scratch), reporter)
        check_columns(config.examples.columns, examples.seen)
        return _estimated(prepared, examples, exists, isinstance(config.store, Path), reporter)


def _estimated(
    prepared: Prepared, examples: Examples, store_exists: bool, can_look: bool, reporter: Reporter
) -> Estimate:
    config, pool = prepared.config, examples.pool
    plan = plan_for(config.selection, examples)
    tell_of_other_rows(config, examples, plan, reporter)
    for text in without_use(config.selection.model_dump()):
        reporter.notice(text)
    left = left_of(prepared, examples, can_look)
    measures = config.selection.representation == GRADIENT
    shape, of_gradients = shapes_to_run(config, prepared.model, prepared.checkpoint)
    of_all = config.gradients.parameters == "all"
    dim = dim_of(config.gradients.projection, of_gradients)
    trained = measures and prepared.checkpoint is None
    num_warmups = config.selection.warmup_seeds if trained else 0
    num_checkpoints = config.num_checkpoints
    num_rows: dict[Kind, int] = {"pool": len(pool) - pool.num_duplicates, "target": len(examples.all_targets)}
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
        num_warmups=num_warmups,
        adapter=config.warmup.adapter,
        num_parameters=shape.parameters,
        parameters=config.gradients.parameters,
        num_coordinates=shape.coordinates,
        num_whole=num_whole(config, shape),
        dim=dim,
        warmup_bytes=_bytes_of_weights(config, shape, prepared.model) * num_checkpoints if of_all and measures else 0,
        gradient_bytes=bytes_of_rows(config, num_rows, len(pool), dim) * num_checkpoints,
        flops=flops_of(config, shape, num_tokens * num_checkpoints) if measures else 0.0,
        store_exists=store_exists,
        time=time_to_make(prepared, examples, shape, left, reporter),
    )


def flops_of(config: Config, shape: ModelShape, num_tokens: float, *, training: bool = False) -> float:
    """Floating-point operations of forward and backward through all weights: 2 each a parameter and token.

    2 more for each weight whose own gradient is made, in `training` or of each example.
    """
    return (4.0 * shape.parameters + 2.0 * num_whole(config, shape, training=training)) * num_tokens


def num_whole(config: Config, shape: ModelShape, *, training: bool = False) -> int:
    """Weights and biases of the model itself whose gradients are made, in `training` or of each example.

    Of an adapter none is counted, nor by a two-sided projection, which multiplies a layer's inputs and output gradients
    before.
    """
    gradients = config.gradients
    makes = gradients.parameters == "all" and (training or gradients.projection.kind != "two-sided")
    return shape.coordinates if makes else 0


def shapes_to_run(
    config: Config, folder: ModelFolder, checkpoint: CheckpointFiles | None
) -> tuple[ModelShape, dict[str, tuple[int, ...]]]:
    """The shape of model and adapter, or of all its linear layers; and by name those of what gradients are of.

    Without either for a method that looks at no gradients. Raises what the run would raise of them.
    """
    model = folder.without_weights()
    shape = shape_of(model, folder.num_embeddings or 0)
    parameters: Mapping[str, torch.Tensor] = {}
    if config.selection.representation != GRADIENT:
        return shape, {}
    if checkpoint is not None:
        read_checkpoint(checkpoint, folder)  # which refuses what does not fit the model
        parameters = saved_parameters(checkpoint.folder)
    else:
        if config.gradients.parameters == "all":
            check_plain_weights(folder)
        with torch.device("meta"):
            parameters = trainable_parameters(to_measure(model, config))
    shapes = {name: tuple(of.shape) for name, of in parameters.items()}
    return shape.with_trained(shapes), shapes


def dim_of(config: ProjectionConfig, of_gradients: Mapping[str, tuple[int, ...]]) -> int:
    """k of the rows of one checkpoint, whose gradients have the shapes `of_gradients`."""
    if config.kind == "two-sided":
        return two_sided_dim(config, of_gradients)
    return sketch_dim(config, sum(map(prod, of_gradients.values())))


def _bytes_of_weights(config: Config, shape: ModelShape, folder: ModelFolder) -> int:
    """What the warm-up of all linear layers keeps of a checkpoint: weights in the model's type, float32 moments."""
    num_bytes = folder.num_bytes(shape.coordinates, resolve_device(config.execution.device))
    return num_bytes + bytes_of_moments(shape, config.gradients.kept_moments)


def left_of(prepared: Prepared, examples: Examples, can_look: bool) -> Left | None:
    """What the store lacks of the run's gradients; None for a method that looks at none.

    Raises ConfigError where a training that is left is to log to a package that is not there.
    """
    if prepared.config.selection.representation != GRADIENT:
        return None
    left = left_to_make(prepared.config, prepared.fingerprint, examples, can_look)
    if left.trained:
        check_reporting(prepared.config.execution)
    return left


def time_to_make(
    prepared: Prepared, examples: Examples, shape: ModelShape, left: Left | None, reporter: Reporter
) -> Forecast:
    """How long the rows take that the store does not hold, measured on rows of the pool."""
    config, pool, name = prepared.config, examples.pool, prepared.config.selection.representation
    if name == NONE:
        return Forecast(why_not="there is nothing to compute: this method looks at no rows")
    rows = sampled(pool, len(pool))
    if left is None:
        return _time_of_rows(prepared, examples, shape.parameters, rows, reporter)
    num_tokens, num_checkpoints = left.num_tokens, config.num_checkpoints
    trains = left.trained > 0
    in_rounds = InRounds()
    if config.selection.rounds > 1:
        of_targets = int(examples.all_targets.num_tokens.sum())
        in_rounds = work_in_rounds(config, plan_for(config.selection, examples), pool.num_tokens, of_targets)
    if not trains and not num_tokens and not in_rounds.targets:
        return Forecast(why_not="there is nothing to compute: the store holds all rows")

    of_all = config.gradients.parameters == "all"
    dtype = str(resolve_dtype(config.model, resolve_device(config.execution.device))).removeprefix("torch.")
    beside = bytes_to_train_all(shape, dtype, config.gradients.kept_moments) if of_all and trains else 0

    def measure(load: Load) -> Work:
        model: Any = load()
        if prepared.checkpoint is None:
            adapted = to_measure(model, config)
        else:
            adapted = with_saved(model, prepared.checkpoint.folder, is_trainable=True)
        limit = SECONDS / (2 if trains or in_rounds.tuned else 1)
        of_gradients = pace_of_gradients(adapted, config, rows, limit)
        work = {"gradients": (of_gradients, float(num_tokens * num_checkpoints))}
        if not trains and not in_rounds.tuned:
            return work
        if of_all:  # in float32, as it is trained
            make_all_trainable(adapted, to_train=True)
        of_training = pace_of_training(adapted, config.warmup, rows, limit, factored=config.gradients.is_factored)
        return {
            "warm-up": (of_training, float(left.trained)),
            **work,
            "rounds": (of_training, in_rounds.tuned),
            "targets": (of_gradients, float(in_rounds.targets)),
        }

    with reporter.stage("measure", "passes"):
        return forecast(prepared.model, shape.parameters, config.execution, measure, ("gradients",), beside)


def _time_of_rows(
    prepared: Prepared, examples: Examples, num_parameters: int, rows: list[Row], reporter: Reporter
) -> Forecast:
    config = prepared.config
    maker = maker_of(config.selection.representation, prepared, reporter)
    num_parameters = num_parameters if "model.weights" in maker.fingerprint else 0  # others do without the model
    in_pool, in_targets = int(examples.pool.num_tokens.sum()), int(examples.all_targets.num_tokens.sum())
    tokens = work_of_rows(config, in_pool, in_targets, len(examples.targets))
    batch_tokens = config.execution.tokens_a_batch(resolve_device(config.execution.device).type)

    def measure(load: Load) -> Work:
        limit = SECONDS / (2 if tokens.tunings else 1)
        # the pace is that of a pass without adapter: these are not there yet
        work = {"rows": (pace_of_rows(maker.open(), rows, batch_tokens, limit), float(tokens.passes))}
        if not tokens.tunings:
            return work
        tuning = representation_kind(maker.name).tunings(config.representation)[0]  # the others have more passes alone
        adapted = attach_adapter(load(), tuning.lora, tuning.seed, "tuning")
        of_targets = sampled(examples.all_targets, len(examples.all_targets))
        return {"tunings": (pace_of_training(adapted, tuning, of_targets, limit), float(tokens.tunings)), **work}

    with reporter.stage("measure", "passes"):
        return forecast(prepared.model, num_parameters, config.execution, measure, shared=("rows",))
