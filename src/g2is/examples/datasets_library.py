"""Datasets as the `datasets` library keeps them: folders of `save_to_disk`, and the hub. Remote code is never run."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from g2is.config import HUB
from g2is.errors import InputError, pass_on_too_little_memory
from g2is.store.network import why_unreachable

_COMMIT = re.compile(r"[0-9a-f]{40}")


def open_saved(folder: Path, split: str) -> Any:
    """Open a folder that `save_to_disk` wrote. Raises InputError if it cannot be opened or has no such split."""
    import datasets

    label = f"{folder}:{split}" if split else str(folder)
    with _quiet(), _failing(label, "save it again with save_to_disk"):
        found = datasets.load_from_disk(str(folder), keep_in_memory=False)
    if isinstance(found, datasets.DatasetDict):
        return found[_only_split(label, str(folder), split, list(found))]
    if split:
        raise InputError(f"{label}: expected a dataset with splits, found one without; name it {folder}")
    return found


def open_hub(location: str) -> tuple[str, Any]:
    """Open `hf:org/name:split`, `hf:org/name/config:split` or `hf:` and a local folder of data files: (name, dataset).

    `@REVISION` before the colon names a commit, branch or tag.

    Where the hub cannot be reached, what an earlier fetch left is opened, without trying for long. Raises InputError if
    there is none, or no such dataset, configuration or split.
    """
    import datasets
    from huggingface_hub import constants

    place, _, split = location.removeprefix(HUB).partition(":")
    name, config, revision, away = place, None, None, ""
    if not Path(place).is_dir():
        repository, at, revision = place.partition("@")
        revision, parts = revision or None, repository.split("/")
        if len(parts) > 3 or not all(parts) or (at and revision is None):
            raise InputError(
                f"{location}: expected {HUB}org/name:split or {HUB}org/name/config:split, with @REVISION before the"
                " colon if it is to be another than the newest"
            )
        name, config = "/".join(parts[:2]), parts[2] if len(parts) == 3 else None
        away = "" if constants.HF_HUB_OFFLINE else why_unreachable(constants.ENDPOINT)
    remedy = (
        f"check its name, and that this machine reaches the hub{f' ({constants.ENDPOINT}: {away})' if away else ''}"
    )
    with _quiet(), _offline(bool(away)), _failing(location, remedy):
        if not split:
            split = _only_split(
                location, f"{HUB}{place}", "", datasets.get_dataset_split_names(name, config, revision=revision)
            )
        found = datasets.load_dataset(name, config, split=split, revision=revision, keep_in_memory=False)
    _check_commit(location, revision, found)
    return Path(name).name, found


def _check_commit(location: str, revision: str | None, dataset: Any) -> None:
    """Raise InputError if another commit of a hub's dataset was opened than `revision`, where that is a commit.

    Without a network the library takes whichever an earlier fetch has left; the folder is called by its commit.
    """
    if revision is None or not _COMMIT.fullmatch(revision):
        return
    commits = {Path(file["filename"]).parent.name for file in dataset.cache_files}
    if others := sorted(commit for commit in commits - {revision} if _COMMIT.fullmatch(commit)):
        raise InputError(
            f"{location}: expected the dataset's commit {revision}, found that this machine holds {others[0]} and"
            " cannot fetch the other; give the command where the hub can be reached, or name @" + others[0]
        )


def _only_split(label: str, place: str, asked: str, splits: list[str]) -> str:
    """Return the split asked for, or the only one there is."""
    if asked in splits or (not asked and len(splits) == 1):
        return asked or splits[0]
    choices = ", ".join(f"{place}:{split}" for split in splits) or "none"
    found = f"no split {asked!r}" if asked else "no split named"
    raise InputError(f"{label}: expected one of {choices}; found {found}")


@contextmanager
def _failing(label: str, remedy: str) -> Iterator[None]:
    """Tell what went wrong in the library: what it raises for a wrong name, file or network has no common kind."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        pass_on_too_little_memory(error)
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"{label}: expected a dataset that the datasets library opens, but: {lines[0]}; {remedy}"
        ) from None


@contextmanager
def _offline(away: bool) -> Iterator[None]:
    """Let the libraries ask nobody where nobody answers: they would try for half a minute, and tell of each time."""
    import datasets
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    if away:
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


@contextmanager
def _quiet() -> Iterator[None]:
    """The stage reports its own progress: bars of the library would only interrupt it."""
    import datasets

    were_shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if were_shown:
            datasets.enable_progress_bars()
