"""What the source imports is what pyproject.toml declares: a package that only comes along today is gone tomorrow."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import g2is

SOURCE = Path(g2is.__file__).parent
PROJECT = SOURCE.parents[1] / "pyproject.toml"
# Where a package is imported by another name than it is installed by.
INSTALLED_AS = {"sklearn": "scikit-learn", "yaml": "pyyaml", "umap": "umap-learn"}
# Only for types; `Selection.to_pandas` hands on what pyarrow makes with it, and datasets brings it.
FOR_TYPES = {"pandas"}
OF_TYPER = {"click"}  # which older ones bring along, and newer ones have in themselves
OF_DEVELOPERS = {"dev", "docs"}  # extras


def imported() -> dict[str, str]:
    """Top-level packages that are imported anywhere, and a file that does."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.module, path  # imports within g2is are absolute
                names = [node.module]
            else:
                continue
            found.update(dict.fromkeys((name.partition(".")[0] for name in names), path.name))
    return found


def declared() -> set[str]:
    """Packages of pyproject.toml: those of g2is, and those of its extras for users."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = [
        name
        for extra, group in project["optional-dependencies"].items()
        if extra not in OF_DEVELOPERS
        for name in group
    ]
    return {re.split(r"[\[>=<]", name)[0].replace("_", "-").lower() for name in [*project["dependencies"], *extras]}


def test_every_package_that_is_imported_is_declared() -> None:
    foreign = {
        INSTALLED_AS.get(name, name.replace("_", "-")): path
        for name, path in imported().items()
        if name not in sys.stdlib_module_names and name not in {"g2is", *FOR_TYPES, *OF_TYPER}
    }
    assert {name: path for name, path in foreign.items() if name not in declared()} == {}


def test_every_package_that_is_declared_is_named_somewhere() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    words = set(re.findall(r"\w+", text))
    imported_as = {package: name for name, package in INSTALLED_AS.items()}
    unused = {name for name in declared() if imported_as.get(name, name.replace("-", "_")) not in words}
    assert unused == set()
