"""What a user passes from Python in place of a built-in selector or representation."""

from dataclasses import dataclass

from g2is.representations.own import Representation
from g2is.selection.problem import Selector


@dataclass(frozen=True)
class Own:
    """A selector and a representation of the user's own, where the settings name them `own:NAME`."""

    selector: Selector | None = None
    representation: Representation | None = None

    @property
    def versions(self) -> list[str]:
        """What of them a selection is made with."""
        return [f"{own.name} {own.version}" for own in (self.selector, self.representation) if own is not None]


BUILT_IN_ONLY = Own()
