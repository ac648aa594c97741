"""`g2is export`: the selected examples again, for another trainer, or for the hub."""

from pathlib import Path
from typing import Annotated

import typer

from g2is.cli.as_data import selection_as_data
from g2is.cli.session import quiet_libraries, reporter, tell, working
from g2is.cli.show import show_selection
from g2is.cli.stopping import stoppable
from g2is.errors import ConfigError
from g2is.progress.terminal import say


def export(
    wait: bool,
    run: Annotated[Path, typer.Argument(help="a run folder with a selection in it")],
    for_: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="TRAINER",
            help="write for trl, llama-factory, axolotl, open-instruct or ms-swift, with its configuration",
        ),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="the new folder for the trainer's files; beside --for")] = None,
    push_to_hub: Annotated[
        str | None,
        typer.Option(metavar="ORG/NAME", help="upload the selection as a dataset of the hub, private, with a card"),
    ] = None,
) -> None:
    """Stage 4: write the selected examples of a run again, as original lines and as messages.

    With `--for` they are written for another trainer instead, in its own layout and with its configuration: template,
    learned tokens and length as the run had them (docs/trainers.md). With `--push-to-hub` they become a dataset of the
    Hugging Face hub.
    """
    if (for_ is None) != (to is None):
        raise ConfigError(
            "g2is export: expected --for TRAINER and --to DIR together, found "
            + ("--to alone" if for_ is None else "--for alone")
        )
    if for_ is not None and push_to_hub is not None:
        raise ConfigError(
            "g2is export: expected --for or --push-to-hub, found both: the hub gets the rows as messages. Give the"
            " command twice"
        )
    if wait and (for_ is not None or push_to_hub is not None):
        raise ConfigError(
            "g2is export: expected --wait alone, found it beside "
            + ("--push-to-hub" if for_ is None else "--for")
            + ", which holds no folder that another process could be using: leave it out"
        )
    if for_ is not None and to is not None:
        from datasets import disable_progress_bars

        from g2is.jobs.hand_over import hand_over

        quiet_libraries()
        disable_progress_bars()
        with stoppable(None):
            command = hand_over(run, for_, to, reporter()).command
            tell(lambda: say([str(to), f"  {command}"]), lambda: {"to": to, "for": for_, "command": command})
    elif push_to_hub is not None:
        from g2is.jobs.publish import publish

        quiet_libraries()
        with stoppable(f"the hub's dataset {push_to_hub}"):
            address = publish(run, push_to_hub, reporter())
            tell(lambda: say([f"uploaded: {address}"]), lambda: {"uploaded": address})
    else:
        from g2is.jobs.export import export_run

        with working(run, wait):
            selection = export_run(run, reporter())
            tell(lambda: show_selection(selection), lambda: selection_as_data(selection))
