"""Make `folders.tar.xz` and `expected.json` with the g2is of a source tree: python make.py path/to/src

Everything is made in /tmp/g2is-before, which must not exist: config files hold whole paths.
"""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

PLACE = Path("/tmp/g2is-before")
HERE = Path(__file__).resolve().parent

_SAMPLE = """
from pathlib import Path
from shutil import copyfile
import sys
import g2is.demo
from g2is.demo.skills import write_pool, write_target
place = Path(sys.argv[1])
write_pool(place / "pool.jsonl", num_rows=60)
write_target(place / "targets.jsonl", num_rows=10)
lines = (place / "targets.jsonl").read_text().splitlines(keepends=True)
(place / "target.jsonl").write_text("".join(lines[:6]))
(place / "test.jsonl").write_text("".join(lines[6:]))
(place / "targets.jsonl").unlink()
write_pool(place / "letters.jsonl", num_rows=80, seed=1)
rows = [line for line in (place / "letters.jsonl").read_text().splitlines(keepends=True) if '"reversing"' in line]
(place / "letters.jsonl").write_text("".join(rows[:3]))
(place / "model").mkdir()
for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
    copyfile(Path(g2is.demo.__file__).parent / "model" / name, place / "model" / name)
"""
_MODEL = """
import sys
import torch
from transformers import LlamaConfig, LlamaForCausalLM
torch.manual_seed(0)
shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
tokens = {"vocab_size": 448, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, "max_position_embeddings": 256}
settings = LlamaConfig(**shape, **tokens, tie_word_embeddings=True, initializer_range=0.2)
LlamaForCausalLM(settings).save_pretrained(sys.argv[1])
"""
_MATRICES = """
import sys
import numpy as np
rng = np.random.default_rng(5)
directions = rng.normal(size=(4, 16))
for name, num_rows, of in (("pool", 60, 4), ("target", 5, 1)):
    rows = rng.normal(size=(num_rows, 16)) + 2 * directions[rng.integers(0, of, num_rows)]
    np.save(f"{sys.argv[1]}/{name}.npy", rows.astype(np.float32))
"""
# runs `g2is` and ends it as kill -9 does when MODULE.FUNCTION is called once more after so many CALLS
_KILLED = """
import importlib, os, signal, sys
module, name, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
place = importlib.import_module(module)
real, left = getattr(place, name), [calls]
def call(*arguments, **options):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
setattr(place, name, call)
sys.argv = ["g2is", *sys.argv[4:]]
importlib.import_module("g2is.cli.app").main()
"""
_ROWS = """
import json, sys
import pyarrow.parquet as pq
print(json.dumps({run: pq.read_table(f"{run}/selection.parquet")["row"].to_pylist() for run in sys.argv[1:]}))
"""

_ON_A_CPU = {"execution.device": "cpu", "execution.shard_rows": 16}
_SELECT = {
    "warmup.learning_rate": "2e-3",
    "warmup.lora.rank": 4,
    "warmup.fraction": 0.3,
    "warmup.batch_size": 8,
    "warmup.epochs": 2,
    "warmup.checkpoints": "each",
    "gradients.projection.dim": 128,
    **_ON_A_CPU,
}
_TUNE = {"tuning.lora.rank": 4, "tuning.learning_rate": "2e-3", "tuning.epochs": 1, "tuning.batch_size": 8}
_RUNS = {
    "design": ["target.jsonl"],
    "g2is": ["target.jsonl", "--method", "g2is"],
    "rds+": ["target.jsonl", "--method", "rds+"],
    "two-targets": [
        "--target",
        "products=target.jsonl",
        "--target",
        "letters=letters.jsonl",
        "--share",
        "products=2",
        "--share",
        "letters=1",
    ],
}


def python(source: Path, code: list[str], arguments: list[object], expected: int = 0) -> str:
    """Run Python with the g2is of `source` in PLACE; returns what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(source), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, *code, *map(str, arguments)]
    found = subprocess.run(command, cwd=PLACE, env=environment, text=True, stdout=subprocess.PIPE, check=False)
    assert found.returncode == expected, f"{found.returncode}: {command}"
    return found.stdout


def select(files: list[str], out: str, store: str) -> list[object]:
    """The arguments of a selection of 8 rows."""
    places = ["--out", out, "--store", store]
    return ["select", "pool.jsonl", *files, "--model", "model", *places, "--budget", 8, *settings(_SELECT)]


def settings(values: dict[str, object]) -> list[object]:
    """As --set flags."""
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


def main(source: Path) -> None:
    """Make all folders, one after the other, and pack them."""
    PLACE.mkdir()
    (PLACE / "matrices").mkdir()
    python(source, ["-c", _SAMPLE], [PLACE])
    python(source, ["-c", _MODEL], ["model"])
    python(source, ["-c", _MATRICES], ["matrices"])
    g2is = ["-m", "g2is"]
    for name, files in _RUNS.items():
        python(source, g2is, select(files, f"runs/{name}", "store"))
    # a shard of the targets and two of the pool are whole, the next is written and its marker is not
    dies = ["g2is.store.matrix", "write_json", 3]
    python(source, ["-c", _KILLED], [*dies, *select(["target.jsonl"], "stopped/run", "stopped/store")], -9)
    files = ["--pool-gradients", "matrices/pool.npy", "--target-gradients", "matrices/target.npy"]
    for method in ("design", "g2is"):
        python(source, g2is, ["walk", *files, "--budget", 8, "--method", method, "--out", f"matrices/{method}"])
    tuning = settings(_TUNE | _ON_A_CPU)
    python(source, g2is, ["train", "runs/design", "--model", "model", "--out", "tuned", *tuning])
    brief = settings({"evaluation.max_new_tokens": 4, **_ON_A_CPU})
    tested = ["test.jsonl", "--model", "model", "--adapter", "tuned", "--out", "tested", *brief]
    python(source, g2is, ["evaluate", *tested])
    # two of five cells are done
    dies = ["g2is.make_cells", "write_cell", 2]
    files = ["pool.jsonl", "target.jsonl", "--test", "test.jsonl", "--model", "model", "--out", "comparison"]
    once = {"warmup.epochs": 1, "warmup.checkpoints": "last", "evaluation.generate": "false"}
    grid = ["--methods", "less-rr", "--budgets", "8", "--seeds", 1]
    compared = ["compare", *files, *grid, *settings(_SELECT | once | _TUNE)]
    python(source, ["-c", _KILLED], [*dies, *compared], -9)
    runs = [f"runs/{name}" for name in _RUNS] + ["matrices/design", "matrices/g2is"]
    found = json.loads(python(source, ["-c", _ROWS], list(runs)))
    (HERE / "expected.json").write_text(
        "{\n" + ",\n".join(f' "{run}": {rows}' for run, rows in found.items()) + "\n}\n"
    )
    with tarfile.open(HERE / "folders.tar.xz", "w:xz", preset=9) as archive:
        for path in sorted(PLACE.rglob("*")):
            archive.add(path, str(path.relative_to(PLACE)), recursive=False, filter=_nobodys)


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
