"""bergson's command line in a process of its own, and the model and tokens that it is given."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from g2is.model.batches import Row

ITS_MOST_TOKENS = 8192
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


class BergsonEndedError(Exception):
    """It ended before it had built; the message is the end of its log."""


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
        """Seconds of collection. Raises BergsonEndedError."""
        assert self._process.stdin is not None
        command = [
            *("build", str(self._work / f"{name}-index"), *options, "--dataset", str(self._work / "data")),
            *("--projection_type", "rademacher", "--loss_reduction", "mean", "--overwrite", "True"),
        ]
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        found = self._told()
        self.commands.setdefault(name, []).append(found["command"])
        return float(found["collection"])

    def rows(self, name: str, num_rows: int) -> np.ndarray:
        """What a build stored, in float32."""
        index = self._work / f"{name}-index"
        dtype = getattr(torch, json.loads((index / "info.json").read_text())["base_dtype"])
        stored = torch.from_numpy(np.fromfile(index / "gradients.bin", np.uint8)).view(dtype)
        return stored.reshape(num_rows, -1).float().numpy()

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
        raise BergsonEndedError(f"bergson ended with {self._process.returncode}:\n{log}")


def copy_with_context(base: Path, place: Path, num_tokens: int, without_weights: bool) -> None:
    """A copy of the model's folder that claims a context of `num_tokens`."""
    shutil.copytree(base, place, ignore=shutil.ignore_patterns(*(["*.safetensors"] if without_weights else [])))
    for name, key in (("config.json", "max_position_embeddings"), ("tokenizer_config.json", "model_max_length")):
        settings = json.loads((place / name).read_text())
        (place / name).write_text(json.dumps(settings | {key: num_tokens}))


def write_data(rows: list[Row], place: Path) -> None:
    labels = [np.where(learned, ids, -100).tolist() for ids, learned in rows]
    tokens = [ids.tolist() for ids, _ in rows]
    columns = {"input_ids": tokens, "labels": labels, "length": [len(ids) for ids in tokens]}
    Dataset.from_dict(columns).save_to_disk(str(place))
