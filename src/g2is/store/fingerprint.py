"""A fingerprint: everything that changes a store's rows, and nothing that does not.

It is a flat mapping of dotted keys to plain values, so that two can be compared key by key.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

Value = str | int | float | bool | None
Fingerprint = Mapping[str, Value]


def digest(fingerprint: Fingerprint) -> str:
    """A short name for the whole fingerprint: 32 hex digits, the same for the same keys and values in any order."""
    text = json.dumps(dict(sorted(fingerprint.items())), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    """Nested mappings as one mapping of dotted keys; lists become their text."""
    flat: dict[str, Value] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
    return flat
