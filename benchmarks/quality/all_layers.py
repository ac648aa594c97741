"""Do the gradients of all linear layers select better than those of an adapter: base6m, 10,000 rows, four targets.

    python benchmarks/quality/all_layers.py --work DIR [--seeds 2]

Each method selects 1 % (100 rows) from a store of either kind; the model is tuned on them with LoRA, alike for both,
and tested. Needs ../shared. An hour a seed on one core; given the same DIR again, it goes on from where it was. Writes
benchmarks/results/all_layers.json: test losses (nats an answer token), and the difference all layers − adapter with its
interval over test examples, on each target and on the mean of the targets relative to random rows.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import g2is
from common import base6m
from common.measure import Figure, keep
from common.places import BASE6M, target_file
from common.small_pool import FORMS, TARGETS, draw
from g2is.cli.session import quiet_libraries
from g2is.comparison.cells import summed
from g2is.comparison.statistics import estimate, mean_over_targets, resampled_ratios

METHODS = ("less", "design")
KINDS: dict[str, dict[str, Any]] = {  # full training takes a tenth of an adapter's learning rate
    "adapter": {"warmup": base6m.WARMUP, "parameters": "lora"},
    "all layers": {"warmup": {"learning_rate": 1e-4}, "parameters": "all"},
}
Losses = dict[tuple[str, str, int], tuple[np.ndarray, np.ndarray]]  # by what selected, target and seed


def selected(work: Path, kind: str, method: str, target: str, seed: int) -> Path:
    """The folder of the selection, made if it is not there."""
    out = work / "selections" / kind.replace(" ", "-") / method / target / f"seed-{seed}"
    of_kind = KINDS[kind]
    settings: dict[str, Any] = {
        "warmup": {**of_kind["warmup"], "seed": seed},
        "gradients": {"parameters": of_kind["parameters"], "forms": FORMS, "projection": {"dim": 4096}},
        "selection": {"seed": seed},
        "execution": {**base6m.EXECUTION, "report": False},
    }
    found = g2is.select(
        pool=draw(work),
        target=target_file(target, "dev"),
        model=BASE6M,
        out=out,
        store=work / "stores" / f"{of_kind['parameters']}-{seed}",
        method=method,
        **settings,
    )
    print(f"{kind}, {method}, {target}, seed {seed}: {len(found.ids)} rows", flush=True)
    return out


def tested(work: Path, of: Path, target: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Nats of each test example (T,) after tuning on the selection `of`, and its answer tokens (T,)."""
    place = work / "tuned" / of.relative_to(work / "selections")
    tuned = g2is.train(
        data=of,
        model=BASE6M,
        out=place,
        tuning={**base6m.TUNING, "seed": seed},
        execution=base6m.EXECUTION,
    )
    found = g2is.evaluate(
        model=BASE6M,
        out=place / "tested",
        test=target_file(target, "test"),
        adapter=tuned.adapter,
        evaluation={"generate": False},
        execution=base6m.EXECUTION,
    )
    return summed(found.losses, found.num_learned)


def losses_of(work: Path, seed: int) -> Losses:
    """Of each method and kind, and of random rows, on each target."""
    found: Losses = {}
    for kind in KINDS:
        for method in (*METHODS, *(("random",) if kind == "adapter" else ())):  # random rows look at no gradient
            for target in TARGETS:
                name = method if method == "random" else f"{method}, {kind}"
                found[name, target, seed] = tested(work, selected(work, kind, method, target, seed), target, seed)
    return found


def differences(losses: Losses, method: str, seeds: range) -> list[Figure]:
    """All layers − adapter: of each target in nats, and of the mean of the targets each over random's loss."""
    both, figures, relative = [f"{method}, {kind}" for kind in KINDS], [], []
    for target in TARGETS:
        columns = [losses[name, target, seed] for name in (*both, "random") for seed in seeds]
        nats, tokens = (np.stack(of, axis=1) for of in zip(*columns, strict=True))
        adapter, everything, random = resampled_ratios(nats, tokens, 0, target).reshape(-1, 3, len(seeds)).mean(2).T
        relative.append((everything - adapter) / random)
        found = estimate(everything - adapter)
        note = f"adapter {adapter[0]:.4f}, all layers {everything[0]:.4f}, random {random[0]:.4f} nats"
        figures.append(_figure(f"{method} on {target}: all layers − adapter", found, note))
    return [
        *figures,
        _figure(f"{method}: mean of the targets, over random's loss", estimate(mean_over_targets(relative))),
    ]


def _figure(what: str, found: Any, note: str = "") -> Figure:
    return Figure(what, round(found.value, 4), None, True, "", (round(found.low, 4), round(found.high, 4)), note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    quiet_libraries()
    seeds = range(given.seeds)
    losses: Losses = {}
    for seed in seeds:
        losses |= losses_of(given.work, seed)
    figures = [figure for method in METHODS for figure in differences(losses, method, seeds)]
    means = {
        f"{name} on {target}, seed {seed}": round(float(nats.sum() / tokens.sum()), 4)
        for (name, target, seed), (nats, tokens) in losses.items()
    }
    keep(
        "all_layers",
        False,
        "python benchmarks/quality/all_layers.py",
        figures,
        {"num_seeds": given.seeds, "losses": means},
    )


if __name__ == "__main__":
    main()
