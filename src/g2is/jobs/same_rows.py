"""Whether the files that a finished selection was made from still hold the same rows: another would take its place."""

import hashlib
import json

from g2is.config import Config
from g2is.errors import FingerprintError
from g2is.examples.dataset import Examples
from g2is.jobs.run_folder import CHOSEN, unvouched
from g2is.outputs.tables import SELECTION, stored_metadata
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


def check_same_rows(config: Config, examples: Examples, plan: Plan) -> None:
    """Raise FingerprintError if the run in `config.out` holds a selection of other rows. One of before does not say."""
    run = config.out
    if damaged_files(run, CHOSEN) or unvouched(run, CHOSEN):
        return  # it is made anew in any case
    there = stored_metadata(run / SELECTION).get(CONTENT)
    if there is None or there == content_digest(examples, plan):
        return
    raise FingerprintError(
        f"{run}: expected the rows that its selection was made from, found that files of pool or target, or lists and"
        " test files that limit it, have changed since. Put them back, or name another --out (with the same --store"
        " gradients of rows that are the same are used again)"
    )
