"""What the functions are given, as the settings that the commands have too."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from g2is.api.settings import ModelSettings, RepresentationSettings
from g2is.config import Config, Section
from g2is.config.io import parse
from g2is.errors import ConfigError
from g2is.jobs.custom import Own
from g2is.progress import Reporter, default_reporter
from g2is.representations.own import Representation
from g2is.selection.problem import Selector
from g2is.store.lock import waiting

Locations = str | Path | Sequence[str | Path]  # files, globs, folders of save_to_disk, hf:org/name:split
Targets = Locations | Mapping[str, Locations]
Model = str | Path | ModelSettings  # a folder's or hub model's name, or the section `model` with its name in it
ORIGIN = "g2is"  # of the settings, in messages


@contextmanager
def reporting(reporter: Reporter | None, wait: bool) -> Iterator[Reporter]:
    """The reporter of a call: the one that was given, or the default.

    With `wait` the call waits for the end of others that use a folder, rather than refuse.
    """
    reporter = reporter or default_reporter()
    with waiting(reporter) if wait else nullcontext():
        yield reporter


def own_of(selector: Selector | None, representation: Representation | RepresentationSettings | None) -> Own:
    """What is the user's own. Raises ConfigError where `selector` is none."""
    if selector is not None and not isinstance(selector, Selector):
        raise ConfigError(
            "selector: expected g2is.Selector(name, version, function), found"
            f" {selector!r}; a built-in one is named in selection={{'selector': …}}"
        )
    return Own(selector, representation if isinstance(representation, Representation) else None)


def section_of(representation: Representation | RepresentationSettings | None) -> dict[str, Any]:
    """The section `representation`, if settings are given rather than a representation of the user's own."""
    if representation is None or isinstance(representation, Representation):
        return {}
    return {"representation": representation}


def with_selection(function: str, given: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with what of the selection was `given` by keywords. Raises ConfigError for what is given twice."""
    said = {name: value for name, value in given.items() if value is not None}
    section = settings.get("selection", {})
    if not said:
        return dict(settings)
    selection = section.model_dump(exclude_unset=True) if isinstance(section, Section) else section
    if not isinstance(selection, Mapping):
        raise ConfigError(f"{function}: expected a mapping of settings as selection=, found {selection!r}")
    # a made section has what its method stands for, said or not
    its_own = {*selection, *(("method",) if isinstance(section, Section) else ())}
    if twice := [name for name in said if name in its_own]:
        raise ConfigError(
            f"{function}: expected one {twice[0]}, found {twice[0]}= and selection={{'{twice[0]}': …}}; leave one out"
        )
    return {**settings, "selection": {**selection, **said}}


def model_section(model: Model) -> dict[str, Any]:
    """The section `model`."""
    section: dict[str, Any] = dict(model) if isinstance(model, Mapping) else {"name": model}
    return {key: str(value) if key == "name" and isinstance(value, Path) else value for key, value in section.items()}


def run_config(
    pool: Locations,
    target: Targets,
    model: Model,
    out: str | Path,
    store: str | Path | None,
    settings: Mapping[str, Any],
) -> Config:
    """The configuration of a selection from a pool. Raises ConfigError listing what cannot be used."""
    files = {"pool": pool, "targets": target, "out": out, "store": store}
    config: Config = parse(Config, {**files, "model": model_section(model), **settings}, ORIGIN)
    return config
