"""One table of all steps: figure beside goal, and what was not measured and why."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plan import Step
from run_step import Record

TITLES = ("step", "what", "goal", "figure", "verdict", "card")


def table_of(all_steps: Sequence[Step], records: Mapping[str, Record | None]) -> str:
    """The table as Markdown, its columns aligned."""
    rows = [row for step in all_steps for row in _rows(step, records[step.name])]
    widths = [max(len(row[column]) for row in (TITLES, *rows)) for column in range(len(TITLES))]
    ruled = [TITLES, tuple("-" * width for width in widths), *rows]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in ruled
    )


def write_table(place: Path, table: str) -> None:
    """Write the table and where its figures come from."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"{table}\n\nOf each step: steps/NAME.json, logs/NAME.log.\n", encoding="utf-8")


def _rows(step: Step, record: Record | None) -> list[tuple[str, ...]]:
    if record is None:
        return [(step.name, step.says, step.goal, "", "not run", "")]
    card = record["card"] or "CPU"
    if record["status"] != "done":
        named = "not measured" if record["status"] == "not run" else record["status"].upper()
        ended = (step.name, step.says, step.goal, "", f"{named}: {record['why']}", card)
        return [ended, *((*row[:4], "written before it ended", card) for row in _figures(step, record, card))]
    rows = _figures(step, record, card)
    if not record["measured"]:
        rows.append(("", f"would be measured: {step.says}", step.goal, "", "not measured: no CUDA device", ""))
    return rows


def _figures(step: Step, record: Record, card: str) -> list[tuple[str, ...]]:
    """A row for each figure; those of a step that was ended are what it had written so far."""
    return [(step.name, *_figure(figure, record["measured"]), card) for figure in record.get("figures", ())]


def _figure(figure: Mapping[str, Any], measured: bool) -> tuple[str, str, str, str]:
    unit, spread, goal = figure["unit"], figure["spread"], figure["goal"]
    shown = _number(figure["value"]) + unit + (f" [{_number(spread[0])}, {_number(spread[1])}]" if spread else "")
    if figure["note"]:
        shown = f"{shown}; {figure['note']}"
    if not measured:
        return figure["what"], "", shown, "small, on a CPU: not compared"
    verdict = {True: "met", False: "missed", None: ""}[figure["met"]]
    return figure["what"], "" if goal is None else f"{'≤' if figure['at_most'] else '≥'} {goal:g}{unit}", shown, verdict


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
