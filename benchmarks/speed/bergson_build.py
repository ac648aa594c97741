"""Collection over that of bergson's CLI, `bergson build` with a global projection to 8192.

    python -m venv /tmp/bergson-venv
    /tmp/bergson-venv/bin/pip install torch==2.13.0 transformers==5.24.0 bergson  # torch and transformers as here
    /tmp/bergson-venv/bin/pip uninstall -y torchvision torchaudio  # where they do not fit this torch; it needs neither
    python benchmarks/speed/bergson_build.py [--small] [--shared] [--rank 16] [--bergson /tmp/bergson-venv/bin/python]
    python benchmarks/speed/bergson_build.py --shared --like 8b --device cuda --bergson python

Both get the same model in one dtype (float32 on a CPU, bfloat16 on CUDA), adapter (a PEFT folder), tokens and labels,
and store rows of 8192 numbers (bergson in the model's dtype, ours in float16). What differs, and whom it favours:

- bergson stores plain gradients; ours are timed with Γ `less` (against us). That both measure the same is checked on
  plain gradients: all cosines of pairs of rows agree to a few 1/sqrt(8192), or the benchmark fails.
- bergson draws the dense sign matrix of its global projection anew for every batch, and refuses batches of more tokens
  than the model's context (1024 for base6m). So that this is not our gain, it is given a copy of the model whose config
  claims a context of 8192, which changes nothing that is computed. Ours have their default of 1024 on a CPU; at that
  bergson is far slower (`global_at_ours` of the full version). On a device that batches of 8192 do not fit, it gets the
  largest halves that do.
- Its default, a two-sided projection of each module, is far cheaper and keeps inner products worse; it is measured too,
  at about 8192 numbers a row.

Collection is what `CollectorComputer.run_with_collector_hooks` takes (the pass over the batches, and saving), against
our extraction and storing. bergson's program runs in one process that is told through its standard input to build
again and again, so that no start-up is counted. On a CPU runs alternate; a CUDA device need not hold both models, so
there all of ours come first. Writes benchmarks/results/bergson_build-NAME.json. Goal (issue 5): at least 1.2 times as
fast.
"""

import gc
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel

from common.bergson import ITS_MOST_TOKENS, Bergson, BergsonEndedError, copy_with_context, write_data
from common.goals import BERGSON
from common.measure import Figure, keep, median, ratio, seconds
from common.sample import (
    kind_of,
    load,
    make_extractor,
    name_of,
    parser,
    store_gradients,
    tokenizer_folder,
)
from common.shapes import add_like
from g2is.config import ExecutionConfig, GammaForm
from g2is.model.batches import Row
from g2is.model.parameters import trainable_parameters
from g2is.store.matrix import RowTable
from g2is.store.moments import Moments

K = 8192
TIMES, TIMES_LIKE = 5, 2  # bergson loads the model for every build


class Ours:
    """Extraction and storing of the same rows."""

    def __init__(self, model: PeftModel, moments: Moments, rows: list[Row], batch_tokens: int, work: Path) -> None:
        self._extractor = make_extractor(model, moments, batch_tokens)
        self._rows, self._work = rows, work
        self._keys = np.random.default_rng(0).integers(0, 256, (len(rows), 16), np.uint8)
        plain = self._store("sgd")
        # what both should measure; every first-time cost is behind us
        self.exact = cosines(plain.read("c/sgd/rows", plain.positions_of(self._keys)).astype(np.float32))
        self._store("less")
        self.batch_tokens = min([batch_tokens, *(split["tokens"] // 2 for split in self._extractor.splits)])

    def build(self) -> float:
        """Seconds of extracting and storing."""
        return seconds(lambda: self._store("less"))

    def _store(self, form: GammaForm) -> RowTable:
        table = RowTable(Path(tempfile.mkdtemp(dir=self._work)), "-", 1024)
        store_gradients(self._extractor, self._rows, self._keys, [form], table)
        return table


def cosines(rows: np.ndarray) -> np.ndarray:
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(units @ units.T)


def write_model(model: PeftModel, base: Path, like: str | None, place: Path) -> list[str]:
    """Write model and adapter below `place`; what bergson is told of both. With `like` it takes the adapter off."""
    name, dtype = str(place / "model"), model.get_input_embeddings().weight.dtype
    copy_with_context(base, place / "model", ITS_MOST_TOKENS, without_weights=like is not None)
    if like:  # of the base's folder only the tokenizer stays
        model.config.save_pretrained(name)
    model.peft_config["default"].base_model_name_or_path = name
    model.save_pretrained(str(place / "adapter"), save_embedding_layers=False)
    if like:
        model.unload().save_pretrained(name)
    precision = {torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype]
    return ["--model", str(place / "adapter"), "--tokenizer", name, "--precision", precision]


def builds_of(num_modules: int, batch_tokens: dict[str, int]) -> dict[str, list[str]]:
    """What each build is told of its projection, of those that have batches."""
    side = str(round((K / num_modules) ** 0.5))
    projections = {
        "global": ["--projection_dim", str(K), "--projection_target", "global"],
        "per_module": ["--projection_dim", side, "--projection_target", "per_module"],
        "global_at_ours": ["--projection_dim", str(K), "--projection_target", "global"],
    }
    return {name: [*projections[name], "--token_batch_size", str(tokens)] for name, tokens in batch_tokens.items()}


def start(python: str, work: Path, num_modules: int, batch_tokens: dict[str, int], told: list[str]) -> Bergson:
    """bergson past every first-time cost, with batches that fit: `batch_tokens` are halved until they do."""
    while True:
        bergson = Bergson(python, work)
        try:
            for name, options in builds_of(num_modules, batch_tokens).items():
                if name != "global_at_ours":  # it takes minutes, once
                    bergson.build(name, [*told, *options])
        except BergsonEndedError as error:
            if "out of memory" not in str(error).lower() or min(batch_tokens.values()) <= 512:
                raise SystemExit(str(error)) from None
            batch_tokens.update({name: tokens // 2 for name, tokens in batch_tokens.items()})
            print(f"bergson's batches do not fit on the device: now {batch_tokens}", flush=True)
        else:
            bergson.commands.clear()
            return bergson


def main() -> None:
    command_line = parser(__doc__, "48 rows in place of 96")
    command_line.add_argument("--rank", type=int, default=16)
    add_like(command_line)
    command_line.add_argument("--device", default="cpu", help="of ours; bergson takes CUDA where there is some")
    command_line.add_argument(
        "--bergson", default="/tmp/bergson-venv/bin/python", help="python of the environment it is in"
    )
    given = command_line.parse_args()
    device = torch.device(given.device)
    model, rows, moments = load(given.shared, given.rank, 48 if given.small else 96, given.device, given.like)
    num_modules, times = len(trainable_parameters(model)), TIMES_LIKE if given.like else TIMES
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        write_data(rows, work / "data")
        ours = Ours(model, moments, rows, ExecutionConfig().tokens_a_batch(device.type), work)
        exact, batch_tokens = ours.exact, {"ours": ours.batch_tokens}
        of_bergson = {"global": batch_tokens["ours"], "per_module": batch_tokens["ours"]}
        if device.type == "cpu":
            of_bergson["global"] = ITS_MOST_TOKENS
            of_bergson |= {} if given.small else {"global_at_ours": batch_tokens["ours"]}
        works: list[Callable[[], float]] = [ours.build]
        in_turn = device.type == "cpu" and not given.like
        found = {"ours": [] if in_turn else [ours.build() for _ in range(times)]}
        told = write_model(model, tokenizer_folder(given.shared), given.like, work)
        if not in_turn:  # the device need not hold both models
            works.clear()
            del ours, model, moments
            gc.collect()
            torch.cuda.empty_cache()
        bergson = start(given.bergson, work, num_modules, of_bergson, told)
        for turn in range(times):
            for name, options in builds_of(num_modules, of_bergson).items():
                if name != "global_at_ours" or not turn:  # once: it takes minutes
                    found.setdefault(name, []).append(bergson.build(name, [*told, *options]))
            found["ours"] += [work_of_ours() for work_of_ours in works]
        theirs = {name: cosines(bergson.rows(name, len(rows))) for name in of_bergson}
        bergson.close()
    differences = {name: float(np.abs(rows_of - exact).max()) for name, rows_of in theirs.items()}
    if differences["global"] > 8 / K**0.5:
        raise SystemExit(f"cosines of rows differ by {differences['global']:.3f} from bergson's")
    ratios = {name: ratio(found[name], found["ours"][: len(found[name])]) for name in of_bergson}
    factor, spread = ratios["global"]
    kind = kind_of(given.shared, given.like, device)
    what = f"bergson build over ours: {name_of(given.shared, given.like, device)}, r {given.rank}, {device.type}"
    note = f"its default, per module: {ratios['per_module'][0]:.3g}x"
    flags = f"{' --shared' if given.shared else ''}{f' --like {given.like}' if given.like else ''}"
    keep(
        f"bergson_build-{kind}-r{given.rank}{'' if device.type == 'cpu' else '-cuda'}",
        given.small,
        f"speed/bergson_build.py{flags} --rank {given.rank} --device {given.device}",
        [Figure(what, factor, BERGSON, False, "x", spread, note)],
        {
            "rows": len(rows),
            "tokens": sum(len(ids) for ids, _ in rows),
            "threads": torch.get_num_threads(),
            "batch_tokens": batch_tokens | of_bergson,
            "numbers_a_row_per_module": round((K / num_modules) ** 0.5) ** 2 * num_modules,
            "seconds": {name: median(values) for name, values in found.items()},
            "ratios": {build: {"median": middle, "range": extent} for build, (middle, extent) in ratios.items()},
            "largest_cosine_difference": {name: round(value, 4) for name, value in differences.items()},
            "seconds_of_whole_commands": {name: median(values) for name, values in bergson.commands.items()},
            "bergson": bergson.versions,
        },
    )


if __name__ == "__main__":
    main()
