"""`g2is merge`: a tuned model that needs no PEFT."""

from pathlib import Path
from typing import Annotated

import typer

from g2is.cli.session import quiet_libraries, reporter, tell, working
from g2is.cli.stopping import stoppable
from g2is.errors import ConfigError
from g2is.progress.terminal import say


def merge(
    wait: bool,
    run: Annotated[Path, typer.Argument(help="the folder of a finished `g2is train`")],
    to: Annotated[Path | None, typer.Option(metavar="DIR", help="a new folder; default: RUN/merged")] = None,
) -> None:
    """Add a training's adapter to its model's weights, and write a model that any program loads.

    DIR gets the weights (safetensors, in the type that the training computed in), settings, tokenizer and template.
    """
    if wait and to is not None:
        raise ConfigError(
            "g2is merge: expected --wait without --to, which holds no folder that another process could be using: leave"
            " it out"
        )
    from g2is.jobs.merge import merge as add

    quiet_libraries()
    with working(run, wait) if to is None else stoppable(None):
        merged = add(run, to, reporter())
        size = sum(file.stat().st_size for file in merged.iterdir())
        told = f"{merged}  ({size / 1e6:,.1f} MB; a model as any other: AutoModelForCausalLM loads it)"
        tell(lambda: say([told]), lambda: {"model": merged, "num_bytes": size})
