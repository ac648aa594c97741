"""Which method selects best for a real chat model: every method on real targets, tuned and tested, with intervals.

    python benchmarks/quality/real.py --work DIR rate        the learning rate, once, on random rows alone
    python benchmarks/quality/real.py --work DIR rows        choose the rows of each cell, and keep them
    python benchmarks/quality/real.py --work DIR cells       tune on them and test: goes on with the next cell
    python benchmarks/quality/real.py --work DIR keep        put the cells so far into benchmarks/results/real
    python benchmarks/quality/real.py --table                print the tables of all cells that are kept

SmolLM2-135M-Instruct in bfloat16, made in DIR by ../shared/models/real_model.py (pip install gguf); 8,000 rows of the
real pool drawn with seed 0, four targets (64 rows given, 150 tested), 1 % (80 rows). --methods, --budgets, --seeds and
--targets say which cells; `full` is made where it is named. Some 30 hours of one core in all; stop it at any moment and
give it again. `rows` makes a store of each seed (1 GB, an hour or two) and puts the rows into
benchmarks/results/real/selections.parquet; `cells` needs no store, so each sitting may be on another machine. The loss
is nats an answer token. The model also answers gsm8k (numeric match) and simplification (ROUGE-L), greedily, which
takes longer than all the rest of a cell: with --loss-alone it does not.

Does a small model's choice carry over? With --tuned qwen2.5-0.5b, `rate`, `cells`, `keep` and --table are of another
model, Qwen2.5-Coder-0.5B-Instruct, tuned on the rows that SmolLM2 chose (benchmarks/results/carried_over). It answers
nothing: its loss is taken.

Two further targets are kept back (common/held_back.py): with --held-back, `rows`, `cells`, `keep` and --table are of
them alone (benchmarks/results/held_back). Nothing is to be chosen by what comes out.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.cells import make_cell
from common.held_back import HELD_BACK, HELD_BACK_TEXTS, held_back
from common.kept_grid import MANIFEST, KeptGrid
from common.kept_selections import read_selections, write_selections
from common.measure import Figure, keep
from common.places import RESULTS, target_file
from common.rounded_products import fast_bfloat16
from common.small_pool import TARGETS
from common.smollm2 import MODEL, NUM_ROWS, best_rate, draw, losses_by_rate, model, settings, tests
from g2is.comparison.cells import Key
from g2is.config.compare import CompareConfig
from g2is.config.io import parse
from g2is.errors import G2isError
from g2is.jobs.cells import choose
from g2is.jobs.compare import missing_cells
from g2is.jobs.made_from import OF_METHODS
from g2is.jobs.trials import Trials, open_trials
from g2is.jobs.work_folder import open_work
from g2is.machine.environment import environment
from g2is.methods import ALWAYS, FULL, METHODS, UNTUNED
from g2is.progress import Reporter
from g2is.progress.drawn import TerminalReporter
from g2is.progress.terminal import say
from g2is.store.files import read_json, write_json
from g2is.store.fingerprint import flatten
from g2is.store.made_with import check_same

FULL_EPOCHS = 1  # of the whole pool, two hours and a half of a core each: 500 steps, where 80 rows have 15
REMARK = (
    "The cells were made in many sittings and on several machines, one thread each and often beside other work: seconds"
    " are upper bounds and not to be compared"
)
OF_FULL = ". `full` is one pass over all rows; selections are trained on three times"
GENERATIVE = tuple(name for name in TARGETS if name != "pubmedqa")  # the mean of R is over these
# which the model also answers, a few minutes a cell, and by what its answers are judged
ANSWERED = {"gsm8k": "numeric_match", "simplification_asset": "rouge_l"}
METRICS = ("loss", *ANSWERED.values())
CANDIDATES: dict[str, dict[str, Any]] = {  # for the default: docs/log.md has what was expected of each
    "design-noise-10": {"method": "design", "noise": 10.0},
    "design-noise-100": {"method": "design", "noise": 100.0},
    "design-less": {"method": "design", "form": "less"},
    "design-less-noise-10": {"method": "design", "form": "less", "noise": 10.0},
    "match-less": {"method": "match", "form": "less"},
}
UNSEEDED = ("bm25", "embedding", "without-gradient", "rds+")  # choose the same rows with every seed
LARGER = "qwen2.5-0.5b"  # tuned on what the small one chose
SELECTIONS = "selections.parquet"
NUM_TUNED_ON, RATE_TESTS = 80, 100  # rows of the pool that no cell sees


def rate(work: Path, tuned: str) -> None:
    """Tune on random rows with each learning rate, and test on other random rows: the best is that of every cell."""
    _, left = draw(work)
    of_test = left[NUM_TUNED_ON : NUM_TUNED_ON + RATE_TESTS]
    losses = losses_by_rate(model(work, tuned), of_tuned(work, tuned) / "rate", left[:NUM_TUNED_ON], of_test)
    best = best_rate(losses)
    figures = [Figure("test loss of random rows, untuned", losses["0"], None, True)]
    figures.append(Figure(f"… tuned on {NUM_TUNED_ON} other random rows at {best}", losses[best], None, True))
    keep(f"real_rate-{tuned}", False, "quality/real.py rate", figures, {"losses": losses, "best": float(best)})


def of_tuned(work: Path, tuned: str) -> Path:
    """Where what is tuned lies, by the model."""
    return work if tuned == MODEL else work / f"tuned-{tuned}"


def cells_of(given: argparse.Namespace) -> Path:
    """Where the cells that are asked for are written as they are made."""
    return of_tuned(given.work, given.tuned) / ("cells-held-back" if given.held_back else "cells")


def kept_grid(tuned: str, *, is_held_back: bool) -> KeptGrid:
    """Where the cells of a grid are kept: of the model that is tuned, or of the two targets that are kept back."""
    folder = "held_back" if is_held_back else "real" if tuned == MODEL else "carried_over"
    targets, texts = (tuple(HELD_BACK), HELD_BACK_TEXTS) if is_held_back else (TARGETS, GENERATIVE)
    remark = REMARK + (OF_FULL if folder == "real" else "")
    return KeptGrid(RESULTS / folder, targets, ("1%", "5%"), (0, 1), texts, remark, tuple(CANDIDATES), ANSWERED)


def grid_of(given: argparse.Namespace) -> KeptGrid:
    """The grid that is asked for."""
    return kept_grid(given.tuned, is_held_back=given.held_back)


def targets_of(given: argparse.Namespace) -> Sequence[str]:
    """Those that are asked for: all of the grid, if none is named."""
    return given.targets.split(",") if given.targets else grid_of(given).targets


def groups_of(given: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """Targets whose cells are made with the same settings, by the folder of the work."""
    targets = grid_of(given).targets
    if given.held_back or given.loss_alone:
        return {"held-back" if given.held_back else "loss-alone": targets}
    answered = tuple(name for name in targets if name in ANSWERED and given.tuned == MODEL)
    return {"answered": answered, "read": tuple(name for name in targets if name not in answered)}


def comparison(work: Path, out: str, targets: Sequence[str], given: argparse.Namespace) -> CompareConfig:
    """The comparison below WORK/OUT of the cells that are asked for, on `targets`."""
    pool, left = draw(work)
    files = {
        name: held_back(work, left, name)
        if name in HELD_BACK
        else (target_file(name, "dev"), tests(work, [name])[name])
        for name in targets
    }
    answers = out == "answered"
    values = {
        "pool": pool,
        "targets": {name: target for name, (target, _) in files.items()},
        "tests": {name: test for name, (_, test) in files.items()},
        "out": of_tuned(work, given.tuned) / out,
        "keep_adapters": FULL in given.methods.split(","),  # hours of work
        # answers are written for many rows at once: half the time of 8,192 tokens
        "execution": {"workers": given.workers} | ({"batch_tokens": 16_384} if answers else {}),
        "model": model(work, given.tuned),
        "methods": {
            name: CANDIDATES.get(name, {"method": name}) for name in given.methods.split(",") if name not in ALWAYS
        },
        "budgets": given.budgets,
        "num_seeds": given.seeds,
        "evaluation": {"generate": True, "metrics": METRICS} if answers else {"generate": False},
        **settings(given.tuned),
    }
    config: CompareConfig = parse(CompareConfig, values, "real.py")
    return config


def wanted(config: CompareConfig, given: argparse.Namespace) -> list[Key]:
    """The cells that are asked for, in the order in which they are made; `full` where it is named."""
    planned, _ = missing_cells(config)
    return [key for key in planned if key.method != FULL or FULL in given.methods.split(",")]


def opened(config: CompareConfig, folder: Path, reporter: Reporter) -> Trials:
    """What the cells share. Raises FingerprintError if those that `folder` keeps were made from something else."""
    trials, place = open_trials(config, reporter), folder / MANIFEST
    made_from = {
        key: value
        for key, value in flatten(trials.made_from).items()
        if not key.startswith((OF_METHODS, "evaluation"))  # of which each target has its own
    }
    stored = read_json(place) if place.exists() else {}
    both = stored.keys() & made_from.keys()  # a sitting may be of some targets alone
    check_same(
        {key: stored[key] for key in both},
        {key: made_from[key] for key in both},
        f"{place}: expected cells",
        "remove it with the cells beside it",
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    write_json(place, dict(sorted((stored | made_from).items())))
    return trials


def rows(work: Path, given: argparse.Namespace) -> None:
    """Choose the rows of every cell that is asked for and has none, and keep them."""
    config, reporter = comparison(work, "choosing", grid_of(given).targets, given), TerminalReporter()
    folder, targets = grid_of(given).folder, targets_of(given)
    with open_work(config.out, config, "comparison"):
        trials, kept = opened(config, folder, reporter), read_selections(folder / SELECTIONS)
        for key in wanted(config, given):
            if key in kept or key.method in (UNTUNED, FULL) or key.target not in targets:
                continue
            first = kept.get(key._replace(seed=0)) if key.method in UNSEEDED else None
            try:
                kept[key] = first or choose(trials, key, reporter)
            except G2isError as error:
                say([f"{key}: {error}"])
                continue
            write_selections(folder / SELECTIONS, kept)
            say([f"{time.strftime('%H:%M:%S')} chosen: {key}"])


def cells(work: Path, given: argparse.Namespace) -> None:
    """Make the cells that are asked for and are not there: those on targets that are answered, then the others."""
    end = time.monotonic() + 60 * given.minutes
    grid = grid_of(given)
    there, chosen_in = grid.keys(), RESULTS / "real" if given.tuned == LARGER else grid.folder
    kept = read_selections(chosen_in / SELECTIONS)
    targets = targets_of(given)
    for out, group in groups_of(given).items():
        asked = [name for name in group if name in targets]
        if not asked:
            continue
        config, reporter = comparison(work, out, group, given), TerminalReporter()
        with open_work(config.out, config, "comparison"):
            trials = opened(config, grid.folder, reporter)
            for number, key in enumerate(wanted(config, given), start=1):
                place = key.place(cells_of(given)).with_suffix(".json")
                if key.target not in asked or key in there or place.exists():
                    continue
                if key not in kept and key.method not in (UNTUNED, FULL):
                    say([f"{key}: no rows were chosen; give `rows` first"])
                    continue
                if time.monotonic() > end:
                    return
                chosen = kept.get(key) or choose(trials, key, reporter)
                if key.method == FULL:
                    chosen = replace(chosen, epochs=FULL_EPOCHS)
                make_cell(place, trials, number, key, chosen, reporter)
                say([f"{time.strftime('%H:%M:%S')} made: {key}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", nargs="?", choices=("rate", "rows", "cells", "keep"))
    parser.add_argument("--table", action="store_true", help="print the tables, of nothing but what is kept")
    parser.add_argument("--work", type=Path, help="folder for model, stores, selections and cells (3 GB)")
    parser.add_argument("--methods", default=",".join(name for name in METHODS if name not in ALWAYS))
    parser.add_argument("--budgets", default="1%")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, help="processes that make rows, of one thread each")
    parser.add_argument("--targets", help="of `rows` and `cells`: all, if none is named")
    parser.add_argument("--held-back", action="store_true", help="the two targets that are kept back")
    parser.add_argument("--loss-alone", action="store_true", help="`cells` that the model answers nothing for")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which `cells` begins no other cell")
    parser.add_argument("--tuned", choices=(MODEL, LARGER), default=MODEL, help="the model that is tuned, by `cells`")
    given = parser.parse_args()
    if (given.step is None) != given.table:
        parser.error(f"expected a step or --table, found {'both' if given.step else 'neither'}")
    if given.work is None and not given.table:
        parser.error(f"{given.step}: expected --work DIR, found none")
    if given.tuned != MODEL and (given.step == "rows" or given.held_back):
        parser.error(f"expected no --tuned beside `rows` and --held-back, which are of {MODEL}, found {given.tuned}")
    match given.step:
        case "rate":
            with fast_bfloat16():
                rate(given.work, given.tuned)
        case "rows":
            with fast_bfloat16():  # of this process: --workers are others
                rows(given.work, given)
        case "cells":
            with fast_bfloat16():
                cells(given.work, given)
        case "keep":
            grid_of(given).keep_cells(cells_of(given), NUM_ROWS, settings(given.tuned), environment())
    if given.step == "keep" or given.table:
        grid_of(given).print_tables()


if __name__ == "__main__":
    main()
