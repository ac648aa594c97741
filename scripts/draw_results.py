"""Draw docs/images/results.svg from the committed figures: python scripts/draw_results.py"""

import csv
import math
from pathlib import Path

from svg import framed, text

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "benchmarks/results/quality/comparison.csv"
PLACE = ROOT / "docs/images/results.svg"
COLOURS = {"gsm8k": "#c2410c", "simplification_asset": "#0e7490", "code_gpteacher": "#7e22ce", "pubmedqa": "#4d7c0f"}
TICKS, RANGE = (0.3, 0.5, 0.7, 1, 1.4, 2), (0.3, 2.25)
_LEFT, _WIDTH, _GAP, _TOP, _LINE = 130, 380, 60, 92, 24

Row = dict[str, str]


def picture(rows: list[Row]) -> str:
    """The picture as SVG: a line a method, at 1 % and at 5 %; less is better."""
    panels = [panel(rows, budget, number) for number, budget in enumerate(("1%", "5%"))]
    height = _TOP + _LINE * max(num for _, num in panels) + 40
    width = 2 * (_LEFT + _WIDTH) + _GAP
    keys = [
        f'<circle cx="{10 + 170 * i}" cy="42" r="4" fill="{colour}"/>{text(20 + 170 * i, 46, name)}'
        for i, (name, colour) in enumerate(COLOURS.items())
    ]
    keys += [
        '<path d="M690 42h20" stroke="#111" stroke-width="2"/>' + text(716, 46, "their mean, and its 95 % interval")
    ]
    title = "Test loss over that of random rows (less is better), after tuning on a selection of 37,026 instructions"
    drawn = [text(0, 18, title, 'font-weight="bold" font-size="15"'), *keys, *(of for of, _ in panels)]
    return framed(width, height, title, drawn)


def panel(rows: list[Row], budget: str, number: int) -> tuple[str, int]:
    """One budget's lines, best mean first, and how many."""
    means = [row for row in rows if row["kind"] == "mean over targets" and row["budget"] == budget and row["relative"]]
    means.sort(key=lambda row: float(row["relative"]))
    left = number * (_LEFT + _WIDTH + _GAP) + _LEFT

    def x(value: str | float) -> float:
        low, high = map(math.log, RANGE)
        return round(left + _WIDTH * (math.log(float(value)) - low) / (high - low), 1)

    bottom = _TOP + _LINE * len(means)
    drawn = [text(left - _LEFT, _TOP - 16, f"{budget.removesuffix('%')} % selected", 'font-weight="bold"')]
    for tick in TICKS:
        colour = "#555" if tick == 1 else "#ddd"
        drawn += [f'<path d="M{x(tick)} {_TOP - 8}V{bottom}" stroke="{colour}"/>']
        drawn += [text(x(tick), bottom + 18, f"{tick:g}", 'text-anchor="middle" fill="#555"')]
    for place, mean in enumerate(means):
        y = _TOP + _LINE * place + 8
        drawn += [text(left - 10, y + 4, mean["method"], 'text-anchor="end"')]
        for name, colour in COLOURS.items():
            (of,) = (
                row
                for row in rows
                if (row["kind"], row["budget"], row["method"], row["target"])
                == ("mean over seeds", budget, mean["method"], name)
            )
            drawn += [f'<circle cx="{x(of["relative"])}" cy="{y}" r="4" fill="{colour}" fill-opacity=".75"/>']
        low, middle, high = (x(mean[key]) for key in ("relative_low", "relative", "relative_high"))
        drawn += [f'<path d="M{low} {y}H{high}M{middle} {y - 8}v16" stroke="#111" stroke-width="2"/>']
    return "\n".join(drawn), len(means)


def figures() -> list[Row]:
    """The lines of the committed comparison."""
    with FIGURES.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


if __name__ == "__main__":
    PLACE.write_text(picture(figures()), encoding="utf-8")
