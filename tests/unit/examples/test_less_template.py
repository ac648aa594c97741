"""`examples.template: less` against a plain statement of how LESS encodes, on several tokenizers."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import g2is.demo
from g2is.config import ExamplesConfig
from g2is.errors import InputError, ModelError
from g2is.examples.conversation import Conversation, Turn
from g2is.examples.read import Example, read_examples
from g2is.examples.sources import Source, find_sources
from g2is.examples.tokenize import Rendered, Renderer, make_renderer

SHARED = Path("/work/shared")
TOKENIZERS = {
    "bundled": Path(g2is.demo.__file__).parent / "model",
    "base6m": SHARED / "models/base6m",
    "stories260K": SHARED / "models/stories260K",  # SentencePiece's way: a space in front of each text
}
TALKS: dict[str, list[tuple[str, str]]] = {
    "one answer": [("user", "What is 2+2?"), ("assistant", "Four.")],
    "space around": [("user", "  Say it.\n"), ("assistant", "\n  Four \n\n")],
    "a system text and two answers": [
        ("system", " Be brief. "),
        ("user", "Hello"),
        ("assistant", "Hi there"),
        ("user", "And 2+2?"),
        ("assistant", "Four, I think: 4"),
    ],
    "two users in a row": [("user", "One"), ("user", "Two"), ("assistant", "Three"), ("user", "Four")],
    "two answers in a row": [("user", "One"), ("assistant", "Two"), ("assistant", "Three")],
    "the assistant begins": [("assistant", "Welcome"), ("user", "Hello"), ("assistant", "Hi")],
    "not ASCII": [("user", "Ça va ? 你好"), ("assistant", "Très bien — 很好 🙂")],
}


def tokenizer_of(name: str) -> Any:
    from transformers import AutoTokenizer

    if not TOKENIZERS[name].exists():
        pytest.skip(f"needs {TOKENIZERS[name]}")
    return AutoTokenizer.from_pretrained(TOKENIZERS[name])


def example_of(turns: tuple[Turn, ...]) -> Example:
    origin = Source("pool.jsonl", "pool", "JSON lines", (Path("pool.jsonl"),))
    return Example(0, origin, 1, "row-0", Conversation(turns), b"")


def turns_of(messages: list[tuple[str, str]]) -> tuple[Turn, ...]:
    return tuple(Turn(role, content) for role, content in messages)


def as_less(tokenizer: Any, messages: list[tuple[str, str]], max_length: int) -> tuple[list[int], list[bool]]:
    """What LESS's encoding of messages comes to: ids, and which of them have a label.

    Everything is a label, but each turn that is no assistant's, from as many tokens as the text before it has to as
    many as the text with it has, with the header of an assistant that follows.
    """

    def text_of(some: list[tuple[str, str]]) -> str:
        return "".join(
            f"<|{role}|>\n{content.strip()}{tokenizer.eos_token if role == 'assistant' else ''}\n"
            for role, content in some
        )

    def count(text: str) -> int:
        return len(tokenizer(text, max_length=max_length, truncation=True)["input_ids"])

    ids = tokenizer(text_of(messages), max_length=max_length, truncation=True)["input_ids"]
    has_label = [True] * len(ids)
    for index, (role, _) in enumerate(messages):
        if role == "assistant":
            continue
        answered = index + 1 < len(messages) and messages[index + 1][0] == "assistant"
        start = 0 if index == 0 else count(text_of(messages[:index]))
        end = count(text_of(messages[: index + 1]) + ("<|assistant|>\n" if answered else ""))
        has_label[start:end] = [False] * len(has_label[start:end])
        if end >= max_length:
            break
    return ids, has_label


def renderer_of(tokenizer: Any, max_length: int = 512, rows: Any = "pool", **settings: Any) -> Renderer:
    settings = {"truncation": "answer-end", "learn_end_of_turn": "pool", **settings}
    return make_renderer(tokenizer, ExamplesConfig(template="less", **settings), max_length, rows)


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("max_length", [512, 14])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_rows_of_a_pool_are_encoded_as_less_does(name: str, max_length: int, talk: str) -> None:
    tokenizer = tokenizer_of(name)
    ids, has_label = as_less(tokenizer, TALKS[talk], max_length)
    (found,) = renderer_of(tokenizer, max_length).render_many([example_of(turns_of(TALKS[talk]))])
    # the first token is never predicted: its label counts for nothing, in LESS either
    if not any(has_label[1:]):
        assert isinstance(found, InputError)
        return
    assert isinstance(found, Rendered)
    assert found.input_ids.tolist() == ids
    assert found.label_mask[1:].tolist() == has_label[1:]


@pytest.mark.skipif(not SHARED.exists(), reason="needs the models and data of /work/shared")
@pytest.mark.parametrize("name", TOKENIZERS)
def test_real_rows_are_encoded_as_less_does(name: str) -> None:
    tokenizer = tokenizer_of(name)
    examples = list(islice(read_examples(find_sources([str(SHARED / "data/pool.jsonl.gz")])), 300))
    num_same = 0
    for example, found in zip(examples, renderer_of(tokenizer, 512).render_many(examples), strict=True):
        messages = [(turn.role, turn.content) for turn in example.conversation.turns]
        ids, has_label = as_less(tokenizer, messages, 512)
        if isinstance(found, Rendered):
            assert (found.input_ids.tolist(), found.label_mask[1:].tolist()) == (ids, has_label[1:])
            num_same += 1
        else:
            assert not any(has_label[1:])
    assert num_same >= 100


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(
    ("query", "completion"), [("The answer is:", " B"), ("A:", " yes, it is"), ("", "Paris"), ("Answer:", " 42")]
)
def test_an_example_of_a_target_has_the_labels_of_less_after_the_same_context(
    name: str, query: str, completion: str
) -> None:
    # LESS gives a target's question with the beginning of its answer, and no end of turn after the rest
    tokenizer = tokenizer_of(name)
    context = f"<|user|>\nWhich one?\n<|assistant|>\n{query}"
    whole, num_context = tokenizer.encode(context + completion), len(tokenizer.encode(context))
    turns = (Turn("user", "Which one?"), Turn("assistant", query + completion, prefill=query))
    found = renderer_of(tokenizer, rows="target").render(example_of(turns))
    assert found.input_ids.tolist()[: len(whole)] == whole  # what follows has no label, and changes none
    assert np.flatnonzero(found.label_mask).tolist() == list(range(num_context, len(whole)))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_end_of_turn_and_line_break_are_learned_where_it_is_asked_for(name: str) -> None:
    tokenizer, example = tokenizer_of(name), example_of(turns_of(TALKS["one answer"]))

    def learned(rows: str, setting: str) -> str:
        found = renderer_of(tokenizer, rows=rows, learn_end_of_turn=setting).render(example)
        text: str = tokenizer.decode(found.input_ids[found.label_mask], clean_up_tokenization_spaces=False)
        return text.replace(" \n", "\n")  # SentencePiece puts a space in front of what follows a special token

    with_end = {(rows, of) for rows in ("pool", "target", "test") for of in ("all", "pool", "none")} - {
        *(("pool", "none"), ("target", "pool"), ("target", "none"))
    }
    for rows in ("pool", "target", "test"):
        for setting in ("all", "pool", "none"):
            end = f"{tokenizer.eos_token}\n" if (rows, setting) in with_end else ""
            assert learned(rows, setting) == f"Four.{end}", (rows, setting)


def test_a_turn_that_is_context_only_is_not_learned() -> None:
    tokenizer = tokenizer_of("bundled")
    turns = (
        Turn("user", "a"),
        Turn("assistant", "One", context_only=True),
        Turn("user", "b"),
        Turn("assistant", "Two"),
    )
    found = renderer_of(tokenizer).render(example_of(turns))
    assert tokenizer.decode(found.input_ids[found.label_mask]) == f"Two{tokenizer.eos_token}\n"


def test_what_less_has_no_place_for_is_refused() -> None:
    tokenizer = tokenizer_of("bundled")
    turns = (Turn("user", "a"), Turn("tool", "42"), Turn("assistant", "One"))
    with pytest.raises(ModelError, match=r"turn 2 \(tool\)"):
        renderer_of(tokenizer).render(example_of(turns))
    with pytest.raises(ValueError, match="found less, which is another template"):
        ExamplesConfig(template="less", chat_template=Path("/x"))
