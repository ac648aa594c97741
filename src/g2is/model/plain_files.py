"""A folder's entries before libraries read them: a pipe would have them wait for ever, a device never end."""

from pathlib import Path

from g2is.config.strict import special_kind
from g2is.errors import ModelError


def check_plain_files(folder: Path) -> None:
    """Raise ModelError if what lies in `folder`, if there is one, is neither file nor folder."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        kind = special_kind(path)
        if kind not in (None, "a folder"):
            raise ModelError(f"{path}: expected a file, found {kind}; take it away, or copy the model again")
