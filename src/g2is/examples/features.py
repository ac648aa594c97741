"""Rows of Arrow as `datasets` gives them: its Json columns decoded, and what was never given told from null.

A feature of `datasets` is told by the description that it keeps in a schema's metadata, in its folders and in Parquet
files alike; without one, by Arrow's own JSON type.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from g2is.errors import InputError

Convert = Callable[[Any], Any]

_PLAIN = frozenset(("Value", "ClassLabel", "Translation", "TranslationVariableLanguages"))
_PLAIN |= frozenset(("List", "LargeList", "Sequence", "Array2D", "Array3D", "Array4D", "Array5D", "Json"))


class Decoder:
    """Decodes rows of one Arrow schema."""

    def __init__(self, schema: pa.Schema) -> None:
        features = _features(schema.metadata)
        self._decode: dict[str, Convert] = {}
        self._drop_null: dict[str, Convert] = {}
        for field in schema:
            feature = features.get(field.name)
            for steps, make in ((self._decode, _decoding), (self._drop_null, _dropping)):
                step = make(field.type, feature)
                if step is not None:
                    steps[field.name] = step

    def decode(self, row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the row as `datasets` gives it, and that without NaN and the nulls in its structs, which no one gave.

        Raises InputError naming the column where text is no JSON, or where there is an image, sound or the like.
        """
        decoded = dict(row)
        for name, step in self._decode.items():
            try:
                decoded[name] = step(row[name])
            except _CannotReadError as problem:
                raise InputError(f"expected {problem.expected} in `{name}`, found {problem.found}") from None
        return decoded, decoded | {name: step(decoded[name]) for name, step in self._drop_null.items()}


class _CannotReadError(Exception):
    def __init__(self, expected: str, found: str) -> None:
        self.expected, self.found = expected, found


def _features(metadata: Mapping[bytes, bytes] | None) -> Mapping[str, Any]:
    """The description of its features that `datasets` keeps in a schema's metadata, by column."""
    try:
        found = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (LookupError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _decoding(kind: pa.DataType, feature: Any) -> Convert | None:
    """How values of an Arrow type are decoded, or None if they are what they are."""
    if isinstance(name := _name(feature), str) and name not in _PLAIN:
        return lambda value: _refuse(name, value)
    if getattr(kind, "extension_name", "") == "arrow.json" or name == "Json":
        return None if name == "Json" and feature.get("decode") is False else _load
    return _within(kind, feature, _decoding, keep_null=True)


def _dropping(kind: pa.DataType, feature: Any) -> Convert | None:
    """How a null is dropped that a struct has only because another row has something there; NaN says null, too."""
    if pa.types.is_floating(kind):
        return lambda value: None if value != value else value
    return _within(kind, feature, _dropping, keep_null=False)


def _within(
    kind: pa.DataType, feature: Any, make: Callable[[pa.DataType, Any], Convert | None], keep_null: bool
) -> Convert | None:
    """The conversion of a list or struct whose values `make` converts."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        of_item = make(kind.value_type, _of_list(feature))
        if of_item is None:
            return None
        return lambda value: None if value is None else [of_item(item) for item in value]
    if not pa.types.is_struct(kind):
        return None
    steps = {field.name: make(field.type, _of_struct(feature, field.name)) for field in kind}
    if keep_null and not any(steps.values()):
        return None

    def convert(value: Any) -> Any:
        if value is None:
            return None
        items = {key: item if (step := steps[key]) is None else step(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if keep_null or item is not None}

    return convert


def _name(feature: Any) -> str | None:
    name = feature.get("_type") if isinstance(feature, dict) else None
    return name if isinstance(name, str) else None  # a column may be called _type


def _of_list(feature: Any) -> Any:
    if isinstance(feature, list):  # as datasets once wrote lists
        return feature[0] if feature else None
    return feature.get("feature") if _name(feature) in ("List", "LargeList", "Sequence") else None


def _of_struct(feature: Any, name: str) -> Any:
    if _name(feature) in ("List", "LargeList", "Sequence"):  # of structs, kept as a struct of lists
        inner = feature.get("feature")
        return {"_type": "List", "feature": inner.get(name)} if isinstance(inner, dict) else None
    return feature.get(name) if isinstance(feature, dict) and _name(feature) is None else None


def _load(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise _CannotReadError("JSON", f"text that is none: {error}") from None


def _refuse(name: str, value: Any) -> Any:
    if value is not None:
        raise _CannotReadError(
            "text alone", f"{name.lower()}, which a text model cannot see; leave such rows out, or the column"
        )
    return value
