"""The folder that a command works in: held by this process, of one command, bound to what its work is made from.

config.yaml      every setting, the command first; `g2is run` replays it
manifest.json    what the work is made from, where settings alone do not say it (train, evaluate, compare)

When a folder is bound each command says itself. From then on the same command goes on only with the same.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g2is.config import Section
from g2is.config.commands import SETTINGS, check_command
from g2is.config.io import dump
from g2is.store.files import read_json, remove, write_json, write_text
from g2is.store.fingerprint import Fingerprint, check_same
from g2is.store.lock import locked, removed_on_error

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class WorkFolder:
    """An open folder; `new` if it was made for this command."""

    path: Path
    new: bool

    @property
    def settings(self) -> Path:
        """Where the settings lie."""
        return self.path / SETTINGS

    @property
    def is_bound(self) -> bool:
        """Whether it says what its work is made from."""
        return (self.path / _MANIFEST).exists()

    def removed_on_error(self) -> AbstractContextManager[None]:
        """While the input is still being read: a folder that was made for unusable input goes again."""
        return removed_on_error(self.path, self.new)

    def made_from(self) -> dict[str, Any]:
        """What the work is made from. Raises StoreError if the folder does not say it."""
        return read_json(self.path / _MANIFEST)

    def check_same(
        self, stored: Fingerprint, asked: Fingerprint, what: str, otherwise: str = "name another --out"
    ) -> None:
        """Raise FingerprintError naming each key in which `stored` and `asked` differ; `what` the work is ("a run")."""
        check_same(stored, asked, f"{self.path}: expected {what}", otherwise)

    def bind(self, made_from: Fingerprint, config: Section) -> None:
        """Write what the work is made from, then the settings."""
        write_json(self.path / _MANIFEST, made_from)
        self.write_settings(config)

    def unbind(self) -> None:
        """Forget what the work was made from: other settings may be tried in the same folder."""
        remove(self.path / _MANIFEST)

    def write_settings(self, config: Section) -> None:
        """Write every setting, defaults spelled out."""
        write_text(self.settings, dump(config))


@contextmanager
def open_work(path: Path, model: type[Section], what: str) -> Iterator[WorkFolder]:
    """Make the folder at `path`, or open it, for the command whose settings are a `model`; messages call it a `what`.

    Raises StoreError if another process holds it, it cannot be written to, or it is of another command; ConfigError if
    the settings in it cannot be read.
    """
    with locked(path, what) as new:
        check_command(path, model)
        yield WorkFolder(path, new)
