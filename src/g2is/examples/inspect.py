"""What is in files of examples, before anything is done with them."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from g2is.config import ExamplesConfig, Layout
from g2is.errors import ConfigError, G2isError
from g2is.examples.batches import batches
from g2is.examples.columns import TEST_COLUMNS, check_columns
from g2is.examples.keys import content_key
from g2is.examples.problems import BadRow, Problems
from g2is.examples.read import Example, ExampleReader
from g2is.examples.sources import Format, Source, describe
from g2is.examples.tokenize import Rendered, Renderer
from g2is.progress import Progress

_BATCH = 256
_NUM_SHOWN = 3

Parts = tuple[tuple[str, bool], ...]  # (text, is learned)


@dataclass(frozen=True)
class FileReport:
    """What was recognised of one file or dataset."""

    label: str
    format: Format
    layouts: tuple[Layout, ...]
    num_rows: int


@dataclass(frozen=True)
class Shown:
    """An example as a model sees it, or else as messages. `left_out` is what the chat template leaves out of it."""

    place: str
    id: str
    parts: Parts
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lengths:
    """How long examples are before they are shortened to `limit`, which `num_over` exceed."""

    unit: Literal["tokens", "characters"]
    minimum: int
    median: int
    ninth_decile: int
    maximum: int
    limit: int | None
    num_over: int


@dataclass(frozen=True)
class Inspection:
    """What is in a list of files.

    `num_rows` counts all rows, `num_examples` those that can be used; counts by source and group are of these, the most
    frequent first. `mapped` are the columns that the configuration renames and that are there, `unread` those (and keys
    of turns) that say something and are not read. Of `num_left_out` rows the chat template leaves out text: the first
    of them is shown.
    """

    files: tuple[FileReport, ...]
    columns: tuple[str, ...]
    unread: tuple[str, ...]
    mapped: Mapping[str, str]
    num_rows: int
    num_examples: int
    num_duplicates: int
    by_source: Mapping[str, int]
    by_group: Mapping[str, int]
    lengths: Lengths | None
    shown: tuple[Shown, ...]
    problems: Problems
    num_left_out: int = 0


def inspect_examples(
    sources: Sequence[Source],
    config: ExamplesConfig,
    renderer: Renderer | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """Read all of `sources`; with a `renderer`, lengths are in tokens and shown examples are what the model learns.

    Rows and files that cannot be used are among the problems, whatever `config.on_bad_row` says.
    `progress(bytes_read, total)` counts bytes on disk.
    """
    problems = Problems(describe(sources))
    reader = ExampleReader(sources, config.model_copy(update={"on_bad_row": "stop"}), problems, progress)
    by_source: Counter[str] = Counter()
    by_group: Counter[str] = Counter()
    keys: set[bytes] = set()
    lengths: list[int] = []
    shown: list[Shown] = []
    num_over = num_left_out = 0
    for example, rendered in _rendered(reader, renderer, problems):
        by_source[example.source] += 1
        if example.group is not None:
            by_group[example.group] += 1
        if rendered is None:
            keys.add(
                hashlib.blake2b(json.dumps(asdict(example.conversation), default=str).encode(), digest_size=16).digest()
            )
            lengths.append(sum(len(turn.content) + len(turn.reasoning) for turn in example.conversation.turns))
        else:
            keys.add(content_key(rendered.input_ids, rendered.label_mask))
            lengths.append(len(rendered.input_ids) + rendered.num_dropped)
            num_over += rendered.num_dropped > 0
        left_out = () if rendered is None else rendered.left_out
        num_left_out += bool(left_out)
        if len(shown) < _NUM_SHOWN or (left_out and num_left_out == 1):
            parts = _as_messages(example) if rendered is None or renderer is None else renderer.parts(rendered)
            shown.append(Shown(example.origin.place(example.line), example.id, parts, left_out))
    seen = reader.seen
    try:
        check_columns(config.columns, [seen], TEST_COLUMNS)
    except ConfigError as problem:
        problems.add_file(problem)
    files = [
        FileReport(tally.source.label, tally.source.format, tuple(tally.schemas), tally.num_rows)
        for tally in reader.files
    ]
    return Inspection(
        files=tuple(files),
        columns=seen.columns,
        unread=seen.unread,
        mapped={standard: theirs for standard, theirs in config.columns.items() if theirs in seen.columns},
        num_rows=sum(file.num_rows for file in files),
        num_examples=len(lengths),
        num_duplicates=len(lengths) - len(keys),
        by_source=dict(by_source.most_common()),
        by_group=dict(by_group.most_common()),
        lengths=_lengths(lengths, renderer, num_over) if lengths else None,
        shown=tuple(shown),
        problems=problems,
        num_left_out=num_left_out,
    )


def _rendered(
    reader: ExampleReader, renderer: Renderer | None, problems: Problems
) -> Iterator[tuple[Example, Rendered | None]]:
    if renderer is None:
        yield from ((example, None) for example in reader)
        return
    for batch in batches(reader, _BATCH):
        for example, result in zip(batch, renderer.render_many(batch), strict=True):
            if isinstance(result, G2isError):
                problems.add(BadRow(example.origin, example.line, example.id, example.raw, result))
            else:
                yield example, result


def _as_messages(example: Example) -> Parts:
    conversation = example.conversation
    parts: list[tuple[str, bool]] = []
    if conversation.tools:
        names = ", ".join(tool["function"]["name"] for tool in conversation.tools)
        parts += [(f"tools: {names}\n", False)]
    for turn in conversation.turns:
        parts += [(f"{turn.role}: ", False), (turn.prefill, False)]
        parts += [(f"[reasoning: {turn.reasoning}] ", turn.is_learned)] if turn.reasoning else []
        parts += [(turn.content[len(turn.prefill) :], turn.is_learned)]
        parts += (
            [(f"[calls: {_calls(turn.extra['tool_calls'])}]", turn.is_learned)] if "tool_calls" in turn.extra else []
        )
        parts += [("\n", False)]
    return tuple((text, learned) for text, learned in parts[:-1] if text)


def _calls(calls: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps([call["function"] for call in calls], ensure_ascii=False, default=str)


def _lengths(lengths: Sequence[int], renderer: Renderer | None, num_over: int) -> Lengths:
    # Of an even number the lower middle: a length that some example has.
    low, middle, high, top = np.quantile(lengths, [0, 0.5, 0.9, 1], method="inverted_cdf").tolist()
    unit: Literal["tokens", "characters"] = "characters" if renderer is None else "tokens"
    return Lengths(unit, low, middle, high, top, None if renderer is None else renderer.max_length, num_over)
