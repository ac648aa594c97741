"""Cells of a grid that many sittings made: kept in one Parquet file, put back where a run goes on, and their tables."""

import json
import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

from common.cells import CELLS, keep_cells, put_cells, read_cells
from g2is.comparison.cells import Key
from g2is.comparison.evidence import compare_cells
from g2is.comparison.files import write_comparison
from g2is.comparison.grid import Grid
from g2is.methods import ALWAYS, METHODS

MANIFEST = "manifest.json"  # what all cells were made from


@dataclass(frozen=True)
class KeptGrid:
    """Where cells are kept, and of what grid: named methods and `others`; the mean of R is over `recovered_on`.

    `metric_of` says by which metric the answers to a target are judged, where they are.
    """

    folder: Path
    targets: tuple[str, ...]
    budgets: tuple[str, ...]
    seeds: tuple[int, ...]
    recovered_on: tuple[str, ...]
    remark: str
    others: tuple[str, ...] = ()
    metric_of: Mapping[str, str] = field(default_factory=dict)

    def begin(self, out: Path) -> None:
        """Let the comparison `out` begin with the cells that are kept, if it is new."""
        if (self.folder / CELLS).exists() and not out.exists():
            put_cells(self.folder / CELLS, out / "cells")
            shutil.copyfile(self.folder / MANIFEST, out / MANIFEST)

    def keys(self) -> set[Key]:
        """The cells that are kept."""
        place = self.folder / CELLS
        return {cell.key for cell in read_cells(place)} if place.exists() else set()

    def keep(self, out: Path) -> None:
        """Keep the finished cells of the comparison `out`, and write the tables of all that are kept."""
        made = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
        self.keep_cells(out / "cells", made["num_pool_rows"], made["settings"], made["environment"])
        shutil.copyfile(out / MANIFEST, self.folder / MANIFEST)

    def keep_cells(
        self, cells: Path, num_pool_rows: int, settings: Mapping[str, Any], environment: Mapping[str, Any]
    ) -> None:
        """Keep the finished `cells` of a folder, and write the tables of all that are kept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        keep_cells(self.folder / CELLS, cells)
        names = [*(name for name in METHODS if name not in ALWAYS), *self.others]
        kept = read_cells(self.folder / CELLS)
        seeds = tuple(sorted({*self.seeds, *(seed for cell in kept if (seed := cell.key.seed) is not None)}))
        comparison = compare_cells(
            kept,
            Grid((*ALWAYS, *names), self.targets, self.budgets, seeds),
            num_pool_rows,
            {**settings, "methods": names, "budgets": list(self.budgets), "num_seeds": len(seeds)},
            environment,
            remarks=(self.remark,),
            recovered_on=self.recovered_on,
        )
        write_comparison(self.folder, comparison)

    def print_tables(self) -> None:
        """Print `leaderboard`, then `by_target`."""
        print("\n".join([*self.leaderboard(), "", *self.by_target()]))

    def leaderboard(self) -> list[str]:
        """A table a budget, of methods that are measured on all targets: loss over random's on the mean over them, and
        the mean over seeds on each.

        "choose" is the median time of choosing by what a method looks at; what making that took with the first seed
        stands below.
        """
        comparison, lines = self._comparison(), list[str]()
        for budget in self.budgets:
            entries = [
                entry for entry in comparison["entries"] if entry["budget"] == budget and entry["mean"]["relative"]
            ]
            if entries:
                titles = (budget, "÷ random", "over seeds", "R", *self.targets, "k tokens", "choose, s", "seeds")
                rows = [*_head(titles), *(_line(comparison, entry, self.targets) for entry in entries)]
                lines += [*_narrow(rows), ""]
        represented: dict[str, list[str]] = {}
        for method in dict.fromkeys(cell["method"] for cell in comparison["cells"]):
            cells = [of for of in comparison["cells"] if of["method"] == method and of["seed"] == self.seeds[0]]
            if seconds := _seconds(cells, "represent"):
                taken = median(seconds)
                shown = f"{taken / 60:.0f} min" if taken >= 60 else f"{taken:.1f} s"
                represented.setdefault(shown, []).append(method)
        for time, methods in represented.items():
            line = f"- What these choose by took {time} to make, once a seed: {', '.join(methods)}."
            lines += textwrap.wrap(line, 120, break_on_hyphens=False, subsequent_indent="  ")
        return lines

    def by_target(self) -> list[str]:
        """A table a budget and target: each method's test loss, minus random's, metric and R.

        The best first, by the loss over random's with the same seeds: one seed may be harder than another.
        """
        comparison, lines = self._comparison(), list[str]()
        for budget in comparison["grid"]["budgets"]:
            of_budget = [entry for entry in comparison["entries"] if entry["budget"] == budget]
            for target in self.targets:
                found = [(entry["method"], entry["by_target"][target]) for entry in of_budget]
                made = sorted(((method, of) for method, of in found if of["loss"]), key=_by_shared_seeds)
                if not any(of["to_random"] for _, of in made):  # `untuned` and `full` stand at every budget
                    continue
                metrics = [self.metric_of[target]] if target in self.metric_of else []
                titles = ("test loss [95 %]", "minus random's [95 %]", *metrics, "R", "k tokens", "choose, s", "seeds")
                rows = _head((f"{target}, {budget}", *titles))
                for method, of in made:
                    cells = [cell for cell in _cells(comparison, method, budget) if cell["target"] == target]
                    rows.append(_target_line(method, of, metrics, cells))
                lines += [*_narrow(rows), ""]
        return lines[:-1]

    def _comparison(self) -> dict[str, Any]:
        place = self.folder / "comparison.json"
        if not place.exists():
            raise SystemExit(
                f"{place}: expected the tables of cells that are kept, found no such file; keep some first"
            )
        found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        return found


def _head(titles: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]


def _narrow(rows: Sequence[str]) -> list[str]:
    return [re.sub(r" ?\| ?", "|", row) for row in rows]  # else too long for a page


def _by_shared_seeds(made: tuple[str, dict[str, Any]]) -> tuple[float, str]:
    method, of = made
    return of["relative"]["value"] if of["relative"] else float("inf"), method


def _target_line(method: str, of: dict[str, Any], metrics: list[str], made: Sequence[Mapping[str, Any]]) -> str:
    to_random = of["to_random"]
    cells = [
        method,
        interval(of["loss"], 3),
        interval(to_random["difference"], 3) if to_random else "",
        *(interval(of["metrics"].get(name), 2) for name in metrics),
        interval(of["recovered"]["fraction"], 2),
        *_costs(made),
        str(of["num_done"]),
    ]
    return f"| {' | '.join(cells)} |"


def _line(comparison: dict[str, Any], entry: dict[str, Any], targets: tuple[str, ...]) -> str:
    cells = _cells(comparison, entry["method"], entry["budget"])
    shown = interval(entry["mean"]["relative"], 3)
    over_seeds = entry["mean"]["relative_range"]
    of_full = interval(entry["mean"]["recovered"]["fraction"], 2)
    losses = [[cell["loss"] for cell in cells if cell["target"] == target] for target in targets]
    columns = [f"{mean(of):.3f}" if of else "" for of in losses]
    columns += _costs(cells)
    of_seeds = f"{over_seeds[0]:.3f}–{over_seeds[1]:.3f}" if over_seeds else ""
    fewest, most = (of(map(len, losses)) for of in (min, max))
    columns.append(str(fewest) if fewest == most else f"{fewest}–{most}")
    return f"| {entry['method']} | {shown} | {of_seeds} | {of_full} | {' | '.join(columns)} |"


def _cells(comparison: Mapping[str, Any], method: str, budget: str) -> list[dict[str, Any]]:
    return [of for of in comparison["cells"] if of["method"] == method and of["budget"] in (budget, None)]


def _costs(cells: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Thousands of tokens of the rows, and the seconds of choosing them."""
    seconds = _seconds(cells, "select")
    tokens = f"{mean(cell['num_tokens'] for cell in cells) / 1000:.0f}"
    return tokens, f"{median(seconds):.1f}" if seconds else ""


def _seconds(cells: Sequence[Mapping[str, Any]], stage: str) -> list[float]:
    return [cell["seconds"][stage] for cell in cells if cell["seconds"].get(stage)]


def interval(found: dict[str, float] | None, digits: int) -> str:
    """A value and its interval, or nothing."""
    if found is None or found["value"] is None:
        return ""
    return "{} [{}, {}]".format(*(f"{found[part]:.{digits}f}" for part in ("value", "low", "high")))
