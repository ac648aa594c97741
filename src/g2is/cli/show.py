"""What commands print on standard output when they are done."""

import shlex
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from g2is.cli.show_rows import show_rows
from g2is.cli.show_time import time_lines
from g2is.config.targets import titled
from g2is.errors import plural
from g2is.methods import GRADIENT
from g2is.progress.terminal import say

if TYPE_CHECKING:
    from g2is.config import Config, MatrixWalkConfig
    from g2is.config.part import Part
    from g2is.jobs.estimate import Estimate
    from g2is.jobs.part import MadePart
    from g2is.jobs.run_folder import Selection
    from g2is.jobs.select_matrices import Matrices
    from g2is.selection.record import Picks, Walk


_COORDINATES = {"lora": "adapter coordinates", "all": "weights and biases"}
_SHOWN = 5  # rows, at the end of a selection
_TITLE = 9  # columns, of the titles beside those of targets


def show_selection(selection: "Selection", summary: dict[str, Any] | None = None) -> None:
    """Say how many rows were selected, where they lie, and the first of them; `summary` is that of the sitting.

    Without one, the rows were selected in another sitting, and are not shown.
    """
    lines = counted(selection, summary or {})
    if summary is not None:
        total, peak = sum(summary["seconds"].values()), summary["peak_memory_bytes"] / 2**30
        lines.append(f"  {total:.0f} s in this sitting, {peak:.1f} GiB of memory at most")
    for name, what in (
        ("selected.jsonl", "the examples, as they stood in the pool"),
        ("selected.messages.jsonl", "the same as messages"),
        ("selection.parquet", "why each row was taken"),
        ("report.html", "the same and more as a page: open it in a browser"),
        ("set_aside.jsonl", "rows without a usable gradient"),
        ("excluded.jsonl", "rows that were left out, and why"),
        ("bad_rows.jsonl", "rows that cannot be used"),
    ):
        if (selection.folder / name).exists():
            lines.append(f"  {selection.folder / name}  ({what})")
    say(lines)
    if summary is not None:
        more = f"; more with `g2is show {shlex.quote(str(selection.folder))}`" if len(selection.ids) > _SHOWN else ""
        show_rows(selection, _SHOWN, more=more)


def counted(selection: "Selection", summary: dict[str, Any]) -> list[str]:
    """How many rows were selected of what, as far as the `summary` of the run counts them."""
    lines = [f"{plural(len(selection.rows), 'row')} selected"]
    if "pool" in summary:
        lines[0] += f" of {summary['pool']['rows']:,}"
    if "selected" in summary:
        lines[0] += f", {summary['selected']['tokens']:,} tokens"
    if "tokens" in summary.get("budget", ()):
        lines[0] += f" of a budget of {summary['budget']['tokens']:,}"
    if "lengths" in summary:
        lengths = summary["lengths"]
        lines += _by_target(selection) + _lengths(lengths) + _sources(summary["sources"], lengths["rows"])
    return lines


def _by_target(selection: "Selection") -> list[str]:
    """Rows by target and component, in the order of the selection."""
    rows: dict[str, Counter[int | None]] = {}
    for target, component in zip(selection.targets, selection.components, strict=True):
        rows.setdefault(target or "(included)", Counter())[component] += 1
    width = max((len(name) for name in rows), default=0)
    lines = []
    for name, of_component in rows.items():
        parts = ", ".join(f"{component}: {num:,}" for component, num in sorted(of_component.items(), key=str))
        by_component = "" if None in of_component else f"  (by component {parts})"
        lines.append(f"  {name:<{width}}  {of_component.total():>7,} rows{by_component}")
    return lines


def _lengths(lengths: dict[str, Any]) -> list[str]:
    lines = []
    for name, title in (("tokens", "tokens a row"), ("answer_tokens", "answer tokens")):
        found = lengths[name]
        told = [
            f"{kind} {found['selected'][kind]:,.1f} (pool {found['pool'][kind]:,.1f}"
            + (f", ×{ratio:.2f})" if (ratio := found[f"{kind}_ratio"]) is not None else ")")
            for kind in ("median", "mean")
            if found["selected"][kind] is not None
        ]
        lines.append(f"  {title:<13}  {', '.join(told)}")
    return lines


def _sources(sources: list[dict[str, Any]], rows: dict[str, int]) -> list[str]:
    """The shares of `sources`, and of all others together; `rows` are those of pool and selection."""
    from rich.cells import cell_len

    if not sources:
        return []
    shares = [(of["source"], of["selected_fraction"], of["pool_fraction"]) for of in sources]
    selected, pool = (rows[kind] - sum(of[f"{kind}_rows"] for of in sources) for kind in ("selected", "pool"))
    if pool:
        shares.append(("(all others)", selected / max(rows["selected"], 1), pool / rows["pool"]))
    width = max(cell_len(name) for name, _, _ in shares)
    return ["  sources        of the selection, of the pool"] + [
        f"    {name}{' ' * (width - cell_len(name))}  {selected:>6.1%}  {pool:>6.1%}" for name, selected, pool in shares
    ]


def show_stage(config: "Config", stage: str) -> None:
    """Say where a stage that selects nothing left its work."""
    taken = f" (none: the adapter of {config.warmup.adapter})" if stage == "warmup" and config.warmup.adapter else ""
    say(
        [
            f"{stage} done{taken}: {config.store}/{stage}",
            "  `g2is select` (or the next stage's command) with the same arguments goes on from here",
        ]
    )


def show_part(config: "Config", part: "Part", made: "MadePart") -> None:
    """Say what a worker made of its part, and what others have still to make."""
    left = "none is missing now" if not made.num_left else f"{made.num_left} of the plan are still missing"
    say(
        [
            f"worker {part} done: {made.num_made} shards made, {left}: {config.store}/gradients",
            "  `g2is select` with the same arguments, when all workers have ended, makes what is missing and goes on",
        ]
    )


def show_matrix_walk(config: "MatrixWalkConfig", record: "Walk | Picks") -> None:
    """Say how the walk on matrices, or another selection from them, went."""
    lines = [f"{len(record.steps):,} of {record.budget:,} rows selected"]
    for part in getattr(record, "components", ()):
        dry = "" if part.dry_after is None else f", ran dry after {part.dry_after}"
        lines.append(f"  component {part.component}: budget {part.budget}, took {part.num_taken}{dry}")
    lines.append(f"  {config.out / 'selection.parquet'}  (the rows in order, and why each was taken)")
    say(lines)


def show_matrix_dry_run(found: "Matrices") -> None:
    """Say what a walk on matrices would do."""
    say(
        [
            "This is what would be done; nothing was written.",
            f"  pool gradients    {found.pool.shape[0]:,} rows of {found.pool.shape[1]:,}",
            f"  target gradients  {found.target.shape[0]:,} rows",
            *([] if found.core is None else [f"  core knowledge    {len(found.core.components)} components"]),
            f"  budget            {found.budget:,} rows",
        ]
    )


def target_titles(names: Iterable[str]) -> list[str]:
    """What targets are called before what is told of each, so that all of that begins in one column."""
    from rich.cells import cell_len

    titles = [titled(name) for name in names]
    width = max(_TITLE, *map(cell_len, titles))
    return [title + " " * (width - cell_len(title)) + "  " for title in titles]


def show_dry_run(estimate: "Estimate") -> None:
    """Say what a run would do."""
    several = len(estimate.num_target_rows) > 1
    shortened = f", {estimate.num_pool_truncated:,} too long" if estimate.num_pool_truncated else ""
    each = f", {estimate.num_warmups} times, each with a seed of its own" if estimate.num_warmups > 1 else ""
    warmup = (
        f"{estimate.num_warmup_rows:,} rows{each} (skipped if the store has {'one' if not each else 'them'})"
        if estimate.adapter is None
        else f"none: adapter and moments of {estimate.adapter}"
    )
    if estimate.representation == GRADIENT:
        made = [
            f"  warm-up    {warmup}",
            f"  gradients  {estimate.num_coordinates:,} {_COORDINATES[estimate.parameters]} to {estimate.dim:,}; if"
            f" none is stored yet, {estimate.gradient_bytes / 2**30:.2f} GiB on disk, {estimate.flops:.1e}"
            f" floating-point operations{f', under {estimate.num_warmups} warm-ups together' if each else ''}"
            f" (4 · {estimate.num_parameters:,} parameters · tokens"
            + (f", and 2 · {estimate.num_whole:,} · tokens)" if estimate.num_whole else ")"),
        ]
        if estimate.warmup_bytes:
            made[0] += f"; weights and moments of {estimate.warmup_bytes / 2**30:.2f} GiB are kept"
    else:
        made = [
            f"  rows       {estimate.representation}, of what the store does not hold yet; no warm-up, no gradients"
        ]
    say(
        [
            "This is what would be done; nothing was written.",
            f"  pool       {estimate.num_pool_rows:,} rows, {estimate.num_pool_tokens:,} tokens,"
            f" {estimate.num_pool_duplicates:,} duplicates{shortened}",
            *(
                f"  {title}{plural(num, 'row')}"
                + (f", {estimate.target_budgets[name]:,} {estimate.budget.unit} of the budget" if several else "")
                for title, (name, num) in zip(
                    target_titles(estimate.num_target_rows), estimate.num_target_rows.items(), strict=True
                )
            ),
            f"  budget     {estimate.budget.amount:,} {estimate.budget.unit}",
            *([f"  included   {estimate.num_included:,} rows"] if estimate.num_included else []),
            *([f"  excluded   {estimate.num_excluded:,} rows"] if estimate.num_excluded else []),
            f"  store      {'exists: what it holds is used again' if estimate.store_exists else 'new'}",
            *made,
            *time_lines(estimate.time, "reading, choosing and the page"),
        ]
    )
