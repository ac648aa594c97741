"""What every command runs in: how much it says, and in what form; libraries that keep quiet."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from g2is.cli.stopping import stoppable
from g2is.errors import ConfigError
from g2is.progress import Reporter, Silent
from g2is.progress.terminal import say, visible
from g2is.store.lock import waiting

_Estimate = TypeVar("_Estimate")


@dataclass(frozen=True)
class Voice:
    """How a command speaks: `quiet`, `verbose` or neither, and whether its result is printed `as_json`."""

    quiet: bool = False
    verbose: bool = False
    as_json: bool = False


_voice = Voice()


def speak(voice: Voice) -> None:
    """Let the command speak so. Raises ConfigError if it is to say more and less at once."""
    global _voice
    if voice.quiet and voice.verbose:
        raise ConfigError("--quiet: expected it or --verbose, found both; leave one of them out")
    _voice = voice


def reporter() -> Reporter:
    """Who draws the course of a run."""
    if _voice.quiet:
        return Silent()
    from g2is.progress.drawn import TerminalReporter

    return TerminalReporter(verbose=_voice.verbose)


def tell(as_text: Callable[[], None], as_data: Callable[[], Any]) -> None:
    """Print the result of a command: as people read it, or with --json as programs do."""
    if _voice.as_json:
        say_json(as_data())
    else:
        as_text()


def say_json(value: Any) -> None:
    """Print `value` on standard output as JSON: see `plain`."""
    text = json.dumps(plain(value), ensure_ascii=False, indent=1)
    # what a terminal would obey is written as JSON escapes it, lest it be shown as another character
    say([text if visible(text) == text else json.dumps(plain(value), indent=1)])


def plain(value: Any) -> Any:
    """`value` as JSON has it: dataclasses and mappings by their keys, arrays as lists, paths as text, NaN as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(of) for key, of in value.items()}
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy's
        return plain(value.tolist())
    return [plain(of) for of in value]


def foresee(estimate: Callable[[], _Estimate], show: Callable[[_Estimate], None]) -> None:
    """Print what a command would do, as `estimate` finds it. A stop leaves nothing behind."""
    quiet_libraries()
    with stoppable(None):
        found = estimate()
        tell(lambda: show(found), lambda: found)


@contextmanager
def working(keeps: Path | str, wait: bool) -> Iterator[None]:
    """Do work in the folder or URL `keeps` that a signal may stop; where others use it, `wait` for their end."""
    with stoppable(keeps), waiting(reporter() if wait else None):
        yield


def quiet_libraries() -> None:
    """The stages report their own progress: transformers' bars and advice would only interrupt it."""
    if _voice.verbose:
        return
    import warnings

    from transformers.utils import logging

    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")
    warnings.filterwarnings("ignore", category=UserWarning, module="joblib")  # of limits that g2is does not meet
    logging.set_verbosity_error()
    logging.disable_progress_bar()
