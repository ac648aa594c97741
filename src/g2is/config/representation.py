"""The settings of representations, composed of what each declares as its own."""

from typing import TYPE_CHECKING, Any

from g2is.config.section import composed
from g2is.methods import REPRESENTATIONS, Section, representation_kind, representation_sections


class NoRepresentationConfig(Section):
    """Representations other than gradients; `selection.representation` says which one is used."""


if TYPE_CHECKING:

    class RepresentationConfig(NoRepresentationConfig):
        """The settings that representations declare as their own."""

        def __init__(self, **settings: Any) -> None: ...

        def __getattr__(self, name: str) -> Any: ...
else:
    RepresentationConfig = composed(
        "RepresentationConfig", NoRepresentationConfig, representation_sections(), module=__name__
    )


def read_by(settings: RepresentationConfig, representation: str) -> dict[str, Any]:
    """Those of `settings` that `representation` reads."""
    if representation not in REPRESENTATIONS:
        return {}
    return settings.part(representation_kind(representation).settings).model_dump(mode="json")


def check_read(settings: RepresentationConfig, representation: str) -> None:
    """Raise ValueError if a setting is not at its default and `representation` does not read it."""
    read = read_by(settings, representation).keys()
    fields = type(settings).model_fields
    for name in fields.keys() - read:
        if getattr(settings, name) != fields[name].default:
            reader = next(
                other for other in REPRESENTATIONS if name in representation_kind(other).settings.model_fields
            )
            raise ValueError(
                f"representation.{name}: expected the representation {reader}, which looks at it, found"
                f" {representation}; take the representation {reader}, or leave it out"
            )
