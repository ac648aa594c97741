"""Write the tables of docs/results.md and docs/results_by_target.md: python scripts/write_results.py

They are of the kept cells, and those that `benchmarks/quality/real.py --table` prints, and its like. In results.md a
table stands between `<!-- leaderboard: NAME -->` and `<!-- end -->`, with NAME a grid of this file.
"""

import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from common.kept_grid import KeptGrid  # noqa: E402
from common.smollm2 import MODEL  # noqa: E402
from quality import field, grid, real  # noqa: E402

RESULTS, BY_TARGET = ROOT / "docs/results.md", ROOT / "docs/results_by_target.md"
GRIDS: dict[str, tuple[str, KeptGrid]] = {
    "real": ("SmolLM2-135M", real.kept_grid(MODEL, is_held_back=False)),
    "held_back": ("SmolLM2-135M, the two targets that were kept back", real.kept_grid(MODEL, is_held_back=True)),
    "carried_over": (
        "Qwen2.5-Coder-0.5B, tuned on what SmolLM2 chose",
        real.kept_grid(real.LARGER, is_held_back=False),
    ),
    "base6m": ("base6m", grid.KEPT),
    "field": ("base6m: the methods that came later, and candidates for the default", field.KEPT),
}
HEAD = """# Results, target by target

How does each method do on one target? Below: test loss (nats an answer token), the same minus that after random rows,
the [metric](evaluation.md) of the answers where they were written out, and R, the share of the whole pool's gain over
random rows. Above 1 a selection is better than the whole pool; it is empty where the whole pool was not trained on, or
is not clearly better than random rows. In brackets 95 % intervals: a paired bootstrap over test examples, which does
not cover the chance of a seed. **k tokens** are thousands of tokens of the rows, **choose, s** the seconds of choosing
them.

The best first, by the loss over that of random rows with the same seeds. Losses of methods with other seeds are not to
be compared: on pubmedqa most are higher with the second seed, by up to 0.23. What to conclude stands in
[results](results.md).

Made by `scripts/write_results.py` from the cells in `benchmarks/results/`.
"""


def filled(page: str) -> str:
    """results.md with its tables as they are now. Raises KeyError for a grid that there is not."""

    def table(found: re.Match[str]) -> str:
        lines = "\n".join(GRIDS[found[2]][1].leaderboard())
        return f"{found[1]}\n{lines}\n{found[3]}"

    return re.sub(r"(<!-- leaderboard: (\w+) -->)\n.*?(<!-- end -->)", table, page, flags=re.DOTALL)


def by_target() -> str:
    """The whole page of tables a target."""
    made = {title: of for title, of in GRIDS.values() if (of.folder / "comparison.json").exists()}
    parts = [HEAD]
    for title, of in made.items():
        parts += [f"## {title}", *textwrap.wrap(f"{of.remark}.", 120), "", *of.by_target(), ""]
    return "\n".join(parts)


if __name__ == "__main__":
    RESULTS.write_text(filled(RESULTS.read_text(encoding="utf-8")), encoding="utf-8")
    BY_TARGET.write_text(by_target(), encoding="utf-8")
