"""Small text files that may be a stranger's: YAML and JSON, read to their end, each key once, nothing that explodes."""

import json
import re
import stat
from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

_MOST_YAML = 1 << 20  # characters; settings are some thousands
_MOST_NODES = 100_000  # of YAML with each alias written out
_MOST_DEPTH = 100  # levels of YAML
_MOST_DIGITS = 400  # of a number: Python would take more than anyone can mean
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
_TAG = "tag:yaml.org,2002:"
_KNOWN_TAGS = {_TAG + name for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}


def special_kind(path: Path) -> str | None:
    """What there is at `path` if it is no regular file ("a pipe", "a folder"); None for one, or if nothing is there."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no regular file")


def read_text_file(path: Path) -> str:
    """The text of a regular file in UTF-8, or of a pipe that the shell has opened (`<(…)`, /dev/stdin).

    Raises OSError, or ValueError for what is no text or never ends: another pipe may wait for ever, a device go on.
    """
    kind = special_kind(path)
    of_shell = str(path).startswith(("/dev/fd/", "/proc/self/fd/")) or str(path) == "/dev/stdin"
    if kind is not None and not (kind == "a pipe" and of_shell):
        raise ValueError(f"it is {kind}, no regular file")
    return path.read_text(encoding="utf-8")


def parse_json(text: str, *, with_constants: bool = False) -> Any:
    """The value that `text` is. Raises ValueError if it is no JSON, has a key twice, or a number that is none.

    `with_constants` takes NaN and Infinity, which JSON has not, and some models' settings have.
    """
    decoder = JsonDecoder(with_constants=with_constants)
    try:
        value = decoder.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if decoder.problem:
        raise ValueError(decoder.problem)
    return value


class JsonDecoder(json.JSONDecoder):
    """Python's own, which notes in `problem` what other programs would read otherwise; it is None for sound JSON.

    Python takes the last of two equal keys, where others take the first, and numbers that JSON has not.
    """

    def __init__(self, *, with_constants: bool = False) -> None:
        super().__init__(object_pairs_hook=self._object, parse_constant=None if with_constants else self._constant)
        self.problem: str | None = None

    def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
        """The value that begins at `idx` of `s`, and where it ends."""
        self.problem = None
        return super().raw_decode(s, idx)

    def _object(self, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs) and self.problem is None:
            seen: set[str] = set()
            again = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            self.problem = f"the key {_shown(again)} twice; leave one out"
        return value

    def _constant(self, name: str) -> float:
        self.problem = self.problem or f"{name}, which JSON has not; write null"
        return float(name.replace("Infinity", "inf"))


def depth(values: Any) -> int:
    """How deep the objects and lists of a value of JSON are nested: 1 for a number or text."""
    deepest, level = 0, [values]
    while level:
        deepest += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return deepest


def _shown(key: str) -> str:
    return repr(key if len(key) <= 80 else key[:80] + "…")


class PlainLoader(yaml.SafeLoader):
    """Knows no dates, and takes each key once; raises yaml.YAMLError for YAML that explodes or holds other types."""

    def get_single_node(self) -> Any:
        """The document's node, after a look at all of it."""
        node = super().get_single_node()
        if node is not None:
            _check(node)
        return node


# Not as YAML 1.1 has them: 010 is no eight, 1:30 no ninety. What is no number here stays text.
_NUMBERS = {
    _TAG + "int": re.compile(r"^[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)$"),
    _TAG + "float": re.compile(
        r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
}
PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, _NUMBERS.get(tag, pattern)) for tag, pattern in resolvers if tag != _TAG + "timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str) -> Any:
    """The value that `text` is, dates left the text they are. Raises yaml.YAMLError, whatever is wrong with it."""
    if len(text) > _MOST_YAML:
        raise yaml.YAMLError(f"it has {len(text)} characters, which settings never need")
    try:
        return deepcopy(_loaded(text))
    except yaml.YAMLError:
        raise
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except Exception as error:  # an explicit tag on a value that is none of it: ValueError, KeyError, AttributeError …
        raise yaml.YAMLError(f"a value is not what its tag says: {error}") from None


@lru_cache(maxsize=16)  # one command reads a run's settings some times, and PyYAML takes 10 ms for them
def _loaded(text: str) -> Any:
    return yaml.load(text, PlainLoader)


def _check(root: yaml.Node) -> None:
    """Look at each node as often as aliases name it: what they share when read, they multiply when used."""
    left: list[tuple[yaml.Node, int]] = [(root, 1)]
    num_nodes = 0
    while left:
        node, depth = left.pop()
        num_nodes += 1
        if num_nodes > _MOST_NODES:
            raise yaml.YAMLError(f"written out, its aliases make more than {_MOST_NODES} values")
        if depth > _MOST_DEPTH:
            raise _at(node, f"values nested more than {_MOST_DEPTH} deep")
        if node.tag not in _KNOWN_TAGS:
            raise _at(node, f"the tag {node.tag.replace(_TAG, '!!')}, which settings do not have")
        if isinstance(node, yaml.ScalarNode):
            if len(node.value) > _MOST_DIGITS and node.tag in (_TAG + "int", _TAG + "float"):
                raise _at(node, f"a number of {len(node.value)} digits")
        elif isinstance(node, yaml.MappingNode):
            _check_keys(node)
            left += [(part, depth + 1) for pair in node.value for part in pair]
        else:
            left += [(part, depth + 1) for part in node.value]


def _check_keys(node: yaml.MappingNode) -> None:
    seen: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in seen:
                raise _at(key, f"the key {_shown(key.value)} twice; leave one out")
            seen.add((key.tag, key.value))


def _at(node: yaml.Node, what: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=f"found {what}", problem_mark=node.start_mark)
