"""What every part of the configuration is made of: its base, and where files lie."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

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


class Section(BaseModel):
    """A part of the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
