"""What a file of a store or run gives, looked at before it is used: such a file may be a stranger's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from g2is.errors import StoreError

Kind = TypeVar("Kind")
_BACK = "g2is did not write it. Put a whole copy back, or name another folder"
_LONGEST_NAME, _LONGEST_PATH = 255, 2048  # bytes, as file systems have it; a folder has its own path before
_NAMES = {int: "a whole number", float: "a number", str: "a text", list: "a list", dict: "keys with values"}


def part(values: Mapping[str, Any], key: str, kind: type[Kind], path: Path) -> Kind:
    """The value that the file at `path`, read as `values`, has under `key`. Raises StoreError if it is no `kind`."""
    value = values.get(key)
    is_number = kind is float and isinstance(value, int)
    if isinstance(value, bool) or not (isinstance(value, kind) or is_number):
        found = f"a {type(value).__name__}" if key in values else "none"
        raise StoreError(f"{path}: expected {_NAMES[kind]} as `{key}`, found {found}: {_BACK}")
    return value  # type: ignore[return-value]  # a whole number is a number too


def inside(folder: Path, name: Any, where: str) -> Path:
    """The path of `name`, a file or folder within `folder`; `where` is what gives the name: file and key.

    Raises StoreError for anything else than names below names: `..`, an absolute path, an empty name, no text, more
    than a file system takes. Links that lead out of a folder are the user's own matter: a store may lie elsewhere.
    """
    if not _is_name(name):
        found = f"{name!r:.80}"
        raise StoreError(f"{where}: expected the name of what lies in {folder}, found {found}, which does not: {_BACK}")
    return folder.joinpath(*name.split("/"))


def _is_name(name: Any) -> bool:
    try:
        parts = name.encode().split(b"/")
    except (AttributeError, UnicodeEncodeError):
        return False
    if any(of_path in (b"", b".", b"..") or b"\0" in of_path for of_path in parts):
        return False
    return max(map(len, parts)) <= _LONGEST_NAME and sum(map(len, parts)) + len(parts) <= _LONGEST_PATH
