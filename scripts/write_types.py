"""Write src/g2is/api/settings.py, the settings as types, from the configuration: python scripts/write_types.py

So a type checker refuses a setting that there is not, before pydantic does.
"""

import json
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator

from g2is.config import Config, EvaluateConfig, InspectConfig, MatrixWalkConfig, ModelConfig, Section, TrainConfig
from g2is.config.compare import CompareConfig
from g2is.config.section import number_as_text

PLACE = Path(__file__).resolve().parents[1] / "src/g2is/api/settings.py"
# What a function takes as keywords: the command's settings that are no parameters of its own.
_PARAMETERS = {
    *("command", "pool", "targets", "tests", "test", "data", "files", "out", "store", "model", "adapter"),
    *("pool_gradients", "target_gradients", "graph", "methods", "budgets", "num_seeds"),
}
KEYWORDS: dict[str, tuple[type[Section], str, set[str]]] = {
    "SelectSettings": (Config, "The keywords of `select`.", {"representation"}),
    "StageSettings": (Config, "The keywords of `warm_up` and `extract_gradients`.", set()),
    "MatrixSettings": (MatrixWalkConfig, "The keyword of `walk_matrices`.", set()),
    "TrainSettings": (TrainConfig, "The keywords of `train`.", set()),
    "EvaluateSettings": (EvaluateConfig, "The keywords of `evaluate`.", set()),
    "CompareSettings": (CompareConfig, "The keywords of `compare`.", {"representation"}),
    "InspectSettings": (InspectConfig, "The keyword of `inspect`.", set()),
}
_MOST_VALUES = 3  # of a choice that is written where it is used
_WIDER = {("ModelSettings", "name"): "str | Path"}  # than the section takes: the functions make a text of it
_HEAD = '''"""The settings as types, so that a type checker refuses a wrong name: `warmup={"epoch": 3}`, `wramup=…`.

A dictionary that is made beforehand says its type: `selection: SelectionSettings = {"budget": "5%"}`. What each setting
means: docs/settings.md. Made by `scripts/write_types.py`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from g2is.config import SelectionConfig
'''


def page() -> str:
    """The whole file."""
    choices: dict[str, str] = {}
    sections: dict[str, str] = {}
    _add_section(ModelConfig, sections, choices)
    for config, _, _ in KEYWORDS.values():
        for name, field in config.model_fields.items():
            if name not in _PARAMETERS and _is_section(field.annotation):
                _add_section(field.annotation, sections, choices)
    functions = [_of_function(name, *of, choices) for name, of in KEYWORDS.items()]
    listed = "".join(f"{name} = {values}\n" for name, values in choices.items())
    return "\n\n".join([f"{_HEAD}\n{listed}", *sections.values(), *functions])


def _add_section(section: Any, sections: dict[str, str], choices: dict[str, str]) -> None:
    """Add the types of a section's parts, then its own."""
    name = _section_name(section)
    if name in sections:
        return
    lines = []
    for key, field in section.model_fields.items():
        if _is_section(field.annotation):
            _add_section(field.annotation, sections, choices)
        kind = _typed(key, field.annotation, field.metadata, choices)
        lines.append(f"    {key}: {_WIDER.get((name, key), kind)}\n")
    said = (section.__doc__ or "").strip().splitlines()[0]
    sections[name] = f'class {name}(TypedDict, total=False):\n    """{said}"""\n' + "\n" * bool(lines) + "".join(lines)


def _of_function(name: str, config: type[Section], said: str, others: set[str], choices: dict[str, str]) -> str:
    lines = []
    for key, field in config.model_fields.items():
        if key in _PARAMETERS | others:
            continue
        kind = _typed(key, field.annotation, field.metadata, choices)
        if key == "selection":  # of a comparison it is a mapping of what its methods read
            kind = "SelectionSettings" if config is CompareConfig else '"SelectionSettings | SelectionConfig"'
        lines.append(f"    {key}: {kind}\n")
    return f'class {name}(TypedDict, total=False):\n    """{said}"""\n\n{"".join(lines)}'


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _section_name(section: Any) -> str:
    return str(section.__name__).removesuffix("Config") + "Settings"


def _typed(key: str, kind: Any, metadata: Any, choices: dict[str, str]) -> str:
    origin = get_origin(kind)
    makes = [of for of in metadata if isinstance(of, BeforeValidator)]
    if origin is Annotated:
        inner, *more = get_args(kind)
        return _typed(key, inner, more, choices)
    if origin is Literal:
        return _choice(key, get_args(kind), choices)
    if origin in (Union, UnionType):
        parts = [_typed(key, part, [], choices) for part in get_args(kind)]
        return " | ".join(dict.fromkeys(parts))
    if origin is dict:
        return f"Mapping[str, {_typed(key, get_args(kind)[1], [], choices)}]"
    if origin is tuple:
        item = _typed(key, get_args(kind)[0], [], choices)
        return f"{item} | Sequence[{item}]" if makes else f"Sequence[{item}]"
    if _is_section(kind):
        return _section_name(kind)
    if kind is str and any(of.func is number_as_text for of in makes):
        return "str | int"
    if kind is str and makes:  # a location
        return "str | Path"
    return {str: "str", int: "int", float: "float", bool: "bool", Path: "str | Path", NoneType: "None", Any: "object"}[
        kind
    ]


def _choice(key: str, values: tuple[Any, ...], choices: dict[str, str]) -> str:
    literal = f"Literal[{', '.join(map(json.dumps, values))}]"
    if len(values) <= _MOST_VALUES:
        return literal
    name = "".join(part.capitalize() for part in key.split("_"))
    assert choices.setdefault(name, literal) == literal, f"{key}: another choice of that name"
    return name


if __name__ == "__main__":
    PLACE.write_text(page(), encoding="utf-8")
