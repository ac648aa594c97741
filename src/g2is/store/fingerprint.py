"""A fingerprint: everything that changes a store's rows, and nothing that does not.

It is a flat mapping of dotted keys to plain values, so that two can be compared key by key.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from g2is.errors import FingerprintError

Value = str | int | float | bool | None
Fingerprint = Mapping[str, Value]

_LONGEST_SHOWN = 80
# what a fingerprint means that does not say it
_UNSAID: Fingerprint = {"gradients.storage": "float16", "gradients.parameters": "lora", "selection.warmup_seeds": 1}


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


def check_same(stored: Fingerprint, asked: Fingerprint, expected: str, otherwise: str) -> None:
    """Compare key by key what a folder was made with and what is asked for.

    `expected` opens the message (place and thing), `otherwise` says what to do but for going back. Raises
    FingerprintError naming each key that differs, with both values. Keys that end in "version" are of what g2is does,
    and no setting to go back to.
    """
    pairs = {key: (_of(stored, key), _of(asked, key)) for key in sorted(stored.keys() | asked.keys())}
    differing = [f"{key}: there {_show(a)}, asked for {_show(b)}" for key, (a, b) in pairs.items() if a != b]
    if differing:
        raise FingerprintError(
            f"{expected} made with the settings asked for, found {len(differing)} that differ:\n  "
            + "\n  ".join(differing)
            + f"\n{_remedy(stored, asked, otherwise)}"
        )


def _of(fingerprint: Fingerprint, key: str) -> Value:
    return fingerprint.get(key, _UNSAID.get(key, "(absent)"))


def _remedy(stored: Fingerprint, asked: Fingerprint, otherwise: str) -> str:
    if any(stored.get(key) != of for key, of in asked.items() if key.endswith("version")):
        return f"Another version of g2is made it, which does some of this otherwise: {otherwise}."
    return f"Go back to these settings, or {otherwise}."


def _show(value: Value) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
