"""`--dry-run`: what a run would do, from reading the files and the model's settings.

Neither run nor store is touched; a model that is not on this machine yet is fetched from the hub.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from g2is.config import Config
from g2is.examples.make_table import describe_losses, tokenize_files
from g2is.examples.read import check_columns
from g2is.examples.sources import find_sources
from g2is.examples.table import ExampleTable
from g2is.gradients.projection import sketch_dim
from g2is.model.adapter import attach_adapter
from g2is.model.parameters import trainable_parameters
from g2is.prepare import Prepared, prepare
from g2is.progress import Reporter
from g2is.selection.budget import parse_budget
from g2is.store.manifest import check_store
from g2is.warmup.train import sample_size

_BYTES_A_COORDINATE = 2  # rows are float16


@dataclass(frozen=True)
class Forecast:
    """What a run would read, compute and store.

    Rows and tokens as read and rendered; `num_parameters` of the frozen model and `num_coordinates` of the adapter;
    `gradient_bytes` on disk for pool and target, duplicates once; `flops` of extracting the pool by the cost model,
    4 · parameters · tokens.
    """

    num_pool_rows: int
    num_pool_tokens: int
    num_pool_duplicates: int
    num_pool_truncated: int
    num_target_rows: int
    budget: int
    num_warmup_rows: int
    num_parameters: int
    num_coordinates: int
    dim: int
    gradient_bytes: int
    flops: float
    store_exists: bool


def forecast(config: Config, reporter: Reporter) -> Forecast:
    """Read both files and the model's settings. Raises what the run would raise of files, model, budget and store."""
    prepared = prepare(config, reporter)
    check_store(config.store, prepared.fingerprint)
    with tempfile.TemporaryDirectory() as scratch:
        tables = []
        for kind, locations in (("pool", config.pool), ("target", config.target)):
            with reporter.stage(f"read {kind}", "bytes") as progress:
                sources = find_sources(locations)
                tables.append(tokenize_files(sources, prepared.renderer, config.examples, Path(scratch), progress))
            for loss in describe_losses(kind, tables[-1], config.examples.truncation):
                reporter.notice(loss)
        check_columns(config.examples.columns, [name for table in tables for name in table.columns])
        return _forecast(prepared, *tables)


def _forecast(prepared: Prepared, pool: ExampleTable, target: ExampleTable) -> Forecast:
    config = prepared.config
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(prepared.model.hf_config)
        num_parameters = sum(p.numel() for p in model.parameters())
        adapted = attach_adapter(model, config.warmup.lora, config.warmup.seed)
    num_coordinates = sum(p.numel() for p in trainable_parameters(adapted).values())
    dim = sketch_dim(config.gradients.projection, num_coordinates)
    num_checkpoints = config.warmup.epochs if config.warmup.checkpoints == "each" else 1
    num_rows = (len(pool) - pool.num_duplicates) * len(config.gradients.forms) + len(target)
    num_tokens = int(pool.num_tokens.sum())
    return Forecast(
        num_pool_rows=len(pool),
        num_pool_tokens=num_tokens,
        num_pool_duplicates=pool.num_duplicates,
        num_pool_truncated=pool.num_truncated,
        num_target_rows=len(target),
        budget=parse_budget(config.selection.budget, len(pool)),
        num_warmup_rows=sample_size(len(pool), config.warmup.fraction),
        num_parameters=num_parameters,
        num_coordinates=num_coordinates,
        dim=dim,
        gradient_bytes=num_rows * dim * _BYTES_A_COORDINATE * num_checkpoints,
        flops=4.0 * num_parameters * num_tokens * num_checkpoints,
        store_exists=config.store.exists(),
    )
