"""What a selection for answers of one word is worth beside knowing how often each answer is given: pubmedqa, SmolLM2.

    python benchmarks/quality/one_word.py

Reads the cells that real.py kept (benchmarks/results/real) and ../shared/data; trains nothing. For each method, the
mean over seeds at 1 %: nats an answer (its word and the end of the turn) by which answer is right, beside that of
someone who reads no question and says each answer as often as the 64 given examples do; and how many of the rows begin
their answer with one of these words.
"""

import json
import re
from collections import Counter

import numpy as np

from common.cells import CELLS, read_cells
from common.places import RESULTS, target_file
from common.smollm2 import NUM_TESTED, drawn, lines_of

TARGET = "pubmedqa"


def answers(part: str) -> list[str]:
    """The right answers of a part of the target, in order."""
    rows = [json.loads(line) for line in lines_of(target_file(TARGET, part))]
    return [row["messages"][-1]["content"].strip().lower() for row in rows]


def by_shares(given: list[str], tested: list[str]) -> np.ndarray:
    """Nats of each tested answer, said as often as among those given and one more of each kind: none is impossible."""
    counts, kinds = Counter(given), sorted(set(given) | set(tested))
    return np.array([-np.log((counts[answer] + 1) / (len(given) + len(kinds))) for answer in tested])


def begins(line: str, kinds: list[str]) -> bool:
    """Whether the last message of a row begins with one of the words `kinds`."""
    words = re.findall(r"\w+", json.loads(line)["messages"][-1]["content"].lower())
    return bool(words) and words[0] in kinds


def main() -> None:
    given, tested = answers("dev"), answers("test")[:NUM_TESTED]
    kinds = [kind for kind, _ in Counter(tested).most_common()]
    found: dict[str, list[np.ndarray]] = {}
    says = np.array([begins(line, kinds) for line in drawn()[0]])
    num_saying: dict[str, list[int]] = {}
    for cell in read_cells(RESULTS / "real" / CELLS):
        if cell.target == TARGET and cell.budget in ("1%", None):
            found.setdefault(cell.method, []).append(cell.losses * cell.num_learned)
            if cell.rows is not None:
                num_saying.setdefault(cell.method, []).append(int(says[cell.rows].sum()))
    lines = {method: np.mean(of, axis=0) for method, of in found.items()}
    lines["no question read"] = by_shares(given, tested)
    titles = ("pubmedqa, 1%", "nats an answer", *kinds, "rows that begin so")
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    right = np.array(tested)
    for method, nats in sorted(lines.items(), key=lambda of: float(of[1].mean())):
        parts = [nats.mean(), *(nats[right == kind].mean() for kind in kinds)]
        num = f"{np.mean(num_saying[method]):.0f}" if method in num_saying else ""
        print(f"| {method} | {' | '.join(f'{value:.2f}' for value in parts)} | {num} |")


if __name__ == "__main__":
    main()
