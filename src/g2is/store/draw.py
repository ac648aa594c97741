"""Random orders of rows that their content decides: neither the order of the files nor other rows change them."""

import hashlib

import numpy as np

VERSION = 2  # part of a store's fingerprint: any change to the orders below raises it (1 drew by position)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def random_order(keys: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """Positions (N,) int64 of the rows with content `keys` (N, 16) uint8 in a random order.

    Each row has a random number of its own, which (`seed`, `purpose`, key, how many rows of the same key stand before
    it) alone decide, and rows are sorted by it: the first n of a pool are the same rows in any order of the pool, and
    stay so but for those that new rows displace. Orders of two seeds, or of two purposes, are independent.
    """
    return _numbers_in_order(keys, seed, purpose)[1]


def random_numbers(keys: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """The random numbers (N,) uint64 by which `random_order` sorts, equally likely over all that there are."""
    return _numbers_in_order(keys, seed, purpose)[0]


def _numbers_in_order(keys: np.ndarray, seed: int, purpose: str) -> tuple[np.ndarray, np.ndarray]:
    """Each row's random number (N,), and the rows' order by them."""
    text = f"g2is draw {VERSION}\0{seed}\0{purpose}"
    start = np.uint64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))
    first, second = np.ascontiguousarray(keys).view("<u8").reshape(-1, 2).T
    numbers = _mixed(_mixed(start + first) ^ second)
    order = np.argsort(numbers, kind="stable")
    repeats = np.flatnonzero(numbers[order[1:]] == numbers[order[:-1]]) + 1
    if not len(repeats):
        return numbers, order
    places = np.arange(len(order))
    begins = places.copy()
    begins[repeats] = 0
    nth = (places - np.maximum.accumulate(begins))[repeats].astype(np.uint64)
    numbers[order[repeats]] = _mixed(numbers[order[repeats]] + nth * _GOLDEN)
    return numbers, np.argsort(numbers, kind="stable")


def _mixed(x: np.ndarray) -> np.ndarray:
    """splitmix64's output function on (n,) uint64: each bit of the input changes half of the output's."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))
