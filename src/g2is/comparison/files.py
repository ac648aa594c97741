"""comparison.md, comparison.csv and comparison.json."""

import csv
import io
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from g2is.comparison.evidence import Comparison, Part
from g2is.comparison.markdown import as_markdown
from g2is.comparison.notes import notes
from g2is.comparison.statistics import INTERVAL_FRACTION
from g2is.store.files import write_json, write_text

MARKDOWN, CSV, JSON = TABLES = "comparison.md", "comparison.csv", "comparison.json"
FORMAT = 1
_BEGIN_FORMULAS = ("=", "+", "-", "@", "\t", "\r")

_COLUMNS = (
    "kind",  # cell, mean over seeds, or mean over targets
    "budget",
    "method",
    "target",
    "seed",
    "num_done",
    "num_planned",
    "num_test_examples",
    *("loss", "loss_low", "loss_high"),
    *("relative", "relative_low", "relative_high"),
    *("difference_to_random", "difference_to_random_low", "difference_to_random_high"),
    "verdict_to_random",
    "verdict_to_untuned",
    *("recovered_fraction", "recovered_fraction_low", "recovered_fraction_high"),
    *("num_rows", "num_tokens", "num_steps"),
    *("stability_jaccard", "stability_jaccard_by_chance"),
)


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write the comparison as JSON, CSV and Markdown to `folder`, each atomically."""
    write_json(folder / JSON, as_json(comparison))
    write_text(folder / CSV, as_csv(comparison))
    write_text(folder / MARKDOWN, as_markdown(comparison))


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Everything, ready for JSON, but the arrays of the cells; what is not a number is null."""
    grid, num_done = comparison.grid, len(comparison.cells)
    found = {
        "format": FORMAT,
        "num_done": num_done,
        "num_planned": num_done + len(comparison.missing),
        "grid": asdict(grid),
        "settings": comparison.settings,
        "environment": comparison.environment,
        "intervals": {
            "what": "percentile interval of a paired bootstrap over test examples",
            "fraction": INTERVAL_FRACTION,
            "num_resamples": comparison.num_resamples,
            "seed": comparison.seed,
        },
        "num_pool_rows": comparison.num_pool_rows,
        "num_test_examples": comparison.num_test_examples,
        "mean_targets": comparison.mean_targets,
        "recovered_targets": comparison.recovered_targets,
        "notes": notes(comparison),
        "remarks": list(comparison.remarks),
        "entries": [asdict(entry) for budget in grid.budgets for entry in comparison.entries[budget]],
        "pairs": [asdict(pair) for pair in comparison.pairs],
        "overlaps": [
            {"budget": budget, "target": target, **vars(overlap)}
            for (budget, target), overlap in comparison.overlaps.items()
        ],
        "cells": [cell.summary() for cell in comparison.cells.values()],
        "missing": [key._asdict() for key in comparison.missing],
    }
    return {name: _plain(value) for name, value in found.items()}


def as_csv(comparison: Comparison) -> str:
    """A line for each cell, finished or missing, then for each mean over seeds, then for each mean over targets."""
    cells = comparison.cells
    metrics = dict.fromkeys(name for cell in cells.values() for name in cell.means())
    stages = dict.fromkeys(stage for cell in cells.values() for stage in cell.seconds)
    of_metrics = [part for name in metrics for part in (name, f"{name}_low", f"{name}_high")]
    columns = [_as_text(name) for name in (*_COLUMNS, *of_metrics, *(f"seconds_{stage}" for stage in stages))]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for key in comparison.grid.planned():
        line: dict[str, Any] = {"kind": "cell", **key._asdict(), "num_done": int(key in cells), "num_planned": 1}
        if key in cells:
            cell = cells[key]
            line |= {"num_test_examples": len(cell.losses), "loss": cell.loss, **cell.means()}
            line |= {"num_tokens": cell.num_tokens, "num_steps": cell.num_steps}
            line["num_rows"] = cell.num_rows(comparison.num_pool_rows)
            line |= {f"seconds_{stage}": seconds for stage, seconds in cell.seconds.items()}
        writer.writerow(_known(line))
    entries = [entry for budget in comparison.grid.budgets for entry in comparison.entries[budget]]
    for entry in entries:
        for target, part in entry.by_target.items():
            line = {"kind": "mean over seeds", "budget": entry.budget, "method": entry.method, "target": target}
            writer.writerow(_known(line | {"num_test_examples": comparison.num_test_examples.get(target)} | _of(part)))
    for entry in entries:
        line = {"kind": "mean over targets", "budget": entry.budget, "method": entry.method}
        writer.writerow(_known(line | _of(entry.mean)))
    return text.getvalue()


def _of(part: Part) -> dict[str, Any]:
    estimates = {
        "loss": part.loss,
        "relative": part.relative,
        "difference_to_random": part.to_random.difference if part.to_random else None,
        "recovered_fraction": part.recovered.fraction,
        **part.metrics,
    }
    line: dict[str, Any] = {"num_done": part.num_done, "num_planned": part.num_planned}
    for name, found in estimates.items():
        if found is not None:
            line |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    line["verdict_to_random"] = part.to_random.verdict if part.to_random else None
    line["verdict_to_untuned"] = part.to_untuned.verdict if part.to_untuned else None
    line |= {"num_rows": part.num_rows, "num_tokens": part.num_tokens, "num_steps": part.num_steps}
    if part.stability:
        line["stability_jaccard"] = part.stability.jaccard
        line["stability_jaccard_by_chance"] = part.stability.chance_jaccard
    return line | {f"seconds_{stage}": seconds for stage, seconds in part.seconds.items()}


def _known(line: dict[str, Any]) -> dict[str, Any]:
    """Without what is None or not a number, which an empty field says; texts as spreadsheets read them as texts."""
    return {
        _as_text(name): _as_text(value)
        for name, value in line.items()
        if value is not None and not (isinstance(value, float) and not math.isfinite(value))
    }


def _as_text(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets the mark that says it is none, and stays on its line."""
    if not isinstance(value, str):
        return value
    return (f"'{value}" if value.startswith(_BEGIN_FORMULAS) else value).replace("\r", " ")


def _plain(value: Any) -> Any:
    """`value` as JSON knows it."""
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
