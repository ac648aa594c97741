"""A chat template of the user's own, from a file."""

from pathlib import Path
from typing import Any

from g2is.config.strict import parse_json, read_text_file
from g2is.errors import ConfigError, first_line

_EXPECTED = "a Jinja chat template, or JSON with one as `chat_template`"


def read_chat_template(path: Path) -> str:
    """The template in `path`. Raises ConfigError if there is none, or it is not Jinja."""
    place = f"examples.chat_template: {path}"
    try:
        text = read_text_file(path)
    except OSError as error:
        raise ConfigError(f"{place}: expected {_EXPECTED}, found no file to read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{place}: expected {_EXPECTED}, found a file that is not UTF-8 text") from None
    except ValueError as error:
        raise ConfigError(f"{place}: expected {_EXPECTED}, but it cannot be read: {error}") from None
    source = _of_json(text, place) if path.suffix == ".json" else text
    _check(source, place)
    return source


def _of_json(text: str, place: str) -> str:
    try:
        found = parse_json(text)
    except ValueError as error:
        raise ConfigError(
            f"{place}: expected JSON with a chat template as `chat_template`, but it cannot be read: {error}"
        ) from None
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
    from jinja2 import TemplateSyntaxError

    from g2is.examples.bounded_jinja import compile_bounded

    try:
        compile_bounded(source)
    except Exception as error:  # jinja2's, and Python's own of source that nests too deeply
        line = f"in line {error.lineno}" if isinstance(error, TemplateSyntaxError) else "in the whole"
        raise ConfigError(f"{place}: expected {_EXPECTED}, found an error {line}: {first_line(error)}") from None
    if "messages" not in source:
        raise ConfigError(f"{place}: expected {_EXPECTED}, found text that does not read `messages`")
