"""What the error catalogue is made of: a place for wrong input, a case, and what is checked of every case."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from small_run import MODEL, SMALL, set_flags

GOOD = {"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]}
_PROGRESS = re.compile(r"(\S.* done in [0-9.]+ s|note: .*)\n")  # what stages that went well have said before


@dataclass(frozen=True)
class Place:
    """Where a case plays: its own folder `here`, the sample files, and a finished run that it must not touch."""

    here: Path
    pool: Path
    target: Path
    finished: Path

    def rows(self, name: str, *rows: object) -> Path:
        """Write rows as JSON lines; a str stands as it is."""
        return self.text(name, "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))

    def text(self, name: str, content: str | bytes) -> Path:
        path = self.here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def matrix(self, name: str, values: Any = None, **how: Any) -> Path:
        path = self.here / name
        np.save(path, np.random.default_rng(0).normal(size=(30, 8)) if values is None else values, **how)
        return path

    def model(self, without: Sequence[str] = (), **settings: Any) -> Path:
        """A copy of the bundled model without some of its files, with other settings in config.json."""
        copy = shutil.copytree(MODEL, self.here / "model")
        for name in without:
            (copy / name).unlink()
        config = json.loads((MODEL / "config.json").read_text())
        if settings:
            (copy / "config.json").write_text(json.dumps(config | settings))
        return copy

    def select(self, *flags: object, pool: object = None, target: object = None, model: object = MODEL) -> list[object]:
        """A whole `select` command that is right but for what is given."""
        files = [pool or self.pool, target or self.target]
        return ["select", *files, "--model", model, "--out", self.here / "run", *set_flags(SMALL), *flags]

    def walk(self, *flags: object, pool: object = None, target: object = None) -> list[object]:
        """A whole `walk` on matrices that is right but for what is given."""
        pool, target = pool or self.matrix("good.npy"), target or self.matrix("good.npy")
        files = ["--pool-gradients", pool, "--target-gradients", target, "--budget", 3]
        return ["walk", *files, "--out", self.here / "run", *flags]

    def train(self, *data: object, flags: Sequence[object] = (), model: object = MODEL) -> list[object]:
        return ["train", *data, "--model", model, "--out", self.here / "tuned", *flags]


@dataclass(frozen=True)
class Case:
    """A wrong command, and what its message must hold: what was expected, what was found, where, what to do."""

    command: Callable[[Place], list[object]]
    fragments: tuple[str, ...]


def case(command: Callable[[Place], list[object]], *fragments: str) -> Case:
    return Case(command, fragments)


def flags(*given: object) -> Callable[[Place], list[object]]:
    """A `select` with these flags beside right ones."""
    return lambda place: place.select(*given)


def setting(text: str) -> Callable[[Place], list[object]]:
    return flags("--set", text)


def bad_rows(*rows: object, flags: Sequence[object] = (), name: str = "pool.jsonl") -> Callable[[Place], list[object]]:
    """A `select` from a pool of these rows."""
    return lambda place: place.select(*flags, pool=place.rows(name, *rows))


def listing(*folders: Path) -> dict[str, str]:
    """Every file and folder below `folders`, with a hash of what is in it."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no regular file"
        for folder in folders
        for path in sorted(folder.rglob("*"))
    }


def check_one_message(outcome: tuple[int, str, str], fragments: Sequence[str]) -> str:
    """Exit code 2 and one message, which holds every fragment; returns it."""
    code, out, err = outcome
    assert code == 2, (code, out, err)
    said_before, begin, message = err.rpartition("error: ")
    assert begin, err
    assert "error: " not in said_before, err
    assert _PROGRESS.sub("", said_before) == "", f"expected nothing but finished stages before the error: {err}"
    assert message.endswith("\n"), err
    assert not re.search(r"Traceback|Warning|  File \"", err), err
    assert len(message.strip()) > 20, err
    for text in fragments:
        assert text in message, f"expected {text!r} in: {message}"
    return message
