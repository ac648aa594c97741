"""Matrices and graphs from files: what is accepted, and that every refusal says what is wrong and where."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from safetensors.torch import save_file

from g2is.errors import MatrixError
from g2is.selection.files import check_graph, check_pair, load_graph, load_matrix

VALUES = np.array([[1.0, 0.5, 0.0], [0.25, -2.0, 3.0]])


def as_array(matrix: Any) -> np.ndarray:
    return matrix.double().numpy() if isinstance(matrix, torch.Tensor) else np.asarray(matrix, dtype=np.float64)


def write(path: Path, kind: str) -> Path:
    tensor = torch.from_numpy(VALUES)
    match kind:
        case "npy float16":
            np.save(path := path / "m.npy", VALUES.astype(np.float16))
        case "npy big-endian":
            np.save(path := path / "m.npy", VALUES.astype(">f4"))
        case "npy fortran":
            np.save(path := path / "m.npy", np.asfortranarray(VALUES))
        case "safetensors bfloat16":
            save_file({"gradients": tensor.bfloat16()}, path := path / "m.safetensors")
        case "pt":
            torch.save(tensor.half(), path := path / "m.pt")
        case "pt of the old format":
            torch.save(tensor.float(), path := path / "m.pt", _use_new_zipfile_serialization=False)
        case "zarr v3":
            zarr.save_array(path := path / "m.zarr", VALUES.astype(np.float16), zarr_format=3)
        case "zarr v2":
            zarr.save_array(path := path / "m", VALUES, zarr_format=2)
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "npy float16",
        "npy big-endian",
        "npy fortran",
        "safetensors bfloat16",
        "pt",
        "pt of the old format",
        "zarr v3",
        "zarr v2",
    ],
)
def test_each_kind_of_file_gives_its_matrix(tmp_path: Path, kind: str) -> None:
    np.testing.assert_array_equal(as_array(load_matrix(write(tmp_path, kind), "pool gradients")), VALUES)


def test_an_npy_file_is_mapped_not_read(tmp_path: Path) -> None:
    assert isinstance(load_matrix(write(tmp_path, "npy float16"), "pool gradients"), np.memmap)


def refused(path: Path) -> str:
    with pytest.raises(MatrixError) as caught:
        load_matrix(path, "pool gradients")
    message = str(caught.value)
    assert message.startswith(f"pool gradients {path}: ")
    return message


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.arange(6).reshape(2, 3), "found dtype int64"),
        (VALUES.astype(complex), "found dtype complex128"),
        (VALUES > 0, "found dtype bool"),
        (VALUES[0], r"at least one row and column, found shape (3,)"),
        (VALUES[None], "found shape (1, 2, 3)"),
        (VALUES[:0], "found shape (0, 3)"),
        (VALUES[:, :0], "found shape (2, 0)"),
    ],
)
def test_an_array_that_is_no_float_matrix_is_refused(tmp_path: Path, array: np.ndarray, problem: str) -> None:
    np.save(tmp_path / "m.npy", array)
    assert problem in refused(tmp_path / "m.npy")


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.array([[1, "a"]], dtype=object), allow_pickle=True)
    assert "Python objects" in refused(tmp_path / "m.npy")
    torch.save([Path("anything")], tmp_path / "m.pt")
    assert "not loaded because they can run code" in refused(tmp_path / "m.pt")


def test_a_pt_file_of_several_tensors_is_refused_with_their_names(tmp_path: Path) -> None:
    torch.save({"m": torch.ones(2), "v": torch.ones(2)}, tmp_path / "m.pt")
    assert "found a dict with m, v" in refused(tmp_path / "m.pt")


def test_a_safetensors_file_of_several_tensors_is_refused_with_their_names(tmp_path: Path) -> None:
    save_file({"b": torch.ones(2, 2), "a": torch.ones(2, 2)}, tmp_path / "m.safetensors")
    assert "expected exactly one tensor, found 2: a, b" in refused(tmp_path / "m.safetensors")


def test_a_zarr_group_is_refused_with_the_names_of_its_arrays(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "store", mode="w")
    group.create_array("rows", shape=(2, 2), dtype="float16")
    assert "found a group; name one of its arrays (rows)" in refused(tmp_path / "store")


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_a_tensor_of_a_dtype_the_walk_cannot_use_is_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    save_file({"rows": torch.ones(2, 2).to(dtype)}, tmp_path / "m.safetensors")
    assert f"found {str(dtype).removeprefix('torch.')}" in refused(tmp_path / "m.safetensors")


def test_a_sparse_tensor_is_refused(tmp_path: Path) -> None:
    torch.save(torch.eye(3).to_sparse(), tmp_path / "m.pt")
    assert "expected a dense tensor" in refused(tmp_path / "m.pt")


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_named_even_far_down_a_large_file(tmp_path: Path, broken: float) -> None:
    values = np.zeros((5000, 1000), dtype=np.float16)
    values[[4321, 4400], 7] = broken
    np.save(tmp_path / "m.npy", values)
    assert "NaN or Inf, first in row(s) [4321, 4400]" in refused(tmp_path / "m.npy")


@pytest.mark.parametrize("name", ["m.npy", "m.safetensors", "m.pt"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not a matrix")
    assert "cannot be read" in refused(tmp_path / name) or "other Python objects" in refused(tmp_path / name)


def test_a_folder_that_is_no_zarr_array_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path)


def test_a_missing_file_and_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "m.npy")
    (tmp_path / "m.csv").write_text("1,2")
    assert "expected a .npy, .safetensors or .pt file or a Zarr array's folder, found .csv" in refused(
        tmp_path / "m.csv"
    )


def test_pool_and_target_must_have_the_same_k() -> None:
    check_pair(np.ones((2, 3)), torch.ones(5, 3))
    with pytest.raises(MatrixError, match=r"t\.npy: expected k = 3 coordinates a row, as p\.npy has, found 4"):
        check_pair(np.ones((2, 3)), np.ones((2, 4)), "p.npy", "t.npy")


def test_a_graph_is_loaded_as_written(tmp_path: Path) -> None:
    graph = np.array([[0, 1], [1, 0], [2, 0]], dtype=np.int32)
    np.save(tmp_path / "graph.npy", graph)
    np.testing.assert_array_equal(load_graph(tmp_path / "graph.npy", 3), graph)


@pytest.mark.parametrize(
    ("graph", "problem"),
    [
        (
            np.zeros((4, 2), dtype=int),
            r"expected \(3, n\), a list of neighbours for each pool row, found shape \(4, 2\)",
        ),
        (np.zeros(3, dtype=int), r"found shape \(3,\)"),
        (np.zeros((3, 0), dtype=int), r"found shape \(3, 0\)"),
        (np.zeros((3, 2)), "found dtype float64"),
        (np.array([[0, 1], [1, 3], [0, 0]]), "from 0 to 2, found 3 in row 1, column 1"),
        (np.array([[0, 1], [1, 2], [0, -1]]), "from 0 to 2, found -1 in row 2, column 1"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused_with_the_place(tmp_path: Path, graph: np.ndarray, problem: str) -> None:
    np.save(tmp_path / "graph.npy", graph)
    with pytest.raises(MatrixError, match=problem):
        load_graph(tmp_path / "graph.npy", 3)
    with pytest.raises(MatrixError, match=problem):
        check_graph(graph, 3)


def test_a_graph_must_be_an_npy_file(tmp_path: Path) -> None:
    (tmp_path / "graph.pkl").write_bytes(b"")
    with pytest.raises(MatrixError, match=r"expected a \.npy file of row indices, found \.pkl"):
        load_graph(tmp_path / "graph.pkl", 3)


@pytest.mark.parametrize("options", [{"zarr_format": 2}, {"zarr_format": 3}, {"zarr_format": 3, "shards": (2, 3)}])
def test_a_missing_chunk_is_refused_and_not_read_as_zeros(tmp_path: Path, options: dict[str, Any]) -> None:
    array = zarr.create_array(tmp_path / "m", shape=(4, 3), chunks=(1, 3), dtype="float32", **options)
    array[:] = np.arange(1, 13).reshape(4, 3)
    whole = load_matrix(tmp_path / "m", "pool gradients")
    assert as_array(whole)[0].tolist() == [1, 2, 3]
    chunk = next(path for path in sorted((tmp_path / "m").rglob("*")) if path.is_file() and path.name[0].isdigit())
    chunk.unlink()
    assert not np.asarray(zarr.open_array(tmp_path / "m", mode="r")[:]).all()  # what a naive reader takes
    assert "missing, which would be read as 0.0" in refused(tmp_path / "m")


@pytest.mark.parametrize("change", ["fewer rows in the head", "more bytes", "fewer bytes"])
def test_an_npy_file_whose_head_and_length_disagree_is_refused(tmp_path: Path, change: str) -> None:
    np.save(tmp_path / "m.npy", np.ones((200, 4), np.float32))
    content = (tmp_path / "m.npy").read_bytes()
    changed = {
        "fewer rows in the head": content.replace(b"(200, 4)", b"(100, 4)"),
        "more bytes": content + b"more",
        "fewer bytes": content[:-4],
    }
    assert changed[change] != content
    (tmp_path / "m.npy").write_bytes(changed[change])
    refused(tmp_path / "m.npy")
