"""How benchmarks lie in their folders, read from their source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
FILES = sorted(BENCHMARKS.rglob("*.py"))
PARTS_OF_ONE = ("gpu", "faults")  # commands of several files
MODULES = {path.stem for path in FILES} | {
    "benchmarks",
    "speed",
    "quality",
    "gpu",
    "faults",
}  # by any name they may go by


def imported(path: Path) -> Iterator[str]:
    """The first two names of every module that a file imports, at its head or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (".".join(name.split(".")[:2]) for name in names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(BENCHMARKS)))
def test_a_benchmark_imports_only_what_benchmarks_share(path: Path) -> None:
    folder = path.relative_to(BENCHMARKS).parts[0]
    own = {file.stem for file in FILES if file.parent == path.parent} if folder in PARTS_OF_ONE else set()
    for name in imported(path):
        first = name.split(".")[0] if name.split(".")[0] not in PARTS_OF_ONE else name.split(".")[-1]
        assert first not in MODULES - own, f"{path}: imports {name}"
        if first == "common":
            assert name.split(".")[1] in {file.stem for file in (BENCHMARKS / "common").glob("*.py")}, name


def test_every_benchmark_lies_in_a_folder_and_none_grows_past_about_300_lines() -> None:
    assert {path.relative_to(BENCHMARKS).parts[0] for path in FILES} <= {"common", "speed", "quality", "gpu", "faults"}
    for path in FILES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 310, path
