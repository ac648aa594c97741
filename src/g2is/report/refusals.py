"""Which rules kept how many rows of the pool out, a line for each that did."""

from collections.abc import Mapping
from typing import Any

from g2is.report.relations import Relations


def refusals(
    record: Mapping[str, Any],
    left_out: Mapping[str, Mapping[str, Any]],
    relations: Relations | None,
    takes_opposed: bool,
    is_whole: bool,
) -> list[dict[str, Any]]:
    """Rule, number of rows (None: not counted) and what it means. `is_whole`: `relations` are of all rows."""
    found: list[dict[str, Any]] = []

    def add(rule: str, rows: int | None, told: str) -> None:
        if rows is None or rows:
            found.append({"rule": rule, "rows": rows, "told": told})

    def count(kind: str) -> int:
        return int(left_out.get(kind, {}).get("count", 0))

    add("unreadable", count("unreadable"), "rows of the files that could not be used (bad_rows.jsonl)")
    add("excluded", count("excluded"), "left out by name, or for words shared with a test set")
    add("set aside", count("set aside"), "without anything to compare by (set_aside.jsonl)")
    if relations is not None and not takes_opposed:
        opposed = int(relations.opposed.all(1).sum())
        of = "" if is_whole else "; counted among the rows shown"
        add("opposed", opposed, f"they oppose every example of every target{of}")
    add("near-copy", record.get("num_duplicates") or 0, "near-copies of rows taken, as far as the choice came to them")
    for source in record.get("full_quotas") or ():
        add(f"quota of {source}", None, "the source was full; its other rows were closed")
    fraction = record.get("conflict_refused_fraction")
    if fraction:
        add("conflict", None, f"{fraction:.1%} of the rows that a step could take conflicted with rows taken")
    for silent in record.get("unanswered") or ():
        add("unanswered", None, f"{silent}: nothing is taken for what no row agrees with")
    for told in record.get("handed_on") or ():
        add("handed on", None, told)
    if record.get("ran_out"):
        add("ran out", None, str(record["ran_out"]))
    return found
