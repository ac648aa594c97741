"""Fuzzing of everything that reads a stranger's file: a result or a G2isError, or it is a finding.

    PYTHONPATH=src:benchmarks python -m faults.fuzz SECONDS [SEED]

Hypothesis makes the inputs: files that are right, with bytes and parts changed, and shrinks what it finds.
"""

import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from faults.fuzz_targets import TARGETS
from g2is.errors import G2isError

SLOW = 30.0  # seconds of a processor after which an input is a finding though it ends
_PARTS = [
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"\n", b"\r", b"\0", b"\xff", b"\\ud800", b"null", b"NaN", b"-1"),
    *(b"1e999", b"9" * 5000, b"[" * 3000, b"{%", b"%}", b"{{", b"}}", b"../", b"*a", b"&a ", b"<<: ", b"? ", b"!!int "),
    *(
        b"true",
        b'{"messages":1}',
        b'"role"',
        b'"content"',
        b" * 10**9",
        b"|center(10**9)",
        b"namespace(x=1)",
        b"'",
        b"~",
    ),
]


def _changes(corpus: list[bytes]) -> st.SearchStrategy[bytes]:
    place = st.floats(0, 1, exclude_max=True)
    change = st.one_of(
        st.tuples(st.just("put"), place, st.sampled_from(_PARTS)),
        st.tuples(st.just("put"), place, st.binary(max_size=8)),
        st.tuples(st.just("over"), place, st.binary(min_size=1, max_size=4)),
        st.tuples(st.just("over"), place, st.sampled_from(_PARTS)),
        st.tuples(st.just("cut"), place, place),
        st.tuples(st.just("twice"), place, place),
        st.tuples(st.just("end"), place, place),
    )
    return st.tuples(st.sampled_from(corpus), st.lists(change, max_size=3)).map(lambda made: _apply(*made))


def _apply(content: bytes, changes: list[tuple[str, float, Any]]) -> bytes:
    for kind, where, what in changes:
        at = int(where * (len(content) + 1))
        if kind == "put":
            content = content[:at] + what + content[at:]
        elif kind == "over":
            content = content[:at] + what + content[at + len(what) :]
        else:
            end = min(len(content), at + 1 + int(what * 64))
            middle = {"cut": b"", "twice": content[at:end] * 2, "end": b""}[kind]
            content = content[:at] + middle + (b"" if kind == "end" else content[end:])
    return content


def outcome(read: Callable[[Path, bytes], object], folder: Path, content: bytes) -> str:
    """What `read` makes of `content`: "read", "refused", or a finding: the error, and where it was raised."""
    begin = time.thread_time()
    try:
        read(folder, content)
        found = "read"
    except G2isError as error:
        found = "refused" if str(error).strip() else "a G2isError without a message"
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = next((of for of in reversed(frames) if "g2is" in of.filename), frames[-1])
        found = f"{type(error).__name__} in {Path(ours.filename).name}:{ours.name}: {str(error)[:100]}"
    if time.thread_time() - begin > SLOW:
        return f"takes more than {SLOW:.0f} seconds"
    return found


def run(budget_s: float, seed: int, targets: tuple[str, ...] = tuple(TARGETS)) -> list[dict[str, Any]]:
    """A row for each reader: inputs tried, read, refused, and its findings, each with the smallest input found."""
    rows = []
    for number, name in enumerate(targets):
        target, until = TARGETS[name], time.process_time() + budget_s / len(targets)
        counts: dict[str, int] = {"read": 0, "refused": 0}
        findings: dict[str, bytes] = {}
        with TemporaryDirectory() as folder:
            strategy, turn = _changes(target.corpus(Path(folder))), 0
            while not turn or time.process_time() < until:
                turn += 1
                _search(target.read, Path(folder), strategy, seed * 1000 + number * 100 + turn, until, counts, findings)
        rows.append(
            {
                "what": f"fuzzing: {name}",
                "tried": sum(counts.values()),
                "read": counts.pop("read"),
                "refused": counts.pop("refused"),
                "traceback": len(findings),
                "note": "; ".join(f"{what} <- {content[:200]!r}" for what, content in findings.items()),
            }
        )
    return rows


def _search(
    read: Callable[[Path, bytes], object],
    folder: Path,
    strategy: st.SearchStrategy[bytes],
    seed: int,
    until: float,
    counts: dict[str, int],
    findings: dict[str, bytes],
) -> None:
    """Try up to a hundred inputs; the first of a new kind of finding is made as small as it gets."""
    import random

    def is_new(content: bytes) -> bool:
        if time.process_time() > until and any(counts.values()):
            return False
        found = outcome(read, folder, content)
        counts[found] = counts.get(found, 0) + 1
        if found in ("read", "refused") or found.partition(":")[0] in {of.partition(":")[0] for of in findings}:
            return False
        smallest.append((len(content), content, found))
        return True

    smallest: list[tuple[int, bytes, str]] = []
    how = settings(
        max_examples=100,  # when time is over, the rest are made and not tried
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    try:
        find(strategy, is_new, settings=how, random=random.Random(seed))
    except NoSuchExample:
        return
    _, content, found = min(smallest)
    findings[found] = content


if __name__ == "__main__":
    for line in run(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0):
        print(json.dumps(line))
