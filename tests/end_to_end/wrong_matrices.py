"""The error catalogue: matrices and graphs that others computed."""

from collections.abc import Callable

import numpy as np
import torch
from small_run import MODEL
from wrong_input import Case, Place, case


def _spoilt(value: float) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(30, 8))
    values[4, 2] = value
    return values


def pool_matrix(name: str, values: np.ndarray) -> Callable[[Place], list[object]]:
    return lambda place: place.walk(pool=place.matrix(name, values))


def pool_tensor(value: object) -> Callable[[Place], list[object]]:
    def command(place: Place) -> list[object]:
        torch.save(value, place.here / "pool.pt")
        return place.walk(pool=place.here / "pool.pt")

    return command


def graph(values: np.ndarray) -> Callable[[Place], list[object]]:
    return lambda place: place.walk("--method", "g2is", "--graph", place.matrix("graph.npy", values))


def _objects(place: Place) -> list[object]:
    return place.walk(pool=place.matrix("pool.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True))


def _only_pool(place: Place) -> list[object]:
    return ["walk", "--pool-gradients", place.matrix("good.npy"), "--out", place.here / "run"]


def _too_many_components(place: Place) -> list[object]:
    few = place.matrix("few.npy", _spoilt(0)[:3])
    return place.walk("--method", "g2is", "--core-mode", "count_ratio", "--core-fraction", "1", target=few)


MATRICES: dict[str, Case] = {
    "k of two matrices differs": case(
        lambda place: place.walk(target=place.matrix("narrow.npy", np.ones((3, 7)))),
        "narrow.npy: expected k = 8 coordinates a row, as ",
        "good.npy has, found 7; both must come from one model, adapter and projection",
    ),
    "NaN in a matrix": case(
        pool_matrix("pool.npy", _spoilt(np.nan)),
        "pool gradients ", "pool.npy: expected finite numbers, found NaN or Inf, first in row(s) [4]",
        "leave such rows out or set them to zero",
    ),
    "Inf in a matrix": case(
        pool_matrix("pool.npy", _spoilt(-np.inf)),
        "pool.npy: expected finite numbers, found NaN or Inf, first in row(s) [4]",
    ),
    "an array of objects": case(
        _objects,
        "pool.npy: expected one array of plain numbers, but it cannot be read", "write the file again",
    ),
    "a pickle called .pt": case(
        pool_tensor(Place),
        "pool.pt: expected a file holding nothing but one tensor, found other Python objects",
        "save the tensor itself: torch.save(tensor, path)",
    ),
    "two tensors": case(
        pool_tensor({"a": torch.ones(3, 8), "b": torch.ones(3, 8)}),
        "pool.pt: expected a file holding one tensor, found a dict with a, b; save the tensor itself",
    ),
    "one-dimensional matrix": case(
        pool_matrix("pool.npy", np.ones(8)),
        "pool.npy: expected a matrix (rows, k) with at least one row and column, found shape (8,)",
        "save it with one row an example",
    ),
    "whole numbers": case(
        pool_matrix("pool.npy", np.ones((3, 8), np.int64)),
        "pool.npy: expected float16, float32 or float64 numbers, found dtype int64; convert them",
    ),
    "unknown suffix of a matrix": case(
        lambda place: place.walk(pool=place.text("pool.csv", "1,2\n")),
        "pool.csv: expected a .npy, .safetensors or .pt file or a Zarr array's folder, found .csv",
        "save it as one of these",
    ),
    "matrix that is not there": case(
        lambda place: place.walk(pool=place.here / "none.npy"),
        "none.npy: expected a file, found no such file; check the path",
    ),
    "text called .npy": case(
        lambda place: place.walk(pool=place.text("pool.npy", "1 2\n")),
        "pool.npy: expected one array of plain numbers, but it cannot be read", "write the file again",
    ),
    "a folder that is no Zarr array": case(
        lambda place: place.walk(pool=place.finished),
        "run: expected one array of plain numbers, but it cannot be read",
    ),
    "one matrix of two": case(
        _only_pool,
        "expected --pool-gradients and --target-gradients together, found no --target-gradients",
    ),
    "matrices and a model": case(
        lambda place: place.walk("--model", MODEL),
        "g2is walk: expected either POOL, TARGET and --model", "found matrices and --model. Leave one or the other out",
    ),
    "a graph of another pool": case(
        graph(np.zeros((29, 4), np.int64)),
        "graph.npy: expected (30, n), a list of neighbours for each pool row, found shape (29, 4)",
    ),
    "a graph that points outside": case(
        graph(np.full((30, 4), 30)),
        "graph.npy: expected row indices from 0 to 29, found 30 in row 0, column 0",
        "the graph must be made from this pool",
    ),
    "a graph of fractions": case(
        graph(np.ones((30, 4))),
        "graph.npy: expected integer row indices, found dtype float64",
    ),
    "a graph without matrices": case(
        lambda place: ["walk", *place.select("--graph", place.matrix("graph.npy"))[1:]],
        "g2is walk: expected --graph beside --pool-gradients, whose rows it lists, found none; leave it out",
    ),
    "tokens of a matrix": case(
        lambda place: ["walk", *place.walk()[1:5], "--budget", "2Mtok", "--out", place.here / "run"],
        "budget: expected a share of the rows such as '1%' or a number of rows such as '500', found '2Mtok'",
    ),
    "zero target gradients": case(
        lambda place: place.walk(target=place.matrix("zero.npy", np.zeros((3, 8)))),
        "target gradients: expected a row that is not zero, found 3 zero row(s)",
        "check the target's answers and max_length",
    ),
    "--core-fraction of no number": case(
        lambda place: place.walk("--core-fraction", "half"),
        "selection.core_fraction: expected a valid number", "found 'half'",
    ),
    "more components than target rows": case(
        _too_many_components,
        "core_mode count_ratio: expected at most 3 components, one for each target row",
        "found 1.0 of k = 8, which is 8", "use a core_fraction of at most 0.375",
    ),
}  # fmt: skip
