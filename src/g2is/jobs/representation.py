"""Rows of other representations than gradients: what is to be made of them, and what a selector reads.

`select.py` calls these where `selection.representation` is not gradient; no warm-up is needed and none is bound.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from g2is.engine.local import Work
from g2is.engine.wanted import WantedRows
from g2is.examples.dataset import Examples, Joined
from g2is.examples.table import ExampleTable
from g2is.examples.tokenize import TEXT_VERSION
from g2is.jobs.prepare import Prepared
from g2is.methods import OWN, REPRESENTATIONS, representation_kind
from g2is.progress import Reporter
from g2is.representations.maker import ArraysOf, Maker, Materials
from g2is.representations.own import Representation
from g2is.store.manifest import Kind, Store
from g2is.store.matrix import Shard
from g2is.store.row_reader import RowReader
from g2is.store.rows import StoredRows
from g2is.warmup.train import Checkpoint

# What makes the rows that a selector looks at: the checkpoints whose gradients they are, or the maker of another
# representation; None where nothing is looked at.
MadeBy = Sequence[Checkpoint] | Maker | None


@dataclass(frozen=True)
class UnitRowsOf:
    """Unit rows in the files' order: the pool's N, still to be read, and each target's by its name."""

    pool: RowReader
    targets: Mapping[str, StoredRows]


@dataclass(frozen=True)
class ScoresOf:
    """How well each pool row answers each row of a target.

    `targets`, by name, (N, M) float32, the higher the better. A row is `usable` if it has a `what` at all: (N,) bool of
    the pool, (M,) bool of each target; the scores of the others are 0. If they are not `by_example`, all columns of a
    target are alike.
    """

    targets: Mapping[str, np.ndarray]
    pool_usable: np.ndarray
    target_usable: Mapping[str, np.ndarray]
    what: str
    by_example: bool


def maker_of(
    name: str,
    prepared: Prepared,
    reporter: Reporter,
    own: Representation | None = None,
    examples: Examples | None = None,
) -> Maker:
    """The representation `name`, or the user's `own`; its `fingerprint` says what decides its rows.

    Without `examples` it is what holds for any target: rows that are made for one cannot be made with it.
    Models are hashed for it: a run makes one and passes it along. Raises ConfigError where a package is missing,
    ModelError where an embedding model cannot be used.
    """
    materials = Materials(
        settings=prepared.config.representation,
        execution=prepared.config.execution,
        model=prepared.model,
        model_fingerprint=model_fingerprint(prepared),
        text=prepared.renderer.text,
        # rows are known by their tokens: of all that makes tokens of a file, only what makes text of them matters
        text_fingerprint={
            "text.version": TEXT_VERSION,
            "text.tokenizer": prepared.renderer.fingerprint["tokenizer_sha256"],
        },
        reporter=reporter,
        store=prepared.config.store_folder,
        targets={} if examples is None else examples.targets,
    )
    if not name.startswith(OWN):
        maker: Maker = representation_kind(name).make(materials)
        return maker
    assert own is not None, name
    return own.maker(materials)


def represented_by(prepared: Prepared, made_by: MadeBy) -> list[str]:
    """What decides the rows beside the examples, for a digest: the content of models, whatever their place.

    It says nothing of the user's own, which has a version.
    """
    fingerprint: Mapping[str, object] = {}
    digests: list[str] = []
    if isinstance(made_by, Maker):
        fingerprint = made_by.fingerprint if made_by.name in REPRESENTATIONS else {}
    elif made_by is not None:
        fingerprint, digests = model_fingerprint(prepared), [checkpoint.digest for checkpoint in made_by]
    return [json.dumps(fingerprint, sort_keys=True), *digests]


def model_fingerprint(prepared: Prepared) -> Mapping[str, str | int | float | bool | None]:
    """The weights of the model, and the type they are computed in."""
    return {key: prepared.fingerprint[key] for key in ("model.weights", "model.dtype")}


def wanted_rows(maker: Maker, store: Store, examples: Examples) -> list[WantedRows]:
    """The rows of all targets and of the pool. Raises FingerprintError where the store holds such made otherwise."""
    tables = store.tables(maker.folder, maker.fingerprint)
    kinds: dict[Kind, ExampleTable | Joined] = {"target": examples.all_targets, "pool": examples.pool}
    return [WantedRows(store.path, maker.name, kind, table, tables[kind]) for kind, table in kinds.items()]


def row_work(arrays_of: ArraysOf, wanted: WantedRows, add: Callable[[int], None]) -> Work:
    """How the shards of `wanted` are made; `add` is told of tokens done."""
    return lambda job, token_rows: Shard(wanted.keys(job), arrays_of(token_rows, add))


def read_pool_and_targets(maker: Maker, store: Store, examples: Examples) -> UnitRowsOf | ScoresOf:
    """The stored rows of pool and targets; of some their scores, computed now.

    Raises FingerprintError where the store holds such rows made otherwise,
    StoreError if some are missing or damaged.
    """
    tables = store.tables(maker.folder, maker.fingerprint)
    of_pool = tables["pool"].positions_of(examples.pool.keys)
    of_targets = {name: tables["target"].positions_of(table.keys) for name, table in examples.targets.items()}
    if maker.score is None:
        return UnitRowsOf(
            RowReader(tables["pool"], of_pool, what=maker.what),
            {name: RowReader(tables["target"], places, what=maker.what).read() for name, places in of_targets.items()},
        )
    pool = tables["pool"].read(maker.array, of_pool)
    found = maker.score(pool, [tables["target"].read(maker.array, places) for places in of_targets.values()])
    return ScoresOf(
        dict(zip(of_targets, found.targets, strict=True)),
        found.pool_usable,
        dict(zip(of_targets, found.target_usable, strict=True)),
        found.what,
        found.by_example,
    )
