"""`g2is plan`: what a run takes before anything runs, on this machine's devices or on others.

It reads what `--dry-run` reads (`estimate.py`) and measures what that measures. Beyond it: each stage's work, disk, the
arithmetic of memory, and whether the model fits. The model's settings suffice for all but the measurement.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import torch

from g2is.config import Config, Parameters
from g2is.errors import ConfigError, FingerprintError, ModelError
from g2is.examples.columns import check_columns
from g2is.jobs.custom import BUILT_IN_ONLY
from g2is.jobs.estimate import dim_of, left_of, shapes_to_run, time_to_make
from g2is.jobs.forecast import Forecast
from g2is.jobs.memory_fit import DTYPE, Fit, fit
from g2is.jobs.memory_needed import Peak, peaks
from g2is.jobs.plan_inputs import Inputs, counted, counted_by_bytes
from g2is.jobs.plan_notes import notes_of
from g2is.jobs.plan_work import (
    Step,
    bytes_to_select,
    choosing,
    disk_of,
    free_at,
    knobs_of,
    steps_of,
    timed_here,
    timed_on,
)
from g2is.jobs.prepare import ToPlan, prepare
from g2is.jobs.read_data import read_inputs
from g2is.jobs.run_folder import check_run
from g2is.machine.devices import Devices
from g2is.machine.memory import available_memory
from g2is.methods import GRADIENT
from g2is.model.devices import check_spread
from g2is.model.folder import ModelFolder, find_model, resolve_device, resolve_dtype
from g2is.model.reporting import check_reporting
from g2is.model.shape import ModelShape
from g2is.progress import Reporter
from g2is.selection.budget import Budget
from g2is.store.fingerprint import Fingerprint
from g2is.store.manifest import check_store, stored_fingerprint
from g2is.store.reach import record_of
from g2is.warmup.imported import find_checkpoint


@dataclass(frozen=True)
class CostPlan:
    """What a run takes.

    Gradients are of `parameters`, which `shape` counts: an adapter's, or all linear layers'. `steps` by stage hold what
    is left to do: what the store has is not among it. `seconds` is their sum, None where the time of one is not known;
    `time_by` says what times were told by, or why they are not. `rows_stored` are the pool's that the store holds, each
    content once. `disk` is what the store grows by, in bytes by what; `disk_free` what is free where it lies, None for
    other devices and object storage. `selecting_bytes` of main memory hold the rows that are chosen among, of
    `row_length` numbers each. `peaks` and `fit` are of one device, of `device_bytes` memory; none for a method that
    looks at no gradients. `exact` is False where tokens are counted by bytes; `notes` say what else is not counted as
    it will be.
    """

    model: str
    dtype: str
    shape: ModelShape
    parameters: Parameters
    devices: str
    named: bool
    device_bytes: int
    method: str
    representation: str
    pool_rows: int
    pool_tokens: int
    pool_duplicates: int
    pool_truncated: int
    excluded: int
    target_rows: Mapping[str, int]
    budget: Budget
    exact: bool
    row_length: int
    store_exists: bool
    rows_stored: int
    steps: Mapping[str, Step]
    seconds: float | None
    time_by: str
    disk: Mapping[str, int]
    disk_free: int | None
    selecting_bytes: int
    peaks: Sequence[Peak]
    fit: Fit | None
    notes: Sequence[str]

    @property
    def nothing_left(self) -> bool:
        """Whether there is nothing to be made: only reading and choosing."""
        return not any(step.tokens for name, step in self.steps.items() if name not in ("reading", "choosing"))


@dataclass(frozen=True)
class _Given:
    """What costs are counted of: by name the shapes `of_gradients`, `memory` of one device, the seconds `read_in`, and
    `time` where it was measured.
    """

    config: Config
    folder: ModelFolder
    shape: ModelShape
    of_gradients: Mapping[str, tuple[int, ...]]
    inputs: Inputs
    device: torch.device
    memory: int
    read_in: float
    store_exists: bool
    can_look: bool
    time: Forecast


def plan(config: Config, devices: Devices | None, reporter: Reporter) -> CostPlan:
    """Count what the run of `config` takes on `devices`, or on this machine, which is then measured.

    Neither run nor store is touched, and of a hub model that is not here no weights are fetched. Raises what the run
    would raise of files, model, budget and store; ConfigError if devices are named for what cannot be told of them.
    """
    BUILT_IN_ONLY.check(config.selection)
    check_spread(config.model, config.execution)
    check_run(config.out, config)
    if devices is not None:
        _check_devices(config, devices)
    device = resolve_device(config.execution.device) if devices is None else torch.device("cuda")
    with record_of(config.store) as store:
        of_store = config.model_copy(update={"store": store})
        can_look = isinstance(config.store, Path)
        folder = find_model(config.model, to_plan=True)
        if folder.has_tokenizer:
            given = _read(of_store, ToPlan(device, folder), devices, can_look, reporter)
        else:
            given = _read_without_tokenizer(of_store, folder, device, devices, can_look, reporter)
    return _planned(given, devices)


def _read(config: Config, to_plan: ToPlan, devices: Devices | None, can_look: bool, reporter: Reporter) -> _Given:
    begin, device = monotonic(), to_plan.device
    prepared = prepare(config, reporter, to_plan)
    config = prepared.config
    measures = config.selection.representation == GRADIENT
    _check_store(config, prepared.fingerprint if measures else None, devices)
    with tempfile.TemporaryDirectory() as scratch:
        examples = read_inputs(prepared, Path(scratch), reporter)
        check_columns(config.examples.columns, examples.seen)
        read_in = monotonic() - begin
        left = left_of(prepared, examples, can_look)
        inputs = counted(config, examples, left)  # a wrong budget shows before anything is measured
        shape, of_gradients = shapes_to_run(config, prepared.model, prepared.checkpoint)
        memory = _memory(devices, device)  # before a model takes some of it
        if devices is not None:
            time = Forecast(why_not="other devices are named")
        elif not prepared.model.has_weights:
            time = Forecast(why_not="the model's weights are not here; fetch them, or name devices with --devices")
        else:
            time = time_to_make(prepared, examples, shape, left, reporter)
    exists = config.store_folder.exists()
    return _Given(config, prepared.model, shape, of_gradients, inputs, device, memory, read_in, exists, can_look, time)


def _read_without_tokenizer(
    config: Config,
    folder: ModelFolder,
    device: torch.device,
    devices: Devices | None,
    can_look: bool,
    reporter: Reporter,
) -> _Given:
    """The same by the model's settings alone."""
    if stored_fingerprint(config.store_folder):
        raise ModelError(
            f"{config.store_folder}: expected no store, or a model with weights and tokenizer, by which a store knows"
            f" its rows; found no tokenizer in {folder.path}. Name another --store, or the whole model"
        )
    begin = monotonic()
    inputs = counted_by_bytes(config, folder.context_length, reporter)
    if inputs.left.trained:
        check_reporting(config.execution)
    read_in = monotonic() - begin
    adapter = config.warmup.adapter
    shape, of_gradients = shapes_to_run(config, folder, None if adapter is None else find_checkpoint(adapter))
    time = Forecast(why_not="there is no tokenizer to measure with; name devices with --devices")
    memory, exists = _memory(devices, device), config.store_folder.exists()
    return _Given(config, folder, shape, of_gradients, inputs, device, memory, read_in, exists, can_look, time)


def _check_store(config: Config, fingerprint: Fingerprint | None, devices: Devices | None) -> None:
    """As `check_store`, and say what `model.dtype: auto` means on the devices, if it may be why the store differs."""
    try:
        check_store(config.store_folder, fingerprint)
    except FingerprintError as error:
        if devices is None or config.model.dtype != "auto" or fingerprint is None:
            raise
        here = str(stored_fingerprint(config.store_folder).get(DTYPE))
        if here == fingerprint[DTYPE]:
            raise
        raise FingerprintError(
            f"{error}\nOn {devices} model.dtype: auto is {fingerprint[DTYPE]}: add --set model.dtype={here} to plan"
            " for the weights that this store is of."
        ) from None


def _check_devices(config: Config, devices: Devices) -> None:
    representation, execution = config.selection.representation, config.execution
    if representation != GRADIENT:
        raise ConfigError(
            f"--devices: expected a method that looks at gradients, found {config.selection.method}, which looks at"
            f" {representation}: what that costs is only measured here. Leave --devices out"
        )
    for name, default in (("device", "auto"), ("engine", "local"), ("workers", None)):
        if (found := getattr(execution, name)) != default:
            raise ConfigError(
                f"--devices: expected no execution.{name} beside it, since {devices} says what the work is done by,"
                f" found {found}; leave one of the two out"
            )


def _memory(devices: Devices | None, device: torch.device) -> int:
    if devices is not None:
        return devices.device.memory_bytes
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return available_memory()


def _planned(given: _Given, devices: Devices | None) -> CostPlan:
    config, shape, inputs = given.config, given.shape, given.inputs
    measures = config.selection.representation == GRADIENT
    dtype = str(resolve_dtype(config.model, given.device)).removeprefix("torch.")
    knobs = knobs_of(config, inputs, given.of_gradients, dtype, given.device.type)
    num_of_row = dim_of(config.gradients.projection, given.of_gradients) * config.num_checkpoints
    if (kind := config.model.quantization) is not None:
        knobs = replace(knobs, rounded=(kind, given.folder.num_bytes(shape.parameters, given.device)))
    of_memory = peaks(shape, knobs) if measures else []
    fitting = fit(shape, knobs, given.memory, _spread_over(given, devices)) if of_memory else None
    steps = steps_of(config, shape, inputs)
    if devices is not None:
        steps, by = timed_on(devices, steps, dtype, fitting, config.gradients.parameters)
    else:
        steps, by = timed_here(given.time, steps)
    read = Step(len(inputs.lengths) + len(inputs.target_lengths), seconds=given.read_in)
    steps = {"reading": read, **steps, "choosing": choosing(config, num_of_row, inputs)}
    seconds = [step.seconds for step in steps.values()]
    return CostPlan(
        model=config.model.name,
        dtype=dtype,
        shape=shape,
        parameters=config.gradients.parameters,
        devices=str(devices) if devices is not None else f"this machine ({given.device.type})",
        named=devices is not None,
        device_bytes=given.memory,
        method=config.selection.method,
        representation=config.selection.representation,
        pool_rows=len(inputs.lengths),
        pool_tokens=int(inputs.lengths.sum()),
        pool_duplicates=inputs.num_duplicates,
        pool_truncated=inputs.num_truncated,
        excluded=inputs.num_excluded,
        target_rows={name: len(lengths) for name, lengths in inputs.targets.items()},
        budget=inputs.plan.budget,
        exact=inputs.exact,
        row_length=num_of_row,
        store_exists=given.store_exists,
        rows_stored=len(inputs.lengths) - inputs.num_duplicates - inputs.left.rows["pool"] if measures else 0,
        steps=steps,
        seconds=None if None in seconds else sum(of for of in seconds if of is not None),
        time_by=by,
        disk=disk_of(config, shape, num_of_row, inputs, dtype) if measures else {},
        disk_free=free_at(config.store_folder) if devices is None and given.can_look else None,
        selecting_bytes=bytes_to_select(config, num_of_row, inputs) if measures else 0,
        peaks=of_memory,
        fit=fitting,
        notes=notes_of(
            config,
            given.folder,
            num_of_row if measures else 0,
            exact=inputs.exact,
            can_look=given.can_look,
            named=devices is not None,
        ),
    )


def _spread_over(given: _Given, devices: Devices | None) -> int:
    """How many devices a copy of the model is spread over: none takes less than a block."""
    if given.config.model.device_map is None:
        return 1
    here = torch.cuda.device_count() if given.device.type == "cuda" else 1
    return max(1, min(here if devices is None else devices.count, given.shape.blocks))
