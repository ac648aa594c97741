"""`~` in paths, as a shell reads it."""

from pathlib import Path


def at_home(path: Path) -> Path:
    """`path` with a home folder in the place of `~` or `~user`; as it stands where there is no such user or home.

    So a file that is named "~t.jsonl" is found.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        return path
