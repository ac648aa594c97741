"""`g2is plan`: what a run costs, before it."""

# ruff: noqa: ARG001  # parameters tell typer which flags there are; `context.params` holds what was given

from pathlib import Path
from typing import Annotated

import typer

from g2is.cli import options
from g2is.cli.session import foresee, reporter
from g2is.cli.show_plan import show_plan

_NO_RUN = Path("a-run-to-be")  # where none is named: nothing is written there


def plan(
    context: typer.Context,
    model: Annotated[
        str, typer.Option(help="causal language model: a local folder, of which config.json suffices, or a hub name")
    ],
    devices: options.Devices = None,
    out: Annotated[
        Path | None, typer.Option(help="the run's folder, whose store may hold some of the work; default: a new run")
    ] = None,
) -> None:
    """What `g2is select` with the same flags would take: time, disk, memory, and whether the model fits.

    On this machine, by ten seconds of the very passes that the run makes. Or with `--devices 8xH100` on others, by
    their peak and an assumed share of it. What the store holds already is not counted.

    Of a model only config.json and tokenizer are needed, unless it is measured; without a tokenizer, tokens are counted
    by the texts' bytes. Nothing is written, and no weights are fetched (docs/plan.md).
    """
    from g2is.cli.build import run_config
    from g2is.machine.devices import parse_devices

    of = None if devices is None else parse_devices(devices)
    config = run_config("plan", context, None if context.params["config"] is not None else _NO_RUN)
    from g2is.jobs.plan import plan as count

    foresee(lambda: count(config, of, reporter()), show_plan)
