"""How near rows are to those of float32: an adapter's or all linear layers', by type of weights, whole and split.

    python benchmarks/quality/rounded_rows.py [--small]

Each combination of (LoRA, all linear layers) × (float32, bfloat16; nf4 and int8, computed with in either) × (one
device, split) makes stored rows: of a tiny Llama of random weights on the bundled sample, and of base6m on the real
pool. Adapter and moments are the same in all: moments are the mean and the mean square of the float32 gradients of
these very rows, of all linear layers factored. Told are the median and the lowest cosine of a row with its float32 one
on one device; of a split model, whether its rows are bit for bit those of one device of the same type, else by how much
one number differs. What the settings refuse is noted with what they say, and what cannot be run with why.

Split is over two made-up devices (`tests/helpers/two_devices.py`): tensors are real, lie in main memory, and refuse to
meet. One device is then one of these, with the same plain attention.

Expected before it was measured: float32 split 1, bfloat16 above 0.99, int8 above 0.99, nf4 about 0.9; split always the
same bits. Writes benchmarks/results/rounded_rows.json.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from pydantic import ValidationError
from transformers import LlamaConfig, LlamaForCausalLM

from common.measure import BATCH_TOKENS, Figure, keep
from common.places import BASE6M, BUNDLED_MODEL, ROOT
from common.sample import adapted, read_rows
from common.shapes import copy_tokenizer
from g2is.config import Config, ExecutionConfig, GammaForm, ModelConfig, Parameters, ProjectionConfig, Quantization
from g2is.errors import ModelError, first_line
from g2is.gradients.extract import AdapterState, Extractor, projection_of
from g2is.gradients.per_example import per_example_gradients
from g2is.gradients.pieces import Piece
from g2is.model.all_linear import make_all_trainable
from g2is.model.batches import Row, pad_batch
from g2is.model.folder import find_model
from g2is.model.parameters import trainable_parameters
from g2is.model.quantized import check_package
from g2is.store.moments import Factored, Moments

sys.path.append(str(ROOT / "tests/helpers"))  # tests have the two devices, too
from two_devices import on_first, over_two, two_devices

CPU = torch.device("cpu")
FORMS: tuple[GammaForm, ...] = ("momentum-free", "sgd")  # of the pool's rows, of the target's
TYPES: tuple[tuple[str, Quantization | None], ...] = (
    ("float32", None),
    ("bfloat16", None),
    *itertools.product(("float32", "bfloat16"), get_args(Quantization)),
)
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Of:
    """A model, its rows, and of which gradients these are taken."""

    name: str
    place: Path
    rows: Sequence[Row]
    parameters: Parameters
    rank: int

    def load(self, dtype: str, rounded: Quantization | None) -> Any:
        """The model, its weights as they are or rounded, with the same adapter every time, or its layers trainable."""
        base = find_model(ModelConfig(name=str(self.place), dtype=dtype, quantization=rounded)).load(CPU)
        return adapted(base, self.rank) if self.parameters == "lora" else make_all_trainable(base).eval()

    def refusal(self, rounded: Quantization | None, *, split: bool) -> str | None:
        """What the settings say against it, if they do."""
        model = {"name": str(self.place), "quantization": rounded, "device_map": "auto" if split else None}
        values = {"pool": "p", "targets": {"t": ["t"]}, "out": "o", "model": model}
        try:
            Config.model_validate({**values, "gradients": {"parameters": self.parameters}})
        except ValidationError as error:
            return str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        return None


def tiny_llama(place: Path) -> Path:
    """A Llama of random weights in float32 with the bundled model's tokenizer, saved at `place`."""
    copy_tokenizer(BUNDLED_MODEL, place)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=find_model(ModelConfig(name=str(BUNDLED_MODEL))).num_embeddings,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    LlamaForCausalLM(config).save_pretrained(str(place))
    return place


def moments_of(model: torch.nn.Module, rows: Sequence[Row], *, factored: bool) -> Moments:
    """Mean and mean square of the rows' own gradients."""
    parameters = trainable_parameters(model)
    m, v = ({name: torch.zeros(of.numel()) for name, of in parameters.items()} for _ in "mv")

    def add(name: str, gradient: torch.Tensor, piece: Piece) -> None:
        m[name][piece.start : piece.stop] += gradient.sum(0) / len(rows)
        v[name][piece.start : piece.stop] += gradient.square().sum(0) / len(rows)

    for row in rows:
        per_example_gradients(model, pad_batch([row]), add, ExecutionConfig().bytes_of_gradients("cpu"))
    m, v = ({name: of[name].view(parameters[name].shape) for name in of} for of in (m, v))
    if not factored:
        return Moments(m, v, step=100)
    weights = {name: Factored(of.mean(1), of.mean(0)) for name, of in v.items() if of.ndim > 1}
    return Moments({}, {name: of for name, of in v.items() if of.ndim == 1}, 100, factored=weights)


def extract(model: torch.nn.Module, moments: Moments, rows: Sequence[Row]) -> Arrays:
    """Rows as they are stored."""
    parameters = trainable_parameters(model)
    m, v = ({name: of.to(parameters[name].device) for name, of in kind.items()} for kind in (moments.m, moments.v))
    placed = Moments(m, v, moments.step, factored=moments.factored)
    state = AdapterState({name: of.detach().clone() for name, of in parameters.items()}, placed)
    most_bytes = ExecutionConfig().bytes_of_gradients("cpu")
    sketch = projection_of(ProjectionConfig(), parameters)
    extractor = Extractor(model, {"c": state}, sketch, BATCH_TOKENS, _fail, most_bytes)
    arrays = extractor.extract(rows, np.zeros((len(rows), 16), np.uint8), FORMS).arrays
    return {form: arrays[f"c/{form}/rows"] for form in FORMS}


def _fail(notice: str) -> None:
    raise SystemExit(f"expected rows taken in batches that fit, found: {notice}")


def cosines(rows: Arrays, exact: Arrays) -> dict[str, dict[str, float]]:
    """By form, the median and the lowest cosine of a row with its exact one."""
    found: dict[str, dict[str, float]] = {}
    for form in FORMS:
        units = [of / np.linalg.norm(of, axis=1, keepdims=True) for of in map(np.float64, (rows[form], exact[form]))]
        of_rows = np.einsum("rk,rk->r", *units)
        found[form] = {"median": round(float(np.median(of_rows)), 6), "lowest": round(float(of_rows.min()), 6)}
    return found


def measured(of: Of) -> Iterator[dict[str, Any]]:
    """A record of each combination."""
    plain = of.load("float32", None)
    moments = moments_of(plain, of.rows, factored=of.parameters == "all")
    exact = extract(plain, moments, of.rows)
    for (dtype, rounded), split in itertools.product(TYPES, (False, True)):
        record: dict[str, Any] = {
            "model": of.name,
            "parameters": of.parameters,
            "dtype": dtype,
            "quantization": rounded,
            "devices": "split" if split else "one",
        }
        try:
            yield record | (
                _refused_or_none(of, rounded, split) or _compared(of, dtype, rounded, split, moments, exact)
            )
        except ModelError as error:
            yield record | {"not_measured": first_line(error)}


def _refused_or_none(of: Of, rounded: Quantization | None, split: bool) -> dict[str, Any] | None:
    told = of.refusal(rounded, split=split)
    if told is None and rounded is not None:
        check_package(f"model.quantization {rounded}")
    return None if told is None else {"refused": told}


def _compared(
    of: Of, dtype: str, rounded: Quantization | None, split: bool, moments: Moments, exact: Arrays
) -> dict[str, Any]:
    if not split:
        return {"cosine": cosines(extract(of.load(dtype, rounded), moments, of.rows), exact)}
    models = [of.load(dtype, rounded) for _ in range(2)]
    with two_devices():
        on_one, over_both = (
            extract(put(model), moments, of.rows) for put, model in zip((on_first, over_two), models, strict=True)
        )
    furthest = max(float(np.abs(np.float64(on_one[form]) - np.float64(over_both[form])).max()) for form in FORMS)
    same = all(np.array_equal(on_one[form], over_both[form]) for form in FORMS)
    return {"cosine": cosines(over_both, exact), "same_bits_as_on_one": same, "furthest_from_one": furthest}


def figures_of(records: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """A line for each combination that was measured."""
    figures = []
    for record in records:
        if "cosine" not in record:
            continue
        kind = record["dtype"] + (f" with {record['quantization']}" if record["quantization"] else "")
        where = "" if record["devices"] == "one" else ", split"
        for form, found in record["cosine"].items():
            what = f"{record['model']}, {record['parameters']}, {kind}{where}: lowest cosine of a row, {form}"
            figures.append(Figure(what, found["lowest"], None, False, note=f"median {found['median']:.6g}"))
    split = [record for record in records if "same_bits_as_on_one" in record]
    differ = sum(not record["same_bits_as_on_one"] for record in split)
    return [*figures, Figure(f"of {len(split)} split models: with other bits than on one device", differ, 0, True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="the tiny Llama alone, fewer rows: under a minute")
    given = parser.parse_args()
    num_rows = 8 if given.small else 48
    with tempfile.TemporaryDirectory() as scratch:
        tiny = tiny_llama(Path(scratch) / "tiny")
        places = {"tiny Llama": (tiny, False, 4)} | ({} if given.small else {"base6m": (BASE6M, True, 16)})
        records: list[dict[str, Any]] = []
        for name, (place, shared, rank) in places.items():
            rows = read_rows(shared, num_rows, find_model(ModelConfig(name=str(place))))
            for parameters in get_args(Parameters):
                for record in measured(Of(name, place, rows, parameters, rank)):
                    print(record, flush=True)
                    records.append(record)
    details = {"rows": num_rows, "forms": list(FORMS), "combinations": records}
    keep("rounded_rows", given.small, "quality/rounded_rows.py", figures_of(records), details)


if __name__ == "__main__":
    main()
