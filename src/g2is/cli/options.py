"""Flags that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from g2is.config_io import read_yaml
from g2is.errors import ConfigError

_FILES = "POOL TARGET, or the pool's files where --target is given: files, 'globs', datasets (see `g2is select --help`)"
Files = Annotated[list[str] | None, typer.Argument(help=_FILES)]
Targets = Annotated[
    list[str] | None,
    typer.Option("--target", metavar="FILE", help="examples of what the model shall learn; may be given several times"),
]
Schema = Annotated[
    str | None,
    typer.Option(
        "--schema", metavar="NAME", help="how to read rows that have the columns of several layouts (docs/formats.md)"
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="NAME=COLUMN", help="the file's name for a standard column: answer=Solution"),
]
OnBadRow = Annotated[
    str | None, typer.Option(metavar="stop|skip", help="stop at rows that cannot be used, or list and skip them")
]
Model = Annotated[str, typer.Option(help="causal language model: a local folder or a hub name")]
Out = Annotated[Path, typer.Option(help="the run's folder; given again, the run goes on from where it was")]
Budget = Annotated[str, typer.Option(help="how many pool rows to select: a share (1%) or a number (500)")]
Store = Annotated[Path | None, typer.Option(help="where gradients are kept for other runs to use; default OUT/store")]
Preset = Annotated[str | None, typer.Option(help="g2is (default) or official (exactly the authors' script)")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; default: a GPU if there is one")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="any other setting of config.yaml, such as warmup.epochs=2"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would be done, and do and write nothing")]


def split_files(
    command: str, files: Sequence[str] | None, targets: Sequence[str] | None
) -> tuple[Sequence[str], Sequence[str]]:
    """Return the locations of pool and target. Raises ConfigError where it cannot be told which is which."""
    usage = f"write `g2is {command} POOL TARGET`, or `g2is {command} POOL... --target TARGET`"
    files = files or ()
    if targets:
        if not files:
            raise ConfigError(f"g2is {command}: expected the pool's files beside --target, found none; {usage}")
        return files, targets
    if len(files) != 2:
        found = f"{len(files)} file{'s' * (len(files) != 1)} and no --target"
        raise ConfigError(f"g2is {command}: expected a pool and a target, found {found}; {usage}")
    return files[:1], files[1:]


def reading(schema: str | None, columns: Sequence[str] | None, on_bad_row: str | None) -> dict[str, Any]:
    """The settings of `examples` that have flags. Raises ConfigError if a column is not given as NAME=COLUMN."""
    values: dict[str, Any] = {}
    for text in columns or []:
        name, equals, theirs = text.partition("=")
        if not equals or not name or not theirs:
            raise ConfigError(f"--column: expected NAME=COLUMN such as answer=Solution, found {text!r}")
        if values.setdefault("columns", {}).setdefault(name, theirs) != theirs:
            raise ConfigError(f"--column {text}: expected one column to be {name}, found {values['columns'][name]} too")
    return values | {key: value for key, value in (("layout", schema), ("on_bad_row", on_bad_row)) if value is not None}


def assign(values: dict[str, Any], settings: Sequence[str]) -> None:
    """Put each `section.key=value` into the nested mapping `values`. Raises ConfigError if one is not of that form."""
    for text in settings:
        key, equals, value = text.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise ConfigError(f"--set: expected KEY=VALUE such as warmup.epochs=2, found {text!r}")
        place = values
        for part in parts[:-1]:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"--set {text}: {part} is one setting and has no setting {parts[-1]!r} in it")
            place = inner
        try:
            place[parts[-1]] = read_yaml(value)
        except yaml.YAMLError:
            raise ConfigError(f"--set {text}: expected a number, word or [list], found {value!r}") from None
