"""Settings that a selector or representation would pass over, told from what was given alone.

What gradients are multiplied by, and under how many warm-ups they are taken, is read where a selector looks at
gradients; how they are multiplied where it is to be done at all.
"""

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from g2is.config.precondition import PreconditionSettings
from g2is.config.warmup_seeds import WarmupSeedsSettings
from g2is.methods import (
    DEFAULT,
    GRADIENT,
    METHODS,
    REPRESENTATIONS,
    SELECTORS,
    CopySettings,
    Section,
    gives,
    representation_kind,
    selector_kind,
    selector_sections,
)

_OF_GRADIENTS = {*PreconditionSettings.model_fields, *WarmupSeedsSettings.model_fields}


def passed_over(given: Mapping[str, Any]) -> list[str]:
    """Those of the settings `given` of a selection that are a selector's own, and that the one they name does not read.

    Those of gradients, too, where these are not looked at, and those of preconditioning where it is not done; of a
    selector of the user's own, which may read any, these alone. Of values that a setting cannot have nothing is said.
    """
    filled = _filled(given)
    selector = str(filled.get("selector", DEFAULT))
    if selector not in SELECTORS:
        return _without_gradients(given, filled, looks=True)
    kind = selector_kind(selector)
    try:
        own = kind.settings(**{name: filled[name] for name in kind.settings.model_fields if name in filled})
        read, looks = kind.reads(own), kind.needs(own) != "nothing"
    except ValidationError:
        read, looks = {name for section in kind.sections for name in section.model_fields}, True
    of_selectors = {name for section in selector_sections() for name in section.model_fields}
    unread = [name for name in given if name in of_selectors and name not in read]
    return unread + _without_gradients(given, filled, looks)


def _without_gradients(given: Mapping[str, Any], filled: Mapping[str, Any], looks: bool) -> list[str]:
    """The settings of gradients among those `given` that are not read; `looks`: the selector looks at rows."""
    if not looks or filled.get("representation", GRADIENT) != GRADIENT:
        return [name for name in given if name in _OF_GRADIENTS]
    if filled.get("precondition") is None:
        return [name for name in given if name in PreconditionSettings.model_fields and name != "precondition"]
    return []


def without_use(selection: Mapping[str, Any]) -> list[str]:
    """What to tell of settings of the whole `selection` that are for vectors or gradients, where it looks at neither.

    Of the budget, too, where the selector takes all rows. They are told of and not refused: runs that were made with
    them can be read and gone on with.
    """
    from g2is.config.selection import SharedSelectionConfig  # which imports this

    representation, selector = str(selection["representation"]), str(selection["selector"])
    if selector not in SELECTORS:
        return []  # the user's own may look at anything
    kind = selector_kind(selector)
    looks = kind.needs(kind.settings(**{name: selection[name] for name in kind.settings.model_fields})) != "nothing"
    of_method = METHODS[str(selection["method"])].settings
    told = []
    if kind.takes_all and selection["budget"] != SharedSelectionConfig.model_fields["budget"].default:
        told.append(
            f"selection.budget: {selection['budget']} changes nothing, for the selector {selector} takes all rows"
        )
    for name, default, used, why in (
        ("form", None, representation == GRADIENT, "gradients"),
        ("duplicate_threshold", CopySettings().duplicate_threshold, gives(representation) == "vectors", "vectors"),
    ):
        if selection[name] in (None, default, of_method.get(name)) or (looks and used):
            continue
        by = f"the representation {representation}" if looks else f"the selector {selector}"
        told.append(f"selection.{name}: {selection[name]} changes nothing, for {by} looks at no {why}")
    return told


def not_read(given: Mapping[str, Any], called: Mapping[str, str]) -> str:
    """What an error says of settings that are passed over: their names in `given` -> what the user calls them."""
    by_reader: dict[str, list[str]] = {}
    filled = _filled(given)
    of_gradients = [called[name] for name in called if name in _OF_GRADIENTS]
    for name in called:
        if name in _OF_GRADIENTS:
            continue
        readers = [
            selector
            for selector in SELECTORS
            if any(name in section.model_fields for section in selector_kind(selector).sections)
        ]
        reader = next((of for of in readers if name in selector_kind(of).settings.model_fields), readers[0])
        by_reader.setdefault(reader, []).append(called[name])
    found = filled.get("selector")
    told = []
    if of_gradients:
        told.append(f"{', '.join(of_gradients)}: expected {_for_gradients(filled)}, or leave it out")
    for reader, names in by_reader.items():
        method = next((name for name, of in METHODS.items() if of.settings["selector"] == reader), None)
        use = f"selector {reader}" if method is None else f"method {method}"
        told.append(
            f"{', '.join(names)}: expected the selector {reader}, which looks at it, found {found}; take the {use}, or"
            " leave it out"
        )
    return ". ".join(told)


def _for_gradients(filled: Mapping[str, Any]) -> str:
    """What settings of gradients ask for beside them, what there is, and what to do."""
    representation, selector = filled.get("representation", GRADIENT), filled.get("selector", DEFAULT)
    if representation != GRADIENT:
        return f"the representation gradient, whose rows it is for, found {representation}; take gradient"
    if selector in SELECTORS and selector_kind(selector).needs(selector_kind(selector).settings()) == "nothing":
        return f"a selector that looks at rows, found {selector}; take another one"
    return "selection.precondition beside it, found none; set that to pool"


def without_passed_over(values: Mapping[str, Any]) -> dict[str, Any]:
    """The `values` of a run's config.yaml without settings that its selector or representation passes over."""
    selection, representation = values.get("selection"), values.get("representation")
    if not isinstance(selection, Mapping):
        return dict(values)
    left_out = passed_over(selection)
    kept: dict[str, Any] = {"selection": {name: of for name, of in selection.items() if name not in left_out}}
    if isinstance(representation, Mapping):
        used = str(_filled(selection).get("representation", GRADIENT))
        read = representation_kind(used).settings.model_fields if used in REPRESENTATIONS else {}
        kept["representation"] = {name: of for name, of in representation.items() if name in read}
    return {**values, **kept}


def _filled(given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` with what its method stands for."""
    method = METHODS.get(str(given.get("method", DEFAULT)))
    return {**(method.settings if method else {}), **given}


def without_use_in_training(execution: Section) -> list[str]:
    """What to tell of settings of execution that `g2is train` does not look at."""
    return _not_looked_at("execution", execution, {"device", "resume_steps", "report_to"})


def without_use_in_test(execution: Section, evaluation: Section) -> list[str]:
    """What to tell of settings of execution, and of answers where none are written, which a test passes over."""
    read = set(type(evaluation).model_fields)
    if not getattr(evaluation, "generate", True):
        read -= {"max_new_tokens", "numeric"}
    return [
        *_not_looked_at("execution", execution, {"device", "batch_tokens"}),
        *_not_looked_at("evaluation", evaluation, read),
    ]


def _not_looked_at(name: str, settings: Section, read: Collection[str]) -> list[str]:
    found = [
        f"{name}.{key}"
        for key, field in type(settings).model_fields.items()
        if key not in read and getattr(settings, key) != field.default
    ]
    return [f"{', '.join(found)}: set, but not looked at here"] if found else []
