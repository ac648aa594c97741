"""What a report tells of a run beside its rows: settings, counts, what was left out, times."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from g2is.config import Config
from g2is.config.commands import run_again
from g2is.examples.dataset import Examples
from g2is.examples.filter import EXCLUDED
from g2is.jobs.report_rows import Looked
from g2is.jobs.run_folder import PICKS, SET_ASIDE, SUMMARY, WALK
from g2is.jobs.work_folder import BAD_ROWS
from g2is.machine.environment import environment
from g2is.methods import GRADIENT, CopySettings, described, selector_kind
from g2is.outputs.tables import SELECTION, stored_metadata
from g2is.report.misses import Rules
from g2is.report.selection import About, Beside
from g2is.selection.rules import passes_over_opposed
from g2is.store.files import read_json

_MOST_LISTED = 1_000  # rows left out that are listed, of each kind


def about_run(
    config: Config,
    run: Path,
    examples: Examples,
    looked: Looked | None,
    places: np.ndarray,
    notes: Sequence[str],
    beside: Beside | None = None,
) -> About:
    """Settings, counts and times of the run in the folder `run`; `places` (P,) are the rows that are shown,
    `beside` what the comparison says that the run belongs to.
    """
    record_file = next((run / name for name in (WALK, PICKS) if (run / name).exists()), None)
    record = {} if record_file is None else read_json(record_file)
    summary = read_json(run / SUMMARY) if (run / SUMMARY).exists() else {}
    num_selected = record.get("num_selected", 0)
    settings = config.selection
    walks = selector_kind(settings.selector).select_jointly is not None
    rules = Rules(
        copy=settings.part(CopySettings).duplicate_threshold,
        takes_opposed=not passes_over_opposed(settings),
        full_quotas=tuple(record.get("full_quotas") or ()),
        ran_out=[at for at, name in enumerate(examples.targets) if f"target {name!r}: " in str(record.get("ran_out"))],
    )
    return About(
        title=f"{num_selected:,} of {len(examples.pool):,} rows selected",
        subtitle=f"{config.selection.method} for {', '.join(config.targets)}, in {run.resolve().name}",
        facts=list(_facts(config, record, summary)),
        notes=notes,
        command=run_again(run),
        selector=settings.selector,
        record={key: value for key, value in record.items() if key != "digest"},
        summary=summary,
        left_out=_left_out(run),
        environment=environment(),
        rules=rules,
        conflict=None if looked is None else looked.noise,
        made_of=stored_metadata(run / SELECTION).get("digest", ""),
        usable=None if looked is None else looked.usable[places],
        walks=walks,
        beside=beside,
    )


def _facts(config: Config, record: Mapping[str, Any], summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    settings = config.selection
    yield "pool", ", ".join(config.pool)
    for name, files in config.targets.items():
        num = summary.get("targets", {}).get(name, {}).get("rows")
        yield (
            ("target" if len(config.targets) == 1 else f"target {name}"),
            ", ".join(files) + (f" ({num:,} examples)" if num is not None else ""),
        )
    yield "method", f"{settings.method}: {settings.representation} × {settings.selector}"
    yield "that is", described(settings.method, settings.selector, settings.representation)[0]
    if settings.representation == GRADIENT and settings.precondition is not None:
        damping, mix = settings.precondition_damping, settings.precondition_mix
        yield "preconditioned", f"by the {settings.precondition}'s second moment, damping {damping}, mix {mix}"
    yield "model", config.model.name
    unit = record.get("unit", "rows")
    if record:
        yield "budget", f"{settings.budget}: {record['budget']:,} {unit}, of which {record['spent']:,} are spent"
    if settings.exclude_overlap:
        yield "overlap with", ", ".join(settings.exclude_overlap)


def _left_out(run: Path) -> dict[str, dict[str, Any]]:
    """Rows that were not there to choose from, by kind: how many, and the first of them with the reason."""
    found = {}
    for kind, name, reason in (
        ("excluded", EXCLUDED, "reason"),
        ("set aside", SET_ASIDE, "reason"),
        ("unreadable", BAD_ROWS, "problem"),
    ):
        if (run / name).exists():
            with (run / name).open(encoding="utf-8") as lines:
                listed = [json.loads(line) for line in islice(lines, _MOST_LISTED)]
                count = len(listed) + sum(1 for _ in lines)
            rows = [
                {"row": of.get("row", of.get("line")), "id": of.get("id"), "reason": of.get(reason)} for of in listed
            ]
            found[kind] = {"count": count, "listed": rows}
    return found
