"""Prints the lowest version of every dependency that pyproject.toml allows, one `name==version` a line.

`make floors` and CI install these very versions and run tests: so each floor there is one that was tried.
"""

import re
import tomllib
from pathlib import Path

_FLOOR = re.compile(r"([A-Za-z0-9._-]+)(\[[a-z0-9,-]+\])?>=([0-9][0-9A-Za-z.]*)$")
# For tests alone, and beyond a floor of g2is itself: every TRL whose templates they know wants datasets 4.7. Their
# tests skip without it, and run with the newest versions.
_NOT_AT_THE_FLOOR = frozenset(("trl",))


def floors(pyproject: str) -> list[str]:
    """The pins of the package and of all its extras, in the order they stand there, each once.

    Raises ValueError for a dependency that says anything else than one lowest version: it would go untested.
    """
    project = tomllib.loads(pyproject)["project"]
    extras = [name for group in project["optional-dependencies"].values() for name in group]
    pins: dict[str, tuple[str, str]] = {}
    for dependency in [*project["dependencies"], *extras]:
        match = _FLOOR.match(dependency)
        if match is None:
            raise ValueError(f"pyproject.toml: expected name>=version, found {dependency!r}: say from which version on")
        name, features, version = match[1].lower(), match[2] or "", match[3]
        if pins.setdefault(name, (features, version)) != (features, version):
            raise ValueError(
                f"pyproject.toml: expected one lowest {name}, found {''.join(pins[name])} and {features}{version}"
            )
    return [
        f"{name}{features}=={version}" for name, (features, version) in pins.items() if name not in _NOT_AT_THE_FLOOR
    ]


if __name__ == "__main__":
    print(*floors((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")), sep="\n")
