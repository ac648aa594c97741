"""Rows and an adapted model to measure on: the bundled sample, or ../shared with --shared."""

import argparse
import gzip
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from transformers import PreTrainedModel

from common.places import BASE6M, BUNDLED_MODEL, POOL
from common.shapes import kind_of_shape, name_of_shape, random_model
from g2is.config import ExamplesConfig, GammaForm, LoraConfig, ModelConfig, ProjectionConfig
from g2is.demo.skills import write_pool
from g2is.engine.local import LocalEngine, Work
from g2is.engine.wanted import WantedRows
from g2is.examples.make_table import tokenize_files
from g2is.examples.sources import find_sources
from g2is.examples.tokenize import make_renderer
from g2is.gradients.extract import AdapterState, Extractor
from g2is.gradients.projection import Projection
from g2is.model.adapter import attach_adapter
from g2is.model.batches import Row, pad_batch, plan_batches
from g2is.model.folder import ModelFolder, find_model
from g2is.model.parameters import trainable_parameters
from g2is.store.manifest import GRADIENTS
from g2is.store.matrix import RowTable
from g2is.store.moments import Moments

_NAMES = {"shared": "base6m", "sample": "bundled model"}


def parser(doc: str, small: str) -> argparse.ArgumentParser:
    """The command line of a benchmark with the docstring `doc`; `small` says what its small version is."""
    made = argparse.ArgumentParser(description=doc.splitlines()[0])
    made.add_argument("--small", action="store_true", help=small)
    made.add_argument("--shared", action="store_true", help="base6m and the real pool instead of the bundled sample")
    return made


def kind_of(shared: bool, like: str | None, device: torch.device) -> str:
    """What results are named after."""
    return kind_of_shape(like, device) if like else "shared" if shared else "sample"


def name_of(shared: bool, like: str | None, device: torch.device) -> str:
    """The same in words."""
    return name_of_shape(like, device) if like else _NAMES[kind_of(shared, None, device)]


def tokenizer_folder(shared: bool) -> Path:
    """The folder of the model whose tokenizer makes the rows."""
    return BASE6M if shared else BUNDLED_MODEL


def load(
    shared: bool,
    rank: int,
    num_rows: int,
    device: str = "cpu",
    like: str | None = None,
    model_folder: Path | None = None,
) -> tuple[PeftModel, list[Row], Moments]:
    """An adapted model with random B matrices and moments, and `num_rows` random rows of the pool as tokens.

    `like`: a model of random weights in that shape of `SHAPES`, in place of the rows' own. `model_folder`: another
    model than base6m or the bundled one.
    """
    folder = find_model(ModelConfig(name=str(model_folder or tokenizer_folder(shared))))
    rows = read_rows(shared, num_rows, folder)
    base = random_model(like, torch.device(device)) if like else folder.load(torch.device(device))
    model = adapted(base, rank)
    return model, rows, moments_of(model)


def read_rows(shared: bool, num_rows: int, folder: ModelFolder) -> list[Row]:
    """So many random rows of the pool, as the tokenizer in `folder` makes them."""
    renderer = make_renderer(folder.tokenizer(), ExamplesConfig(), folder.context_length)
    with tempfile.TemporaryDirectory() as scratch:
        pool = POOL
        if not shared:
            pool = Path(scratch) / "pool.jsonl"
            write_pool(pool)
        with gzip.open(pool) if shared else pool.open("rb") as file:
            lines = file.readlines()
        chosen = np.sort(np.random.default_rng(0).choice(len(lines), num_rows, replace=False))
        drawn = Path(scratch) / "drawn.jsonl"  # before they are tokenised, which takes a while for all
        drawn.write_bytes(b"".join(lines[i] for i in chosen))
        return tokenize_files(find_sources([str(drawn)]), renderer, ExamplesConfig(), Path(scratch)).token_rows()


def adapted(base: PreTrainedModel, rank: int) -> PeftModel:
    """`base` with an adapter, its B matrices random, in eval mode."""
    model = attach_adapter(base, LoraConfig(rank=rank, alpha=4 * rank), seed=0).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def moments_of(model: PeftModel) -> Moments:
    """Random moments of the adapter, on its devices, the same every time."""
    generator = torch.Generator().manual_seed(0)
    m, v = (
        {
            name: (draw(of.shape, generator=generator) * scale).to(of.device)
            for name, of in trainable_parameters(model).items()
        }
        for draw, scale in ((torch.randn, 1e-3), (torch.rand, 1e-5))
    )
    return Moments(m, v, step=200)


def make_extractor(
    model: PeftModel,
    moments: Moments,
    batch_tokens: int,
    projection: ProjectionConfig | None = None,
    notice: Callable[[str], None] = print,
) -> Extractor:
    """An extractor of one checkpoint, "c": the adapter as it is, on its device. Projection to 8192 unless given.

    `notice` is told of any fallback.
    """
    parameters = trainable_parameters(model)
    sizes = {name: p.numel() for name, p in parameters.items()}
    state = AdapterState({name: p.detach().clone() for name, p in parameters.items()}, moments)
    sketch = Projection(projection or ProjectionConfig(), sizes, model.device)
    return Extractor(model, {"c": state}, sketch, batch_tokens, notice)


def store_gradients(
    extractor: Extractor, rows: Sequence[Row], keys: np.ndarray, forms: Sequence[GammaForm], table: RowTable
) -> None:
    """Extract and store as `g2is select` does; `keys` (n, 16), all different, the i-th of row i modulo `len(rows)`."""
    store_shards(rows, lambda job, token_rows: extractor.extract(token_rows, keys[list(job.rows)], forms), keys, table)


def store_shards(rows: Sequence[Row], work: Work, keys: np.ndarray, table: RowTable) -> None:
    """Store what `work` makes as `g2is select` does; `keys` (n, 16), all different, the i-th of row i modulo n rows."""
    wanted = WantedRows(table.path.parent, GRADIENTS, "pool", _Drawn(rows, keys), table)
    wanted.make(wanted.plan(print), LocalEngine(wanted, work))


class _Drawn:
    """Examples in memory as an engine reads them."""

    def __init__(self, rows: Sequence[Row], keys: np.ndarray) -> None:
        self._rows = rows
        self.keys = keys
        self.num_tokens = np.array([len(rows[i % len(rows)][0]) for i in range(len(keys))], np.int32)

    def token_rows(self, rows: np.ndarray) -> list[Row]:
        """The tokens of the examples at `rows` (n,)."""
        return [self._rows[i % len(self._rows)] for i in rows]


@contextmanager
def stored(
    extractor: Extractor, rows: Sequence[Row], forms: Sequence[GammaForm]
) -> Iterator[tuple[RowTable, np.ndarray]]:
    """Extract `rows` and store them for as long as this lasts, in one shard: the table, and the rows' keys (n, 16)."""
    keys = np.random.default_rng(0).integers(0, 256, (len(rows), 16), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        table = RowTable(Path(folder) / "pool", "-", shard_rows=len(rows))
        store_gradients(extractor, rows, keys, forms, table)
        yield table, keys


def floor(model: PeftModel, rows: Sequence[Row], batch_tokens: int) -> None:
    """What no way to take gradients is without: plain batched forward and backward, by transformers' own loss."""
    for chosen in plan_batches(np.array([len(ids) for ids, _ in rows]), batch_tokens):
        batch = pad_batch([rows[i] for i in chosen], model.device)
        model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels).loss.backward()
        model.zero_grad()
