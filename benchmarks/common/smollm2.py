"""SmolLM2-135M-Instruct as its benchmarks take it: model, 8,000 rows of the real pool, tests, and how it is tuned."""

import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import g2is
from common.cells import CELLS, read_cells
from common.measure import Figure
from common.places import POOL, RESULTS, SHARED, sentence_encoder, target_file
from g2is.comparison.cells import Cell, summed
from g2is.comparison.statistics import estimate, resampled_ratios
from g2is.store.files import write_text

MODEL = "smollm2-135m"
NUM_ROWS, NUM_TESTED = 8_000, 150
LORA = {"rank": 32, "alpha": 128, "dropout": 0.0}
RATES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3)
Losses = tuple[np.ndarray, np.ndarray]  # nats (T,) and answer tokens (T,) of test examples
TUNING: dict[str, Any] = {"batch_size": 16, "device_batch_size": 4, "lora": LORA, "bf16": True}


def lines_of(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.readlines()


def write_lines(path: Path, lines: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        write_text(path, "".join(lines))
    return path


def drawn() -> tuple[list[str], list[str]]:
    """The lines of the pool of NUM_ROWS rows, in the shared pool's order, and the others, in random order."""
    lines = lines_of(POOL)
    order = np.random.default_rng(0).permutation(len(lines))
    return [lines[row] for row in np.sort(order[:NUM_ROWS])], [lines[row] for row in order[NUM_ROWS:]]


def draw(work: Path) -> tuple[Path, list[str]]:
    """The file of the pool, and the lines that are not in it, in random order."""
    lines, left = drawn()
    return write_lines(work / "pool.jsonl", lines), left


def tests(work: Path, targets: Sequence[str]) -> dict[str, Path]:
    """The first NUM_TESTED test rows of each target, by its name."""
    return {
        name: write_lines(work / f"tests/{name}.jsonl", lines_of(target_file(name, "test"))[:NUM_TESTED])
        for name in targets
    }


def model_folder(work: Path, name: str = MODEL) -> Path:
    """The model, made of packages once; `name` is one of `real_model.py`."""
    folder = work / name
    if not folder.exists():
        making = work / f".{name}"
        command = [sys.executable, str(SHARED / "models/real_model.py"), name, str(making)]
        subprocess.run(command, check=True)
        making.rename(folder)
    return folder


def model(work: Path, name: str = MODEL) -> Any:
    return {"name": str(model_folder(work, name)), "dtype": "bfloat16"}


def learning_rate(name: str = MODEL) -> float:
    """What `rate` found for a model."""
    place = RESULTS / f"real_rate-{name}.json"
    if not place.exists():
        raise SystemExit(
            f"{place}: expected the learning rate that `rate` finds, found no such file; give `rate` first"
        )
    return float(json.loads(place.read_text())["best"])


def losses_by_rate(
    model: Any, work: Path, tuned_on: Sequence[str], tested_on: Sequence[str], rates: Sequence[float] = RATES
) -> dict[str, float]:
    """Test losses by learning rate: of the model as it is ("0"), and tuned on some lines at each of `rates`."""
    data, test = write_lines(work / "data.jsonl", tuned_on), write_lines(work / "test.jsonl", tested_on)
    losses: dict[str, float] = {}
    for rate in (0.0, *rates):
        place, adapter = work / f"{rate:g}", None
        if rate:
            tuning: Any = {**TUNING, "learning_rate": rate}
            adapter = g2is.train(data=data, model=model, out=place, tuning=tuning).adapter
        found = g2is.evaluate(
            model=model, out=place / "tested", test=test, adapter=adapter, evaluation={"generate": False}
        )
        losses[f"{rate:g}"] = round(found.summary["means"]["loss"], 4)
        print(f"learning rate {rate:g}: test loss {losses[f'{rate:g}']}", flush=True)
    return losses


def best_rate(losses: dict[str, float]) -> str:
    """The learning rate of the lowest loss, of those that `losses_by_rate` gives."""
    return min((rate for rate in losses if rate != "0"), key=losses.__getitem__)


def trained_at(selecting: float, tuned: float) -> dict[str, Any]:
    """How the warm-up of the model that selects is trained, what of it is stored, and how a model is tuned."""
    return {
        "warmup": {"learning_rate": selecting, "batch_size": 16, "device_batch_size": 4, "lora": LORA},
        "gradients": {"forms": ["less", "momentum-free"]},
        "tuning": {**TUNING, "learning_rate": tuned},
    }


def settings(tuned: str = MODEL) -> dict[str, Any]:
    """What every cell has: SmolLM2 selects, and `tuned` is tuned; learning rates are what `rate` found for each."""
    encoder = {"embedding_model": sentence_encoder()}
    return {**trained_at(learning_rate(), learning_rate(tuned)), "representation": encoder}


def selecting_with_seed(seed: int) -> Any:
    """The settings of one selection that reads the store which real.py made with `seed`."""
    of = settings()
    return {
        "warmup": {**of["warmup"], "seed": seed},
        "gradients": {**of["gradients"], "projection": {"seed": seed}},
    }


def tested_after(work: Path, out: Path, data: Path, targets: Sequence[str]) -> dict[str, Losses]:
    """What the model loses on each of `targets` after tuning on `data`, a file or a selection's folder, with seed 0."""
    tuning: Any = {**settings()["tuning"], "seed": 0}
    tuned = g2is.train(data=data, model=model(work), out=out / "tuned", tuning=tuning)
    found: dict[str, Losses] = {}
    for name, test in tests(work, targets).items():
        of = g2is.evaluate(
            model=model(work), out=out / name, test=test, adapter=tuned.adapter, evaluation={"generate": False}
        )
        found[name] = summed(of.losses, of.num_learned)
    return found


def kept_cells(method: str, target: str) -> list[Cell]:
    """The cells of `method` on `target` at 1 % that real.py kept, one a seed."""
    cells = [cell for cell in read_cells(RESULTS / "real" / CELLS) if cell.key.budget in ("1%", None)]
    return [cell for cell in cells if (cell.key.method, cell.key.target) == (method, target)]


def losses_of(cell: Cell) -> Losses:
    """What the model of a cell loses."""
    return cell.losses * cell.num_learned, cell.num_learned


def difference(what: str, one: Losses, other: Losses, target: str, note: str = "") -> Figure:
    """The loss (nats an answer token) of `one` minus that of `other`, with its 95 % interval over test examples."""
    nats, tokens = (np.stack(of, axis=1) for of in zip(one, other, strict=True))
    left, right = resampled_ratios(nats, tokens, 0, target).T
    found = estimate(left - right)
    between = (round(found.low, 4), round(found.high, 4))
    said = f"{left[0]:.4f}, {right[0]:.4f} nats" + (f"; {note}" if note else "")
    return Figure(what, round(found.value, 4), None, True, "", between, said)
