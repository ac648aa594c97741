"""Whether what `memory_needed.py` counts fits into a device's memory; and if not, with which settings it would."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from g2is.jobs.memory_needed import BYTES, Knobs, Peak, is_of_adapter, peaks
from g2is.model.shape import ModelShape

SPARE = 1.1  # times what is counted must fit, as in `machine/memory.py`: allocators, libraries, fragments
_SHORTEST_BATCH, _SHORTEST_ROW, _LOWEST_RANK = 512, 512, 16
_SMALLEST_PIECES = 1 << 24
_MOST_DEVICES = 4096
_SPREAD = "model.device_map"


@dataclass(frozen=True)
class Fit:
    """Whether devices of `memory_bytes` hold a copy of the model and its work.

    A copy is on one of them, or its blocks are dealt evenly among `devices`, where the model is spread; the fullest has
    to hold `needed_bytes` at most. If it does not fit, `settings` are those with which it would, by name, the least
    harmful first; none where no setting helps. `devices_a_copy` is the fewest devices that would hold a copy with the
    smallest batches, which are those of `spread_settings`; 0 if none. On a CPU there are no such settings. Gradients of
    all linear layers are made on one device: it is 1 where it fits, or would with other `settings`, else 0.
    """

    fits: bool
    memory_bytes: int
    devices: int
    needed_bytes: int
    settings: Mapping[str, str]
    devices_a_copy: int
    spread_settings: Mapping[str, str]


def fit(shape: ModelShape, knobs: Knobs, memory_bytes: int, devices: int = 1) -> Fit:
    """Whether the peaks fit into `memory_bytes` of each of the devices that a copy is spread over; else with what."""
    found = peaks(shape, knobs)
    fits, needed = _fits(found, memory_bytes, devices), _most(found, devices)
    settings = {} if fits else _settings_that_fit(shape, knobs, memory_bytes, devices)
    if not is_of_adapter(knobs):
        return Fit(fits, memory_bytes, devices, needed, settings, int(fits or bool(settings)), {})
    lean = replace(knobs, batch_tokens=min(knobs.batch_tokens, _SHORTEST_BATCH), device_batch_size=1)
    spread = {_SPREAD: "auto", **_changes(knobs, lean)} if knobs.device_type == "cuda" else {}
    return Fit(fits, memory_bytes, devices, needed, settings, _devices_a_copy(shape, lean, memory_bytes), spread)


def _most(found: list[Peak], devices: int) -> int:
    return max((peak.on_each_of(devices) for peak in found), default=0)


def _fits(found: list[Peak], memory_bytes: int, devices: int) -> bool:
    return _most(found, devices) * SPARE < memory_bytes


def _devices_a_copy(shape: ModelShape, knobs: Knobs, memory_bytes: int) -> int:
    of_a_copy = peaks(shape, knobs)
    for devices in range(1, _MOST_DEVICES + 1):
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
    "max_length": "examples.max_length",
    "second_moments": "gradients.second_moments",
    "gradient_bytes": "execution.gradient_bytes",
    "batch_tokens": "execution.batch_tokens",
    "device_batch_size": "warmup.device_batch_size",
    "dtype": "model.dtype",
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
    """Settings that take less and less memory, the least harmful first.

    In 16 bits the training of all linear layers holds its weights twice, so both types are tried.
    """
    if BYTES[knobs.dtype] > 2:
        yield from _cheaper(replace(knobs, dtype="bfloat16"))
        if is_of_adapter(knobs):
            return
    else:
        yield knobs
    while knobs.trains and knobs.device_batch_size > 1:
        knobs = replace(knobs, device_batch_size=knobs.device_batch_size // 2)
        yield knobs
    while knobs.batch_tokens > _SHORTEST_BATCH:
        knobs = replace(knobs, batch_tokens=max(_SHORTEST_BATCH, knobs.batch_tokens // 2))
        yield knobs
    while not is_of_adapter(knobs) and knobs.matrices is None and knobs.gradient_bytes > _SMALLEST_PIECES:
        knobs = replace(knobs, gradient_bytes=max(_SMALLEST_PIECES, knobs.gradient_bytes // 2))
        yield knobs
    if knobs.second_moments == "adam" and knobs.can_factor:
        knobs = replace(knobs, second_moments="factored")
        yield knobs
    longest = min(knobs.longest, knobs.max_length)
    for length in (1024, _SHORTEST_ROW):
        if length < longest:
            knobs = replace(knobs, max_length=length)
            yield knobs
    while knobs.rank is not None and knobs.rank > _LOWEST_RANK:
        knobs = replace(knobs, rank=max(_LOWEST_RANK, knobs.rank // 2))
        yield knobs
