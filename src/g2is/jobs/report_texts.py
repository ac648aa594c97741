"""What a report shows of pool and targets: texts, sources, categories, lengths."""

import json

import numpy as np

from g2is.config import Config
from g2is.errors import InputError
from g2is.examples.conversation import Conversation
from g2is.examples.dataset import Examples
from g2is.examples.read import Example, read_examples
from g2is.examples.sources import describe, find_sources
from g2is.report.selection import Whole
from g2is.report.shown import Shown, TargetExample, Turns

_CATEGORIES = (b'"category"', b'"task"')  # fields of a row that say what it is about, the first that it has
_NO_CATEGORY = "(none)"


def read_shown(config: Config, examples: Examples, places: np.ndarray) -> tuple[Shown, Whole]:
    """The texts of the pool's rows at `places` (P,), and what the whole pool is of.

    Raises InputError where the files no longer hold the rows that were selected from.
    """
    pool, sources = examples.pool, find_sources(config.pool)
    place_of = {int(row): place for place, row in enumerate(pool.rows)}
    wanted = set(places.tolist())
    turns: dict[int, Turns] = {}
    categories: list[str | None] = [None] * len(pool)
    for example in read_examples(sources, config.examples):
        place = place_of.get(example.row)
        if place is None or pool.ids[place] != example.id:
            continue
        categories[place] = _category(example)
        if place in wanted:
            turns[place] = turns_of(example.conversation)
    if len(turns) < len(wanted):
        raise InputError(
            f"{describe(sources)}: expected the pool that was selected from, found {len(wanted) - len(turns)} of its"
            " rows gone. Put the old file back"
        )
    named = [_NO_CATEGORY if of is None else of for of in categories] if any(categories) else None
    some = places.tolist()
    shown = Shown(
        len(pool),
        pool.rows[places],
        [pool.ids[place] for place in some],
        [turns[place] for place in some],
        [pool.sources[place] for place in some],
        None if named is None else [named[place] for place in some],
        pool.num_tokens[places],
        pool.num_answer_tokens[places],
    )
    return shown, Whole(pool.sources, named, pool.num_tokens, pool.num_answer_tokens)


def read_examples_of_targets(config: Config, examples: Examples) -> list[TargetExample]:
    """All examples of all targets, in the order of their tables."""
    found: list[TargetExample] = []
    for name, table in examples.targets.items():
        texts = {
            of.row: turns_of(of.conversation)
            for of in read_examples(find_sources(config.targets[name]), config.examples)
        }
        found += [
            TargetExample(id_, name, texts.get(int(row), ())) for id_, row in zip(table.ids, table.rows, strict=True)
        ]
    return found


def turns_of(conversation: Conversation) -> Turns:
    """Role and text of each turn; what an assistant thought and the tools it called are part of it."""
    found = []
    for turn in conversation.turns:
        thought = f"{turn.reasoning}\n\n" if turn.reasoning else ""
        calls = turn.extra.get("tool_calls")
        asked = f"\n{json.dumps(calls, ensure_ascii=False, default=str)}" if calls else ""
        found.append((turn.role, f"{thought}{turn.content}{asked}"))
    return found


def _category(example: Example) -> str | None:
    for field in _CATEGORIES:
        if field in example.raw:
            value = json.loads(example.raw).get(json.loads(field))  # an object: its row was read
            if isinstance(value, str) and value:
                return value
    return None
