"""Flags that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from g2is.config_io import read_yaml
from g2is.errors import ConfigError

Pool = Annotated[Path, typer.Argument(help="the examples to choose from: .jsonl, .jsonl.gz or .jsonl.zst")]
Target = Annotated[Path, typer.Argument(help="a few dozen examples of what the model shall learn")]
Model = Annotated[str, typer.Option(help="causal language model: a local folder or a hub name")]
Out = Annotated[Path, typer.Option(help="the run's folder; given again, the run goes on from where it was")]
Budget = Annotated[str, typer.Option(help="how many pool rows to select: a share (1%) or a number (500)")]
Store = Annotated[Path | None, typer.Option(help="where gradients are kept for other runs to use; default OUT/store")]
Adapter = Annotated[
    Path | None,
    typer.Option(help="your own LoRA checkpoint-N folder with its optimizer, in place of the warm-up"),
]
Preset = Annotated[str | None, typer.Option(help="g2is (default) or official (exactly the authors' script)")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; default: a GPU if there is one")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="any other setting of config.yaml, such as warmup.epochs=2"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would be done, and do and write nothing")]


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
