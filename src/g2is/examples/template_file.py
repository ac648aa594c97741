"""A chat template of the user's own, from a file."""

import json
from pathlib import Path
from typing import Any

from g2is.errors import ConfigError, first_line

_EXPECTED = "a Jinja chat template, or JSON with one as `chat_template`"


def read_chat_template(path: Path) -> str:
    """The template in `path`. Raises ConfigError if there is none, or it is not Jinja."""
    place = f"examples.chat_template: {path}"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{place}: expected {_EXPECTED}, found no file to read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{place}: expected {_EXPECTED}, found a file that is not UTF-8 text") from None
    source = _of_json(text, place) if path.suffix == ".json" else text
    _check(source, place)
    return source


def _of_json(text: str, place: str) -> str:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{place}: expected JSON with a chat template as `chat_template`, found {error}") from None
    value: Any = found.get("chat_template") if isinstance(found, dict) else None
    if isinstance(value, list):  # as tokenizer_config.json has several
        value = {item.get("name"): item.get("template") for item in value if isinstance(item, dict)}
    if isinstance(value, dict):
        value = value.get("default")
    if not isinstance(value, str):
        raise ConfigError(
            f"{place}: expected `chat_template` to be a text, or several with one called default, found neither"
        )
    return value


def _check(source: str, place: str) -> None:
    from jinja2 import TemplateError, TemplateSyntaxError
    from transformers.utils.chat_template_utils import _compile_jinja_template

    try:
        _compile_jinja_template(source)
    except TemplateError as error:
        line = f" in line {error.lineno}" if isinstance(error, TemplateSyntaxError) else ""
        raise ConfigError(f"{place}: expected {_EXPECTED}, found an error{line}: {first_line(error)}") from None
    if "messages" not in source:
        raise ConfigError(f"{place}: expected {_EXPECTED}, found text that does not read `messages`")
