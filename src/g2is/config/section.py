"""What every part of the configuration is made of: its base, and where files lie."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, create_model

from g2is.methods import Section as Section

HUB = "hf:"  # begins the location of a hub dataset

# config.yaml is replayed from any folder
AbsolutePath = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


def _located(location: str) -> str:
    if not location.removeprefix(HUB):
        raise ValueError("expected a file, glob, folder or hf:org/name:split, found nothing")
    folder, colon, split = location.removeprefix(HUB).partition(":")
    if not location.startswith(HUB):
        return str(Path(location).expanduser().absolute())
    return f"{HUB}{Path(folder).absolute()}{colon}{split}" if Path(folder).is_dir() else location


# A file, a glob, a folder of `save_to_disk` (`folder:split`), or `hf:org/name:split`: `examples/sources.py` finds them.
Location = Annotated[
    str, BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value), AfterValidator(_located)
]
_one_may_stand_alone = BeforeValidator(lambda value: (value,) if isinstance(value, str | Path) else value)
OptionalLocations = Annotated[tuple[Location, ...], _one_may_stand_alone]
OptionalPaths = Annotated[tuple[AbsolutePath, ...], _one_may_stand_alone]
Locations = Annotated[OptionalLocations, Field(min_length=1)]


def composed(name: str, shared: type[Section], sections: Sequence[type[Section]], module: str) -> Any:
    """A section called `name` in `module`: the settings of `shared`, and then those of `sections`, all at one level."""
    taken = set(shared.model_fields)
    for section in sections:
        assert not taken & section.model_fields.keys(), f"{section.__name__}: {taken & section.model_fields.keys()}"
        taken |= section.model_fields.keys()
    # As bases, so that what a section checks of its settings is checked here too; pydantic lists the last one's first.
    return create_model(name, __base__=(*reversed(sections), shared), __module__=module, __doc__=shared.__doc__)
