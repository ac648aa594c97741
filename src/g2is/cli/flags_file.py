"""`--config FILE` of a command that has no settings: a file of its flags and arguments, by their names."""

import difflib
from pathlib import Path
from typing import Any

import typer

from g2is.config.io import COMMAND, load
from g2is.errors import ConfigError

_NOT_OF_A_FILE = ("config", "help", "version")


def read_flags(context: typer.Context, value: Path | None) -> Path | None:
    """Take flags and arguments from the file that --config names; those of the command line go before them.

    Raises ConfigError if it cannot be read, or says what the command has not.
    """
    if value is None or context.resilient_parsing:
        return None
    command = context.command_path
    known = {name: of for of in context.command.params if of.name not in _NOT_OF_A_FILE for name in _names(of)}
    found: dict[str, Any] = {}
    values: dict[Any, Any] = load(value)
    for read, said in values.items():
        key = "yes" if read is True else read  # a flag, which YAML takes for a truth
        if key == COMMAND and COMMAND not in known:
            raise ConfigError(
                f"{value}: expected flags of `{command}`, which has no settings, found those of `g2is {said}`; name"
                f" another file, with some of {', '.join(known)}"
            )
        parameter = known.get(str(key).replace("_", "-"))
        if parameter is None:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
            raise ConfigError(f"{value}: expected flags of `{command}`, found {key!r}; {hint}")
        takes_several = getattr(parameter, "multiple", False) or parameter.nargs != 1
        if isinstance(said, dict) or (isinstance(said, list) and not takes_several):
            raise ConfigError(f"{value}: {key}: expected one value, found {type(said).__name__} {said!r}")
        found[str(parameter.name)] = said if isinstance(said, list) or not takes_several else [said]
    context.default_map = {**(context.default_map or {}), **found}
    return value


def _names(parameter: Any) -> list[str]:
    """What a flag or argument is called in a file: its long names without dashes."""
    if parameter.param_type_name == "argument":
        return [str(parameter.name).strip("_").replace("_", "-")]
    return [name.removeprefix("--") for name in parameter.opts if name.startswith("--")]
