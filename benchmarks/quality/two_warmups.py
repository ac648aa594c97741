"""Is what two warm-ups agree on better? SmolLM2, the default over the joined gradients of real.py's seeds 0 and 1.

    python benchmarks/quality/two_warmups.py --work DIR [--targets pubmedqa,gsm8k] [--forms momentum-free,less]

DIR is that of real.py, whose stores of both seeds are selected from (`real.py --work DIR rows` makes them). The unit
rows of both stand side by side, so a cosine is the mean of two: of adapters trained from other starts on other rows,
and of two projections. `design` takes 80 of 8,000 rows by them; the model is tuned on these and tested as in real.py.
Five minutes a target on one core. Writes into benchmarks/results/two_warmups.json, beside what is there of other
targets: losses (nats an answer token) minus those of real.py's cells with each seed alone, with 95 % intervals over
test examples.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import g2is
from common import smollm2
from common.choosing import chosen
from common.measure import Figure, keep, result_path
from common.places import target_file
from g2is.api.settings import SelectionSettings
from g2is.cli.session import quiet_libraries
from g2is.selection.similarity import UnitRows
from g2is.store.files import read_json

NAME = "two_warmups"
SEEDS = (0, 1)
OF_FORM = {"momentum-free": "design", "less": "design-less"}  # the method of real.py's cells


def joined(work: Path, target: str, form: Any) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows of the pool (N, 2k) float16, and of the target (M, 2k), of both stores."""
    found, selection = [], SelectionSettings(form=form)
    for seed in SEEDS:
        rows = g2is.extract_gradients(
            pool=smollm2.draw(work)[0],
            target={target: target_file(target, "dev")},
            model=smollm2.model(work),
            out=work / f"two_warmups/gradients-{target}-{form}-{seed}",
            store=work / f"choosing/store/seed-{seed}",
            **smollm2.selecting_with_seed(seed),
            selection=selection,
        )
        found.append((rows.pool, rows.target))
    pool, of_target = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    return pool, of_target


def measured(work: Path, target: str, form: str) -> list[Figure]:
    """The loss after tuning on what both agree on, minus that of each seed alone."""
    out = work / f"two_warmups/{target}-{form}"
    pool, of_target = joined(work, target, form)
    rows = np.sort(chosen(UnitRows(pool), of_target, "design", smollm2.NUM_ROWS // 100))
    lines = smollm2.drawn()[0]
    data = smollm2.write_lines(out / "rows.jsonl", [lines[row] for row in rows])
    together, figures = smollm2.tested_after(work, out, data, [target])[target], []
    for cell in smollm2.kept_cells(OF_FORM[form], target):
        assert cell.rows is not None
        common = len({*map(int, cell.rows)} & {*rows.tolist()})
        what = f"{OF_FORM[form]} on {target}: two warm-ups − seed {cell.key.seed} alone"
        note = f"{common} of {len(rows)} rows in common"
        figures.append(smollm2.difference(what, together, smollm2.losses_of(cell), target, note))
    return figures


def without_verdict(figure: dict[str, Any]) -> dict[str, Any]:
    """What a figure was made of, of what is kept of it."""
    return {name: value for name, value in figure.items() if name != "met"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--targets", default="pubmedqa,gsm8k")
    parser.add_argument("--forms", default="momentum-free,less")
    given = parser.parse_args()
    quiet_libraries()
    place = result_path(NAME, False)
    found = [Figure(**kept) for kept in map(without_verdict, read_json(place)["figures"])] if place.exists() else []
    for form in given.forms.split(","):
        for target in given.targets.split(","):
            anew = measured(given.work, target, form)
            whats = {figure.what for figure in anew}
            found = [figure for figure in found if figure.what not in whats] + anew
            keep(NAME, False, "quality/two_warmups.py", found, {"num_rows": smollm2.NUM_ROWS, "budget": "1%"})


if __name__ == "__main__":
    main()
