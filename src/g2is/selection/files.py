"""Gradient matrices and graphs from files, checked on entry.

Matrices: `.npy` (memory-mapped), `.safetensors` and `.pt` holding one tensor, a Zarr array's folder. Nothing is
unpickled but plain tensors.
"""

import pickle
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from g2is.config.strict import special_kind
from g2is.errors import MatrixError, pass_on_too_little_memory

Matrix = np.ndarray | torch.Tensor

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_CHECKED_VALUES = 2**22  # looked at for NaN and Inf at a time


def load_matrix(path: Path, what: str) -> Matrix:
    """The matrix (rows, k) in the file at `path`; `what` names it in errors ("pool gradients").

    Gives a numpy array (a read-only memory map for `.npy`) or, from `.safetensors` and `.pt`, a torch tensor; float16,
    bfloat16, float32 or float64.

    Raises MatrixError if the file is missing, unreadable, of another kind, does not hold exactly one matrix, or the
    matrix has another dtype, another number of dimensions, no row, no column, or a NaN or Inf.
    """
    place = f"{what} {path}"
    matrix = _read(path, place)
    tensor = as_tensor(matrix, place)
    for low, block in _blocks(tensor):
        if broken := first_broken_rows(block):
            found = [low + row for row in broken]
            raise MatrixError(
                f"{place}: expected finite numbers, found NaN or Inf, first in row(s) {found}; leave such rows out or"
                " set them to zero"
            )
    return matrix


def check_pair(pool: Matrix, target: Matrix, pool_name: str = "pool", target_name: str = "target") -> None:
    """Raise MatrixError unless pool gradients (N, k) and target gradients (M, k) have the same k."""
    check_k(pool.shape[1], target.shape[1], target_name, pool_name)


def check_k(k: int, other_k: int, what: str, pool_name: str = "pool") -> None:
    """Raise MatrixError unless `what`, with rows of `other_k` coordinates, fits the pool's k."""
    if other_k != k:
        raise MatrixError(
            f"{what}: expected k = {k} coordinates a row, as {pool_name} has, found {other_k}; both must come from one"
            " model, adapter and projection"
        )


def load_graph(path: Path, num_rows: int) -> np.ndarray:
    """The graph (N, n) in the `.npy` file at `path`: for each pool row the indices of its nearest rows, best first.

    Raises MatrixError if the file cannot be read or `check_graph` refuses it.
    """
    place = f"graph {path}"
    if path.suffix != ".npy":
        raise MatrixError(f"{place}: expected a .npy file of row indices, found {path.suffix or 'no suffix'}")
    graph = _read(path, place)
    assert isinstance(graph, np.ndarray)
    check_graph(graph, num_rows, place)
    return graph


def check_graph(graph: np.ndarray, num_rows: int, place: str = "graph") -> None:
    """Raise MatrixError unless `graph` is (num_rows, n) of integers from 0 to num_rows - 1."""
    if graph.ndim != 2 or len(graph) != num_rows or graph.shape[1] == 0:
        raise MatrixError(
            f"{place}: expected ({num_rows}, n), a list of neighbours for each pool row, found shape {graph.shape}"
        )
    if not np.issubdtype(graph.dtype, np.integer):
        raise MatrixError(f"{place}: expected integer row indices, found dtype {graph.dtype}")
    rows_at_once = max(1, _CHECKED_VALUES // graph.shape[1])
    for low in range(0, num_rows, rows_at_once):
        block = graph[low : low + rows_at_once]
        outside = np.argwhere((block < 0) | (block >= num_rows))
        if len(outside):
            row, column = outside[0]
            raise MatrixError(
                f"{place}: expected row indices from 0 to {num_rows - 1}, found {block[row, column]} in row"
                f" {low + row}, column {column}; the graph must be made from this pool, and every list must be full"
            )


def as_tensor(matrix: Matrix, place: str, *also: torch.dtype) -> torch.Tensor:
    """`matrix` as a torch tensor over the same memory; its dtype is a float's, or among those that may be `also`.

    Raises MatrixError for a wrong type, shape or dtype.
    """
    if isinstance(matrix, np.ndarray):
        stored = bool(also) and matrix.dtype in (np.int8, np.uint8)
        if not stored and (matrix.dtype.kind != "f" or matrix.dtype.itemsize > 8):
            raise MatrixError(
                f"{place}: expected float16, float32 or float64 numbers, found dtype {matrix.dtype}; convert them"
            )
        if not matrix.dtype.isnative or any(stride < 0 for stride in matrix.strides):  # torch holds neither
            matrix = np.ascontiguousarray(matrix, dtype=matrix.dtype.newbyteorder("="))
        with warnings.catch_warnings():  # of memory that must not be written to; nothing here writes
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable", category=UserWarning)
            tensor = torch.from_numpy(matrix)
    elif isinstance(matrix, torch.Tensor):
        tensor = matrix.detach()
    else:
        raise MatrixError(
            f"{place}: expected a numpy array or a torch tensor, found a {type(matrix).__name__}; give np.asarray of it"
        )
    if tensor.layout != torch.strided:
        raise MatrixError(f"{place}: expected a dense tensor, found a {tensor.layout} one; call .to_dense() on it")
    if tensor.dtype not in (*_DTYPES, *also):
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in _DTYPES)
        raise MatrixError(f"{place}: expected a dtype of {names}, found {str(tensor.dtype).removeprefix('torch.')}")
    if tensor.ndim != 2 or 0 in tensor.shape:
        raise MatrixError(
            f"{place}: expected a matrix (rows, k) with at least one row and column, found shape {tuple(tensor.shape)};"
            " save it with one row an example"
        )
    if tensor.device.type != "cpu":
        raise MatrixError(f"{place}: expected a tensor in main memory, found one on {tensor.device}; call .cpu() on it")
    return tensor


def first_broken_rows(block: torch.Tensor, most: int = 5) -> list[int]:
    """The first rows of `block` (n, k) that hold NaN or Inf, at most `most`."""
    finite = torch.isfinite(block)
    if bool(finite.all()):
        return []
    return torch.nonzero(~finite.all(dim=1))[:most, 0].tolist()


def _blocks(tensor: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    rows_at_once = max(1, _CHECKED_VALUES // tensor.shape[1])
    for low in range(0, len(tensor), rows_at_once):
        yield low, tensor[low : low + rows_at_once]


def _read(path: Path, place: str) -> Matrix:
    if not path.exists():
        raise MatrixError(
            f"{place}: expected a file, found no such file; check the path (current folder: {Path.cwd()})"
        )
    if (kind := special_kind(path)) is not None and not path.is_dir():
        raise MatrixError(
            f"{place}: expected a file that can be read more than once, found {kind}; save the matrix to a file"
        )
    try:
        if path.is_dir():
            return _read_zarr(path, place)
        if path.suffix == ".npy":
            return _read_npy(path, place)
        if path.suffix == ".safetensors":
            return _read_safetensors(path, place)
        if path.suffix in {".pt", ".pth"}:
            return _read_pt(path, place)
    except MatrixError:
        raise
    except Exception as error:  # each reader has its own; all mean that the file is not what its name says
        pass_on_too_little_memory(error)
        raise MatrixError(
            f"{place}: expected one array of plain numbers, but it cannot be read: {error}; write the file again"
        ) from None
    raise MatrixError(
        f"{place}: expected a .npy, .safetensors or .pt file or a Zarr array's folder, found"
        f" {path.suffix or 'no suffix'}; save it as one of these"
    )


def _read_npy(path: Path, place: str) -> np.ndarray:
    matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    expected = matrix.offset + matrix.nbytes
    if (size := path.stat().st_size) != expected:
        raise MatrixError(
            f"{place}: expected {expected:,} bytes, as its head of shape {matrix.shape} and dtype {matrix.dtype} says,"
            f" found {size:,}; write the file again"
        )
    return matrix


def _read_safetensors(path: Path, place: str) -> torch.Tensor:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = sorted(file.keys())
        if len(names) != 1:
            raise MatrixError(f"{place}: expected exactly one tensor, found {len(names)}: {', '.join(names)}")
        return file.get_tensor(names[0])


def _read_pt(path: Path, place: str) -> torch.Tensor:
    try:
        # Only torch's zip format can be mapped; older files are read whole.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError:
        raise MatrixError(
            f"{place}: expected a file holding nothing but one tensor, found other Python objects, which are not loaded"
            " because they can run code; save the tensor itself: torch.save(tensor, path)"
        ) from None
    if not isinstance(content, torch.Tensor):
        keys = f" with {', '.join(map(str, content))}" if isinstance(content, dict) else ""
        raise MatrixError(
            f"{place}: expected a file holding one tensor, found a {type(content).__name__}{keys}; save"
            " the tensor itself: torch.save(tensor, path)"
        )
    return content


def _read_zarr(path: Path, place: str) -> np.ndarray:
    import zarr  # here, because it is slow to import

    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Group):
        names = ", ".join(sorted(node.array_keys())) or "none"
        raise MatrixError(f"{place}: expected a Zarr array, found a group; name one of its arrays ({names})")
    # zarr answers the fill value for a chunk that is not there, and leaves chunks of nothing else out when it writes
    if (missing := node.nchunks - node.nchunks_initialized) > 0:
        raise MatrixError(
            f"{place}: expected all {node.nchunks} chunks of the array, found {missing} missing, which would be read as"
            f" {node.fill_value}. Copy it again; or if they are meant to be that, write it with zarr's"
            " config={'write_empty_chunks': True}"
        )
    return np.asarray(node[:])
