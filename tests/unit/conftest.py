"""A tokenized sample pool, read with the bundled model's tokenizer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

import g2is.demo
from g2is.config import ExamplesConfig
from g2is.examples.make_table import tokenize_files
from g2is.examples.sources import find_sources
from g2is.examples.table import ExampleTable
from g2is.examples.tokenize import make_renderer


@pytest.fixture
def read_table(tmp_path: Path) -> Callable[..., ExampleTable]:
    """Tokenize (question, answer) pairs with ids a, b, c …; `sources` gives rows a `source` field."""
    tokenizer: Any = AutoTokenizer.from_pretrained(Path(g2is.demo.__file__).parent / "model")
    renderer = make_renderer(tokenizer, ExamplesConfig(), 512)

    def read(*pairs: tuple[str, str], sources: tuple[str | None, ...] = (), name: str = "pool.jsonl") -> ExampleTable:
        rows: list[dict[str, str | None]] = [
            {
                **{"id": chr(ord("a") + number), "prompt": prompt, "completion": answer},
                **({"source": sources[number]} if sources else {}),
            }
            for number, (prompt, answer) in enumerate(pairs)
        ]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        sources_of_rows = find_sources([str(tmp_path / name)])
        return tokenize_files(sources_of_rows, renderer, ExamplesConfig(), tmp_path / "cache")

    return read
