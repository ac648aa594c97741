"""`g2is store`: what a store holds, and clearing away what serves nobody."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from g2is.cli.common import with_flags
from g2is.cli.failures import Commands, EachFlagOnce
from g2is.cli.session import reporter, tell
from g2is.cli.stopping import stoppable
from g2is.errors import plural
from g2is.progress.terminal import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from g2is.jobs.store_folder import Contents, Table

store_app = typer.Typer(
    cls=Commands, no_args_is_help=True, help="what a store holds, and clearing away what serves nobody"
)
Place = Annotated[str, typer.Argument(metavar="STORE", help="such as runs/first/store, or s3://…")]


def list_store(
    store: Place,
) -> None:
    """List what a store holds: rows by representation, adapters, tokenised files, work that was not finished."""
    from g2is.config.section import read_place
    from g2is.jobs.store_folder import contents

    with stoppable(None):
        found = contents(read_place(store))
    tell(lambda: say(_lines(found)), lambda: _as_mapping(found))


def collect_garbage(
    store: Place,
    yes: Annotated[bool, typer.Option("--yes", help="remove it; without this it is only listed")] = False,
) -> None:
    """List, or with `--yes` remove, what stops left behind and nobody goes on from.

    These are partial files, shards that were cut short, plans that are done, and the checkpoints of a finished warm-up.
    What was written within the last hour stays: another process may be at it.
    """
    from g2is.config.section import read_place
    from g2is.jobs.store_folder import collect, contents

    with stoppable(None if not yes else store):
        found = collect(read_place(store), reporter()) if yes else contents(read_place(store)).leftovers
    tell(
        lambda: say(_of_leftovers(store, found, yes)),
        lambda: {"store": store, "leftovers": found, "removed": yes and bool(found)},
    )


def _of_leftovers(store: str, found: "Mapping[str, int]", removed: bool) -> list[str]:
    lines = [f"  {name}: {_bytes(num)}" for name, num in found.items()]
    what = f"{len(found)} leftovers, {_bytes(sum(found.values()))}"
    if not found:
        lines = [f"{store}: nothing to remove"]
    elif removed:
        lines.insert(0, f"{store}: removed {what}")
    else:
        lines = [f"{store}: {what}", *lines, "nothing was removed; --yes removes them"]
    return lines


def _lines(found: "Contents") -> list[str]:
    lines = [f"{found.place}: {_bytes(found.num_bytes)}"]
    lines += [_of_table(table) for table in found.tables]
    adapters = ", ".join(found.adapters) or "none kept"
    if found.warmup != "none":
        lines.append(f"  warm-up: {found.warmup}; adapters {adapters}, {_bytes(sum(found.adapters.values()))}")
    for name, (num_rows, num_bytes) in found.tokenised.items():
        rows = "cannot be read" if num_rows is None else plural(num_rows, "row")
        lines.append(f"  tokenised {name}: {rows}, {_bytes(num_bytes)}")
    for name, num_bytes in found.second_moments.items():
        lines.append(f"  second moment {name[:8]}…, decomposed: {_bytes(num_bytes)}")
    if found.leftovers:
        told = _bytes(sum(found.leftovers.values()))
        lines.append(f"  {plural(len(found.leftovers), 'leftover')}, {told}: `g2is store gc` lists and removes them")
    return lines


def _of_table(table: "Table") -> str:
    rows = [f"{name.removesuffix('/rows')} {of}" for name, of in table.arrays.items() if name.endswith("rows")]
    unfinished = f"; {plural(table.num_planned, 'shard')} planned and not made yet" if table.num_planned else ""
    return (
        f"  {table.representation} of {table.kind}: {plural(table.num_rows, 'row')} in"
        f" {plural(table.num_shards, 'shard')}, {_bytes(table.num_bytes)}{': ' if rows else ''}{', '.join(rows)}"
        f"{unfinished}"
    )


def _as_mapping(found: "Contents") -> dict[str, object]:
    return {
        "store": str(found.place),
        "num_bytes": found.num_bytes,
        "tables": [asdict(table) for table in found.tables],
        "warmup": found.warmup,
        "adapters": found.adapters,
        "tokenised": {
            name: {"num_rows": num_rows, "num_bytes": num_bytes}
            for name, (num_rows, num_bytes) in found.tokenised.items()
        },
        "second_moments": found.second_moments,
        "leftovers": found.leftovers,
    }


def _bytes(num: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num >= size:
            return f"{num / size:.1f} {unit}"
    return f"{num} bytes"


store_app.command("ls", cls=EachFlagOnce)(with_flags(list_store, "facts"))
store_app.command("gc", cls=EachFlagOnce)(with_flags(collect_garbage, "facts"))
