"""Rows and an adapted model to measure on: the bundled sample, or ../shared with --shared."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel

from g2is.config import ExamplesConfig, LoraConfig, ModelConfig
from g2is.demo.skills import write_pool
from g2is.examples.make_table import tokenize_files
from g2is.examples.sources import find_sources
from g2is.examples.tokenize import make_renderer
from g2is.model.adapter import attach_adapter
from g2is.model.folder import find_model
from g2is.model.parameters import trainable_parameters
from g2is.store.moments import Moments

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
Row = tuple[np.ndarray, np.ndarray]


def load(shared: bool, rank: int, num_rows: int) -> tuple[PeftModel, list[Row], Moments]:
    """An adapted model with random B matrices and moments, and `num_rows` random rows of the pool as tokens."""
    place = SHARED / "models/base6m" if shared else ROOT / "src/g2is/demo/model"
    folder = find_model(ModelConfig(name=str(place)))
    renderer = make_renderer(folder.tokenizer(), ExamplesConfig(), folder.context_length)
    with tempfile.TemporaryDirectory() as scratch:
        pool = SHARED / "data/pool.jsonl.gz"
        if not shared:
            pool = Path(scratch) / "pool.jsonl"
            write_pool(pool)
        table = tokenize_files(find_sources([str(pool)]), renderer, ExamplesConfig(), Path(scratch))
        chosen = np.sort(np.random.default_rng(0).choice(len(table), num_rows, replace=False))
        rows = [(example.input_ids, example.label_mask) for example in table.take(chosen)]
    model = attach_adapter(folder.load(torch.device("cpu")), LoraConfig(rank=rank, alpha=4 * rank), seed=0).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    generator = torch.Generator().manual_seed(0)
    shapes = {name: parameter.shape for name, parameter in trainable_parameters(model).items()}
    moments = Moments(
        {name: torch.randn(shape, generator=generator) * 1e-3 for name, shape in shapes.items()},
        {name: torch.rand(shape, generator=generator) * 1e-5 for name, shape in shapes.items()},
        step=200,
    )
    return model, rows, moments
