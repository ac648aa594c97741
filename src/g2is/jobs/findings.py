"""What is not as it was written in a folder, gathered file by file, and how each comes right."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from g2is.errors import StoreError
from g2is.progress import Progress
from g2is.store.check_table import CHANGED
from g2is.store.digests import DIGESTS, are_of_another, changed_files, noted_digests, noted_path, record_digests
from g2is.store.files import is_sealed, remove

Mend = Callable[[], None]
_PASSED_OVER = (".lock",)
_LOGS = "logs"  # what a user's own tool writes there, g2is never reads


@dataclass(frozen=True)
class Damage:
    """A file that is not as it was written: `found` says how, `holds` what of, `ids` of those rows as far as known.

    `mend` makes room for the same command to make it anew, or puts it right; None where only a copy of one's own helps.
    """

    path: Path
    found: str
    holds: str = ""
    ids: Sequence[str] = ()
    mend: Mend | None = None


@dataclass
class Findings:
    """What was checked below `root`, and what of it is damaged."""

    root: Path
    progress: Progress = lambda done, total: None
    damages: list[Damage] = field(default_factory=list)
    unfinished: list[Path] = field(default_factory=list)  # what a stop left, and the next command takes away
    checked: set[Path] = field(default_factory=set)
    num_bytes: int = 0
    total: int = 0

    def read(self, path: Path) -> None:
        """Note that a file was checked."""
        if path not in self.checked and path.is_file():
            self.checked.add(path)
            self.num_bytes += path.stat().st_size
            self.progress(min(self.num_bytes, self.total), self.total)

    def add(self, path: Path, found: str, holds: str = "", ids: Sequence[str] = (), mend: Mend | None = None) -> None:
        """Note a damage, the first one of each file."""
        self.read(path)
        if all(damage.path != path for damage in self.damages):
            self.damages.append(Damage(path, found, holds, ids, mend))

    def has_damage_in(self, folder: Path) -> bool:
        """Whether a damage of a file below `folder` was noted."""
        return any(folder in damage.path.parents for damage in self.damages)

    def sealed(self, path: Path, holds: str, mend: Mend | None) -> bool:
        """Check a JSON file that carries its own digest; whether it is there and sound."""
        self.read(path)
        if not path.is_file():
            return False
        if not is_sealed(path):
            self.add(path, CHANGED, holds, mend=mend)
            return False
        return True

    def noted(self, folder: Path, holds: Callable[[str], str], mend: Callable[[str], Mend | None]) -> bool:
        """Check all that the digests.json of `folder` notes; whether that itself is there and sound.

        Where it is not, `mend` is asked by its own name. Raises StoreError for notes of files that are elsewhere.
        """
        notes, what = folder / DIGESTS, "what its folder's files held"
        if not self.sealed(notes, what, mend(DIGESTS)):
            if not notes.is_file():
                self.add(notes, "gone, or written by a version of g2is without it", mend=mend(DIGESTS))
            return False
        try:
            all_noted = noted_digests(folder)
        except StoreError:
            self.add(notes, CHANGED, what, mend=mend(DIGESTS))
            return False
        changed = changed_files(folder, all_noted)
        if are_of_another(folder, all_noted, changed):
            self.add(notes, "what the files of another folder held", what, mend=mend(DIGESTS))
            return False
        for name in all_noted:
            path = noted_path(folder, name)
            if not path.is_file():
                self.add(path, "gone", holds(name), mend=mend(name))
                continue
            self.read(path)
            if name in changed:
                self.add(path, CHANGED, holds(name), mend=mend(name))
        return True

    def unknown(self) -> list[Path]:
        """Files below `root` that nothing vouches for: not g2is's, or what a stop left."""
        return sorted(
            path
            for path in self.root.rglob("*")
            if path.is_file()
            and path not in self.checked
            and path.name not in _PASSED_OVER
            and _LOGS not in path.relative_to(self.root).parts
        )


def remover(*paths: Path) -> Mend:
    """What removes files and folders."""

    def mend() -> None:
        for path in paths:
            remove(path)

    return mend


def forgetting(folder: Path, *names: str) -> Mend:
    """What removes files of `folder`, and what its digests.json notes of them."""

    def mend() -> None:
        for name in names:
            remove(folder / name)
        record_digests(folder, names)

    return mend
