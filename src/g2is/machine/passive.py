"""Threads that sleep while they wait for each other, where other processes want the cores too.

torch comes with GNU's OpenMP, whose threads spin at the end of each parallel loop: the first to finish burns its core
until the last one is there. Where that one waits for a core, all of it is lost: beside busy processes two threads used
eight times the processor time for the same work, and did a third of it in the same time (docs/performance.md).
"""

from collections.abc import Mapping

_SAID_BY_USER = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def passive(environment: Mapping[str, str]) -> dict[str, str]:
    """What to add to `environment` before torch is imported; nothing where the user has said how threads wait."""
    return {} if any(name in environment for name in _SAID_BY_USER) else {"OMP_WAIT_POLICY": "PASSIVE"}
