"""Write docs/settings.md from the configuration's own fields: python scripts/write_settings.py"""

from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from g2is.config import Config, EvaluateConfig, Section, TrainConfig
from g2is.methods import METHODS

OFFICIAL = METHODS["official"].settings
PLACE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
_WORDS = {"int": "whole number", "float": "number", "str": "text", "bool": "true, false", "Path": "file"}
HEAD = """# Every setting

Set any of them with `--set section.name=value` (lists as `[a, b]`, mappings as `{a: 2}`); every run writes all of them
to its `config.yaml`.
Made from `src/g2is/config/` by `scripts/write_settings.py`.
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
        parts.append(f"## {name}\n{(section.__doc__ or '').strip().splitlines()[0]}\n")
        columns = "| setting | values | default | |" + (" `official` |" if name == "selection" else "")
        parts.append(columns + "\n" + "|---" * columns.count("|", 1) + "|")
        parts[-1] += "".join("\n" + row for row in rows(section, f"{name}.")) + "\n"
    return "\n".join(parts)


def rows(section: Any, prefix: str) -> list[str]:
    """A table row for each setting of a section and those in it."""
    found = []
    for name, field in section.model_fields.items():
        if is_section(field):
            found += rows(field.annotation, f"{prefix}{name}.")
            continue
        default = "required" if field.is_required() else f"`{plain(field.default)}`"
        row = f"| `{prefix}{name}` | {values(field.annotation)} | {default} | {field.description or ''} |"
        if prefix == "selection.":
            row += f" `{plain(OFFICIAL[name])}` |" if name in OFFICIAL else " same |"
        found.append(row)
    return found


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
        return "mapping of text to text"
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
