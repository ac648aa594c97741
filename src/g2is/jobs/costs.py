"""costs.json of a comparison's store: the seconds that its rows took when they were made, noted once."""

from pathlib import Path
from typing import Any

from g2is.errors import StoreError
from g2is.jobs.findings import Findings, Mend
from g2is.methods import GRADIENT, NONE, OWN, REPRESENTATIONS
from g2is.store.files import REMEDY, read_json

COSTS = "costs.json"
OF = "of"  # the key that says whose it is
FOR = " for "  # between a representation and the target whose rows they are alone
WHAT = "what making rows took"


def costs_in(store: Path) -> dict[str, Any]:
    """What making rows took in `store`: seconds by representation, and under `OF` whose they are.

    Raises StoreError if the file is damaged or another one: those of before have no digest that would tell.
    """
    costs = read_json(store / COSTS)
    for name, seconds in costs.items():
        is_representation = name.split(FOR)[0] in (GRADIENT, NONE, *REPRESENTATIONS) or name.startswith(OWN)
        is_time = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if name != OF and not (is_representation and is_time):
            raise StoreError(
                f"{store / COSTS}: expected seconds by representation, found {name!r} with {str(seconds)[:80]!r}: it is"
                f" another file. {REMEDY}"
            )
    if not costs.keys() - {OF}:
        raise StoreError(
            f"{store / COSTS}: expected seconds by representation, found none: it is another file. {REMEDY}"
        )
    return costs


def check_costs(store: Path, whose: str | None, findings: Findings, mend: Mend) -> None:
    """Check the costs.json of `store`, which must be of that store: `whose` identity, if that is known."""
    place = store / COSTS
    if not findings.sealed(place, WHAT, mend):
        return
    try:
        of = costs_in(store).get(OF)
    except StoreError:
        findings.add(place, "another file", WHAT, mend=mend)
        return
    if None not in (of, whose) and of != whose:  # those of before do not say whose they are
        findings.add(place, "those of another store", WHAT, mend=mend)
