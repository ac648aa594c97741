"""The table of `make faults`: a line for each kind of fault, with how often it came out how."""

from collections.abc import Mapping, Sequence
from typing import Any

# What may come out. Everything else that was counted must not.
FINE = (
    *("tried", "seen by verify", "refused", "same", "same result", "same bytes", "repaired", "repair refused"),
    *("read", "selected", "stopped", "finished"),
)
_WORDS = ("what", "note")


def bad_outcomes(row: Mapping[str, Any]) -> dict[str, int]:
    """What a row counts that must not be."""
    return {name: of for name, of in row.items() if name not in (*FINE, *_WORDS) and isinstance(of, int) and of}


def merged(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each `what`: the counts of parts that tried the same added, their notes one after the other."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        so_far = found.setdefault(row["what"], {"what": row["what"]})
        for name, of in row.items():
            if isinstance(of, int):
                so_far[name] = so_far.get(name, 0) + of
            elif name == "note" and of:
                so_far["note"] = "\n".join(note for note in (so_far.get("note"), of) if note)
    return list(found.values())


def as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as Markdown, in their order; what must not be stands in a column of its own."""
    lines = ["| what | tried | came out | must not be |", "|---|---:|---|---|"]
    for row in rows:
        fine = ", ".join(f"{row[name]:,} {name}" for name in FINE[1:] if row.get(name))
        bad = ", ".join(f"**{of:,} {name}**" for name, of in bad_outcomes(row).items()) or "0"
        lines.append(f"| {row['what']} | {row['tried']:,} | {fine or row.get('note', '')} | {bad} |")
    return "\n".join(lines)
