"""Do the gradients of all linear layers select better than those of an adapter: base6m, 10,000 rows, four targets.

    python benchmarks/quality/all_layers.py --work DIR [--seeds 2]
    python benchmarks/quality/all_layers.py --work DIR --model smollm2-135m [--seeds 2] [--targets pubmedqa]

Each method selects from a store of either kind; the model is tuned on them with LoRA, alike for both, and tested. Of
base6m 1 % (100 rows), of SmolLM2, the model of real.py, 50 of 500 rows. Needs ../shared. An hour a seed on one core, of
SmolLM2 an hour a seed and target; given the same DIR again, it goes on from where it was. Writes
benchmarks/results/all_layers[-MODEL].json: test losses (nats an answer token), and the difference all layers − adapter
with its interval over test examples, on each target and on the mean of the targets relative to random rows.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import g2is
from common import base6m, smollm2
from common.measure import Figure, keep
from common.places import BASE6M, target_file
from common.small_pool import FORMS, TARGETS, draw
from g2is.api.settings import ExecutionSettings, TuningSettings
from g2is.cli.session import quiet_libraries
from g2is.comparison.cells import summed
from g2is.comparison.statistics import estimate, mean_over_targets, resampled_ratios

METHODS = ("less", "design")
ADAPTER, ALL = KINDS = ("adapter", "all layers")
PARAMETERS = {ADAPTER: "lora", ALL: "all"}
OTHER_ROWS, OTHER_SHARE = 500, 0.1  # of a real model, for which 10,000 rows are a day's gradients
Losses = dict[tuple[str, str, int], tuple[np.ndarray, np.ndarray]]  # by what selected, target and seed


@dataclass(frozen=True)
class Protocol:
    """What is selected from, by which model, and how that is tuned and tested."""

    model: Any
    pool: Path
    tests: dict[str, Path]
    budget: str
    warmup: dict[str, dict[str, Any]]  # by kind
    tuning: TuningSettings
    execution: ExecutionSettings


def of_kinds(adapter: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Warm-ups by kind: all layers as an adapter, without its settings, at a tenth of its learning rate."""
    everything = {key: of for key, of in adapter.items() if key != "lora"}
    return {ADAPTER: dict(adapter), ALL: {**everything, "learning_rate": adapter["learning_rate"] / 10}}


def of_base6m(work: Path) -> Protocol:
    tests = {target: target_file(target, "test") for target in TARGETS}
    return Protocol(BASE6M, draw(work), tests, "1%", of_kinds(base6m.WARMUP), base6m.TUNING, base6m.EXECUTION)


def of_smollm2(work: Path) -> Protocol:
    """As in real.py, which draws the rows that these are drawn from; tests are cut as there."""
    lines = smollm2.draw(work / "real")[0].read_text(encoding="utf-8").splitlines(keepends=True)
    rows = np.sort(np.random.default_rng(1).choice(len(lines), OTHER_ROWS, replace=False))
    settings = smollm2.settings()
    warmup = of_kinds({**settings["warmup"], "fraction": OTHER_SHARE})
    pool = smollm2.write_lines(work / "pool.jsonl", [lines[row] for row in rows])
    tests = smollm2.tests(work, TARGETS)
    return Protocol(smollm2.model(work), pool, tests, f"{OTHER_SHARE:.0%}", warmup, settings["tuning"], {})


PROTOCOLS = {"base6m": of_base6m, smollm2.MODEL: of_smollm2}


def selected(protocol: Protocol, work: Path, kind: str, method: str, target: str, seed: int) -> Path:
    """The folder of the selection, made if it is not there."""
    out = work / "selections" / kind.replace(" ", "-") / method / target / f"seed-{seed}"
    settings: dict[str, Any] = {
        "warmup": {**protocol.warmup[kind], "seed": seed},
        "gradients": {"parameters": PARAMETERS[kind], "forms": FORMS, "projection": {"dim": 4096}},
        "selection": {"seed": seed},
        "execution": {**protocol.execution, "report": False},
    }
    found = g2is.select(
        pool=protocol.pool,
        target=target_file(target, "dev"),
        model=protocol.model,
        out=out,
        store=work / "stores" / f"{PARAMETERS[kind]}-{seed}",
        method=method,
        budget=protocol.budget,
        **settings,
    )
    print(f"{kind}, {method}, {target}, seed {seed}: {len(found.ids)} rows", flush=True)
    return out


def tested(protocol: Protocol, work: Path, of: Path, target: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Nats of each test example (T,) after tuning on the selection `of`, and its answer tokens (T,)."""
    place = work / "tuned" / of.relative_to(work / "selections")
    tuned = g2is.train(
        data=of,
        model=protocol.model,
        out=place,
        tuning={**protocol.tuning, "seed": seed},
        execution=protocol.execution,
    )
    found = g2is.evaluate(
        model=protocol.model,
        out=place / "tested",
        test=protocol.tests[target],
        adapter=tuned.adapter,
        evaluation={"generate": False},
        execution=protocol.execution,
    )
    return summed(found.losses, found.num_learned)


def losses_of(protocol: Protocol, work: Path, targets: Sequence[str], seed: int) -> Losses:
    """Of each method and kind, and of random rows, on each target."""
    found: Losses = {}
    for target in targets:
        for kind in KINDS:
            for method in (*METHODS, *(("random",) if kind == ADAPTER else ())):  # random rows look at no gradient
                name = method if method == "random" else f"{method}, {kind}"
                chosen = selected(protocol, work, kind, method, target, seed)
                found[name, target, seed] = tested(protocol, work, chosen, target, seed)
    return found


def differences(losses: Losses, method: str, targets: Sequence[str], seeds: range) -> list[Figure]:
    """All layers − adapter: of each target in nats, and of the mean of the targets each over random's loss."""
    both, figures, relative = [f"{method}, {kind}" for kind in KINDS], [], []
    for target in targets:
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
    parser.add_argument("--model", choices=tuple(PROTOCOLS), default="base6m")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--targets", default=",".join(TARGETS))
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    quiet_libraries()
    protocol, targets, seeds = PROTOCOLS[given.model](given.work), given.targets.split(","), range(given.seeds)
    losses: Losses = {}
    for seed in seeds:
        losses |= losses_of(protocol, given.work, targets, seed)
    figures = [figure for method in METHODS for figure in differences(losses, method, targets, seeds)]
    means = {
        f"{name} on {target}, seed {seed}": round(float(nats.sum() / tokens.sum()), 4)
        for (name, target, seed), (nats, tokens) in losses.items()
    }
    is_other = given.model != "base6m"
    keep(
        f"all_layers-{given.model}" if is_other else "all_layers",
        False,
        "quality/all_layers.py" + f" --model {given.model}" * is_other,
        figures,
        {"num_seeds": given.seeds, "losses": means},
    )


if __name__ == "__main__":
    main()
