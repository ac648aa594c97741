"""Seeded draws that give the same values on every Python, and the words they draw from."""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

Exchange = tuple[str, str]
"""A question and its answer: what every skill draws."""

# The bundled model was pretrained on these words: after a change, rerun scripts/pretrain_sample_model.py.
_WORD_LIST = """
acorn amber anchor apple apron arrow autumn bagel banana barrel basket beach beetle bell berry bicycle blanket
blossom bottle bread breeze bridge bucket butter button cabin cactus camel candle canyon carpet carrot castle cedar
cellar cheese cherry chimney circle cliff cloud clover coffee copper corner cotton cradle crayon cricket crystal
cushion daisy dancer desert dinner dolphin donkey dragon drawer eagle ember engine falcon farmer feather fence
fiddle finger flower forest fossil fountain garden garlic ginger glacier glove goose grape grass guitar hammer
harbor harvest hazel helmet hollow honey horse island ivory jacket jelly jewel jungle kettle kitchen kitten ladder
lantern leather lemon letter lily lizard maple marble market meadow melon mirror monkey morning mountain muffin
needle oasis ocean olive onion orange orchard otter oyster paddle panda parrot pebble pencil pepper piano picnic
pigeon pillow planet pocket pond potato puddle pumpkin puppet rabbit ribbon river rocket saddle sailor salmon
sandal school shadow shelf shovel silver spider spoon squirrel stable stone summer sunset table teapot thunder
ticket tiger tomato tower tulip tunnel turtle valley velvet village violet walnut wagon water whistle willow window
winter wizard wolf yellow zebra
"""
WORDS: tuple[str, ...] = tuple(_WORD_LIST.split())


class Dice:
    """Draws decided by the seed alone.

    Only `Random.random()` is promised to keep its values from one Python to the next; `choice`, `sample` and the rest
    are not, so every draw here is made from it.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[self.between(0, len(options) - 1)]

    def number(self, max_digits: int, min_digits: int = 1) -> int:
        """A positive number; every number of digits allowed is equally likely."""
        digits = self.between(min_digits, max_digits)
        return self.between(10 ** (digits - 1), 10**digits - 1)

    def word(self) -> str:
        """One of `WORDS`."""
        return self.pick(WORDS)
