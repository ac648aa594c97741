"""Several warm-ups in one: the same training with several seeds, each a warm-up of its own in a folder of its own.

Folder layout below `warmup/`:

    seed-S/          a whole warm-up (`train.py`), with the seed S
    complete.json    written last: the checkpoints of all, each in its `folder`, with its weight over how many warm-ups
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from g2is.config import WarmupConfig
from g2is.store.files import write_json
from g2is.warmup.train import COMPLETE, REACH, Checkpoint, draw_anew, finished_warmup, kept_reach

_SEED = "seed-"
_APART = 1000  # so that runs of seeds 0, 1, 2, … have no warm-up in common


def seeds_from(seed: int, num_seeds: int) -> list[int]:
    """The seeds of `num_seeds` warm-ups whose first has `seed`."""
    return [(seed + _APART * number) % 2**32 for number in range(num_seeds)]


def tokens_to_train(config: WarmupConfig, num_seeds: int, keys: np.ndarray, num_tokens: np.ndarray) -> int:
    """Tokens that `num_seeds` warm-ups go through in all their passes, of a pool of `keys` (N, 16) uint8.

    `num_tokens` (N,) int64 are its rows' lengths: those that are drawn may be longer or shorter than the mean.
    """
    drawn = (draw_anew(keys, config.fraction, seed) for seed in seeds_from(config.seed, num_seeds))
    return config.epochs * sum(int(num_tokens[rows].sum()) for rows in drawn)


def seed_folder(warmup: Path, seed: int) -> Path:
    """Where the warm-up with `seed` lies."""
    return warmup / f"{_SEED}{seed}"


def seed_folders(warmup: Path) -> dict[int, Path]:
    """The warm-ups that lie in the folder `warmup`, by their seeds; none if it is a single one itself."""
    named = [(of.name.removeprefix(_SEED), of) for of in warmup.glob(f"{_SEED}*")]
    return dict(sorted((int(seed), of) for seed, of in named if seed.isdecimal()))


def join_warmups(warmup: Path, seeds: Sequence[int]) -> list[Checkpoint]:
    """Write down that the warm-ups with `seeds`, which are finished, are one: their checkpoints, weights summing to 1.

    A row is then the concatenation of each one's row, and a product of two rows the mean of the warm-ups' cosines.
    """
    entries = []
    for seed in seeds:
        place = seed_folder(warmup, seed)
        finished = finished_warmup(place)
        assert finished is not None, place
        entries += [
            {
                "name": f"{place.name}-{of.name}",  # which arrays and jobs bear: no path
                "folder": f"{place.name}/{of.name}",
                "weight": of.weight / len(seeds),
                "digest": of.digest,
            }
            for of in finished
        ]
    reach = kept_reach(seed_folder(warmup, seeds[0]))
    write_json(warmup / COMPLETE, {"checkpoints": entries, **({} if reach is None else {REACH: reach})})
    joined = finished_warmup(warmup)
    assert joined is not None
    return joined
