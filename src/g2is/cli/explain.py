"""`g2is explain`: why rows were or were not selected."""

from pathlib import Path
from typing import Annotated, Any

import typer

from g2is.cli.session import quiet_libraries, say_json
from g2is.cli.stopping import stoppable
from g2is.cli.usage import missing
from g2is.errors import ConfigError
from g2is.progress.terminal import say

_IDS = "ids or record numbers of rows of the pool; FILE:LINE of one that cannot be used"
_STATES = {
    "selected": "selected",
    "not selected": "not selected",
    "set aside": "set aside: it cannot be compared",
    "excluded": "excluded from the pool",
    "cannot be used": "cannot be used",
}


def explain(
    run: Annotated[Path, typer.Argument(help="a run folder with a selection in it")],
    ids: Annotated[list[str] | None, typer.Argument(metavar="IDS...", help=_IDS)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON, a list of rows")] = False,
) -> None:
    """Why rows were or were not selected: rank, score, the rule that refused each, and the rows that are near it.

    It reads what the run and its store hold. What these do not say is named as unknown.
    """
    from g2is.jobs.explain import explain as look

    if not ids:
        raise ConfigError(missing("g2is explain", "IDS", _IDS))
    quiet_libraries()
    with stoppable(None):
        rows = look(run, ids)
    if as_json:
        say_json(rows)
    else:
        say(line for row in rows for line in _lines(row))


def _lines(row: dict[str, Any]) -> list[str]:
    number = row.get("place", "") if row["row"] is None else f"row {row['row']:,}"
    lines = [f"{row['id'] or row.get('place')} ({number}): {_STATES[row['state']]}"]
    lines += _told("because", row.get("reason"))
    if row["state"] == "selected":
        lines += _told("order", f"{row['order'] + 1:,} of {row['of']:,}")
        reasons = ("component", "similarity_to_previous", "similarity_to_core", "consistency", "score")
        lines += _told("worth", ", ".join(f"{name} {_number(row[name])}" for name in reasons if name in row))
    for name, rank in row.get("ranks", {}).items():
        lines += _told(name, f"{_number(row['scores'][name])}, rank {rank['rank']:,} of {rank['of']:,}")
    lines += _told("rule", row.get("rule"))
    for key, title in (("covered_by", "covered by"), ("conflicts_with", "conflicts")):
        found = row.get(key) or []
        for of in [found] if isinstance(found, dict) else found:
            lines += _told(title, _named(of))
    if end := row.get("at_the_end"):
        lines += _told(
            "at the end", f"{_number(end['score'])}; the last row, {end['last_taken']}, had {_number(end['its_score'])}"
        )
    if step := row.get("nearest_step"):
        lines += _told(
            "lost most nearly",
            f"at number {step['order'] + 1:,}: {_number(step['score'])}; {step['taken']} had"
            f" {_number(step['its_score'])}",
        )
    for of in row.get("nearest_target", []):
        opposes = ", and it opposes every example" if of["opposes_all"] else ""
        lines += _told("nearest example", f"{of['id']} of {of['target']} {_number(of['cosine'])}{opposes}")
    if near := row.get("neighbours"):
        lines += _told("neighbours", ", ".join(_named(of) for of in near))
    if "tokens" in row:
        cut = row.get("cut")
        told = f"; {cut['tokens']:,} were cut, {cut['learned']:,} of them learned" if cut else ""
        lines += _told("length", f"{row['tokens']:,} tokens, of source {row['source']}{told}")
    for text in row.get("unknown", []):
        lines += _told("unknown", text)
    return lines


def _told(title: str, text: str | None) -> list[str]:
    return [f"  {title:<17} {text}"] if text else []


def _named(of: dict[str, Any]) -> str:
    taken = f" (taken as {of['order'] + 1:,})" if "order" in of else ""
    component = f" of component {of['component']}" if "component" in of else ""
    return f"{of['id']} {_number(of['cosine'])}{taken}{component}"


def _number(value: float | int | None) -> str:
    """As the page has it (`report/packing.py`): four decimals, of small ones four digits that say something."""
    if value is None or isinstance(value, int):
        return "none" if value is None else f"{value:,}"
    return f"{value:.4g}" if 0 < abs(value) < 0.1 else f"{value:.4f}"
