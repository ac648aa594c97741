"""What a run survives: a module for each part of `make faults` (`__main__.py`)."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The cases that tests have too; pytest finds them by `pythonpath` of pyproject.toml.
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("faults", "end_to_end", "parity", "invariants")]
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
