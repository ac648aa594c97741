"""A fingerprint: everything that changes a store's rows, and nothing that does not.

It is a flat mapping of dotted keys to plain values, so that two can be compared key by key.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from g2is.errors import FingerprintError

Value = str | int | float | bool | None
Fingerprint = Mapping[str, Value]

_SHOWN = 16  # characters of a long value in a message


def digest(fingerprint: Fingerprint) -> str:
    """A short name for the whole fingerprint: 32 hex digits, the same for the same keys and values in any order."""
    text = json.dumps(dict(sorted(fingerprint.items())), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def check_same(stored: Fingerprint, asked: Fingerprint, place: Path) -> None:
    """Raise FingerprintError naming each key whose value in the store at `place` differs from the one asked for."""
    keys = sorted(stored.keys() | asked.keys())
    absent = "(absent)"
    differing = [key for key in keys if stored.get(key, absent) != asked.get(key, absent)]
    if differing:
        lines = [
            f"{key}: stored {_show(stored.get(key, absent))}, asked for {_show(asked.get(key, absent))}"
            for key in differing
        ]
        raise FingerprintError(
            f"{place}: expected a store made with the settings asked for, found {len(differing)} that differ:\n  "
            + "\n  ".join(lines)
            + "\nGo back to these settings, or name another --store."
        )


def _show(value: Value) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:_SHOWN]}…"
