"""`--config FILE`: the settings of a file, which flags override."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError

from g2is.cli.session import reporter
from g2is.config.evaluation import EvaluationConfig
from g2is.config.io import COMMAND, load
from g2is.config.passed_over import passed_over
from g2is.config.suggest import section_at
from g2is.errors import ConfigError
from g2is.methods import DEFAULT, GRADIENT, METHODS, Section

# The command that a file may be of where a flag names it, if it says one.
_MAY_BE_OF = {
    **dict.fromkeys(("select", "warmup", "gradients", "plan"), ("select",)),
    "walk": ("select", "walk"),
    **{name: (name,) for name in ("train", "evaluate", "compare")},
}
_OF_INSPECT = ("files", "model", "examples")


@dataclass(frozen=True)
class Given:
    """The settings of the file at `path`; those `left_out` are ones that the run which wrote them passed over."""

    path: Path
    values: Mapping[str, Any]
    left_out: Sequence[str] = ()


def read_given(context: typer.Context, value: str | None) -> Given | None:
    """Read the file that --config names, before other flags are looked at: what it says, need not be given.

    Raises ConfigError if it cannot be read, or is of another command.
    """
    if value is None or context.resilient_parsing:
        return None
    from g2is.config.commands import updated

    command = str(context.info_name)
    values, left_out = updated(load(Path(value)), value)
    if command == "inspect" and COMMAND in values:  # a run's: how it reads rows is what is asked for
        values = {name: of for name, of in values.items() if name in _OF_INSPECT}
    elif values.get(COMMAND, command) not in _MAY_BE_OF.get(command, (values.get(COMMAND),)):
        raise ConfigError(
            f"--config {value}: expected settings of `g2is {command}`, found those of `g2is {values[COMMAND]}`; name"
            " another file, or write one with the sections that both have"
        )
    if "target" in values and "targets" not in values:  # as `Config` takes it
        values = {"targets" if name == "target" else name: of for name, of in values.items()}
    context.default_map = {**(context.default_map or {}), **_in_place_of_flags(values)}
    return Given(Path(value), values, left_out)


def tell_of_other_choice(origin: object, values: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Say so where a file's selection is by another representation or selector than its method's: these count.

    Nothing is said where `asked` has one of the three itself.
    """
    selection, over_it = values.get("selection"), asked.get("selection")
    if isinstance(over_it, Mapping) and {"method", "representation", "selector"} & over_it.keys():
        return
    method = METHODS.get(str(selection.get("method"))) if isinstance(selection, Mapping) else None
    if method is None or not isinstance(selection, Mapping):
        return
    own = {"representation": GRADIENT, "selector": DEFAULT, **method.settings}
    found = [str(selection.get(name) or own[name]) for name in ("representation", "selector")]
    if found != [own["representation"], own["selector"]]:
        reporter().notice(
            f"{origin}: selection.method {selection['method']} means {own['representation']} and {own['selector']}; the"
            f" file says {' and '.join(found)}, which count. To have the method's, leave both out"
        )


def flags_of(context: typer.Context) -> tuple[dict[str, Any], dict[str, Any]]:
    """The flags of a command by parameter name, None where there is none: those given, and beside them all defaults."""
    given, others = {}, {}
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        on_the_command_line = source is not None and source.name == "COMMANDLINE" and value not in ((), [])
        given[name] = value if on_the_command_line else None
        others[name] = value if not on_the_command_line else None
    return given, others


def over(model: type[Section], below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `below` with those of `above` in their place, section by section."""
    merged = dict(below)
    for name, value in above.items():
        section, found = section_in(model, name), merged.get(name)
        if section is not None and isinstance(found, Mapping) and isinstance(value, Mapping):
            merged[name] = over(section, found, value)
        elif section is None or found is None or not isinstance(value, Mapping):
            # else the file has no section there, which stays, and is reported
            merged[name] = value
    return merged


def section_in(model: type[Section], name: str) -> type[Section] | None:
    """As `section_at`; a comparison's `selection`, for all methods, is one, too."""
    return section_at(model, name) or (Section if name == "selection" else None)


def without_what_followed(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `below` without what only followed from those that `above` replaces, section by section."""
    kept = dict(below)
    for name, value in above.items():
        found = kept.get(name)
        if isinstance(value, Mapping) and isinstance(found, Mapping):
            kept[name] = without_what_followed(_without_what_followed(name, found, value), value)
    return kept


def without_forms(model: type[Section], below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `below` without gradients.forms if they followed from what `above` chooses by in their place."""
    gradients, selection = below.get("gradients"), above.get("selection")
    chooses = {*above, *(selection if isinstance(selection, Mapping) else ())} & {"methods", "method", "form"}
    if not chooses or not isinstance(gradients, Mapping) or not isinstance(gradients.get("forms"), list | tuple):
        return dict(below)
    others = {name: of for name, of in gradients.items() if name != "forms"}
    try:
        followed = model.model_validate({**below, "gradients": others}).gradients.forms  # type: ignore[attr-defined]
    except ValidationError:  # which is reported with what `above` says
        return dict(below)
    return {**below, "gradients": others} if list(followed) == list(gradients["forms"]) else dict(below)


def _in_place_of_flags(values: Mapping[str, Any]) -> dict[str, Any]:
    """What stands for flags that a command cannot do without. Older versions of typer ask for arguments all the same:
    so there is none that a command cannot do without and a file may say.
    """
    model = values.get("model")
    found = {
        "model": model.get("name") if isinstance(model, Mapping) else model,
        "out": values.get("out"),
        "test": ["of the file"] if values.get("tests") else None,  # whatever they are: `over` takes them
    }
    return {name: value for name, value in found.items() if value is not None}


def _without_what_followed(name: str, below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A section of the file without what only followed from settings that are replaced: a run writes all of it down."""
    if name == "lora" and "rank" in above and below.get("alpha") == 4 * (below.get("rank") or 0):
        return {key: of for key, of in below.items() if key != "alpha"}
    if name == "evaluation" and above.get("generate") not in (None, below.get("generate")):
        followed = EvaluationConfig(generate=not above["generate"]).metrics
        return {key: of for key, of in below.items() if key != "metrics" or of not in (followed, list(followed))}
    if name == "model" and above.get("name") not in (None, below.get("name")):
        return {key: of for key, of in below.items() if key != "revision"}
    if name == "selection" and above.get("method") not in (None, below.get("method")):
        kept = _of_no_method(below)
        unread = [key for key in passed_over({**kept, **above}) if key not in above]
        if unread:
            told = ", ".join(f"selection.{key}" for key in unread)
            reporter().notice(f"the file's {told} left out, which the method {above['method']} does not look at")
        return {key: of for key, of in kept.items() if key not in unread}
    return dict(below)


def _of_no_method(selection: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a selection that are not its method's, and not at their default."""
    from g2is.config.selection import SelectionConfig

    method = METHODS.get(str(selection.get("method")))
    of_method = method.settings if method else {}
    defaults = SelectionConfig().model_dump(mode="json")
    return {
        key: of
        for key, of in selection.items()
        if key != "method" and of not in (of_method.get(key, defaults.get(key)), defaults.get(key))
    }
