"""What a comparison's cells are made from: the rows that may be selected, and each method's settings."""

import hashlib
from collections.abc import Mapping
from typing import Any

from g2is.config.compare import CompareConfig
from g2is.config.later import without_unsaid
from g2is.errors import ConfigError, ModelError
from g2is.examples.filter import Filtered
from g2is.jobs.custom import Own
from g2is.jobs.prepare import Prepared
from g2is.jobs.representation import maker_of
from g2is.methods import GRADIENT, OWN, REPRESENTATIONS
from g2is.progress import Silent
from g2is.store.fingerprint import Fingerprint, digest

OF_METHODS = "methods: "  # begins the keys of `made_from` that belong to one method alone


_OF_ROWS = ("model.", "examples.", "pool_sha256", "warmup.", "projection.", "storage")


def store_identity(made_from: Fingerprint, store: str) -> str:
    """A hash of what the rows in the store of this name are made from, out of what all cells are `made_from`."""
    return digest({key: value for key, value in made_from.items() if key.startswith(_OF_ROWS)} | {"store": store})


def digest_of_rows(filtered: Filtered) -> str:
    """Which rows of the pool may be selected, and which are whatever a method says, wherever the lists of them lie."""
    total = hashlib.blake2b(filtered.pool.rows.tobytes(), digest_size=16)
    total.update(filtered.included.tobytes())
    return total.hexdigest()


def fingerprints(config: CompareConfig, prepared: Prepared) -> dict[str, Mapping[str, Any]]:
    """What decides the rows of each representation that a method looks at, but gradients and the user's own."""
    settings = [config.selection_of(name, config.budgets[0], 0) for name in config.methods]
    found: dict[str, Mapping[str, Any]] = {}
    for name in {of_method.representation for of_method in settings} & REPRESENTATIONS.keys():
        try:
            found[name] = maker_of(name, prepared, Silent()).fingerprint
        except (ConfigError, ModelError):  # no cell can be made of it; those that are there were made otherwise
            found[name] = config.representation.model_dump(mode="json")
    return found


def as_selected(
    config: CompareConfig, name: str, own: Own, representations: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """What a method's selections depend on, beside budget and seed; lists of rows by what they came to."""
    settings = config.selection_of(name, config.budgets[0], 0)
    lists_and_places = {"budget", "seed", "include", "exclude", "exclude_overlap"}
    found = without_unsaid(settings.model_dump(mode="json", exclude=lists_and_places), "selection.")
    if settings.representation == GRADIENT:
        found["form"] = settings.form or config.gradients.forms[0]
    found |= representations.get(settings.representation, {})
    if OWN in settings.selector + settings.representation:
        found["own"] = own.versions
    return {f"{of_method(name)}{setting}": value for setting, value in found.items()}


def of_warmup(config: CompareConfig) -> dict[str, Any]:
    """What decides the warm-ups beside their seeds: an adapter, or all linear layers and which moments."""
    unread = set[str]() if config.gradients.parameters == "lora" else {"lora"}
    trained = config.warmup.model_dump(mode="json", exclude={"seed"} | unread)
    return trained | _of_gradients(config, "parameters", "second_moments")


def as_stored(config: CompareConfig) -> dict[str, Any]:
    """In what form gradients are stored."""
    return _of_gradients(config, "storage")


def _of_gradients(config: CompareConfig, *settings: str) -> dict[str, Any]:
    return {name: of for name, of in config.gradients.in_fingerprint().items() if name in settings}


def of_method(name: str) -> str:
    """What the keys of `made_from` begin with that belong to this method alone; no name has a colon in it."""
    return f"{OF_METHODS}{name}: "
