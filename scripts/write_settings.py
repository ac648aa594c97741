"""Write docs/settings.md from the configuration's own fields: python scripts/write_settings.py"""

import re
import textwrap
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from g2is.config import Config, EvaluateConfig, Section, TrainConfig
from g2is.methods import METHODS, REPRESENTATIONS, SELECTORS, representation_kind, selector_kind

OFFICIAL = METHODS["official"].settings
PLACE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
_WORDS = {"int": "whole number", "float": "number", "str": "text", "bool": "true, false", "Path": "file"}
_WIDTH = 120
HEAD = """# Every setting

How do I set one? With `--set section.name=value`: lists as `[a, b]`, mappings as `{a: 2}`. Every run writes all of them
to its `config.yaml`.

An entry is the setting's name, then its values and default, then what it means. In `selection`, `official` says what
the method of that name sets otherwise.

Made by `scripts/write_settings.py` from `src/g2is/config/`, and from what selectors and representations declare.
"""


def page() -> str:
    """The whole page as Markdown."""
    sections = {
        name: field.annotation
        for config in (Config, TrainConfig, EvaluateConfig)
        for name, field in config.model_fields.items()
        if is_section(field)
    }
    parts = [HEAD]
    for name, section in sections.items():
        assert section is not None
        parts.append(f"## {name}\n{filled((section.__doc__ or '').strip().splitlines()[0])}\n")
        parts.append("\n".join(entries(section, f"{name}.")) + "\n")
    return "\n".join(parts)


def entries(section: Any, prefix: str) -> list[str]:
    """A list entry for each setting of a section and those in it: values and default, and below them what it means."""
    found = []
    for name, field in section.model_fields.items():
        if is_section(field):
            found += entries(field.annotation, f"{prefix}{name}.")
            continue
        default = "required" if field.is_required() else f"default `{plain(field.default)}`"
        if prefix == "selection." and name in OFFICIAL:
            default += f"; `official`: `{plain(OFFICIAL[name])}`"
        if of := readers(prefix, name):
            default += f"; for {' and '.join(f'`{reader}`' for reader in of)}"
        colon = ":" if field.description else ""
        found.append(filled(f"- `{prefix}{name}` ({values(field.annotation)}; {default}){colon}"))
        if field.description:
            found.append(filled(f"  {field.description}"))
    return found


def readers(prefix: str, name: str) -> list[str]:
    """The selectors or representations that declare the setting as their own; none where it is of all."""
    if prefix == "selection.":
        declared = {each: selector_kind(each).sections for each in SELECTORS}
    elif prefix == "representation.":
        declared = {each: [representation_kind(each).settings] for each in REPRESENTATIONS}
    else:
        return []
    return [each for each, sections in declared.items() if any(name in section.model_fields for section in sections)]


def filled(text: str) -> str:
    """A paragraph, or an item of a list, in lines that fit; code is kept whole."""
    indent = "  " if text.startswith(("- ", "  ")) else ""
    whole = re.sub(r"`[^`]+`", lambda code: code[0].replace(" ", "\0"), text)
    lines = textwrap.wrap(whole, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\0", " ")


def is_section(field: FieldInfo) -> bool:
    """Whether a field is a section of its own."""
    return isinstance(field.annotation, type) and issubclass(field.annotation, Section)


def values(kind: Any) -> str:
    """What a setting may be, in words."""
    origin = get_origin(kind)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if origin is Annotated:
        return values(get_args(kind)[0])
    if origin in (Union, UnionType):
        return ", ".join(values(part) for part in get_args(kind))
    if origin is dict:
        return f"mapping of text to {values(get_args(kind)[1])}"
    if origin is tuple:
        return f"list of {values(get_args(kind)[0])}"
    if kind is type(None):
        return "null"
    return _WORDS[kind.__name__]


def plain(value: Any) -> str:
    """A value as YAML would have it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


if __name__ == "__main__":
    PLACE.write_text(page(), encoding="utf-8")
