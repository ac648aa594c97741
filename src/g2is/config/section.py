"""What every part of the configuration is made of: its base, and where files lie."""

import re
from collections.abc import Sequence
from glob import escape, has_magic
from numbers import Real
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, create_model

from g2is.config.home import at_home
from g2is.errors import ConfigError
from g2is.methods import Section as Section

HUB = "hf:"  # begins the location of a hub dataset

SCHEMES = {"s3": "s3://BUCKET/PREFIX", "gs": "gs://BUCKET/PREFIX", "az": "az://CONTAINER/PREFIX"}  # of object storage
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):/")


def _absolute(path: Path) -> Path:
    if _URL.match(str(path)):
        raise ValueError(
            f"expected a file or folder of this machine, found {path}, which looks like a URL; of what g2is writes only"
            " the store (--store) may lie in object storage"
        )
    return at_home(path).absolute()


def _store_place(value: Any) -> Any:
    """A folder as an absolute path, a URL as it is, without a slash at its end."""
    url = _URL.match(str(value)) if isinstance(value, str | Path) else None
    if url is None:
        return _absolute(Path(value)) if isinstance(value, str | Path) else value
    scheme, (bucket, _, prefix) = url["scheme"], str(value).partition("://")[2].rstrip("/").partition("/")
    strange = any(part in ("", ".", "..") for part in prefix.split("/")) if prefix else False
    if isinstance(value, Path) or scheme not in SCHEMES or not bucket or strange or re.search(r"[?#\s\\]", str(value)):
        hint = "; give a URL as text: a Path makes one slash of two" if isinstance(value, Path) else ""
        raise ValueError(f"expected a folder, or {', '.join(SCHEMES.values())}, found {str(value)!r}{hint}")
    return str(value).rstrip("/")


def read_place(text: str) -> Path | str:
    """What a command was given as a folder of this machine, or as the URL of a store in object storage.

    Raises ConfigError for another URL.
    """
    if not _URL.match(text):
        return Path(text)
    try:
        return str(_store_place(text))
    except ValueError as error:
        raise ConfigError(str(error)) from None


# config.yaml is replayed from any folder
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
StorePlace = Annotated[Path | str, BeforeValidator(_store_place)]  # a path, or the URL of object storage as text


def _located(location: str) -> str:
    if not location.removeprefix(HUB):
        raise ValueError("expected a file, glob, folder or hf:org/name:split, found nothing")
    folder, colon, split = location.removeprefix(HUB).partition(":")
    if not location.startswith(HUB):
        path = at_home(Path(location))
        if has_magic(location) and not path.is_absolute() and not path.exists():
            return str(Path(escape(str(Path.cwd()))) / path)  # [ and * in a folder's own name are no pattern
        return str(path.absolute())
    return f"{HUB}{Path(folder).absolute()}{colon}{split}" if Path(folder).is_dir() else location


# A file, a glob, a folder of `save_to_disk` (`folder:split`), or `hf:org/name:split`: `examples/sources.py` finds them.
Location = Annotated[
    str, BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value), AfterValidator(_located)
]


def _each_once(given: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(given)) != len(given):
        raise ValueError("expected each once")
    return given


# Of a setting that is a list: one item may be given without brackets; none stands there twice.
one_may_stand_alone = BeforeValidator(lambda value: (value,) if isinstance(value, str | Path) else value)
each_once = AfterValidator(_each_once)

OptionalLocations = Annotated[tuple[Location, ...], one_may_stand_alone]
OptionalPaths = Annotated[tuple[AbsolutePath, ...], one_may_stand_alone]
Locations = Annotated[OptionalLocations, Field(min_length=1)]


def composed(name: str, shared: type[Section], sections: Sequence[type[Section]], module: str) -> Any:
    """A section called `name` in `module`: the settings of `shared`, and then those of `sections`, all at one level."""
    taken = set(shared.model_fields)
    for section in sections:
        assert not taken & section.model_fields.keys(), f"{section.__name__}: {taken & section.model_fields.keys()}"
        taken |= section.model_fields.keys()
    # As bases, so that what a section checks of its settings is checked here too; pydantic lists the last one's first.
    return create_model(name, __base__=(*reversed(sections), shared), __module__=module, __doc__=shared.__doc__)


def number_as_text(value: Any) -> Any:
    """What YAML has as a number, where a setting is a text, such as an amount of rows; nothing else becomes one."""
    return str(value) if isinstance(value, Real) and not isinstance(value, bool) else value
