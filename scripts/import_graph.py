"""Draws the house in words: which rooms of a package there are, on which floor each stands, and what it imports.

    python scripts/import_graph.py [PACKAGE_FOLDER]      (default: src/g2is)

A room is a module or folder directly below the package. An arrow A -> B says that some file of A imports one of B, at
its head or inside a function. A room stands one floor above the highest of those that it imports; rooms in a circle
share a floor. Imports by a name in a variable are not seen: `config` finds so what selectors and representations
declare. `tests/invariants/test_imports.py` holds the figures.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

Graph = dict[str, set[str]]  # a room, and the rooms that it imports


def read_graph(package: Path) -> Graph:
    """The rooms of the package in the folder `package`, and the arrows between them."""
    files = sorted(package.rglob("*.py"))
    rooms: Graph = {_room(package, file): set() for file in files}
    for file in files:
        room = _room(package, file)
        rooms[room] |= {found for found in _imported(file, package.name, rooms) if found != room}
    return rooms


def find_circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The rooms that import each other in a loop, each loop as a sorted list."""
    above = {room: _reached(graph, room) for room in graph}
    circles = {tuple(sorted({room, *(other for other in above[room] if room in above[other])})) for room in graph}
    return [list(circle) for circle in sorted(circles) if len(circle) > 1]


def find_floors(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """The floor of each room, from 1."""
    above = {room: _reached(graph, room) for room in graph}
    floors: dict[str, int] = {}

    def floor(room: str) -> int:
        if room not in floors:
            below = [other for other in above[room] if other != room and room not in above[other]]
            floors[room] = 1 + max(map(floor, below), default=0)
        return floors[room]

    return {room: floor(room) for room in graph}


def _room(package: Path, file: Path) -> str:
    return file.relative_to(package).parts[0].removesuffix(".py")


def _imported(file: Path, package: str, rooms: Mapping[str, object]) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for parts in (name.split(".") for name in names):
            if parts[0] == package and len(parts) > 1:
                yield parts[1] if parts[1] in rooms else "__init__"


def _reached(graph: Mapping[str, set[str]], room: str) -> set[str]:
    found: set[str] = set()
    waiting = list(graph[room])
    while waiting:
        other = waiting.pop()
        if other not in found:
            found.add(other)
            waiting += graph[other]
    return found


def main() -> None:
    """Print rooms by floor, from the top, and the figures."""
    package = Path(sys.argv[1] if len(sys.argv) > 1 else "src/g2is")
    if not (package / "__init__.py").is_file():
        sys.exit(f"{package}: expected the folder of a package, with __init__.py in it, found none; name another")
    graph = read_graph(package)
    floors, circles = find_floors(graph), find_circles(graph)
    for room in sorted(graph, key=lambda room: (-floors[room], room)):
        print(f"floor {floors[room]:>2}  {room:<16} -> {', '.join(sorted(graph[room])) or '(nothing)'}")
    arrows = sum(map(len, graph.values()))
    print(f"{len(graph)} rooms, {max(floors.values())} floors, {arrows} arrows, {len(circles)} circles")
    for circle in circles:
        print(f"circle: {', '.join(circle)}")


if __name__ == "__main__":
    main()
