"""Flags that every command has, and those that several have.

They are added to a command's own, so that none of them can lack one. `context.params` holds what was given.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_origin

import typer

from g2is.cli import options
from g2is.cli.flags_file import read_flags
from g2is.cli.given import read_given
from g2is.cli.session import Voice, speak
from g2is.errors import with_pages
from g2is.progress.terminal import say


def show_version(wanted: bool) -> None:
    """Print the version and end, if that is wanted."""
    if wanted:
        import g2is

        say([f"g2is {g2is.__version__}"])
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
    str | None,  # not Path: older versions of typer make one of whatever `read_given` returns
    typer.Option(
        "--config",
        metavar="FILE",
        callback=read_given,
        is_eager=True,
        help="settings, as the config.yaml of a run has them; flags override them",
    ),
]

_FlagsFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        callback=read_flags,
        is_eager=True,
        help="flags and arguments, by their names; those of the command line go before them",
    ),
]


# Numbers are text, so that one which is none is reported with all other settings that cannot be used.
def _rate(of: str, of_small: str) -> Any:
    told = f"of {of}; default 2e-5, and a model of some millions of parameters needs about {of_small}"
    return Annotated[str | None, typer.Option("--learning-rate", metavar="NUMBER", help=told)]


def _rank(of: str) -> Any:
    return Annotated[
        str | None, typer.Option("--rank", metavar="NUMBER", help=f"of {of}; default 128. α is 4 times it")
    ]


_Seed = Annotated[
    str | None, typer.Option("--seed", metavar="NUMBER", help="of whatever is drawn at random; default 0")
]

_REQUIRED = inspect.Parameter.empty
_EVERY: dict[str, tuple[Any, Any]] = {
    "quiet": (_Quiet, False),
    "verbose": (_Verbose, False),
    "version": (Version, False),
}
# Flags of several commands, by the name of their parameter: what they are, and their default.
_SHARED: dict[str, tuple[Any, Any]] = {
    "model": (options.Model, _REQUIRED),
    "out": (options.Out, _REQUIRED),
    "files": (options.Files, None),
    "target": (options.Targets, None),
    "budget": (options.Budget, None),
    "share": (options.Shares, None),
    "quota": (options.Quotas, None),
    "include": (options.Include, None),
    "exclude": (options.Exclude, None),
    "exclude_overlap": (options.Overlap, None),
    "store": (options.Store, None),
    "method": (options.MethodName, None),
    "adapter": (options.Adapter, None),
    "device": (options.Device, None),
    "engine": (options.EngineName, None),
    "workers": (options.Workers, None),
    "address": (options.Address, None),
    "worker_resources": (options.WorkerResources, None),
    "schema": (options.Schema, None),
    "column": (options.Columns, None),
    "on_bad_row": (options.OnBadRow, None),
    "set_": (options.Set, None),
    "no_report": (options.NoReport, False),
    "wait": (options.Wait, False),
    "dry_run": (options.DryRun, False),
}


def _of(*names: str) -> dict[str, tuple[Any, Any]]:
    return {name: _SHARED[name] for name in names}


# Each of them by itself, and those that go together.
_KINDS: dict[str, dict[str, tuple[Any, Any]]] = {
    **{name: {name: flag} for name, flag in _SHARED.items()},
    "inputs": _of("files", "target"),
    "exclusions": _of("exclude", "exclude_overlap"),
    "limits": _of("budget", "share", "quota", "include", "exclude", "exclude_overlap"),
    "cluster": _of("address", "worker_resources"),
    "work": _of("device", "engine", "workers", "address", "worker_resources"),
    "rows": _of("schema", "column", "on_bad_row"),
    "facts": {"as_json": (_Json, False)},
    "settings": {"config": (_Config, None)},
    "seed": {"seed": (_Seed, None)},
    "warm-up": {"learning_rate": (_rate("the warm-up", "1e-3"), None), "rank": (_rank("its LoRA adapter"), None)},
    "tuning": {"learning_rate": (_rate("the training", "2e-3"), None), "rank": (_rank("the LoRA adapter"), None)},
    "both": {
        "learning_rate": (_rate("warm-up and tuning", "1e-3 to 2e-3"), None),
        "rank": (_rank("their LoRA adapters"), None),
    },
}


def with_flags(command: Callable[..., None], *kinds: str) -> Callable[..., None]:
    """`command` with the flags of `kinds`, in their order, and those that all have.

    A kind is a key of `_KINDS`, or the name of a flag of the command's own: of a parameter that is annotated as one,
    which takes the place of a shared one of its name. Those that no kind names come first. Of the other flags the
    command is given those that it has a parameter for; `context.params` holds all.
    """
    takes = inspect.signature(command).parameters
    own = {
        name: (of.annotation, of.default)
        for name, of in takes.items()
        if get_origin(of.annotation) is Annotated or of.annotation is typer.Context
    }
    placed: dict[str, tuple[Any, Any]] = {}
    for kind in kinds:
        placed |= {kind: own[kind]} if kind in own else _KINDS[kind]
    first = {name: flag for name, flag in own.items() if name not in placed}
    of_file = {} if "config" in own or "config" in placed else {"config": (_FlagsFile, None)}
    flags = {**first, **placed, **of_file, **_EVERY}
    assert takes.keys() <= flags.keys(), f"{command.__name__}: {takes.keys() - flags.keys()}"

    @wraps(command)
    def run(**given: Any) -> None:
        speak(Voice(given["quiet"], given["verbose"], "as_json" in placed and given["as_json"]))
        command(**{name: given[name] for name in takes})

    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in flags.items()
        ]
    )
    run.__doc__ = with_pages(command.__doc__ or "")
    return run
