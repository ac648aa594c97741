"""Which missing rows make which shard: decided once, before work begins, so that no two processes take one number.

A table's plan lies beside its arrays (`store/matrix.py`) while shards of it are missing, as `plan.npz`, without pickle:

    fingerprint  ()                 digest of what the shards are made with
    shard_rows   () int64           rows a shard has at most
    number       (S,) int64         of each planned shard, ascending
    num_rows     (S,) int64         rows of each
    key          (Σ num_rows, 16)   uint8: their content keys, shard by shard

Shards that were finished meanwhile are still listed: what is stored, the markers say.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np

from g2is.errors import StoreError, first_line, may_not_be_read, pass_on_too_little_memory
from g2is.store.files import write_atomically

PLAN = "plan.npz"


@dataclass(frozen=True)
class PlannedShard:
    """A shard that is to be made: its number, and which of the rows that were asked for it holds, (R,) int64."""

    number: int
    rows: np.ndarray


@dataclass(frozen=True)
class ShardPlan:
    """What a plan says: what the shards are made with and how long they are, and (R, 16) uint8 keys by number."""

    fingerprint: str
    shard_rows: int
    keys: Mapping[int, np.ndarray]


def missing_rows(keys: np.ndarray, stored: Collection[bytes]) -> np.ndarray:
    """The first row of each content key of `keys` (N, 16) uint8 that is not `stored`, ascending, (n,) int64."""
    known = set(stored)
    missing = []
    for row, key in enumerate(keys):
        content = key.tobytes()
        if content not in known:
            known.add(content)
            missing.append(row)
    return np.array(missing, np.int64)


def cut_shards(
    keys: np.ndarray,
    missing: np.ndarray,
    planned: Mapping[int, np.ndarray],
    shard_rows: int,
    free: Callable[[int, Collection[int]], list[int]],
) -> list[PlannedShard]:
    """The shards, by number, that the rows `missing` (n,) of `keys` (N, 16) are to make.

    A shard that was `planned` before keeps number and rows if all of these are missing and in no other. The rest is cut
    in order, `shard_rows` a shard; `free(n, kept)` gives numbers to n of these.
    """
    kept = _kept_shards(keys, missing, planned) if planned else []
    is_kept = np.zeros(len(keys), bool)
    for shard in kept:
        is_kept[shard.rows] = True
    left = missing[~is_kept[missing]]
    rows_of = [left[start : start + shard_rows] for start in range(0, len(left), shard_rows)]
    numbers = free(len(rows_of), {shard.number for shard in kept})
    new = [PlannedShard(number, rows) for number, rows in zip(numbers, rows_of, strict=True)]
    return sorted(kept + new, key=lambda shard: shard.number)


def planned_shards(
    keys: np.ndarray, missing: np.ndarray, planned: Mapping[int, np.ndarray]
) -> list[PlannedShard] | None:
    """The shards, by number, in which the plan has all rows `missing` (n,) of `keys` (N, 16); None if it lacks any."""
    kept = _kept_shards(keys, missing, planned)
    return sorted(kept, key=lambda shard: shard.number) if sum(len(of.rows) for of in kept) == len(missing) else None


def _kept_shards(keys: np.ndarray, missing: np.ndarray, planned: Mapping[int, np.ndarray]) -> list[PlannedShard]:
    row_of = {keys[row].tobytes(): row for row in missing.tolist()}
    kept = []
    for number, of_shard in planned.items():
        rows = [row_of.get(key.tobytes()) for key in of_shard]
        if None not in rows and len(set(rows)) == len(rows):
            kept.append(PlannedShard(number, np.array(rows, np.int64)))
            for key in of_shard:
                del row_of[key.tobytes()]
    return kept


def write_plan(path: Path, plan: ShardPlan) -> None:
    """Write the plan to the file `path`, atomically; equal plans are equal bytes."""

    def write(temporary: Path) -> None:
        numbers, content = sorted(plan.keys), BytesIO()
        np.savez(  # into memory: a stop in it leaves an archive that ends itself later, when a file would be closed
            content,
            fingerprint=np.array(plan.fingerprint),
            shard_rows=np.array(plan.shard_rows),
            number=np.array(numbers, np.int64),
            num_rows=np.array([len(plan.keys[number]) for number in numbers], np.int64),
            key=np.concatenate([plan.keys[number] for number in numbers]),
        )
        temporary.write_bytes(content.getbuffer())

    write_atomically(path, write)


def read_plan(path: Path) -> ShardPlan | None:
    """Read the plan in the file `path`; None where there is none. Raises StoreError if it is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            fingerprint, shard_rows = arrays["fingerprint"].item(), arrays["shard_rows"].item()
            number, num_rows, key = arrays["number"], arrays["num_rows"], arrays["key"]
        ends = np.cumsum([0, *num_rows])
        wrong = (
            not (isinstance(fingerprint, str) and isinstance(shard_rows, int) and number.dtype == np.int64)
            or (num_rows.dtype, key.dtype) != (np.int64, np.uint8)
            or key.shape != (ends[-1], 16)
            or len(number) != len(num_rows)
            or number.min() < 0
            or bool(np.any(np.diff(number) <= 0))
            or not 0 < num_rows.min() <= num_rows.max() <= shard_rows
        )
        if wrong:
            raise ValueError("its parts do not fit together")
    except FileNotFoundError:
        return None
    except PermissionError:
        raise may_not_be_read(path) from None
    except Exception as error:  # zipfile and NumPy tell of damage in many ways
        pass_on_too_little_memory(error)
        raise StoreError(
            f"{path}: expected the plan of the shards to be made, found a damaged file ({first_line(error)}). Shards"
            " that are stored stay, and what is missing is planned anew by the next command that asks for it"
        ) from None
    return ShardPlan(
        fingerprint, shard_rows, {int(n): key[a:b] for n, (a, b) in zip(number, pairwise(ends.tolist()), strict=True)}
    )
