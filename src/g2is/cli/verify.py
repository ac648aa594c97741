"""`g2is verify`: check every stored byte, and say what is damaged."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from g2is.cli.session import quiet_libraries, reporter, say_json
from g2is.cli.stopping import stoppable
from g2is.progress.terminal import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from g2is.jobs.findings import Damage
    from g2is.jobs.verify import Verified

_MOST_IDS = 5
_DAMAGED = 2  # exit code


def verify(
    folder: Annotated[str, typer.Argument(help="a run, store (s3://… too), training, evaluation or comparison")],
    repair: Annotated[
        bool, typer.Option("--repair", help="make anew what is damaged, by the folder's own command")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print what was found as JSON")] = False,
) -> None:
    """Check every byte that g2is stored in a folder; name each damaged file and the rows it holds.

    A run's store is checked with it. Ends with 0 if all is as it was written, with 2 if something is damaged. With
    `--repair` what is damaged is cleared away and made again by the command that made the folder; of a store by itself,
    by the next command that uses it.
    """
    from g2is.config.section import read_place
    from g2is.jobs.verify import repair as repair_folder
    from g2is.jobs.verify_elsewhere import repair_store, verify_place

    quiet_libraries()
    place = read_place(folder)
    with stoppable(place):
        begin = time.monotonic()
        found = verify_place(place, reporter())
        damages = found.damages
        if not as_json:
            say(_lines(found, time.monotonic() - begin))
        if repair and damages:
            shown = reporter()
            found = repair_store(place, found, shown) if isinstance(place, str) else repair_folder(found, shown)
            if not as_json:
                say(_repaired(found))
        if as_json:
            say_json(_as_mapping(found, damages))
        if found.damages:
            raise typer.Exit(_DAMAGED)


def _lines(found: "Verified", seconds: float) -> list[str]:
    megabytes = f"{found.num_bytes / 1e6:.1f} MB"
    place = found.place or found.folder
    if not found.damages:
        lines = [f"{place}: {found.num_files} files, {megabytes}, checked in {seconds:.1f} s: all as written"]
    else:
        lines = [f"{place}: {len(found.damages)} of {found.num_files} files ({megabytes}) are damaged"]
    for damage in found.damages:
        holds = f"; holds {damage.holds}" if damage.holds else ""
        ids = (
            f": {', '.join(damage.ids[:_MOST_IDS])}{' …' if len(damage.ids) > _MOST_IDS else ''}" if damage.ids else ""
        )
        lines.append(f"  {found.name(damage.path)}: {damage.found}{holds}{ids}")
    lines += [f"  {found.name(path)}: not finished, as a stop leaves it" for path in found.unfinished]
    if found.unknown:
        named = ", ".join(str(path.relative_to(found.folder)) for path in found.unknown[:_MOST_IDS])
        more = " …" if len(found.unknown) > _MOST_IDS else ""
        lines.append(f"  not checked, since g2is vouches for none of these: {named}{more}")
    return lines


def _repaired(found: "Verified") -> list[str]:
    place = found.place or found.folder
    if not found.damages:
        return [f"{place}: repaired; {found.num_files} files are as they were written"]
    left = [f"  {found.name(damage.path)}: {damage.found}" for damage in found.damages]
    return [f"{place}: {len(left)} files are damaged still", *left]


def _as_mapping(found: "Verified", damages: "Sequence[Damage]") -> dict[str, object]:
    return {
        "folder": found.place or str(found.folder),
        "num_files": found.num_files,
        "num_bytes": found.num_bytes,
        "damaged": [
            {"path": found.name(d.path), "found": d.found, "holds": d.holds, "ids": list(d.ids)} for d in damages
        ],
        "left": [found.name(damage.path) for damage in found.damages],
        "unfinished": [found.name(path) for path in found.unfinished],
        "unknown": [found.name(path) for path in found.unknown],
    }
