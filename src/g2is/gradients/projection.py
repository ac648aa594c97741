"""Projection of a D-coordinate gradient to a row of k coordinates that keeps inner products (method.md step 4).

Every sign and place is decided by (version, seed, parameter name, coordinate) alone, through a 64-bit integer hash
computed with numpy on the CPU, so no device, batch, block or shard can change it.

``sparse`` is a sparse sign sketch (SJLT, one non-zero per coordinate): coordinate j of parameter p adds ±g_j to one
place. A parameter's coordinates are cut into runs of k; run i lands as a whole, rotated by a hashed offset. Two
coordinates of different runs meet with probability 1/k, as under an independent hash, and two of one run never, so the
estimate is unbiased (the signs are independent) and its variance at most that of an independent hash,
(‖x‖²‖y‖² + ⟨x,y⟩² − 2Σx²y²)/k; and the sketch is a handful of contiguous additions (on a GPU of many runs at once): no
scatter, no float atomics, the same bits on every run.

``rademacher`` is the dense ±1/√k matrix that LESS uses: O(D·k), kept as the reference to compare with.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
import torch

from g2is.config import ProjectionConfig

VERSION = 1  # part of the fingerprint: any change to what is computed below raises it
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_DENSE_BLOCK = 1024  # coordinates whose k signs are held at once
_RUNS_AT_ONCE = 1024  # of a GPU: 8 M coordinates at the usual k, as many float32 of each example beside them
_FEW_RUNS = 8  # which are added one by one everywhere
_HASH_BLOCK = 1 << 20  # coordinates that are hashed at once, to words of 8 bytes


def sketch_dim(config: ProjectionConfig, num_coordinates: int) -> int:
    """k of the rows: `config.dim`, or all coordinates where there are no more than that, or no projection is asked."""
    if config.kind == "none" or num_coordinates <= config.dim:
        return num_coordinates
    return config.dim


class Projection:
    """A linear map from named parameter gradients to rows of `dim` coordinates."""

    def __init__(
        self,
        config: ProjectionConfig,
        sizes: Mapping[str, int],
        device: torch.device | str | Mapping[str, torch.device] = "cpu",
    ) -> None:
        """`sizes` maps every canonical parameter name to its number of coordinates, `device` to where gradients are."""
        total = sum(sizes.values())
        self.dim = sketch_dim(config, total)
        self.kind = "none" if self.dim == total else config.kind
        self._seed = config.seed
        names = sorted(sizes)
        starts = np.cumsum([0, *(sizes[name] for name in names)])
        self._start = dict(zip(names, starts.tolist(), strict=False))
        # int8: a byte a coordinate, widened for one parameter at a time
        self._signs: dict[str, torch.Tensor] = {}
        self._offsets: dict[str, list[int]] = {}
        self._turns: dict[str, torch.Tensor] = {}  # the same where gradients are: to bring them there is to wait for it
        if self.kind == "sparse":
            for name in names:
                place = device[name] if isinstance(device, Mapping) else device
                self._signs[name] = torch.from_numpy(_signs(self._key(name, "sign"), sizes[name])).to(place)
                runs = _hash(self._key(name, "offset"), np.arange(-(-sizes[name] // self.dim)))
                offsets = (runs % np.uint64(self.dim)).astype(np.int64)
                self._offsets[name], self._turns[name] = offsets.tolist(), torch.from_numpy(offsets).to(place)

    def add_(self, rows: torch.Tensor, name: str, gradient: torch.Tensor, start: int = 0) -> None:
        """Add the projection of `gradient` (B, n) float32 to `rows` (B, dim), in place.

        It holds the coordinates of parameter `name` from `start` on, and is used up: its values are not what they were
        afterwards. Where `rows` are on another device it goes there, so that sums are taken in one order whether a
        model is spread or not.
        """
        if self.kind == "none":
            first = self._start[name] + start
            rows[:, first : first + gradient.shape[1]] += gradient.to(rows.device)
        elif self.kind == "sparse":
            self._add_sparse(rows, name, gradient, start)
        else:
            self._add_dense(rows, name, gradient.to(rows.device), start)

    def _add_sparse(self, rows: torch.Tensor, name: str, gradient: torch.Tensor, start: int) -> None:
        stop = start + gradient.shape[1]
        gradient = gradient.mul_(self._signs[name][start:stop].to(gradient.dtype)).to(rows.device)
        whole = range(-(-start // self.dim), stop // self.dim)
        if rows.device.type == "cpu" or len(whole) < _FEW_RUNS:
            self._add_runs(rows, name, gradient, start, range(start // self.dim, -(-stop // self.dim)))
            return
        self._add_runs(rows, name, gradient, start, range(start // self.dim, whole.start))
        inside = gradient[:, whole.start * self.dim - start : whole.stop * self.dim - start]
        add_whole_runs(rows, inside, self._turns[name][whole.start : whole.stop].to(rows.device))
        self._add_runs(rows, name, gradient, start, range(whole.stop, -(-stop // self.dim)))

    def _add_runs(self, rows: torch.Tensor, name: str, gradient: torch.Tensor, start: int, runs: range) -> None:
        """Add those of the `runs`, or the parts of them, that are in `gradient`, whose first coordinate is `start`."""
        stop = start + gradient.shape[1]
        for i in runs:
            begin = max(start, i * self.dim)
            run = gradient[:, begin - start : min(stop, (i + 1) * self.dim) - start]
            place = (self._offsets[name][i] + begin - i * self.dim) % self.dim
            before_wrap = min(run.shape[1], self.dim - place)
            rows[:, place : place + before_wrap] += run[:, :before_wrap]
            rows[:, : run.shape[1] - before_wrap] += run[:, before_wrap:]

    def _add_dense(self, rows: torch.Tensor, name: str, gradient: torch.Tensor, start: int) -> None:
        words = -(-self.dim // 64)  # each hash gives 64 signs
        key = self._key(name, "dense")
        for begin in range(0, gradient.shape[1], _DENSE_BLOCK):
            block = gradient[:, begin : begin + _DENSE_BLOCK]
            index = np.arange((start + begin) * words, (start + begin + block.shape[1]) * words)
            bits = np.unpackbits(_hash(key, index).astype("<u8").view(np.uint8)).reshape(block.shape[1], -1)
            signs = 1 - 2 * torch.from_numpy(bits[:, : self.dim]).to(gradient.device, gradient.dtype)
            rows.addmm_(block, signs, alpha=self.dim**-0.5)

    def _key(self, name: str, purpose: str) -> np.uint64:
        return _key_of(f"{self.kind}\0{self._seed}\0{purpose}\0{name}")


def add_whole_runs(rows: torch.Tensor, gradient: torch.Tensor, offsets: torch.Tensor) -> None:
    """Add each run of k coordinates in `gradient` (B, R·k), turned by its own of the `offsets` (R,), to `rows` (B, k).

    In place, and many runs at once: a GPU takes longer to be asked for one run than to do it. What comes to a place is
    summed in another order than run by run, but one that R alone decides: no batch changes a bit.
    """
    num_examples, k = rows.shape
    places = torch.arange(k, device=rows.device)
    for low in range(0, len(offsets), _RUNS_AT_ONCE):
        index = (places - offsets[low : low + _RUNS_AT_ONCE, None]).remainder_(k)
        runs = gradient[:, low * k : (low + len(index)) * k].view(num_examples, -1, k)
        runs = runs.gather(2, index.expand(num_examples, -1, -1))
        while (num := runs.shape[1]) > 1:
            half = runs[:, : num // 2].add_(runs[:, num // 2 : num // 2 * 2])
            if num % 2:
                half[:, 0] += runs[:, -1]
            runs = half
        rows += runs[:, 0]


def hashed_signs(purpose: str, size: int) -> np.ndarray:
    """Independent signs ±1, (size,) int8, decided by VERSION and `purpose` alone."""
    return _signs(_key_of(purpose), size)


def _key_of(purpose: str) -> np.uint64:
    text = f"g2is projection {VERSION}\0{purpose}"
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))


def _signs(key: np.uint64, size: int) -> np.ndarray:
    signs = np.empty(size, np.int8)
    for start in range(0, size, _HASH_BLOCK):
        index = np.arange(start, min(start + _HASH_BLOCK, size))
        signs[start : start + _HASH_BLOCK] = 1 - 2 * (_hash(key, index) >> np.uint64(63)).astype(np.int8)
    return signs


def _hash(key: np.uint64, index: np.ndarray) -> np.ndarray:
    """splitmix64's output at position `index` (n,) of the stream that `key` starts; (n,) uint64."""
    x = key + (index.astype(np.uint64) + np.uint64(1)) * _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))
