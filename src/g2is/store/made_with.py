"""What a folder was made with, compared with what is asked for, key by key."""

from g2is.config.later import LATER
from g2is.errors import FingerprintError
from g2is.store.fingerprint import Fingerprint, Value

_LONGEST_SHOWN = 80
_ADAPTER = "warmup.adapter"  # of a user's own checkpoint there is no version of how it was trained


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
    meant = LATER.get(key)
    return fingerprint.get(key, "(absent)" if meant is None else meant)


def _remedy(stored: Fingerprint, asked: Fingerprint, otherwise: str) -> str:
    said = {key for key in asked if key.endswith("version") and (key in stored or _ADAPTER not in stored)}
    if any(stored.get(key) != asked[key] for key in said):
        return f"Another version of g2is made it, which does some of this otherwise: {otherwise}."
    return f"Go back to these settings, or {otherwise}."


def _show(value: Value) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
