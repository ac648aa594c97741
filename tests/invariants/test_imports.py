"""Who may import whom (docs/architecture.md), read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import g2is

SOURCE = Path(g2is.__file__).parent
STAGES = {
    *("examples", "warmup", "gradients", "representations", "selection", "outputs"),
    *("training", "evaluation", "comparison"),
}
SHARED = {"config", "config_io", "errors", "methods", "progress", "targets", "model", "store"}
# the last stage writes tables about examples and walks: it may name what it writes
ALLOWED = {"outputs": {"examples", "selection"}}


def imported(path: Path) -> set[str]:
    """The parts of g2is that a file imports: "store", "config", …"""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "g2is":
            parts = node.module.split(".")
            names |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("g2is.")}
    return names


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_imports_only_what_all_stages_share(stage: str) -> None:
    for path in (SOURCE / stage).rglob("*.py"):
        foreign = imported(path) - SHARED - {stage} - ALLOWED.get(stage, set())
        assert not foreign, f"{path.relative_to(SOURCE)} imports {foreign}"


@pytest.mark.parametrize("shared", sorted(SHARED))
def test_what_stages_share_imports_no_stage(shared: str) -> None:
    place = SOURCE / shared
    for path in place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]:
        foreign = imported(path) - SHARED
        assert not foreign, f"{path.relative_to(SOURCE)} imports {foreign}"


def test_there_is_no_utils_and_no_file_grows_past_about_300_lines() -> None:
    for path in SOURCE.rglob("*.py"):
        assert "util" not in path.stem, path
        assert len(path.read_text().splitlines()) <= 310, path


def test_help_imports_neither_torch_nor_transformers() -> None:
    program = (
        "import sys; sys.argv = ['g2is', '--help']\n"
        "from g2is.cli.app import app\n"
        "try:\n    app()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'transformers', 'peft', 'zarr', 'pyarrow', 'sklearn', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "select" in done.stdout


def test_every_public_name_is_there_and_importing_g2is_loads_none_of_them() -> None:
    program = (
        "import sys, g2is; assert 'torch' not in sys.modules\n"
        "import g2is.pipeline\n"  # binds every subpackage as an attribute of g2is
        "from importlib import import_module\n"
        "for name, home in g2is._HOME.items():\n"
        "    assert getattr(g2is, name) is getattr(import_module(home), name), name"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
