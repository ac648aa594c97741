"""The wheel and the source distribution: what they hold and say, and that the wheel alone does the work."""

import json
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SETTINGS["project"]
INFO = f"g2is-{PROJECT['version']}.dist-info"
# Kinds of files that a user needs: code and its types, the demo's model, the report's page.
KINDS = {".py", ".typed", ".json", ".safetensors", ".jinja", ".md", ".html", ".css", ".js"}
# Of the repository: what the source distribution has, and what serves only who develops g2is in a clone.
INCLUDED = set(SETTINGS["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])
NOT_INCLUDED = {".ci", ".editorconfig", ".gitignore", ".pre-commit-config.yaml", "pyproject.toml"}
MOST_BYTES = 3_000_000
SELECT = """
import g2is
from g2is.demo.skills import write_pool, write_target
from pathlib import Path

model = Path(g2is.__file__).parent / "demo/model"
write_pool(Path("pool.jsonl"), num_rows=60)
write_target(Path("target.jsonl"), num_rows=4)
selection = g2is.select(
    pool="pool.jsonl", target="target.jsonl", model=str(model), out="run", budget="6",
    warmup={"learning_rate": 2e-3, "lora": {"rank": 4}, "fraction": 0.3, "epochs": 1},
    gradients={"projection": {"dim": 512}},
)
print(g2is.__file__, g2is.__version__, len(selection.ids))
"""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution of this very tree."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: the extra dev has it")
    folder = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "hatchling", "build", "-d", folder], ROOT)
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    (wheel,) = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel, and its dependencies from this one; not this source."""
    folder = tmp_path_factory.mktemp("clean")
    run([sys.executable, "-m", "venv", folder], folder)  # with a pip of its own: uv's environments have none
    pip = [folder / "bin/python", "-m", "pip", "--disable-pip-version-check"]
    run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], folder)
    (site,) = folder.glob("lib/python*/site-packages")
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "dependencies.pth").write_text("".join(f"{path}\n" for path in sorted(paths)))
    return folder / "bin"


def run(command: Iterable[object], folder: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return Parser().parsestr(archive.read(f"{INFO}/METADATA").decode())


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    source = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src/g2is").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    shown = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))
    pages = {  # which help and messages point to
        f"g2is/{path.relative_to(ROOT).as_posix()}"
        for path in (ROOT / "docs").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
        if path.parent.name != "images" or path.name in shown  # what the README alone shows is in no wheel
    }
    about = {f"{INFO}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) == source | pages | about
    assert {Path(name).suffix for name in source} <= KINDS
    assert {"g2is/demo/model/model.safetensors", "g2is/report/page/report.html", "g2is/py.typed"} <= source
    assert wheel.name == f"g2is-{PROJECT['version']}-py3-none-any.whl"
    assert wheel.stat().st_size < MOST_BYTES


def test_the_source_distribution_holds_what_is_kept_in_the_repository(built: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone of the repository: nothing says what belongs to it")
    kept = run(["git", "ls-files"], ROOT).splitlines()
    assert {name.partition("/")[0] for name in kept} - INCLUDED == NOT_INCLUDED
    new = run(["git", "ls-files", "--others", "--exclude-standard"], ROOT).splitlines()
    expected = {
        name
        for name in [*kept, *new]
        if name.partition("/")[0] in INCLUDED and not name.startswith("benchmarks/results/") and (ROOT / name).is_file()
    }
    with tarfile.open(built / f"g2is-{PROJECT['version']}.tar.gz") as archive:
        found = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert found == expected | {"PKG-INFO", "pyproject.toml", ".gitignore"}


def test_the_wheel_says_what_it_is_and_where_more_is_told(wheel: Path) -> None:
    said = metadata(wheel)
    assert (said["Name"], said["Version"]) == ("g2is", PROJECT["version"])
    assert said["License-Expression"] == "Apache-2.0"
    assert said["Description-Content-Type"] == "text/markdown"
    assert said["Requires-Python"] == PROJECT["requires-python"]
    assert said["Keywords"].split(",") == sorted(PROJECT["keywords"])
    assert sorted(said.get_all("Project-URL", [])) == sorted(f"{name}, {url}" for name, url in PROJECT["urls"].items())
    needed = [line for line in said.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(needed) == sorted(PROJECT["dependencies"])
    assert set(said.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])


def test_the_wheel_alone_selects_and_writes_the_page(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    where, version, num_selected = run([clean / "python", "-c", SELECT], tmp_path).split()[-3:]
    assert Path(where).is_relative_to(clean.parent)
    assert (version, num_selected) == (PROJECT["version"], "6")
    assert (tmp_path / "run/report.html").stat().st_size > 50_000
    assert run([clean / "g2is", "--version"], tmp_path).strip() == f"g2is {PROJECT['version']}"


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_wheel_alone_runs_the_demo(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    found = json.loads(run([clean / "g2is", "demo", "--out", "demo-run", "--json"], tmp_path))
    assert (found["run"], found["num_selected"]) == (str(tmp_path / "demo-run/run"), 120)
    assert [of["name"] for of in found["outcomes"]] == ["untuned", "selection", "random", "full pool"]
    untuned, selection, random, _ = found["outcomes"]
    assert selection["loss"] < 0.5 * random["loss"] < untuned["loss"]
    assert selection["exact_match_fraction"] > random["exact_match_fraction"] + 0.2
    assert (tmp_path / "demo-run/run/report.html").exists()
    assert (tmp_path / "demo-run/tuned/comparison.json").exists()
