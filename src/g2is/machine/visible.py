"""Which of a machine's CUDA devices a process sees."""

from collections.abc import Mapping

import torch

VISIBLE = "CUDA_VISIBLE_DEVICES"


def only(number: int, environment: Mapping[str, str]) -> dict[str, str]:
    """What a process's environment has to say for it to see the `number`-th alone of the devices that it sees now.

    CUDA reads that once, when it begins: so it is to be said before the process starts, or at least before anything
    in it asks CUDA (`torch.cuda.is_available` does; `torch.cuda.device_count` asks the driver's library).

    >>> only(1, {"CUDA_VISIBLE_DEVICES": "4,GPU-6b"}), only(1, {})
    ({'CUDA_VISIBLE_DEVICES': 'GPU-6b'}, {'CUDA_VISIBLE_DEVICES': '1'})
    """
    names = _named(environment)
    return {VISIBLE: names[number] if number < len(names) else str(number)}


def num_devices(environment: Mapping[str, str]) -> int:
    """How many devices processes that see one each can have, of those that this one sees.

    Of several parts of cards (MIG) CUDA shows a process the first alone; each can have its own all the same.
    """
    names = _named(environment)
    return len(names) if any(name.startswith("MIG-") for name in names) else torch.cuda.device_count()


def _named(environment: Mapping[str, str]) -> list[str]:
    return [name.strip() for name in environment.get(VISIBLE, "").split(",") if name.strip()]
