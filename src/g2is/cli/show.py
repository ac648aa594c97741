"""What commands print on standard output when they are done."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from g2is.config import Config, MatrixWalkConfig
    from g2is.forecast import Forecast
    from g2is.matrices import Matrices
    from g2is.run import Selection
    from g2is.selection.record import Walk


def show_selection(selection: "Selection", summary: dict[str, Any] | None = None) -> None:
    """Say how many rows were selected and where they lie; `summary` is that of the sitting, if it counted."""
    lines = [f"{len(selection.rows):,} rows selected"]
    if summary is not None:
        lines[0] += f" of {summary['pool']['rows']:,}"
        total, peak = sum(summary["seconds"].values()), summary["peak_memory_bytes"] / 2**30
        lines.append(f"  {total:.0f} s in this sitting, {peak:.1f} GiB of memory at most")
    for name, what in (
        ("selected.jsonl", "the examples, as they stood in the pool"),
        ("selected.messages.jsonl", "the same as messages"),
        ("selection.parquet", "why each row was taken"),
        ("set_aside.jsonl", "rows without a usable gradient"),
        ("bad_rows.jsonl", "rows that cannot be used"),
    ):
        if (selection.folder / name).exists():
            lines.append(f"  {selection.folder / name}  ({what})")
    _print(lines)


def show_stage(config: "Config", stage: str) -> None:
    """Say where a stage that selects nothing left its work."""
    place = config.store / stage
    _print(
        [
            f"{stage} done: {place}",
            "  `g2is select` (or the next stage's command) with the same arguments goes on from here",
        ]
    )


def show_matrix_walk(config: "MatrixWalkConfig", walk: "Walk") -> None:
    """Say how the walk on matrices went."""
    lines = [f"{len(walk.steps):,} of {walk.budget:,} rows selected"]
    for part in walk.components:
        dry = "" if part.dry_after is None else f", ran dry after {part.dry_after}"
        lines.append(f"  component {part.component}: budget {part.budget}, took {part.num_taken}{dry}")
    lines.append(f"  {config.out / 'selection.parquet'}  (the rows in order, and why each was taken)")
    _print(lines)


def show_matrix_dry_run(found: "Matrices") -> None:
    """Say what a walk on matrices would do."""
    _print(
        [
            "This is what would be done; nothing was written.",
            f"  pool gradients    {found.pool.shape[0]:,} rows of {found.pool.shape[1]:,}",
            f"  target gradients  {found.target.shape[0]:,} rows",
            f"  core knowledge    {len(found.core.components)} components",
            f"  budget            {found.budget:,} rows",
        ]
    )


def show_dry_run(forecast: "Forecast") -> None:
    """Say what a run would do."""
    shortened = f", {forecast.num_pool_truncated:,} too long" if forecast.num_pool_truncated else ""
    _print(
        [
            "This is what would be done; nothing was written.",
            f"  pool       {forecast.num_pool_rows:,} rows, {forecast.num_pool_tokens:,} tokens,"
            f" {forecast.num_pool_duplicates:,} duplicates{shortened}",
            f"  target     {forecast.num_target_rows:,} rows",
            f"  budget     {forecast.budget:,} rows",
            f"  store      {'exists: what it holds is used again' if forecast.store_exists else 'new'}",
            f"  warm-up    {forecast.num_warmup_rows:,} rows (skipped if the store has one)",
            f"  gradients  {forecast.num_coordinates:,} adapter coordinates to {forecast.dim:,}; if none is stored yet,"
            f" {forecast.gradient_bytes / 2**30:.2f} GiB on disk, {forecast.flops:.1e} floating-point operations"
            f" (4 · {forecast.num_parameters:,} parameters · tokens)",
        ]
    )


def _print(lines: list[str]) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
