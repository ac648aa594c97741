"""`g2is inspect`: print what was recognised in files of examples."""

# ruff: noqa: ARG001  # parameters tell typer which flags there are; `context.params` holds what was given

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from g2is.cli.as_data import inspection
from g2is.cli.session import quiet_libraries, reporter, tell
from g2is.cli.stopping import stoppable
from g2is.errors import plural
from g2is.progress.terminal import console

if TYPE_CHECKING:
    from rich.console import Console

    from g2is.examples.inspect import Inspection, Shown

_MOST_COUNTED = 10
_LONGEST_PART = 800  # characters of a part that are shown
_LEARNED = "bold green"


def inspect(
    context: typer.Context,
    files: Annotated[
        list[str] | None, typer.Argument(help="files, 'globs', folders of save_to_disk, hf:org/name:split")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="show what this model would see and learn: a local folder or a hub name")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="a setting of examples or model, such as examples.max_length=512"
        ),
    ] = None,
) -> None:
    """Show what is recognised in files of examples: format, columns, sources, lengths, problems, and three examples.

    What is learned stands out: in colour on a terminal, as «…» elsewhere. The exit code is 2 if rows cannot be used.
    """
    from g2is.cli.build import inspect_config

    config = inspect_config(context)
    from g2is.jobs.inspect import inspect as look

    if config.model is not None:
        quiet_libraries()
    with stoppable(None):
        found = look(config, reporter())
        tell(lambda: _print(console(soft_wrap=True), found), lambda: inspection(found))
    if found.problems:
        raise typer.Exit(2)


def _print(console: "Console", found: "Inspection") -> None:
    for file in found.files:
        layout = " and ".join(file.layouts) or ("no known columns" if file.num_rows else "")
        console.print(f"{file.label}: {', '.join(filter(None, (file.format, layout, plural(file.num_rows, 'row'))))}")
    console.print(f"columns     {', '.join(found.columns) or 'none'}")
    if found.unread:
        console.print(f"unread      {', '.join(map(_unread, found.unread))}")
    if found.mapped:
        console.print(f"mapped      {', '.join(f'{name}={theirs}' for name, theirs in found.mapped.items())}")
    console.print(
        f"rows        {found.num_rows:,}, of which {found.num_examples:,} can be used;"
        f" {found.num_duplicates:,} duplicates by content"
    )
    console.print(f"sources     {_counts(found.by_source)}")
    console.print(f"groups      {_counts(found.by_group)}")
    if found.lengths is not None:
        of = found.lengths
        console.print(
            f"lengths     {of.unit}: min {of.minimum:,}, median {of.median:,}, 90 % {of.ninth_decile:,},"
            f" max {of.maximum:,}" + ("" if of.limit is None else f"; {of.num_over:,} exceed {of.limit:,}")
        )
    if found.num_left_out:
        console.print(
            f"left out    of {found.num_left_out:,} of {found.num_examples:,} rows the chat template leaves out text;"
            " they are learned as it has them"
        )
    for shown in found.shown:
        _print_example(console, shown)
    if found.problems:
        num = len(found.problems)
        console.print(f"\n{num:,} problem{'s' * (num != 1)}:")
        for line in found.problems.lines():
            console.print(f"  {line}")


def _print_example(console: "Console", shown: "Shown") -> None:
    from rich.text import Text

    console.print(f"\n── {shown.place} ({shown.id})", style="dim")
    if shown.left_out:
        console.print(f"left out: {', '.join(shown.left_out)}")
    text = Text()
    for part, learned in shown.parts:
        cut = len(part) - _LONGEST_PART
        half = _LONGEST_PART // 2
        part = part if cut <= 0 else f"{part[:half]} [… {cut:,} characters …] {part[-half:]}"
        if learned and not console.is_terminal:
            part = f"«{part}»"
        text.append(part, style=_LEARNED if learned else None)
    console.print(text)


def _unread(name: str) -> str:
    from g2is.examples.columns import TEST_COLUMNS

    return f"{name} (read of test files)" if name in TEST_COLUMNS else name


def _counts(counts: Mapping[str, int]) -> str:
    most = list(counts.items())[:_MOST_COUNTED]
    rest = len(counts) - len(most)
    return ", ".join(f"{name} {num:,}" for name, num in most) + (f", and {rest:,} more" if rest else "") or "none"
