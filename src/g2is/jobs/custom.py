"""What a user passes from Python in place of a built-in selector or representation."""

from collections.abc import Iterable
from dataclasses import dataclass

from g2is.config import SelectionConfig
from g2is.errors import ConfigError
from g2is.methods import OWN
from g2is.representations.own import Representation
from g2is.selection.problem import Selector


@dataclass(frozen=True)
class Own:
    """A selector and a representation of the user's own, where the settings name them `own:NAME`."""

    selector: Selector | None = None
    representation: Representation | None = None

    def check(self, settings: SelectionConfig) -> None:
        """Raise ConfigError where `settings` name something of the user's own that was not passed."""
        for what, name, own in (
            ("selector", settings.selector, self.selector),
            ("representation", settings.representation, self.representation),
        ):
            if name.startswith(OWN) and (own is None or name != OWN + own.name):
                found = "none" if own is None else own.name
                raise ConfigError(
                    f"selection.{what}: expected {name} to be passed from Python, found {found}: g2is.select or"
                    f" g2is.compare(…, {what}=g2is.{what.title()}(name, version, function))"
                )

    def check_named(self, several: Iterable[SelectionConfig]) -> None:
        """Raise ConfigError if something of the user's own was passed that none of `several` selections names."""
        listed = list(several)
        for what, own in (("selector", self.selector), ("representation", self.representation)):
            if own is not None and all(getattr(settings, what) != OWN + own.name for settings in listed):
                raise ConfigError(
                    f"{what}: expected the {own.name} that was passed to be used, found no settings that name it; say"
                    f" {{'{what}': '{OWN}{own.name}'}} in selection, or leave it out"
                )

    @property
    def versions(self) -> list[str]:
        """What of them a selection is made with."""
        return [f"{own.name} {own.version}" for own in (self.selector, self.representation) if own is not None]


BUILT_IN_ONLY = Own()
