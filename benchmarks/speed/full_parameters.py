"""Extraction of all linear layers' gradients over that of a LoRA adapter's: the same model, rows and token budget.

    python benchmarks/speed/full_parameters.py [--small] [--shared] [--rank 16] [--bergson /tmp/bergson-venv/bin/python]
    python benchmarks/speed/full_parameters.py --like 8b --device cuda
    python benchmarks/speed/full_parameters.py --like 1b --device cuda --bergson python --only-bergson

Both are whole: the two Γ forms that a store holds by default, projection to 8192, unit rows, and storing them. Of all
linear layers it is measured with factored and with Adam's second moments, and with several bounds of memory
(`execution.gradient_bytes`) of which the default is one. Beside them are plain passes: forward and backward to every
weight, which is what no way to take such gradients is without. All run in turn. With `--like`, models that a device
need not hold twice, each is made, run and gone; the result is written after each, and what does not fit is noted.

With `--bergson PYTHON` (how to install it: `bergson_build.py`) its build of the same model without an adapter runs in
turn with ours of two-sided projection; with `--only-bergson` nothing else does. It projects so by default, each
module's gradient, to about 8192 numbers a row. Both store plain gradients. Its global projection draws a dense sign
matrix of all weights for every batch, which takes minutes on a CPU, and is left out.

Expected before it was measured: on a CPU 3 to 8 times as long as an adapter of rank 16, for Γ goes over all weights for
every example; with the two-sided projection about twice. Writes benchmarks/results/full_parameters-NAME.json. There is
no goal.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from common.bergson import ITS_MOST_TOKENS, Bergson, BergsonEndedError, copy_with_context, write_data
from common.measure import Figure, alternate, keep, median, ratio
from common.measure import seconds as clocked
from common.sample import (
    floor,
    kind_of,
    load,
    make_extractor,
    name_of,
    parser,
    stored,
    tokenizer_folder,
)
from common.shapes import add_like, forget
from g2is.config import ExecutionConfig, GammaForm, GradientsConfig, ProjectionConfig
from g2is.errors import ModelError, first_line, tells_of_memory
from g2is.gradients.extract import AdapterState, Extractor, projection_of
from g2is.model.all_linear import make_all_trainable
from g2is.model.batches import Row
from g2is.model.parameters import trainable_parameters
from g2is.store.moments import Factored, Moments

TIMES = 3
Makers = Mapping[str, Callable[[], Callable[[], object]]]  # by name, what makes ready what is timed
FORMS = GradientsConfig().forms
PLAIN, LORA, ADAM = "plain passes to all weights", "lora", "all, adam"
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
    with stored(extractor, rows, forms):
        pass


def factored(num_bytes: int) -> str:
    return f"all, factored, {num_bytes // MIB} MiB"


def makers_of(whole: torch.nn.Module, rows: list[Row], batch_tokens: int, bounds: Sequence[int], usual: int) -> Makers:
    """What is timed of all linear layers."""

    def made(
        is_factored: bool, bound: int, projection: ProjectionConfig, forms: Sequence[GammaForm]
    ) -> Callable[[], None]:
        return partial(extract, of_all(whole, is_factored, batch_tokens, bound, projection), rows, forms)

    usually = ProjectionConfig()
    return {
        **{factored(bound): partial(made, True, bound, usually, FORMS) for bound in bounds},
        ADAM: partial(made, False, usual, usually, FORMS),
        TWO_SIDED: partial(made, True, usual, ProjectionConfig(kind="two-sided"), ["sgd"]),
        PLAIN: lambda: partial(floor, whole, rows, batch_tokens),
    }


def in_turn(makers: Makers) -> dict[str, list[float]]:
    """Seconds of all, run in turn."""
    works = {name: make() for name, make in makers.items()}
    for work in works.values():
        work()  # every first-time cost
    return dict(zip(works, alternate(list(works.values()), TIMES), strict=True))


def one_by_one(makers: Makers, write: Callable[[str, list[float] | str], None]) -> None:
    """The same, each made, timed and gone before the next; `write` is told its seconds, or that it does not fit."""
    work: Callable[[], object] | None
    for name, make in makers.items():
        try:
            work = make()
            work()
            write(name, [clocked(work) for _ in range(TIMES)])
        except Exception as error:
            if not isinstance(error, ModelError) and not tells_of_memory(error):
                raise
            write(name, f"did not fit on the device: {first_line(error)}")
        work = None
        forget()


def write_model(model: torch.nn.Module, tokenizer: Path, like: str | None, place: Path) -> str:
    """Write what bergson builds of to `place`; the precision that it is told."""
    copy_with_context(tokenizer, place, ITS_MOST_TOKENS, without_weights=like is not None)
    if like:
        model.save_pretrained(str(place))  # type: ignore[operator]
    return {torch.float32: "fp32", torch.bfloat16: "bf16"}[next(model.parameters()).dtype]


def bergson_in_turn(
    python: str,
    write: Callable[[Path], str],
    num_modules: int,
    rows: list[Row],
    batch_tokens: int,
    ours: Callable[[], object],
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds of its build of the model that `write` writes and of `ours`, run in turn, and its versions."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        precision = write(work / "model")
        write_data(rows, work / "data")
        side = round((ProjectionConfig().dim / num_modules) ** 0.5)
        told = [
            *("--model", str(work / "model"), "--tokenizer", str(work / "model"), "--precision", precision),
            *("--projection_dim", str(side), "--projection_target", "per_module"),
            *("--token_batch_size", str(batch_tokens)),
        ]
        bergson = Bergson(python, work)
        bergson.build("whole", told)  # every first-time cost
        ours()
        found: dict[str, list[float]] = {THEIRS: [], IN_TURN: []}
        for _ in range(TIMES):
            found[THEIRS].append(bergson.build("whole", told))
            found[IN_TURN].append(clocked(ours))
        numbers = bergson.rows("whole", len(rows)).shape[1]
        bergson.close()
        return found, {**bergson.versions, "numbers_a_row": str(numbers)}


def figures_of(seconds: Mapping[str, list[float]], usual: str, where: str) -> list[Figure]:
    """Ratios of whatever was measured."""
    ratios = (
        ("all linear layers over an adapter", usual, LORA),
        ("all linear layers, Adam's moments, over an adapter", ADAM, LORA),
        ("all linear layers over plain passes to all weights", usual, PLAIN),
        ("bergson's build over ours, both two-sided", THEIRS, IN_TURN),
    )
    return [
        Figure(f"{what}: {where}", *_parts(seconds[over], seconds[under], under == IN_TURN))
        for what, over, under in ratios
        if over in seconds and under in seconds
    ]


def _parts(over: list[float], under: list[float], is_ours: bool) -> tuple[float, None, bool, str, tuple[float, float]]:
    value, spread = ratio(over, under)
    return value, None, not is_ours, "x", spread


class Results:
    """What was measured so far, written anew with each."""

    def __init__(self, given: argparse.Namespace, usual: str, details: dict[str, Any]) -> None:
        self._given, self._usual, self._details = given, usual, details
        self.seconds: dict[str, list[float]] = {}
        self._without: dict[str, str] = {}

    def add(self, name: str, found: list[float] | str) -> None:
        """The seconds of `name`, or why there are none."""
        if isinstance(found, str):
            self._without[name] = found
        else:
            self.seconds[name] = found

    def write(self, name: str | None = None, found: list[float] | str = "") -> None:
        """Write all of it, after `found` of `name`."""
        if name is not None:
            self.add(name, found)
        given, device = self._given, torch.device(self._given.device)
        where = f"{name_of(given.shared, given.like, device)}, r {given.rank}, {device.type}"
        figures = figures_of(self.seconds, self._usual, where)
        asked = {"--shared": given.shared, "--only-bergson": given.only_bergson}
        flags = [flag for flag, is_given in asked.items() if is_given] + (["--like", given.like] if given.like else [])
        rest = "-bergson" if given.only_bergson else ""
        keep(
            f"full_parameters-{kind_of(given.shared, given.like, device)}-r{given.rank}{rest}"
            f"{'' if device.type == 'cpu' else f'-{device.type}'}",
            given.small,
            " ".join(["speed/full_parameters.py", *flags, f"--rank {given.rank} --device {given.device}"]),
            figures,
            {
                **self._details,
                "seconds": {name: median(taken) for name, taken in self.seconds.items()},
                "not_measured": self._without,
            },
        )


def main() -> None:
    command_line = parser(__doc__, "fewer rows and bounds: under a minute")
    command_line.add_argument("--rank", type=int, default=16)
    add_like(command_line)
    command_line.add_argument("--device", default="cpu")
    command_line.add_argument("--bergson", default="", help="python of the environment it is in")
    command_line.add_argument("--only-bergson", action="store_true", help="measure nothing but bergson beside ours")
    given = command_line.parse_args()
    if given.only_bergson and not given.bergson:
        command_line.error("--only-bergson: expected --bergson PYTHON beside it, found none")
    device = torch.device(given.device)
    execution = ExecutionConfig()
    batch_tokens, default = execution.tokens_a_batch(device.type), execution.bytes_of_gradients(device.type)
    num_rows = 16 if given.small else 64 if given.like else 128
    adapted, rows, moments = load(given.shared, given.rank, num_rows, given.device, given.like)
    details: dict[str, Any] = {
        "rows": len(rows),
        "tokens": sum(len(ids) for ids, _ in rows),
        "batch_tokens": batch_tokens,
        "threads": torch.get_num_threads(),
        "coordinates": {"lora": count(adapted)},
        "bergson": "not measured: not asked for, by --bergson",
    }
    results = Results(given, factored(default), details)
    one_at_a_time = given.like is not None
    of_lora: Makers = {LORA: lambda: partial(extract, make_extractor(adapted, moments, batch_tokens), rows)}
    if one_at_a_time and not given.only_bergson:
        one_by_one(of_lora, results.write)
    whole: torch.nn.Module = (
        adapted.unload() if one_at_a_time else load(given.shared, given.rank, 1, given.device, given.like)[0].unload()
    )
    make_all_trainable(whole).eval()
    details["coordinates"] = {**details["coordinates"], "all": count(whole)}
    bounds = [default] if given.small else sorted({*([] if given.like else [4 * MIB, 16 * MIB]), default, 256 * MIB})
    makers = makers_of(whole, rows, batch_tokens, bounds, default)
    if one_at_a_time and not given.only_bergson:
        one_by_one(makers, results.write)
    elif not given.only_bergson:
        for name, found in in_turn({**of_lora, **makers}).items():
            results.add(name, found)
    if given.bergson:
        write = partial(write_model, whole, tokenizer_folder(given.shared), given.like)
        num_modules = len(trainable_parameters(whole))
        try:
            seconds, details["bergson"] = bergson_in_turn(
                given.bergson, write, num_modules, rows, batch_tokens, makers[TWO_SIDED]()
            )
        except BergsonEndedError as error:
            raise SystemExit(str(error)) from None
        results.seconds.update(seconds)
    results.write()


def count(model: torch.nn.Module) -> int:
    """Coordinates of what is trainable."""
    return sum(of.numel() for of in trainable_parameters(model).values())


if __name__ == "__main__":
    main()
