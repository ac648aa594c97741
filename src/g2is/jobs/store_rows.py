"""The stages that store rows: gradients, and the rows of other representations.

Which rows are wanted say `gradient_rows.py` and `representation.py`; who makes them says `engines.py`.
"""

from collections.abc import Sequence

from g2is.config.part import Part
from g2is.examples.dataset import Examples
from g2is.gradients.extract import load_extractor
from g2is.jobs.engines import Course, make_rows
from g2is.jobs.gradient_rows import gradient_work, wanted_gradients
from g2is.jobs.prepare import Prepared
from g2is.jobs.representation import row_work, wanted_rows
from g2is.jobs.run_folder import RunFolder
from g2is.jobs.stages import Stage
from g2is.jobs.target_adapters import tune_on_targets
from g2is.jobs.worker import WorkOf
from g2is.representations.maker import Maker
from g2is.representations.own import Representation
from g2is.store.manifest import Store
from g2is.warmup.train import Checkpoint


def extract_gradients(
    prepared: Prepared,
    store: Store,
    examples: Examples,
    checkpoints: Sequence[Checkpoint],
    folder: Course,
    part: Part | None = None,
) -> int:
    """Store the gradient rows of every pool and target example that the store lacks, or the `part` of a plan.

    Returns how many shards were made.
    """
    config = prepared.config

    def work_here() -> WorkOf:
        for checkpoint in checkpoints:
            checkpoint.check()
        extractor = load_extractor(
            prepared.model,
            {checkpoint.name: checkpoint.folder for checkpoint in checkpoints},
            config.gradients.projection,
            config.execution,
            folder.notice,
        )
        if isinstance(folder, RunFolder):
            folder.split_batches = extractor.splits
        return lambda wanted, add: gradient_work(extractor, wanted, add)

    tables = wanted_gradients(config, store, examples, checkpoints)
    titles = [f"gradients of {wanted.kind}" for wanted in tables]
    stages = [(title, Stage(title)) for title in titles]
    return make_rows(tables, stages, len(checkpoints), prepared, examples, folder, work_here, part=part)


def store_rows(
    maker: Maker,
    prepared: Prepared,
    store: Store,
    examples: Examples,
    folder: RunFolder,
    own: Representation | None = None,
) -> None:
    """Store the rows of another representation, of every pool and target example that the store does not hold yet.

    Raises FingerprintError where the store holds such rows made otherwise, ModelError where a model cannot be used,
    ConfigError where the user's `own` function gives no rows.
    """

    def work_here() -> WorkOf:
        arrays_of = maker.open()
        return lambda wanted, add: row_work(arrays_of, wanted, add)

    tune_on_targets(maker, prepared, store, folder)
    tables = wanted_rows(maker, store, examples)
    stages = [(f"{maker.what}s of {wanted.kind}", Stage(f"rows of {wanted.kind}")) for wanted in tables]
    make_rows(tables, stages, 1, prepared, examples, folder, work_here, own)
