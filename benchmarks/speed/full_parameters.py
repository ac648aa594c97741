"""Extraction of all linear layers' gradients over that of a LoRA adapter's: the same model, rows and token budget.

    python benchmarks/speed/full_parameters.py [--small] [--shared] [--rank 16] [--bergson /tmp/bergson-venv/bin/python]
    python benchmarks/speed/full_parameters.py --like-8b --device cuda

Both are whole: the two Γ forms that a store holds by default, projection to 8192, unit rows, and storing them. Of all
linear layers it is measured with factored and with Adam's second moments, and with several bounds of memory
(`execution.gradient_bytes`) of which the default is one. They run in turn with the adapter's and with plain passes:
forward and backward to every weight, which is what no way to take such gradients is without.

With `--bergson PYTHON` (how to install it: `bergson_build.py`) its build of the same model without an adapter runs in
turn with ours of two-sided projection. It projects so by default, each module's gradient, to about 8192 numbers a row.
Both store plain gradients. Its global projection draws a dense sign matrix of all weights for every batch, which takes
minutes on a CPU, and is left out.

Expected before it was measured: on a CPU 3 to 8 times as long as an adapter of rank 16, for Γ goes over all weights for
every example; with the two-sided projection about twice. Writes benchmarks/results/full_parameters-NAME.json. There is
no goal.
"""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from common.bergson import ITS_MOST_TOKENS, Bergson, copy_with_context, write_data
from common.measure import Figure, alternate, keep, median, ratio
from common.measure import seconds as clocked
from common.places import BASE6M, BUNDLED_MODEL
from common.sample import MODELS, floor, kind_of, load, make_extractor, parser, store_gradients
from g2is.config import ExecutionConfig, GammaForm, GradientsConfig, ProjectionConfig
from g2is.gradients.extract import AdapterState, Extractor, projection_of
from g2is.model.all_linear import make_all_trainable
from g2is.model.batches import Row
from g2is.model.parameters import trainable_parameters
from g2is.store.matrix import RowTable
from g2is.store.moments import Factored, Moments

TIMES = 3
FORMS = GradientsConfig().forms
TWO_SIDED, THEIRS = "all, two-sided", "bergson, per module"
IN_TURN = f"{TWO_SIDED}, in turn with bergson"
MIB = 1 << 20


def moments_of(model: torch.nn.Module, factored: bool) -> Moments:
    """Random moments of a model's trainable parameters, on their device."""
    generator = torch.Generator(next(model.parameters()).device).manual_seed(0)

    def drawn(shape: torch.Size, scale: float) -> torch.Tensor:
        return torch.rand(shape, generator=generator, device=generator.device) * scale

    parameters = trainable_parameters(model)
    if not factored:
        m, v = ({name: drawn(of.shape, scale) for name, of in parameters.items()} for scale in (1e-3, 1e-5))
        return Moments(m, v, 200)
    parts = {name: [drawn(torch.Size([size]), 1e-5) for size in of.shape] for name, of in parameters.items()}
    biases = {name: of[0] for name, of in parts.items() if len(of) == 1}
    return Moments({}, biases, 200, factored={name: Factored(*of) for name, of in parts.items() if len(of) > 1})


def of_all(
    model: torch.nn.Module,
    factored: bool,
    batch_tokens: int,
    most_bytes: int,
    config: ProjectionConfig = ProjectionConfig(),  # noqa: B008 (frozen)
) -> Extractor:
    parameters = trainable_parameters(model)
    sketch = projection_of(config, parameters)
    state = AdapterState({name: of.detach() for name, of in parameters.items()}, moments_of(model, factored))
    return Extractor(model, {"c": state}, sketch, batch_tokens, print, most_bytes)


def extract(extractor: Extractor, rows: list[Row], forms: Sequence[GammaForm] = FORMS) -> None:
    keys = np.random.default_rng(0).integers(0, 256, (len(rows), 16), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        table = RowTable(Path(folder) / "pool", "-", shard_rows=len(rows))
        store_gradients(extractor, rows, keys, forms, table)


def bergson_in_turn(
    python: str, base: Path, num_modules: int, rows: list[Row], batch_tokens: int, ours: Callable[[], object]
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds of its build of the model in `base` and of `ours`, run in turn, and its versions."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        copy_with_context(base, work / "model", ITS_MOST_TOKENS, without_weights=False)
        write_data(rows, work / "data")
        side = round((ProjectionConfig().dim / num_modules) ** 0.5)
        told = [
            *("--model", str(work / "model"), "--tokenizer", str(work / "model"), "--precision", "fp32"),
            *("--projection_dim", str(side), "--projection_target", "per_module"),
            *("--token_batch_size", str(batch_tokens)),
        ]
        bergson = Bergson(python, work)
        bergson.build("whole", told)  # every first-time cost
        found: dict[str, list[float]] = {THEIRS: [], IN_TURN: []}
        for _ in range(TIMES):
            found[THEIRS].append(bergson.build("whole", told))
            found[IN_TURN].append(clocked(ours))
        numbers = bergson.rows("whole", len(rows)).shape[1]
        bergson.close()
        return found, {**bergson.versions, "numbers_a_row": str(numbers)}


def main() -> None:
    command_line = parser(__doc__, "fewer rows and bounds: under a minute")
    command_line.add_argument("--rank", type=int, default=16)
    command_line.add_argument("--like-8b", action="store_true", help="as in extraction.py, in place of base6m")
    command_line.add_argument("--device", default="cpu")
    command_line.add_argument("--bergson", default="", help="python of the environment it is in")
    given = command_line.parse_args()
    device = torch.device(given.device)
    execution = ExecutionConfig()
    batch_tokens, default = execution.tokens_a_batch(device.type), execution.bytes_of_gradients(device.type)
    num_rows = 16 if given.small else 128
    adapted, rows, moments = load(given.shared, given.rank, num_rows, given.device, given.like_8b)
    whole = load(given.shared, given.rank, 1, given.device, given.like_8b)[0].unload()
    make_all_trainable(whole).eval()
    bounds = [default] if given.small else sorted({4 * MIB, 16 * MIB, default, 256 * MIB})
    extractors = {"lora": make_extractor(adapted, moments, batch_tokens)}
    extractors |= {f"all, factored, {of // MIB} MiB": of_all(whole, True, batch_tokens, of) for of in bounds}
    extractors["all, adam"] = of_all(whole, False, batch_tokens, default)
    works = {name: partial(extract, extractor, rows) for name, extractor in extractors.items()}
    two_sided = of_all(whole, True, batch_tokens, default, ProjectionConfig(kind="two-sided"))
    works[TWO_SIDED] = partial(extract, two_sided, rows, ["sgd"])
    works["plain passes to all weights"] = partial(floor, whole, rows, batch_tokens)
    for work in works.values():
        work()  # every first-time cost
    seconds = dict(zip(works, alternate(list(works.values()), TIMES), strict=True))
    versions: dict[str, str] = {}
    if given.bergson:
        base = BASE6M if given.shared else BUNDLED_MODEL
        num_modules = len(trainable_parameters(whole))
        found, versions = bergson_in_turn(given.bergson, base, num_modules, rows, batch_tokens, works[TWO_SIDED])
        seconds |= found
    kind = kind_of(given.shared, given.like_8b, device)
    where = f"{MODELS[kind]}, r {given.rank}, {device.type}"
    usual = f"all, factored, {default // MIB} MiB"
    figures = []
    for what, over, under in (
        ("all linear layers over an adapter", usual, "lora"),
        ("all linear layers, Adam's moments, over an adapter", "all, adam", "lora"),
        ("all linear layers over plain passes to all weights", usual, "plain passes to all weights"),
    ):
        value, spread = ratio(seconds[over], seconds[under])
        figures.append(Figure(f"{what}: {where}", value, None, True, "x", spread))
    if given.bergson:
        value, spread = ratio(seconds[THEIRS], seconds[IN_TURN])
        figures.append(Figure(f"bergson's build over ours, both two-sided: {where}", value, None, False, "x", spread))
    keep(
        f"full_parameters-{kind}-r{given.rank}{'' if device.type == 'cpu' else f'-{device.type}'}",
        given.small,
        f"speed/full_parameters.py{' --shared' if given.shared else ''}{' --like-8b' if given.like_8b else ''}"
        f" --rank {given.rank} --device {given.device}",
        figures,
        {
            "rows": len(rows),
            "tokens": sum(len(ids) for ids, _ in rows),
            "batch_tokens": batch_tokens,
            "threads": torch.get_num_threads(),
            "coordinates": {
                name: sum(of.numel() for of in trainable_parameters(model).values())
                for name, model in (("lora", adapted), ("all", whole))
            },
            "seconds": {name: median(taken) for name, taken in seconds.items()},
            "bergson": versions or "not measured: not installed",
        },
    )


if __name__ == "__main__":
    main()
