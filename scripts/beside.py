"""Prints exact versions of all that g2is and a trainer need in one environment: `python scripts/beside.py axolotl`.

uv finds them, or says why there are none. CI installs g2is with these versions as constraints and runs its tests.
A trainer stands here with its exact version: of one without, uv takes an old release that asked for little.
"""

import shutil
import subprocess
import sys
from pathlib import Path

TRAINERS = {
    "llama-factory": "llamafactory==0.9.5",
    "axolotl": "axolotl==0.19.0",
    "trl": "trl==1.16.0",
    "unsloth": "unsloth==2026.10.9",
    "lm-eval": "lm-eval==0.4.13",
}
PYTHON, PLATFORM = "3.11", "x86_64-manylinux_2_28"
_PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def find_uv() -> str | None:
    """uv's command, of this environment or of the system; None where there is none."""
    return shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")


def beside(trainer: str) -> subprocess.CompletedProcess[str]:
    """uv's answer: on standard output a version a line, on standard error what contradicts what (then it is not 0).

    Raises KeyError for an unknown trainer, FileNotFoundError where uv is not installed.
    """
    uv = find_uv()
    if uv is None:
        raise FileNotFoundError("uv is not installed: pip install uv")
    command = [uv, "pip", "compile", str(_PYPROJECT), "-", "--no-header", "--no-annotate", "--quiet"]
    command += ["--python-version", PYTHON, "--python-platform", PLATFORM]
    return subprocess.run(command, input=TRAINERS[trainer] + "\n", capture_output=True, text=True, check=False)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in TRAINERS:
        sys.exit(f"expected one of {', '.join(TRAINERS)}, found {' '.join(sys.argv[1:]) or 'none'}")
    found = beside(sys.argv[1])
    sys.stdout.write(found.stdout)
    sys.stderr.write(found.stderr)
    sys.exit(found.returncode)
