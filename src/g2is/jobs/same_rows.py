"""Whether the files that a finished selection was made from still hold the same rows: else another takes its place."""

import hashlib
import json

from g2is.config import Config
from g2is.examples.dataset import Examples
from g2is.jobs.run_folder import CHOSEN, unvouched
from g2is.outputs.tables import SELECTION, stored_metadata
from g2is.progress import Reporter
from g2is.selection.plan import Plan
from g2is.store.digests import damaged_files

CONTENT = "content"  # in what the tables of a selection say of themselves: a hash of the rows that it was made from


def content_of(examples: Examples, plan: Plan) -> list[bytes | str]:
    """What a selection is made from beside settings and model: rows of pool and targets, and what limits them."""
    pool = examples.pool
    return [
        *plan.digest_parts,
        "\n".join(pool.ids),
        pool.rows.tobytes(),
        pool.keys.tobytes(),
        *(
            part
            for name, of in examples.targets.items()
            for part in (name, "\n".join(of.ids), of.keys.tobytes(), json.dumps(list(of.groups)))
        ),
    ]


def content_digest(examples: Examples, plan: Plan) -> str:
    """A hash of it."""
    total = hashlib.blake2b(digest_size=16)
    for part in content_of(examples, plan):
        total.update((part.encode() if isinstance(part, str) else part) + b"\0")
    return total.hexdigest()


def tell_of_other_rows(config: Config, examples: Examples, plan: Plan, reporter: Reporter) -> None:
    """Say, before any time is spent, that the run in `config.out` holds a selection of other rows, if it does.

    It is replaced when the rows of now are chosen. One of an older version says it of its pool alone.
    """
    run = config.out
    if damaged_files(run, CHOSEN) or unvouched(run, CHOSEN):
        return  # that is said later
    there = stored_metadata(run / SELECTION)
    if CONTENT in there:
        is_same = there[CONTENT] == content_digest(examples, plan)
    else:
        is_same = there.get("pool_sha256") in (None, examples.pool.source_sha256)
    if not is_same:
        reporter.notice(
            f"{run}: its selection was made from other rows: files of pool or target, lists and test files that limit"
            " it, or the model's tokenizer or template have changed since. It is made anew, and takes the place of the"
            " one there; another --out keeps both"
        )
