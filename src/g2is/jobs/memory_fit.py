"""Whether what `memory_needed.py` counts fits into a device's memory; and if not, with which settings it would."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from g2is.jobs.memory_needed import BYTES, Knobs, Peak, is_of_adapter, peaks
from g2is.model.shape import ModelShape

SPARE = 1.1  # times what is counted must fit, as in `machine/memory.py`: allocators, libraries, fragments
_SHORTEST_BATCH, _SHORTEST_ROW, _LOWEST_RANK = 512, 512, 16
_SMALLEST_PIECES = 1 << 24
_SPREAD = "model.device_map"
DTYPE, MAX_LENGTH = "model.dtype", "examples.max_length"  # settings with which the work is another


@dataclass(frozen=True)
class Fit:
    """Whether devices of `memory_bytes` hold a copy of the model and its work.

    A copy is on one of them, or its blocks are dealt among `devices`, whole, where the model is spread; the fullest has
    to hold `needed_bytes` at most. If it does not fit, `settings` are those with which it would, by name, the least
    harmful first; none where no setting helps. `devices_a_copy` is the fewest devices that would hold a copy with the
    smallest batches, which are those of `spread_settings`; 0 if none. On a CPU there are no such settings. Gradients of
    all linear layers are made on one device: it is 1 where it fits, or would with other `settings`, else 0. `settled`
    says that a store exists, of which settings that decide rows cannot be changed.
    """

    fits: bool
    memory_bytes: int
    devices: int
    needed_bytes: int
    settings: Mapping[str, str]
    devices_a_copy: int
    spread_settings: Mapping[str, str]
    settled: bool


def fit(shape: ModelShape, knobs: Knobs, memory_bytes: int, devices: int = 1) -> Fit:
    """Whether the peaks fit into `memory_bytes` of each of the devices that a copy is spread over; else with what."""
    found = peaks(shape, knobs)
    fits, needed = _fits(found, memory_bytes, devices), _most(found, devices)
    settings = {} if fits else _settings_that_fit(shape, knobs, memory_bytes, devices)
    if not is_of_adapter(knobs):
        return Fit(fits, memory_bytes, devices, needed, settings, int(fits or bool(settings)), {}, knobs.settled)
    lean = replace(
        knobs,
        batch_tokens=min(knobs.batch_tokens, _SHORTEST_BATCH),
        device_batch_size=knobs.device_batch_size if knobs.settled else 1,
    )
    spread = {_SPREAD: "auto", **_changes(knobs, lean)} if knobs.device_type == "cuda" else {}
    a_copy = _devices_a_copy(shape, lean, memory_bytes)
    return Fit(fits, memory_bytes, devices, needed, settings, a_copy, spread, knobs.settled)


def _most(found: list[Peak], devices: int) -> int:
    return max((peak.on_each_of(devices) for peak in found), default=0)


def _fits(found: list[Peak], memory_bytes: int, devices: int) -> bool:
    return _most(found, devices) * SPARE < memory_bytes


def _devices_a_copy(shape: ModelShape, knobs: Knobs, memory_bytes: int) -> int:
    of_a_copy = peaks(shape, knobs)
    for devices in range(1, shape.blocks + 1):  # none holds less than a block
        if _fits(of_a_copy, memory_bytes, devices):
            return devices
    return 0


def _settings_that_fit(shape: ModelShape, knobs: Knobs, memory_bytes: int, devices: int) -> dict[str, str]:
    """The first settings that fit, in the order of what they cost; none of them further from `knobs` than is needed."""
    for found in _cheaper(knobs):
        if _fits(peaks(_with_rank(shape, knobs, found), found), memory_bytes, devices):
            for name in _NAMES:  # others may have done so much that this one need not go as far
                tried = (replace(found, **{name: value}) for value in _between(knobs, found, name))
                found = next(
                    of for of in tried if _fits(peaks(_with_rank(shape, knobs, of), of), memory_bytes, devices)
                )
            return _changes(knobs, found)
    return {}


# What is given up first comes last here: it is what is tried first to be left as it was.
_NAMES = {
    "rank": "warmup.lora.rank",
    "max_length": MAX_LENGTH,
    "second_moments": "gradients.second_moments",
    "dtype": DTYPE,
    "device_batch_size": "warmup.device_batch_size",
    "gradient_bytes": "execution.gradient_bytes",
    "batch_tokens": "execution.batch_tokens",
}


def _changes(before: Knobs, now: Knobs) -> dict[str, str]:
    """The settings, by name, that are others `now`; the least harmful first."""
    return {
        setting: str(getattr(now, name))
        for name, setting in reversed(_NAMES.items())
        if getattr(now, name) != getattr(before, name)
    }


def _with_rank(shape: ModelShape, before: Knobs, now: Knobs) -> ModelShape:
    return shape if not before.rank or not now.rank else shape.with_rank(now.rank / before.rank)


def _between(before: Knobs, now: Knobs, name: str) -> list[Any]:
    """Values of a setting from what it was to what it is `now`, which is the last."""
    first, last = getattr(before, name), getattr(now, name)
    if isinstance(first, str) or first == last:
        return list(dict.fromkeys([first, last]))
    values = [first]
    while values[-1] // 2 > last:
        values.append(values[-1] // 2)
    return [*values, last]


def _cheaper(knobs: Knobs) -> Iterator[Knobs]:
    """Settings that take less and less memory, the least harmful first: those of execution change no row.

    Of a store that exists no others can be changed. In 16 bits the training of all linear layers holds its weights
    twice, so there both types are tried.
    """
    yield knobs
    while knobs.batch_tokens > _SHORTEST_BATCH:
        knobs = replace(knobs, batch_tokens=max(_SHORTEST_BATCH, knobs.batch_tokens // 2))
        yield knobs
    while not is_of_adapter(knobs) and knobs.matrices is None and knobs.gradient_bytes > _SMALLEST_PIECES:
        knobs = replace(knobs, gradient_bytes=max(_SMALLEST_PIECES, knobs.gradient_bytes // 2))
        yield knobs
    if knobs.settled:
        return
    while knobs.trains and knobs.device_batch_size > 1:
        knobs = replace(knobs, device_batch_size=knobs.device_batch_size // 2)
        yield knobs
    halved = [replace(knobs, dtype="bfloat16")] if BYTES[knobs.dtype] > 2 else []
    yield from halved
    types = [*halved, knobs] if not is_of_adapter(knobs) else halved or [knobs]
    if knobs.second_moments == "adam" and knobs.can_factor:
        types = [replace(of, second_moments="factored") for of in types]
        yield from types
    longest = min(max(knobs.longest, *(int(of.max(initial=0)) for of in knobs.shards)), knobs.max_length)
    for length in (1024, _SHORTEST_ROW):
        if length < longest:
            types = [replace(of, max_length=length) for of in types]
            yield from types
    rank = knobs.rank
    while rank is not None and rank > _LOWEST_RANK:
        rank = max(_LOWEST_RANK, rank // 2)
        types = [replace(of, rank=rank) for of in types]
        yield from types
