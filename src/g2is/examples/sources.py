"""From locations to sources: the files and datasets that hold the rows, in order.

A location is a file, a glob, a folder that datasets' `save_to_disk` wrote (`folder:split`), or `hf:org/name:split`.
"""

import glob
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from g2is.config import HUB
from g2is.errors import InputError
from g2is.examples.datasets_library import open_hub, open_saved
from g2is.examples.lines import COMPRESSIONS, check_is_file, digest, read_text

Format = Literal["JSON lines", "JSON", "CSV", "Parquet", "dataset"]

_FORMATS: dict[str, Format] = {
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".json": "JSON",
    ".csv": "CSV",
    ".parquet": "Parquet",
}
_SAVED = ("state.json", "dataset_dict.json")


@dataclass(frozen=True, eq=False)
class Source:
    """One file or dataset. `label` names it in messages, `name` is the source of rows that name none themselves.

    `before_ids` stands before the ids of its rows.
    """

    label: str
    name: str
    format: Format
    files: tuple[Path, ...]  # of a dataset: those that datasets keeps it in
    dataset: Any = None
    before_ids: str = ""

    @property
    def file(self) -> Path:
        """The one file of a source that is no dataset."""
        return self.files[0]

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.files)

    def place(self, line: int) -> str:
        """Name a record in a message: by line in text, by row number from 0 in Parquet files and datasets."""
        return f"{self.label}: row {line}" if self.format in ("Parquet", "dataset") else f"{self.label}:{line}"


def find_sources(locations: Sequence[str]) -> list[Source]:
    """Return the sources of `locations`, in the order given, those of a glob sorted by path.

    Raises InputError for a location that is not there, a glob without match, a dataset or split that cannot be opened,
    a source that two locations name, or a file whose suffix says nothing and that does not begin as JSON. One glob may
    find a file under several names: links are how the hub keeps equal files, and its rows are duplicates then.
    """
    sources: list[Source] = []
    seen: dict[str, tuple[str, int]] = {}
    for number, location in enumerate(locations):
        for source in _find(location):
            place = str(source.file.resolve()) if source.dataset is None else source.label
            label, by = seen.setdefault(place, (source.label, number))
            if by != number:
                also = f" (as {label})" if label != source.label else ""
                raise InputError(
                    f"{source.label}: expected every file and dataset once, found it twice{also}; name it once"
                )
            sources.append(source)
    return sources


def source_sha256(sources: Sequence[Source]) -> str:
    """Return a sha256 of all bytes of `sources` in hexadecimal. Raises InputError if one cannot be read."""
    total = hashlib.sha256()
    for source in sources:
        # The same bytes are other rows in another format, or as another part of the files that hold a dataset.
        part = "" if source.dataset is None else f"{source.dataset.split} {len(source.dataset)}"
        total.update(f"{source.format} {part} {' '.join(map(digest, source.files))}\n".encode())
    return total.hexdigest()


def describe(sources: Sequence[Source]) -> str:
    """Return what a message calls all of `sources` together."""
    return sources[0].label if len(sources) == 1 else f"{sources[0].label} and {len(sources) - 1} more"


def _find(location: str) -> list[Source]:
    if location.startswith(HUB):
        return [_of_dataset(location, *open_hub(location))]
    path = Path(location)
    if _is_saved(path):
        return [_of_dataset(location, path.name, open_saved(path, ""))]
    if path.exists():
        return [_of_file(path)]
    folder, _, split = location.rpartition(":")
    if split and _is_saved(Path(folder)):
        return [_of_dataset(location, Path(folder).name, open_saved(Path(folder), split))]
    if glob.has_magic(location):
        matches = glob.glob(location, recursive=True)  # noqa: PTH207, since Path.glob takes hidden files too
        found = sorted(match for match in matches if Path(match).is_file())
        if not found:
            raise InputError(
                f"{location}: expected files that match, found none; check the pattern (current folder: {Path.cwd()})"
            )
        return [_of_file(Path(match)) for match in found]
    if _may_be_of_hub(path):
        name = path.relative_to(Path.cwd())
        text = str(name) if ":" in name.name else f"{name}:split"
        raise InputError(f"{path}: expected a file, found none; a dataset of the hub is written {HUB}{text}")
    return [_of_file(path)]


def _of_file(path: Path) -> Source:
    check_is_file(path)
    inner = path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path
    told = _FORMATS.get(inner.suffix.lower())
    if told is None:
        _check_begins_as_json(path, inner.suffix)
    return Source(str(path), inner.stem, told or "JSON lines", (path,))


def _check_begins_as_json(path: Path, suffix: str) -> None:
    begin = next((text for chunk in read_text(path) if (text := chunk.lstrip())), b"{")
    if begin[:1] not in (b"{", b"["):
        raise InputError(
            f"{path}: expected JSON lines, since {suffix or 'no suffix'} says nothing else, found text that is no JSON;"
            f" save it as one of {', '.join(_FORMATS)} (CSV with commas and a header row)"
        )


def _of_dataset(label: str, name: str, dataset: Any) -> Source:
    files = tuple(Path(file["filename"]) for file in dataset.cache_files)
    return Source(label, name, "dataset", files, dataset)


def _is_saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _SAVED)


def _may_be_of_hub(path: Path) -> bool:
    """Whether a path that is not there looks like org/name."""
    return (
        path.is_relative_to(Path.cwd())
        and len(path.relative_to(Path.cwd()).parts) == 2
        and not path.parent.exists()
        and not any(path.name.lower().endswith(suffix) for suffix in (*_FORMATS, *COMPRESSIONS))
    )
