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
from g2is.errors import StoreError
from g2is.store.digests import damaged_files, noted_text, record_digests, record_text
from g2is.store.files import read_json, remove, write_json, write_text
from g2is.store.fingerprint import Fingerprint
from g2is.store.lock import locked, removed_on_error
from g2is.store.made_with import check_same

MANIFEST, BAD_ROWS = "manifest.json", "bad_rows.jsonl"


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
        return (self.path / MANIFEST).exists()

    def removed_on_error(self) -> AbstractContextManager[None]:
        """While the input is still being read: a folder that was made for unusable input goes again."""
        return removed_on_error(self.path, self.new)

    def made_from(self) -> dict[str, Any]:
        """What the work is made from. Raises StoreError if the folder does not say it."""
        return read_json(self.path / MANIFEST)

    def check_same(
        self, stored: Fingerprint, asked: Fingerprint, what: str, otherwise: str = "name another --out"
    ) -> None:
        """Raise FingerprintError naming each key in which `stored` and `asked` differ; `what` the work is ("a run")."""
        check_same(stored, asked, f"{self.path}: expected {what}", otherwise)

    def bind(self, made_from: Fingerprint, config: Section) -> None:
        """Write what the work is made from, then the settings."""
        write_json(self.path / MANIFEST, made_from)
        record_digests(self.path, [MANIFEST])
        self.write_settings(config)

    def unbind(self) -> None:
        """Forget what the work was made from: other settings may be tried in the same folder."""
        remove(self.path / MANIFEST)
        record_digests(self.path, [MANIFEST])

    def write_settings(self, config: Section) -> None:
        """Write every setting, defaults spelled out."""
        text = dump(config)
        record_text(self.path, SETTINGS, text)
        write_text(self.settings, text)


@contextmanager
def open_work(path: Path, config: Section, what: str) -> Iterator[WorkFolder]:
    """Make the folder at `path`, or open it, for the command whose settings are `config`; messages call it a `what`.

    Raises StoreError if another process holds it, it cannot be written to, or it is of another command; also if the
    settings in it are not as they were written, unless that was as `config`, which are then written anew.
    """
    with locked(path, what) as new:
        if SETTINGS in damaged_files(path, [SETTINGS]):
            _mend_settings(path, config, what)
        check_command(path, type(config))
        yield WorkFolder(path, new)


def _mend_settings(path: Path, config: Section, what: str) -> None:
    if noted_text(path, SETTINGS) != dump(config):
        raise StoreError(
            f"{path / SETTINGS}: expected the settings as this {what} wrote them, found them changed. Put them back"
            f" with `g2is verify {path} --repair`; or, for other settings, name another --out"
        )
    write_text(path / SETTINGS, dump(config))
