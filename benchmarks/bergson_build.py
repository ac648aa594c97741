"""Collection over that of bergson's CLI, `bergson build` with a global projection to 8192.

    python -m venv /tmp/bergson-venv
    /tmp/bergson-venv/bin/pip install torch==2.13.0 transformers==5.24.0 bergson  # torch and transformers as here
    /tmp/bergson-venv/bin/pip uninstall -y torchvision torchaudio  # where they do not fit this torch; it needs neither
    python benchmarks/bergson_build.py [--small] [--shared] [--rank 16] [--bergson /tmp/bergson-venv/bin/python]

Both get the same model in float32, adapter (a PEFT folder), tokens and labels, and store rows of 8192 numbers (bergson
float32, ours float16). What differs, and whom it favours:

- bergson stores plain gradients; ours are timed with Γ `less` (against us). That both measure the same is checked on
  plain gradients: all cosines of pairs of rows agree to a few 1/sqrt(8192), or the benchmark fails.
- bergson draws the dense sign matrix of its global projection anew for every batch, and refuses batches of more tokens
  than the model's context (1024 for base6m). So that this is not our gain, it is given a copy of the model whose config
  claims a context of 8192, which changes nothing that is computed. Ours have their default of 1024 on a CPU; at that
  bergson is far slower (`global_at_ours` of the full version).
- Its default, a two-sided projection of each module, is far cheaper and keeps inner products worse; it is measured too,
  at about 8192 numbers a row.

Collection is what `CollectorComputer.run_with_collector_hooks` takes (the pass over the batches, and saving), against
our extraction and storing. bergson's program runs in one process that is told through its standard input to build
again and again, so that runs alternate and no start-up is counted. Writes benchmarks/results/bergson_build-NAME.json.
Goal (issue 5): at least 1.2 times as fast.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import PeftModel

from g2is.config import ExecutionConfig, GammaForm
from g2is.model.parameters import trainable_parameters
from g2is.store.matrix import RowTable
from measure import Figure, keep, median, ratio, seconds
from sample import ROOT, SHARED, Row, load, make_extractor, parser, store_gradients

K = 8192
ITS_MOST_TOKENS = 8192
TIMES = 5
# Runs bergson's own command line once for each line of standard input: a JSON list of arguments.
DRIVER = """
import json, sys, time
from importlib.metadata import version
from bergson.__main__ import main
from bergson.collector.collector import CollectorComputer
collect = CollectorComputer.run_with_collector_hooks
def timed(self, *args, **kwargs):
    begin = time.perf_counter()
    collect(self, *args, **kwargs)
    took.append(time.perf_counter() - begin)
CollectorComputer.run_with_collector_hooks = timed
names = ("bergson", "torch", "transformers", "peft", "datasets")
print("told", json.dumps({name: version(name) for name in names}), flush=True)
for line in sys.stdin:
    sys.argv, took, begin = ["bergson", *json.loads(line)], [], time.perf_counter()
    main()
    print("told", json.dumps({"collection": sum(took), "command": time.perf_counter() - begin}), flush=True)
"""


class Bergson:
    """bergson's command line in a process of its own."""

    def __init__(self, python: str, work: Path) -> None:
        self._work = work
        with (work / "bergson.log").open("w") as log:
            self._process = subprocess.Popen(
                [python, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=work
            )
        self.versions = self._told()
        self.commands: dict[str, list[float]] = {}

    def build(self, name: str, options: Sequence[str]) -> float:
        """Seconds of collection."""
        assert self._process.stdin is not None
        command = [
            *("build", str(self._work / f"{name}-index"), *options, "--dataset", str(self._work / "data")),
            *("--precision", "fp32", "--projection_type", "rademacher", "--loss_reduction", "mean"),
            *("--overwrite", "True"),
        ]
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        found = self._told()
        self.commands.setdefault(name, []).append(found["command"])
        return float(found["collection"])

    def rows(self, name: str, num_rows: int) -> np.ndarray:
        """What a build stored."""
        return np.fromfile(self._work / f"{name}-index" / "gradients.bin", np.float32).reshape(num_rows, -1)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()

    def _told(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("told "):
                found: dict[str, Any] = json.loads(line.removeprefix("told "))
                return found
        self._process.wait()
        log = (self._work / "bergson.log").read_text()[-2000:]
        raise SystemExit(f"bergson ended with {self._process.returncode}:\n{log}")


def cosines(rows: np.ndarray) -> np.ndarray:
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(units @ units.T)


def copy_with_context(base: Path, place: Path, num_tokens: int) -> Path:
    """A copy of the model's folder that claims a context of `num_tokens`."""
    copy = place / "model"
    shutil.copytree(base, copy)
    for name, key in (("config.json", "max_position_embeddings"), ("tokenizer_config.json", "model_max_length")):
        settings = json.loads((copy / name).read_text())
        (copy / name).write_text(json.dumps(settings | {key: num_tokens}))
    return copy


def model_options(model: PeftModel, base: Path, place: Path, num_tokens: int) -> list[str]:
    """Write the adapter of `model` beside its base; what bergson is told of both."""
    adapter = place / "adapter"
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(str(adapter))
    return ["--model", str(adapter), "--tokenizer", str(base), "--token_batch_size", str(num_tokens)]


def write_data(rows: list[Row], place: Path) -> None:
    labels = [np.where(learned, ids, -100).tolist() for ids, learned in rows]
    tokens = [ids.tolist() for ids, _ in rows]
    columns = {"input_ids": tokens, "labels": labels, "length": [len(ids) for ids in tokens]}
    Dataset.from_dict(columns).save_to_disk(str(place))


def main() -> None:
    command_line = parser(__doc__, "48 rows in place of 96")
    command_line.add_argument("--rank", type=int, default=16)
    command_line.add_argument("--device", default="cpu", help="of ours; bergson takes CUDA where there is some")
    command_line.add_argument(
        "--bergson", default="/tmp/bergson-venv/bin/python", help="python of the environment it is in"
    )
    given = command_line.parse_args()
    device = torch.device(given.device)
    model, rows, moments = load(given.shared, given.rank, 48 if given.small else 96, given.device)
    num_modules = len(trainable_parameters(model))
    batch_tokens = ExecutionConfig().tokens_a_batch(device.type)
    extractor = make_extractor(model, moments, batch_tokens)
    keys = np.random.default_rng(0).integers(0, 256, (len(rows), 16), np.uint8)
    base = SHARED / "models/base6m" if given.shared else ROOT / "src/g2is/demo/model"
    side = round((K / num_modules) ** 0.5)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        write_data(rows, work / "data")
        builds = {
            name: options + model_options(model, copy_with_context(base, work / name, tokens), work / name, tokens)
            for name, options, tokens in (
                ("global", ["--projection_dim", str(K), "--projection_target", "global"], ITS_MOST_TOKENS),
                ("per_module", ["--projection_dim", str(side), "--projection_target", "per_module"], batch_tokens),
                ("global_at_ours", ["--projection_dim", str(K), "--projection_target", "global"], batch_tokens),
            )
        }
        if given.small:
            del builds["global_at_ours"]

        def ours(form: GammaForm) -> RowTable:
            table = RowTable(Path(tempfile.mkdtemp(dir=work)), "-", 1024)
            store_gradients(extractor, rows, keys, [form], table)
            return table

        bergson = Bergson(given.bergson, work)
        bergson.build("first", builds["per_module"])  # every first-time cost
        plain = ours("sgd")
        exact = cosines(plain.read("c/sgd/rows", plain.positions_of(keys)).astype(np.float32))
        found: dict[str, list[float]] = {name: [] for name in ("ours", *builds)}
        for turn in range(TIMES):
            for name, options in builds.items():
                if name != "global_at_ours" or not turn:  # once: it takes minutes
                    found[name].append(bergson.build(name, options))
            found["ours"].append(seconds(lambda: ours("less")))
        theirs = {name: cosines(bergson.rows(name, len(rows))) for name in builds}
        bergson.close()
    differences = {name: float(np.abs(rows_of - exact).max()) for name, rows_of in theirs.items()}
    if differences["global"] > 8 / K**0.5:
        raise SystemExit(f"cosines of rows differ by {differences['global']:.3f} from bergson's")
    ratios = {name: ratio(found[name], found["ours"][: len(found[name])]) for name in builds}
    factor, spread = ratios["global"]
    what = f"bergson build over ours: {'base6m' if given.shared else 'bundled model'}, r {given.rank}, {device.type}"
    note = f"its default, per module: {ratios['per_module'][0]:.3g}x"
    name = f"{'shared' if given.shared else 'sample'}-r{given.rank}{'' if device.type == 'cpu' else '-cuda'}"
    keep(
        f"bergson_build-{name}",
        given.small,
        f"bergson_build.py{' --shared' if given.shared else ''} --rank {given.rank} --device {given.device}",
        [Figure(what, factor, 1.2, False, "x", spread, note)],
        {
            "rows": len(rows),
            "tokens": sum(len(ids) for ids, _ in rows),
            "threads": torch.get_num_threads(),
            "batch_tokens": {"ours": batch_tokens, "global": ITS_MOST_TOKENS, "per_module": batch_tokens},
            "numbers_a_row_per_module": side**2 * num_modules,
            "seconds": {name: median(values) for name, values in found.items()},
            "ratios": {build: {"median": middle, "range": extent} for build, (middle, extent) in ratios.items()},
            "largest_cosine_difference": {name: round(value, 4) for name, value in differences.items()},
            "seconds_of_whole_commands": {name: median(values) for name, values in bergson.commands.items()},
            "bergson": bergson.versions,
        },
    )


if __name__ == "__main__":
    main()
