"""Tiny tokenizers and files, made here: nothing is downloaded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from talk import talk
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from g2is.config import ExamplesConfig
from g2is.examples.read import Example
from g2is.examples.sources import Source
from g2is.examples.tokenize import Renderer, make_renderer


def _byte_level(specials: list[str], merges: list[tuple[str, str]], trim_offsets: bool) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate(alphabet)}
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if trim_offsets:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in specials])
    return tokenizer


@pytest.fixture
def make_tokenizer() -> Callable[..., Any]:
    """Build a byte-level tokenizer with the given special tokens, BOS/EOS and chat template."""

    def make(
        template: str | None = None,
        specials: tuple[str, ...] = (),
        bos: str | None = None,
        eos: str | None = None,
        adds_bos: bool = False,
        merges: tuple[tuple[str, str], ...] = (("Ġ", "a"), ("h", "e"), ("Ġ", "Ġ")),
        trim_offsets: bool = False,
    ) -> Any:
        specials = (*specials, *(token for token in (bos, eos) if token and token not in specials))
        backend = _byte_level(list(specials), list(merges), trim_offsets)
        if adds_bos:
            assert bos is not None
            backend.post_processor = processors.TemplateProcessing(
                single=f"{bos} $A", special_tokens=[(bos, backend.token_to_id(bos))]
            )
        names = {name: token for name, token in (("bos_token", bos), ("eos_token", eos)) if token}
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **names)
        tokenizer.chat_template = template
        return tokenizer

    return make


@pytest.fixture
def make_example() -> Callable[..., Example]:
    """Build an example from alternating (role, content) pairs."""
    origin = Source("pool.jsonl", "pool", "JSON lines", (Path("pool.jsonl"),))

    def make(*messages: tuple[str, str], line: int = 1, id: str = "row-0") -> Example:
        return Example(row=line - 1, origin=origin, line=line, id=id, conversation=talk(*messages), raw=b"")

    return make


@pytest.fixture
def renderer_for() -> Callable[..., Renderer]:
    """Build a renderer for a tokenizer from settings of `ExamplesConfig`."""

    def make(tokenizer: Any, context_length: int | None = None, **settings: Any) -> Renderer:
        return make_renderer(tokenizer, ExamplesConfig(**settings), context_length)

    return make


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    """Write rows as a JSONL file; strings and bytes are written as they are."""

    def write(*rows: Any, name: str = "pool.jsonl") -> Path:
        path = tmp_path / name
        lines = [
            row if isinstance(row, bytes) else row.encode() if isinstance(row, str) else json.dumps(row).encode()
            for row in rows
        ]
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return path

    return write


@pytest.fixture
def turns() -> Callable[..., list[dict[str, str]]]:
    """Build a `messages` column of user and assistant turns."""

    def make(*contents: str) -> list[dict[str, str]]:
        roles = ("user", "assistant")
        return [{"role": roles[index % 2], "content": content} for index, content in enumerate(contents)]

    return make
