"""A row is known by its content: the same tokens learned at the same places have the same key."""

import hashlib

import numpy as np

KEY_BYTES = 16


def content_key(input_ids: np.ndarray, label_mask: np.ndarray) -> bytes:
    """Return the 16-byte blake2b of token ids (T,) integer and label mask (T,) bool, on any machine the same.

    Raises ValueError if the two differ in shape.
    """
    if input_ids.shape != label_mask.shape or input_ids.ndim != 1:
        raise ValueError(f"expected ids and mask of one length, found shapes {input_ids.shape} and {label_mask.shape}")
    state = hashlib.blake2b(digest_size=KEY_BYTES, person=b"g2is-content-1")
    state.update(len(input_ids).to_bytes(8, "little"))
    state.update(input_ids.astype("<i4").tobytes())
    state.update(np.packbits(label_mask, bitorder="little").tobytes())
    return state.digest()


def overlap(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which of `keys` (N, 16) uint8 are among `others` (M, 16) uint8, (N,) bool."""
    heads, other_heads = (np.ascontiguousarray(rows).view(np.uint64)[:, 0] for rows in (keys, others))
    known = {key.tobytes() for key in others}
    found = np.isin(heads, other_heads)
    for row in np.flatnonzero(found):
        found[row] = keys[row].tobytes() in known
    return found
