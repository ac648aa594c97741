"""Prints the lowest version of every dependency that pyproject.toml allows, one `name==version` a line.

`make floors` installs with them and runs the unit tests: so each floor there is one that was tried.
"""

import re
import tomllib
from pathlib import Path

_FLOOR = re.compile(r"([A-Za-z0-9._-]+)>=([0-9][0-9A-Za-z.]*)$")


def floors(pyproject: str) -> list[str]:
    """The pins of the package and of all its extras, in the order they stand there, each once.

    Raises ValueError for a dependency that says anything else than one lowest version: it would go untested.
    """
    project = tomllib.loads(pyproject)["project"]
    extras = [name for group in project["optional-dependencies"].values() for name in group]
    pins: dict[str, str] = {}
    for dependency in [*project["dependencies"], *extras]:
        match = _FLOOR.match(dependency)
        if match is None:
            raise ValueError(f"pyproject.toml: expected name>=version, found {dependency!r}: say from which version on")
        name, version = match[1].lower(), match[2]
        if pins.setdefault(name, version) != version:
            raise ValueError(f"pyproject.toml: expected one lowest {name}, found {pins[name]} and {version}")
    return [f"{name}=={version}" for name, version in pins.items()]


if __name__ == "__main__":
    print(*floors((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")), sep="\n")
