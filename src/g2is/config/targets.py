"""How settings and flags name targets and what belongs to them: `--target math=a.jsonl --share math=2`."""

import difflib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from g2is.errors import ConfigError

TARGET = "target"  # the one that was given no name

_NAME = re.compile(r"[A-Za-z0-9_-]+")


def titled(name: str) -> str:
    """What stages and notices call a target."""
    return TARGET if name == TARGET else f"target {name}"


def files_by_name(given: Any) -> dict[str, Any]:
    """Lists of files by the names of their targets, from a file, a list of files, or either by name.

    Raises ValueError for anything else, and for a name that is empty or has other characters than letters, digits, _
    and -.
    """
    if isinstance(given, str | Path | list | tuple):
        given = {TARGET: given}
    if not isinstance(given, Mapping) or not given:
        raise ValueError("expected a file, or files by the names of their targets")
    for name, files in given.items():
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise ValueError(f"expected names of letters, digits, _ and -, found the name {name!r}")
        if not (isinstance(files, str | Path) or (files and isinstance(files, list | tuple))):
            raise ValueError(f"expected a file or a list of files for target {name!r}, found {files!r}")
    return {name: [files] if isinstance(files, str | Path) else list(files) for name, files in given.items()}


def check_shares(shares: Mapping[str, float] | None, targets: Collection[str]) -> None:
    """Raise ValueError unless `shares` are None, or a positive number for each of `targets` and for nothing else."""
    if shares is None:
        return
    for name, share in shares.items():
        if name not in targets:
            raise ValueError(f"selection.shares: no target is called {name!r}{nearest(name, targets, 'targets')}")
        if not (share > 0 and math.isfinite(share)):
            raise ValueError(f"selection.shares: expected positive numbers, found {name} = {share:g}")
    if missing := [name for name in targets if name not in shares]:
        raise ValueError(f"selection.shares: expected a share for each target, found none for {', '.join(missing)}")


def nearest(name: str, known: Collection[str], what: str) -> str:
    """What an error says after a name that is not known: the nearest one that is, or all."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; the {what} are {', '.join(sorted(known))}"


def read_targets(flags: Sequence[str], flag: str = "--target") -> dict[str, list[str]]:
    """Files by name from `--target` flags, each NAME=FILE or a file, which is one of "target"; or from another `flag`.

    A flag that names an existing file is that file, whatever `=` it has, and so is one with a / before it. Raises
    ConfigError if no file is named, or what stands before the = is no name.
    """
    targets: dict[str, list[str]] = {}
    for text in flags:
        name, equals, path = text.partition("=")
        if not equals or "/" in name or Path(text).exists():
            name, path = TARGET, text
        elif not _NAME.fullmatch(name):
            raise ConfigError(
                f"{flag} {text}: expected a name of letters, digits, _ and - before the =, found {name!r}; there is"
                " no file of the whole name either"
            )
        if not path:
            raise ConfigError(f"{flag} {text}: expected a file after the =, found nothing")
        targets.setdefault(name, []).append(path)
    return targets


def read_shares(flags: Sequence[str]) -> dict[str, float]:
    """Shares by target from `--share NAME=NUMBER` flags. Raises ConfigError for another form, or a name twice."""
    shares: dict[str, float] = {}
    for name, text in _pairs("--share", "math=2", flags).items():
        try:
            shares[name] = float(text)
        except ValueError:
            raise ConfigError(f"--share {name}={text}: expected a number such as 2 or 0.5, found {text!r}") from None
    return shares


def read_quotas(flags: Sequence[str]) -> dict[str, str]:
    """Quotas by source from `--quota SOURCE=MOST` flags (SOURCE may have = in it). Raises as `read_shares`."""
    return _pairs("--quota", "web=50%", flags)


def _pairs(flag: str, example: str, flags: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in flags:
        name, equals, value = (part.strip() for part in text.rpartition("="))
        if not equals or not name or not value:
            raise ConfigError(f"{flag}: expected {flag} {example}, found {text!r}")
        if name in pairs:
            raise ConfigError(f"{flag}: expected each name once, found {name!r} twice: {pairs[name]} and {value}")
        pairs[name] = value
    return pairs
