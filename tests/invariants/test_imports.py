"""Who may import whom (docs/architecture.md), read from the source."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import g2is
from g2is.methods import REPRESENTATIONS, SELECTORS
from import_graph import find_circles, find_floors, read_graph

SOURCE = Path(g2is.__file__).parent

# The floors of the house, from the ground: a room imports only rooms of floors below its own. Stages share a floor, so
# none knows another; what they share lies below them, and what puts them together above.
FLOORS = (
    {"errors", "progress", "methods"},
    {"config", "machine", "report"},
    {"store"},
    {"model"},
    {"examples", "comparison"},
    {"warmup", "gradients", "representations", "selection", "training", "evaluation"},  # the stages
    {"outputs", "engine"},
    {"jobs"},
    {"api", "demo"},
    {"cli", "__init__"},
    {"__main__"},
)
# Stages that work on plain arrays or token rows: they know nothing of files of examples.
WITHOUT_EXAMPLES = ("selection", "gradients", "representations", "warmup", "training", "evaluation")


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return read_graph(SOURCE)


def test_every_room_stands_on_a_floor(graph: dict[str, set[str]]) -> None:
    assert set(graph) == set().union(*FLOORS)


@pytest.mark.parametrize("floor", range(len(FLOORS)))
def test_a_room_imports_only_floors_below_its_own(floor: int, graph: dict[str, set[str]]) -> None:
    below = set().union(*FLOORS[:floor])
    for room in FLOORS[floor]:
        assert graph[room] <= below, f"{room} imports {sorted(graph[room] - below)}"


@pytest.mark.parametrize("stage", WITHOUT_EXAMPLES)
def test_a_stage_on_arrays_knows_no_examples(stage: str, graph: dict[str, set[str]]) -> None:
    assert "examples" not in graph[stage]


def test_the_house_is_as_small_as_it_was_drawn(graph: dict[str, set[str]]) -> None:
    # Before it was drawn anew: 42 rooms, 13 floors, 278 arrows, a circle of model and store.
    assert not find_circles(graph)
    assert len(graph) <= 24
    assert max(find_floors(graph).values()) <= 11
    assert sum(map(len, graph.values())) <= 123


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


def test_a_declaration_brings_neither_the_configuration_that_is_made_of_it_nor_torch() -> None:
    modules = {place.partition(":")[0]: None for place in (*SELECTORS.values(), *REPRESENTATIONS.values())}
    program = (
        "import sys, importlib\n"
        f"for name in {list(modules)}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'transformers', 'g2is.config'} & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_every_public_name_is_there_and_importing_g2is_loads_none_of_them() -> None:
    program = (
        "import sys, g2is; assert 'torch' not in sys.modules\n"
        "import g2is.jobs.select\n"  # binds every subpackage as an attribute of g2is
        "from importlib import import_module\n"
        "for name, home in g2is._HOME.items():\n"
        "    assert getattr(g2is, name) is getattr(import_module(home), name), name"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_the_engine_of_that_name_imports_ray_and_not_before_it_is_asked_for() -> None:
    importing = re.compile(r"^\s*(import|from) ray\b", re.MULTILINE)
    found = [path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if importing.search(path.read_text())]
    assert found == ["engine/ray.py"]
    assert not re.search(r"^(import|from) ray\b", (SOURCE / "engine/ray.py").read_text(), re.MULTILINE)
