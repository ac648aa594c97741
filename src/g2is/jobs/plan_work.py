"""How much a run has to do and to keep, from rows, tokens and the model's shape, and how long; for `plan.py`."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from g2is.config import Config, Parameters
from g2is.gradients.two_sided import two_sided_bytes
from g2is.jobs.estimate import flops_of
from g2is.jobs.forecast import Forecast, work_in_rounds, work_of_rows
from g2is.jobs.gradient_rows import bytes_of_rows
from g2is.jobs.memory_fit import DTYPE, MAX_LENGTH, Fit
from g2is.jobs.memory_needed import BYTES, Knobs, bytes_of_moments, typical_shard
from g2is.jobs.plan_inputs import Inputs
from g2is.machine.devices import SHARE_OF_PEAK, Devices
from g2is.methods import GRADIENT, NONE, selector_kind
from g2is.model.batches import batches_of_step
from g2is.model.shape import ModelShape
from g2is.selection.narrowed import num_candidates
from g2is.store.manifest import Kind, shard_rows_at, shard_rows_of, stored_fingerprint
from g2is.store.stored_as import BITS
from g2is.warmup.train import sample_size

# Numbers of rows that choosing goes through in a second: `design` 2,000 of 200,000 rows of 8192 in 492 s, on two cores
# (docs/performance.md).
CHOOSING_RATE = 6.7e9
# Numbers that are read from the store, and multiplications of preconditioning, in a second, on two cores: N · k² to
# gather the second moment and again to multiply rows, 10 · k³ to decompose it (docs/method.md).
_READING_RATE, _MULTIPLYING_RATE, _DECOMPOSING_RATE = 1e8, 2e10, 5e10
# Extraction over a plain forward and backward of the same batches, at r 128 (docs/performance.md). Of all linear layers
# it is not known: operations alone are counted, and a note says so.
_OVER_FLOOR = {"lora": 1.04, "all": 1.0}
_COPIES_WHILE_TRAINING = 2  # of adapter and optimizer, that a stopped warm-up goes on from (`model/trainer.py`)


@dataclass(frozen=True)
class Step:
    """A stage's work that is left: rows, tokens gone through in all its passes, operations through the model.

    `seconds` are those that it takes; None where they are not known.
    """

    rows: int
    tokens: int = 0
    flops: float = 0.0
    seconds: float | None = None


def steps_of(config: Config, shape: ModelShape, inputs: Inputs) -> dict[str, Step]:
    """The stages that go through the model, without their seconds: what the store holds is not among their work."""
    name, num_rows, num_tokens = config.selection.representation, len(inputs.lengths), int(inputs.lengths.sum())
    if name == NONE:
        return {}
    if name != GRADIENT:
        of_targets = inputs.target_lengths
        tokens = work_of_rows(config, num_tokens, int(of_targets.sum()), len(inputs.targets))
        tunings = {"tunings": Step(len(of_targets), tokens.tunings)} if tokens.tunings else {}
        return {**tunings, "rows": Step(num_rows + len(of_targets), tokens.passes)}
    drawn = sample_size(num_rows, config.warmup.fraction) if inputs.left.trained else 0
    trained = inputs.left.trained
    extracted = inputs.left.num_tokens * config.num_checkpoints
    steps = {
        "warm-up": Step(drawn, trained, flops_of(config, shape, trained, training=True)),
        "gradients": Step(sum(inputs.left.rows.values()), extracted, flops_of(config, shape, extracted)),
    }
    if (rounds := config.selection.rounds) == 1:
        return steps
    between = work_in_rounds(config, inputs.plan, inputs.lengths, int(inputs.target_lengths.sum()))
    tuned, taken = round(between.tuned), round(num_chosen(inputs) * (rounds - 1) / rounds)
    return {
        **steps,
        "rounds": Step(taken, tuned, flops_of(config, shape, tuned, training=True)),
        "targets": Step(len(inputs.target_lengths), between.targets, flops_of(config, shape, between.targets)),
    }


def timed_on(
    devices: Devices, steps: Mapping[str, Step], dtype: str, fit: Fit | None, parameters: Parameters
) -> tuple[dict[str, Step], str]:
    """The steps with their seconds on `devices`, of which a copy of the model takes some, and what these are told by.

    Over several devices a copy works in turns: it is as fast as one. Gradients are of `parameters`. Where the run does
    not `fit` as it is asked for, it is timed with the settings that are proposed, if the work is then the same.
    """
    proposed = {} if fit is None or fit.fits else fit.settings
    dtype = proposed.get(DTYPE, dtype)
    peak = devices.device.flops(dtype)
    rate, (copies, if_told) = peak * SHARE_OF_PEAK, _copies(devices.count, fit)
    if not copies:
        return dict(steps), f"not told: {devices} hold no copy of the model"
    if MAX_LENGTH in proposed:
        return dict(steps), "not told: rows are shorter with the settings below; ask anew with them"
    gradients, over_floor = steps["gradients"], _OVER_FLOOR[parameters]
    by = (
        f"{peak / 1e12:,.0f} TFLOP/s of one {devices.device.name} in {dtype}, of which {SHARE_OF_PEAK:.0%} are assumed"
        f" to be reached, on {copies} cop{'y' if copies == 1 else 'ies'} of the model{if_told}; not measured"
    )
    of_one = {"warm-up": 1.0, "rounds": 1.0, "targets": over_floor}  # one copy does it, whatever there is beside it
    return {
        **{name: replace(of, seconds=of.flops * of_one.get(name, 1.0) / rate) for name, of in steps.items()},
        "gradients": replace(gradients, seconds=gradients.flops * over_floor / (rate * copies)),
    }, by


def _copies(count: int, fit: Fit | None) -> tuple[int, str]:
    """How many copies of the model work side by side on so many devices, and what has to be done for it."""
    if fit is None:
        return count, ""
    if fit.fits or fit.settings:
        told = "" if fit.fits else ", with the settings below that make it fit"
        return (1, f", spread over {fit.devices} devices{told}") if fit.devices > 1 else (count, told)
    if not fit.devices_a_copy or (copies := count // fit.devices_a_copy) == 0:
        return 0, ""
    each = "" if copies == 1 else " each, by a process of its own"
    return copies, f", spread over {fit.devices_a_copy} devices{each}, with the settings below"


def timed_here(time: Forecast, steps: Mapping[str, Step]) -> tuple[dict[str, Step], str]:
    """The steps with the seconds that were measured, and what on."""
    known = bool(time.seconds)
    by = f"passes of {time.measured}" if known else f"not measured: {time.why_not}"
    return {
        name: replace(step, seconds=time.seconds.get(name, 0.0) if known else None if step.tokens else 0.0)
        for name, step in steps.items()
    }, by


def num_chosen(inputs: Inputs) -> int:
    """How many rows are chosen; of a budget of tokens, those that it pays for if they are as long as the pool's."""
    budget = inputs.plan.budget
    return budget.rows if budget.rows is not None else round(budget.amount / inputs.lengths.sum() * len(inputs.lengths))


def choosing(config: Config, row_length: int, inputs: Inputs) -> Step:
    """How many rows are chosen, and about how long that takes: rows are read, and preconditioned where they are to be;
    then comes a pass over the pool for each, or one of scores.

    Of methods that look at no gradients it is not known.
    """
    chosen = num_chosen(inputs)
    if config.selection.representation != GRADIENT:
        return Step(chosen)
    kind = selector_kind(config.selection.selector)
    passes = {"vectors": chosen, "scores": 1, "nothing": 0}[kind.needs(config.selection.part(kind.settings))]
    num, k = len(inputs.lengths), row_length
    seconds = _looked_at(config, inputs) * passes * k / CHOOSING_RATE
    seconds += num * k / _READING_RATE if passes else 0.0
    if config.selection.precondition is not None:
        seconds += 2 * num * k**2 / _MULTIPLYING_RATE + 10 * k**3 / _DECOMPOSING_RATE
    return Step(chosen, seconds=seconds)


def disk_of(config: Config, shape: ModelShape, row_length: int, inputs: Inputs, dtype: str) -> Mapping[str, int]:
    """Bytes that the store grows by: rows that are not there yet, adapter and moments; and what a training keeps to go
    on from, which is gone when it is done.

    Weights of all linear layers are kept in the model's `dtype`; a training keeps the whole model, these in float32.
    """
    left, of_all = inputs.left, config.gradients.parameters == "all"
    moments, size = bytes_of_moments(shape, config.gradients.kept_moments), BYTES[dtype]
    found = {"gradient rows": bytes_of_rows(config, left.rows, len(inputs.lengths), row_length)}
    if left.warm_up:
        what = "weights and moments" if of_all else "adapter and moments"
        kept = (size if of_all else 4) * shape.coordinates + moments
        found[what] = kept * config.num_checkpoints
    if left.trained:
        beside = size * (shape.parameters - shape.coordinates) if of_all else 0
        found["while the warm-up trains"] = _COPIES_WHILE_TRAINING * (4 * shape.coordinates + moments + beside)
    return found


def free_at(place: Path) -> int:
    """Bytes that are free on the disk where `place` is, or will be."""
    there = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    return shutil.disk_usage(there).free


def bytes_to_select(config: Config, row_length: int, inputs: Inputs) -> int:
    """Bytes of main memory, or of a file, for the rows that are chosen among: one form, of all checkpoints."""
    as_stored = config.num_checkpoints == 1 and config.selection.precondition is None
    bits = BITS[config.gradients.storage if as_stored else "float16"]
    return _looked_at(config, inputs) * row_length * bits // 8


def knobs_of(
    config: Config, inputs: Inputs, of_gradients: Mapping[str, tuple[int, ...]], dtype: str, device_type: str
) -> Knobs:
    """What of settings, rows and shapes decides how much memory is taken."""
    gradients, of_all, left = config.gradients, config.gradients.parameters == "all", inputs.left
    two_sided, again = gradients.projection.kind == "two-sided", config.selection.rounds > 1
    drawn = sample_size(len(inputs.lengths), config.warmup.fraction)
    a_pass, _ = batches_of_step(config.warmup.batch_size, config.warmup.device_batch_size)
    rows_a_shard = shard_rows_at(config.store_folder, config.execution.shard_rows, len(inputs.lengths))
    lengths: dict[Kind, np.ndarray] = {
        "pool": left.lengths["pool"],
        "target": inputs.target_lengths if again else left.lengths["target"],
    }
    return Knobs(
        dtype=dtype,
        batch_tokens=config.execution.tokens_a_batch(device_type),
        device_batch_size=a_pass if again else min(a_pass, drawn),
        max_length=config.examples.max_length,
        rank=None if of_all or config.warmup.adapter is not None else config.warmup.lora.rank,
        shards=[typical_shard(of, shard_rows_of(kind, rows_a_shard)) for kind, of in lengths.items()],
        longest=int(inputs.lengths.max()),
        dropout=config.warmup.lora.dropout > 0,
        num_checkpoints=config.num_checkpoints,
        # between rounds a model is tuned as the warm-up was, and the target's gradients are taken
        trains=left.trained > 0 or again,
        extracts=left.num_tokens > 0 or again,
        device_type=device_type,
        second_moments=gradients.kept_moments if of_all else None,
        can_factor="adam" not in (*gradients.forms, gradients.target_form),
        gradient_bytes=config.execution.bytes_of_gradients(device_type),
        matrices=two_sided_bytes(gradients.projection, of_gradients) if two_sided else None,
        settled=bool(stored_fingerprint(config.store_folder)),
    )


def _looked_at(config: Config, inputs: Inputs) -> int:
    return num_candidates(config.selection, len(inputs.lengths)) or len(inputs.lengths)
