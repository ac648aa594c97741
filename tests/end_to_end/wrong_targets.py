"""The error catalogue: targets, shares, quotas, and rows to include or leave out."""

import json
from collections.abc import Callable

from wrong_input import Case, Place, case, flags


def several(*given: object) -> Callable[[Place], list[object]]:
    """A `select` for the targets a and b with these flags."""

    def command(place: Place) -> list[object]:
        a, b = place.rows("a.jsonl", *_answers("a", 2)), place.rows("b.jsonl", *_answers("b", 2))
        return ["select", place.pool, "--target", f"a={a}", "--target", f"b={b}", *place.select(*given)[3:]]

    return command


def _answers(name: str, num: int) -> list[dict[str, str]]:
    return [{"prompt": f"{name} {n}", "completion": "yes"} for n in range(num)]


def ids(flag: str, content: str | bytes) -> Callable[[Place], list[object]]:
    return lambda place: place.select(flag, place.text("ids.txt", content))


def _both_lists(place: Place) -> list[object]:
    first = json.loads(place.pool.read_text().splitlines()[0])["id"]
    return place.select("--include", place.text("in.txt", first), "--exclude", place.text("out.txt", first))


def _all_left_out(place: Place) -> list[object]:
    all_ids = [json.loads(line)["id"] for line in place.pool.read_text().splitlines()]
    return place.select("--exclude", place.text("ids.txt", "\n".join(all_ids)))


def _more_than_paid_for(place: Place) -> list[object]:
    all_ids = [json.loads(line)["id"] for line in place.pool.read_text().splitlines()]
    return place.select("--include", place.text("ids.txt", "\n".join(all_ids[:4])), "--budget", "3")


def _included_overlaps(place: Place) -> list[object]:
    first = json.loads(place.pool.read_text().splitlines()[0])
    test = place.rows("test.jsonl", {"messages": first["messages"]})
    return place.select("--include", place.text("ids.txt", first["id"]), "--exclude-overlap", test)


def _one_file_for_two(place: Place) -> list[object]:
    both = ["--target", f"a={place.target}", "--target", f"b={place.target}"]
    return ["select", place.pool, *place.select(*both)[3:]]


TARGETS: dict[str, Case] = {
    "a target without a file": case(
        lambda place: ["select", place.pool, *place.select("--target", "a=")[3:]],
        "--target a=: expected a file after the =, found nothing",
    ),
    "a target that is not there": case(
        lambda place: ["select", place.pool, *place.select("--target", "a=none.jsonl")[3:]],
        "none.jsonl: expected a file, found none",
    ),
    "the same target twice": case(
        _one_file_for_two,
        "target b: expected other examples than those of target a, found the same content; name each file once",
    ),
    "share of no target": case(
        several("--share", "a=1", "--share", "bb=2"),
        "selection.shares: no target is called 'bb'; did you mean 'b'?",
    ),
    "a target without a share": case(
        several("--share", "a=1"),
        "selection.shares: expected a share for each target, found none for b",
    ),
    "malformed --share": case(several("--share", "a"), "--share: expected --share math=2, found 'a'"),
    "--share of no number": case(
        several("--share", "a=much", "--share", "b=1"),
        "--share a=much: expected a number such as 2 or 0.5, found 'much'",
    ),
    "a negative share": case(
        several("--share", "a=-1", "--share", "b=1"),
        "selection.shares: expected positive numbers, found a = -1",
    ),
    "a share twice": case(
        several("--share", "a=1", "--share", "a=2"),
        "--share: expected each name once, found 'a' twice: 1 and 2",
    ),
    "quota of no source": case(
        flags("--quota", "web=50%"),
        "quota of 'web': no row of the pool has this source; the sources are ",
    ),
    "malformed quota": case(flags("--quota", "web"), "--quota: expected --quota web=50%, found 'web'"),
    "a list to include that is not there": case(
        lambda place: place.select("--include", place.here / "none.txt"),
        "none.txt: expected a list of ids, one a line, found no such file; check the path",
    ),
    "an empty list to exclude": case(
        ids("--exclude", "\n"),
        "ids.txt: expected a list of ids, one a line, found none; leave the list out or fill it",
    ),
    "unknown ids": case(
        ids("--exclude", "zzz\n"),
        "found 1 that no row has (the pool's first is ", "ids.txt:1: zzz", "Correct them or take them off the list.",
    ),
    "ids of no UTF-8": case(
        ids("--include", b"\xff\xfe"),
        "ids.txt: expected a list of ids in UTF-8, found byte 0xff at byte 1; save it as UTF-8",
    ),
    "an id to include and to exclude": case(
        _both_lists,
        "expected ids either to include or to exclude, found in both lists", "in.txt:1", "out.txt:1",
    ),
    "nothing left of the pool": case(
        _all_left_out,
        "expected at least one row of the pool to stay, found all 150 left out; exclude fewer",
    ),
    "more to include than the budget pays": case(
        _more_than_paid_for,
        "budget: expected at least the 4 rows of the 4 rows to include, found 3 = 3 rows",
        "ask for more, or include fewer",
    ),
    "a test set that is not there": case(
        lambda place: place.select("--exclude-overlap", place.here / "test.jsonl"),
        "test.jsonl: expected a file, found none",
    ),
    "a row to include that is in the test set": case(
        _included_overlaps,
        "expected rows to include that do not overlap with the test set", "ids.txt:1", "do without --exclude-overlap",
    ),
}  # fmt: skip
