"""Flags that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from g2is.cli.given import over, section_in
from g2is.config.strict import parse_yaml
from g2is.errors import ConfigError, with_pages
from g2is.methods import METHODS, Section

_FILES = "POOL TARGET, or the pool's files where --target is given: files, 'globs', datasets (see `g2is select --help`)"
Files = Annotated[list[str] | None, typer.Argument(help=_FILES)]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target", metavar="[NAME=]FILE", help="instead of TARGET: each name is a target, several files may share one"
    ),
]
Shares = Annotated[
    list[str] | None,
    typer.Option("--share", metavar="NAME=NUMBER", help="a target's share of the budget, such as math=2; else equal"),
]
Include = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="ids, one a line, of rows to select anyway; the budget pays for them"),
]
Exclude = Annotated[
    list[Path] | None, typer.Option(metavar="FILE", help="ids, one a line, of rows to leave out of everything")
]
Overlap = Annotated[
    list[str] | None,
    typer.Option(metavar="TEST", help="leave out rows that share 13 words in a row with an example of this file"),
]
Quotas = Annotated[
    list[str] | None,
    typer.Option("--quota", metavar="SOURCE=MOST", help="at most so much from a source: web=50% or web=100 rows"),
]
Schema = Annotated[
    str | None,
    typer.Option(
        "--schema",
        metavar="NAME",
        help=with_pages("how to read rows that have the columns of several layouts (docs/formats.md)"),
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
Budget = Annotated[
    str | None,
    typer.Option(
        help="how much to select: a share of the rows (1%), rows (500) or tokens (2Mtok); default 1%",
        show_default=False,
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        metavar="PLACE",
        help="where gradients are kept for other runs to use: a folder, or s3://…, gs://…, az://…; default: that of"
        " the environment variable G2IS_STORE, else OUT/store",
    ),
]
Adapter = Annotated[
    Path | None,
    typer.Option(help="your own LoRA checkpoint-N folder with its optimizer, in place of the warm-up"),
]
MethodName = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="NAME",
        autocompletion=lambda: list(METHODS),
        help="design (default), g2is, official, less, …: see `g2is methods`",
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; default: a GPU if there is one")]
Workers = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="processes that share the work, a model each; default: one a visible GPU; on a CPU the command's own",
    ),
]
Worker = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="make the I-th of N parts alone; default: what srun, or RANK and WORLD_SIZE say, else all",
    ),
]
EngineName = Annotated[
    str | None,
    typer.Option("--engine", metavar="local|ray", help="who does the work: this machine (default), or a Ray cluster"),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT", help="the Ray cluster's head; default: auto, as RAY_ADDRESS or this machine says"
    ),
]
WorkerResources = Annotated[
    str | None,
    typer.Option(
        metavar="JSON", help="what a Ray worker takes of its node, such as '{\"GPU\": 1}', which is the default"
    ),
]
# text, so that one which is no number is reported with all other settings that cannot be used
CoreFraction = Annotated[
    str | None, typer.Option(metavar="NUMBER", help="share of variance (or of k) that the core keeps")
]
Delta = Annotated[
    str | None, typer.Option(metavar="NUMBER", help="δ: how far a step may turn away from the core (eq. 6)")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="any other setting of config.yaml, such as warmup.epochs=2"),
]
Wait = Annotated[
    bool, typer.Option("--wait", help="where another g2is process uses the folder or store, wait until it ends")
]
NoReport = Annotated[bool, typer.Option("--no-report", help="leave out report.html; `g2is report` writes it later")]
Devices = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="NxNAME",
        help="what the work is to be done by, such as 8xH100; default: this machine, which is measured",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would be done, and do and write nothing")]


_FILES_OVERRIDDEN = ("pool", "targets")  # commands cannot do without their arguments; several files are given so


def assign(
    values: dict[str, Any], settings: Sequence[str], flags: bool = True, model: type[Section] | None = None
) -> None:
    """Put each `section.key=value` into the nested mapping `values`; of one that is given twice the last one counts.

    A mapping for a section, of `model` if it is given, is of some of its settings: the others stay. Raises ConfigError
    if one is not of that form or no setting, or `values` come from `flags` and one of them gave it already.
    """
    given: set[str] = set()
    for text in settings:
        key, equals, value = text.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise ConfigError(f"--set: expected KEY=VALUE such as warmup.epochs=2, found {text!r}")
        if parts[0] == "command":
            raise ConfigError(
                f"--set {text}: expected a setting, found the command, which its own name says (and of `g2is run` the"
                " file); leave it out"
            )
        place = values
        for part in parts[:-1]:
            if place.get(part) is None:
                place[part] = {}
            inner = place[part]
            if not isinstance(inner, dict):
                raise ConfigError(f"--set {text}: {part} is one setting and has no setting {parts[-1]!r} in it")
            place = inner
        if flags and key not in (*given, *_FILES_OVERRIDDEN) and place.get(parts[-1]) not in (None, (), []):
            raise ConfigError(
                f"--set {text}: expected {key} once, found a flag that says {place[parts[-1]]} too; leave"
                " one of them out"
            )
        given.add(key)
        try:
            said = parse_yaml(value)
        except yaml.YAMLError:
            raise ConfigError(f"--set {text}: expected a number, word or [list], found {value!r}") from None
        section, found = model, place.get(parts[-1])
        for part in parts:
            section = section_in(section, part) if section is not None else None
        if section is not None and isinstance(found, dict) and isinstance(said, dict):
            said = over(section, found, said)
        place[parts[-1]] = said


def examples_settings(schema: str | None, columns: Sequence[str] | None, on_bad_row: str | None) -> dict[str, Any]:
    """The settings of `examples` that have flags. Raises ConfigError if a column is not given as NAME=COLUMN."""
    values: dict[str, Any] = {}
    for text in columns or []:
        name, equals, theirs = text.partition("=")
        if not equals or not name or not theirs:
            raise ConfigError(f"--column: expected NAME=COLUMN such as answer=Solution, found {text!r}")
        if values.setdefault("columns", {}).setdefault(name, theirs) != theirs:
            raise ConfigError(f"--column {text}: expected one column to be {name}, found {values['columns'][name]} too")
    return values | given_only({"layout": schema, "on_bad_row": on_bad_row})


def given_only(flags: dict[str, Any]) -> dict[str, Any]:
    """What was given; a flag that may be repeated is empty where it was not."""
    return {key: value for key, value in flags.items() if value is not None and value not in ((), [])}


def resources(text: str | None) -> Any:
    """What --worker-resources says, None where it is not given. Raises ConfigError if it is not JSON or YAML."""
    try:
        return None if text is None else parse_yaml(text)
    except yaml.YAMLError:
        raise ConfigError(f"--worker-resources: expected JSON such as '{{\"GPU\": 1}}', found {text!r}") from None
