"""The blocks of code on a page of the docs, and running them as a reader would."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

from quick_start import tools

ROOT = Path(__file__).resolve().parents[2]
_FENCED = re.compile(r"^( *)```(\S*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, and what stands in it."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order, those within lists too."""
    return blocks_in(page.read_text(encoding="utf-8"))


def blocks_in(text: str) -> list[Block]:
    """The same of a part of a page."""
    return [Block(language, textwrap.dedent(inside)) for _, language, inside in _FENCED.findall(text)]


def run_shell(text: str, folder: Path, source: Path = ROOT / "src") -> subprocess.CompletedProcess[str]:
    """Run a shell block in `folder` with the g2is of `source`; a line that fails ends it, and fails the test."""
    with tools() as begins_with:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=folder,
            env=os.environ | {
                "PATH": os.pathsep.join([begins_with, str(Path(sys.executable).parent), os.environ["PATH"]]),
                "PYTHONPATH": os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
            },
            capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, text
    return done
