"""Whether a folder holds files and folders alone: to read a pipe or a device in place of a file may never end."""

import os
from pathlib import Path

from g2is.config.strict import special_kind
from g2is.errors import StoreError

_MOST = 5  # that are named


def check_only_files(folder: Path) -> None:
    """Raise StoreError naming what lies below `folder` that is neither; a link counts as what it leads to."""
    found = []
    for place, folders, names in os.walk(folder):
        for path in (Path(place, name) for name in (*folders, *names)):
            if (kind := special_kind(path)) not in (None, "a folder"):
                found.append(f"{path}: {kind}")
    if found:
        more = f"\n  and {len(found) - _MOST} more" if len(found) > _MOST else ""
        raise StoreError(
            f"{folder}: expected files and folders alone, found what is neither. Remove it; `g2is verify {folder}` says"
            " what is missing then:\n  " + "\n  ".join(sorted(found)[:_MOST]) + more
        )
