"""Rows of other representations than gradients: into the store, and out of it for a selector.

`select.py` calls these where `selection.representation` is not gradient; no warm-up is needed and none is bound.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from g2is.config import Config
from g2is.engine.local import LocalEngine, Work
from g2is.engine.wanted import WantedRows
from g2is.examples.dataset import Examples, Joined
from g2is.examples.table import ExampleTable
from g2is.examples.tokenize import TEXT_VERSION
from g2is.jobs.prepare import Prepared
from g2is.jobs.run_folder import RunFolder
from g2is.methods import GRADIENT, OWN, REPRESENTATIONS, registered
from g2is.progress import Reporter, Silent, counter
from g2is.representations.maker import ArraysOf, Maker, Materials
from g2is.representations.own import Representation
from g2is.store.manifest import Kind, Store
from g2is.store.matrix import Shard
from g2is.store.rows import StoredRows, read_unit_rows


@dataclass(frozen=True)
class UnitRowsOf:
    """Unit rows in the files' order: the pool's N, and each target's by its name."""

    pool: StoredRows
    targets: Mapping[str, StoredRows]


@dataclass(frozen=True)
class Scores:
    """How well each pool row answers each row of a target.

    `targets`, by name, (N, M) float32, the higher the better. A row is `usable` if it has a term at all: (N,) bool of
    the pool, (M,) bool of each target; the scores of the others are 0.
    """

    targets: Mapping[str, np.ndarray]
    pool_usable: np.ndarray
    target_usable: Mapping[str, np.ndarray]


def maker_of(config: Config, prepared: Prepared, reporter: Reporter, own: Representation | None = None) -> Maker:
    """The representation that the settings name, or the user's `own`; its `fingerprint` says what decides its rows.

    Raises ConfigError where a package is missing, ModelError where an embedding model cannot be used.
    """
    materials = Materials(
        settings=config.representation,
        execution=config.execution,
        model=prepared.model,
        model_fingerprint=model_fingerprint(prepared),
        text=prepared.renderer.text,
        # rows are known by their tokens: of all that makes tokens of a file, only what makes text of them matters
        text_fingerprint={
            "text.version": TEXT_VERSION,
            "text.tokenizer": prepared.renderer.fingerprint["tokenizer_sha256"],
        },
        reporter=reporter,
    )
    name = config.selection.representation
    if not name.startswith(OWN):
        make: Callable[[Materials], Maker] = registered(REPRESENTATIONS[name])
        return make(materials)
    assert own is not None, name
    return own.maker(materials)


def represented_by(config: Config, prepared: Prepared) -> Mapping[str, object]:
    """What decides a representation's rows beside the examples: the content of models, whatever their place.

    Empty for the user's own, which has a version, and where nothing is looked at. Raises as `maker_of`.
    """
    name = config.selection.representation
    if name == GRADIENT:
        return model_fingerprint(prepared)
    return maker_of(config, prepared, Silent()).fingerprint if name in REPRESENTATIONS else {}


def model_fingerprint(prepared: Prepared) -> Mapping[str, str | int | float | bool | None]:
    """The weights of the model, and the type they are computed in."""
    return {key: prepared.fingerprint[key] for key in ("model.weights", "model.dtype")}


def wanted_rows(maker: Maker, store: Store, examples: Examples) -> list[WantedRows]:
    """The rows of all targets and of the pool. Raises FingerprintError where the store holds such made otherwise."""
    tables = store.tables(maker.name, maker.fingerprint)
    kinds: dict[Kind, ExampleTable | Joined] = {"target": examples.all_targets, "pool": examples.pool}
    return [WantedRows(store.path, maker.name, kind, table, tables[kind]) for kind, table in kinds.items()]


def row_work(arrays_of: ArraysOf, wanted: WantedRows, add: Callable[[int], None]) -> Work:
    """How the shards of `wanted` are made; `add` is told of tokens done."""
    return lambda job, token_rows: Shard(wanted.keys(job), arrays_of(token_rows, add))


def store_rows(
    config: Config,
    prepared: Prepared,
    store: Store,
    examples: Examples,
    folder: RunFolder,
    own: Representation | None = None,
) -> None:
    """Store the rows of every pool and target example that the store does not hold yet.

    Raises as `maker_of`; FingerprintError where the store holds such rows made otherwise; ConfigError where the user's
    own function gives no rows.
    """
    maker = maker_of(config, prepared, folder, own)
    arrays_of: ArraysOf | None = None
    for wanted in wanted_rows(maker, store, examples):
        planned = wanted.plan(folder.notice)
        if not planned:
            continue
        if arrays_of is None:
            arrays_of = maker.open()
        with folder.stage(f"{maker.what}s of {wanted.kind}", "tokens") as progress:
            add = counter(wanted.num_tokens(planned), progress)
            wanted.make(planned, LocalEngine(wanted, row_work(arrays_of, wanted, add)))


def read_pool_and_targets(
    config: Config,
    prepared: Prepared,
    store: Store,
    examples: Examples,
    own: Representation | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> UnitRowsOf | Scores:
    """The stored rows of pool and targets; of lexical ones their BM25 scores, computed now.

    `progress` is told of pool rows read. Raises as `store_rows`, and StoreError if some rows are missing or damaged.
    """
    maker = maker_of(config, prepared, Silent(), own)
    tables = store.tables(maker.name, maker.fingerprint)
    of_pool = tables["pool"].positions_of(examples.pool.keys)
    of_targets = {name: tables["target"].positions_of(table.keys) for name, table in examples.targets.items()}
    if maker.score is None:
        return UnitRowsOf(
            read_unit_rows(tables["pool"], of_pool, maker.what, progress),
            {name: read_unit_rows(tables["target"], places, maker.what) for name, places in of_targets.items()},
        )
    pool = tables["pool"].read("terms", of_pool)
    targets = {name: tables["target"].read("terms", places) for name, places in of_targets.items()}
    scores = maker.score(pool, np.concatenate(list(targets.values())))
    ends = np.cumsum([len(target) for target in targets.values()])
    return Scores(
        dict(zip(targets, np.split(scores, ends[:-1], axis=1), strict=True)),
        np.any(pool, axis=1),
        {name: np.any(target, axis=1) for name, target in targets.items()},
    )
