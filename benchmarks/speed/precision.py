"""What each choice of precision costs in exactness: cosines of rows, and of pairs of rows, against float32's.

    python benchmarks/speed/precision.py [--small] [--shared]

Choices: the frozen weights in bfloat16 or float16 (gradients, Γ, norms and sketch are float32 always), rows stored as
float16 where they could be float32. Prints, and writes benchmarks/results/precision-NAME.json: the lowest and the mean
cosine of a row with its float32 self, and the mean absolute error of the cosines of all pairs, beside what the sketch
to k = 8192 itself errs by; and seconds.
"""

import json
import time
from unittest.mock import patch

import numpy as np
import torch

from common.measure import BATCH_TOKENS
from common.places import RESULTS
from common.sample import load, make_extractor, parser
from g2is.config import GammaForm, ProjectionConfig
from g2is.machine.environment import environment
from g2is.store.rows import UnitVectors, unit_rows

FORMS: tuple[GammaForm, ...] = ("momentum-free", "less")


def rows_of(
    shared: bool, num_rows: int, dtype: torch.dtype, kind: str, unstored: dict[str, np.ndarray] | None = None
) -> tuple[dict[str, np.ndarray], float]:
    """Unit rows by Γ form, as stored, and the seconds that they took; `unstored` takes them as they were in float32."""
    model, rows, moments = load(shared, 16, num_rows)
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    extractor = make_extractor(model, moments, BATCH_TOKENS, ProjectionConfig(kind=kind))
    extractor.extract(rows[:4], np.zeros((4, 16), np.uint8), FORMS)
    seen: list[np.ndarray] = []

    def look(vectors: np.ndarray) -> UnitVectors:
        seen.append(vectors)
        return unit_rows(vectors)

    begin = time.perf_counter()
    with patch("g2is.gradients.extract.unit_rows", look):
        arrays = extractor.extract(rows, np.zeros((len(rows), 16), np.uint8), FORMS).arrays
    taken = time.perf_counter() - begin
    if unstored is not None:
        unstored.update(zip(FORMS, seen, strict=True))
    return {form: arrays[f"c/{form}/rows"] for form in FORMS}, taken


def pair_error(units: np.ndarray, exact_units: np.ndarray) -> float:
    """Mean absolute difference of the cosines of all pairs of rows, (R, k) and (R, any)."""
    differences = np.abs(units @ units.T - exact_units @ exact_units.T)
    return round(float(differences[~np.eye(len(units), dtype=bool)].mean()), 7)


def errors(rows: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    """How rows (R, k) differ from the exact ones."""
    units, exact_units = (of / np.linalg.norm(of, axis=1, keepdims=True) for of in map(np.float64, (rows, exact)))
    cosines = np.einsum("rk,rk->r", units, exact_units)
    return {
        "lowest_cosine": round(float(cosines.min()), 7),
        "mean_cosine": round(float(cosines.mean()), 7),
        "pair_error": pair_error(units, exact_units),
    }


def main() -> None:
    given = parser(__doc__, "fewer rows: under a minute").parse_args()
    num_rows = 48 if given.small else 192
    unstored: dict[str, np.ndarray] = {}
    exact, seconds = rows_of(given.shared, num_rows, torch.float32, "sparse", unstored)
    table: dict[str, object] = {"float32": {"seconds": round(seconds, 2)}}
    storing = {form: errors(exact[form], unstored[form]) for form in FORMS}
    for name, dtype in (("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        rows, taken = rows_of(given.shared, num_rows, dtype, "sparse")
        of_forms: dict[str, object] = {form: errors(rows[form], exact[form]) for form in FORMS}
        table[name] = {"seconds": round(taken, 2), **of_forms}
    whole, _ = rows_of(given.shared, num_rows, torch.float32, "none")
    sketch: dict[str, object] = {
        form: {"pair_error": pair_error(exact[form].astype(np.float64), whole[form].astype(np.float64))}
        for form in FORMS
    }
    result = {
        "rows": num_rows,
        "weights": table,
        "stored as float16": storing,
        "sketch to 8192": sketch,
        "machine": environment(),
    }
    name = "shared" if given.shared else "sample"
    (RESULTS / f"precision-{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    for title, found in (*table.items(), ("stored as float16", storing), ("sketch to 8192", sketch)):
        print(f"{title:16} {found}")


if __name__ == "__main__":
    main()
