"""Flags that every command has, and those of commands that print facts, take settings or train.

They are added to a command's own, so that none of them can lack one. `context.params` holds what was given.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from g2is.cli.given import read_given
from g2is.cli.session import Voice, speak
from g2is.errors import with_pages
from g2is.progress.terminal import say


def show_version(wanted: bool) -> None:
    """Print the version and end, if that is wanted."""
    if wanted:
        from importlib.metadata import version

        say([f"g2is {version('g2is')}"])
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", "-V", callback=show_version, is_eager=True, help="show the version and exit")
]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress and no notes: the result and errors alone")]
_Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="also when each stage begins, and what libraries say and draw")
]
_Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
_Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        callback=read_given,
        is_eager=True,
        help="settings, as the config.yaml of a run has them; flags override them",
    ),
]


# Numbers are text, so that one which is none is reported with all other settings that cannot be used.
def _rate(of: str) -> Any:
    told = f"of {of}; default 2e-5, and a model of some millions of parameters needs about 1e-3"
    return Annotated[str | None, typer.Option("--learning-rate", metavar="NUMBER", help=told)]


def _rank(of: str) -> Any:
    return Annotated[
        str | None, typer.Option("--rank", metavar="NUMBER", help=f"of {of}; default 128. α is 4 times it")
    ]


_Seed = Annotated[
    str | None, typer.Option("--seed", metavar="NUMBER", help="of whatever is drawn at random; default 0")
]

_EVERY: dict[str, tuple[Any, Any]] = {
    "quiet": (_Quiet, False),
    "verbose": (_Verbose, False),
    "version": (Version, False),
}
_MORE: dict[str, dict[str, tuple[Any, Any]]] = {
    "facts": {"as_json": (_Json, False)},
    "settings": {"config": (_Config, None)},
    "seed": {"seed": (_Seed, None)},
    "warm-up": {"learning_rate": (_rate("the warm-up"), None), "rank": (_rank("its LoRA adapter"), None)},
    "tuning": {"learning_rate": (_rate("the training"), None), "rank": (_rank("the LoRA adapter"), None)},
    "both": {"learning_rate": (_rate("warm-up and tuning"), None), "rank": (_rank("their LoRA adapters"), None)},
}


def with_flags(command: Callable[..., None], *kinds: str) -> Callable[..., None]:
    """`command` with the flags that all have and those of `kinds`, keys of `_MORE`."""
    flags = {**{name: flag for kind in kinds for name, flag in _MORE[kind].items()}, **_EVERY}
    signature = inspect.signature(command)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in flags.items()
    ]

    @wraps(command)
    def run(**given: Any) -> None:
        common = {name: given.pop(name) for name in flags}
        speak(Voice(common["quiet"], common["verbose"], common.get("as_json", False)))
        command(**given)

    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *added])  # type: ignore[attr-defined]
    run.__doc__ = with_pages(command.__doc__ or "")
    return run
