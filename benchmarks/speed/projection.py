"""How well and how fast each projection keeps the cosines of real per-example gradients.

    python benchmarks/speed/projection.py [--small] [--shared]

Compares our sparse sign sketch, a sketch with an independent hash for every coordinate (textbook SJLT, s = 1) and
dense Rademacher, on Γ `less` and `momentum-free` of real rows. Prints the mean
absolute cosine error over all pairs, the overlap of each row's 10 nearest rows, and seconds; writes them to
benchmarks/results/projection-NAME.json.
"""

import json
import time

import numpy as np
import torch

from common.places import RESULTS
from common.sample import load, parser
from g2is.config import ProjectionConfig
from g2is.gradients.gamma import gamma
from g2is.gradients.per_example import per_example_gradients
from g2is.gradients.pieces import Piece
from g2is.gradients.projection import Projection
from g2is.machine.environment import environment
from g2is.model.batches import pad_batch, plan_batches

SEEDS = 3


def neighbours(cosines: torch.Tensor) -> list[set[int]]:
    return [set(row.tolist()) for row in (cosines - 2 * torch.eye(len(cosines))).topk(10).indices]


def main() -> None:
    arguments = parser(__doc__, "fewer rows: under a minute").parse_args()
    dim = 2048 if arguments.small else 4096
    model, rows, moments = load(arguments.shared, 16, 64 if arguments.small else 256)
    forms: dict[str, object] = {}
    result = {"dim": dim, "rows": len(rows), "seeds": SEEDS, "machine": environment(), "forms": forms}
    raw: dict[str, torch.Tensor] = {}

    def keep(name: str, gradient: torch.Tensor, _: Piece) -> None:
        raw.setdefault(name, torch.zeros(len(rows), gradient.shape[1]))[chosen] = gradient

    for chosen in plan_batches(np.array([len(ids) for ids, _ in rows]), 4096):
        per_example_gradients(model, pad_batch([rows[i] for i in chosen]), keep)
    for form in ("less", "momentum-free"):
        adjusted = {name: gamma(form, gradient, name, moments) for name, gradient in raw.items()}
        flat = torch.cat([adjusted[name] for name in sorted(adjusted)], 1)
        exact = torch.nn.functional.normalize(flat.double()) @ torch.nn.functional.normalize(flat.double()).T
        nearest = neighbours(exact)
        table = {}
        for kind in ("sparse", "independent", "rademacher"):
            errors, overlaps, times = [], [], []
            for seed in range(SEEDS if kind != "rademacher" else 1):
                rows_k = torch.zeros(len(rows), dim)
                if kind == "independent":
                    rng = np.random.default_rng(seed)
                    place = torch.from_numpy(rng.integers(0, dim, flat.shape[1]))
                    sign = torch.from_numpy(rng.choice([-1.0, 1.0], flat.shape[1])).float()
                    begin = time.perf_counter()
                    rows_k.index_add_(1, place, flat * sign)
                else:
                    sizes = {name: gradient.shape[1] for name, gradient in adjusted.items()}
                    projection = Projection(ProjectionConfig(kind=kind, dim=dim, seed=seed), sizes)
                    copies = {name: gradient.clone() for name, gradient in adjusted.items()}
                    begin = time.perf_counter()
                    for name, gradient in copies.items():
                        projection.add_(rows_k, name, gradient)
                times.append(time.perf_counter() - begin)
                unit = torch.nn.functional.normalize(rows_k.double())
                cosines = unit @ unit.T
                errors.append((cosines - exact).abs()[~torch.eye(len(rows), dtype=torch.bool)].mean().item())
                found = neighbours(cosines)
                overlaps.append(np.mean([len(a & b) / 10 for a, b in zip(found, nearest, strict=True)]))
            table[kind] = {
                "cosine_error": round(float(np.mean(errors)), 5),
                "top10_overlap": round(float(np.mean(overlaps)), 3),
                "seconds": round(float(np.median(times)), 4),
            }
            print(f"{form:14} {kind:12} {table[kind]}")
        forms[form] = table
    result["coordinates"] = flat.shape[1]
    name = "shared" if arguments.shared else "sample"
    (RESULTS / f"projection-{name}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
