"""Makes the folder of a real chat model, SmolLM2-135M-Instruct, out of its GGUF file, without a network.

    python benchmarks/gpu/real_chat_model.py --parts DIR --out DIR

DIR holds smollm2.gguf.part-aa …, as ../shared/cuda/pack.sh packs them, or a whole GGUF file.
../shared/models/real_model.py reads it, checks that the model knows the capital of France, and writes the folder.
"""

import argparse
import importlib.util
import shutil
import sys
from pathlib import Path

from common.measure import Figure, keep, seconds
from common.places import SHARED

MODEL = "smollm2-135m"


def joined(parts: Path, place: Path) -> Path:
    """The GGUF file in `parts`, in one piece at `place`. Exits if there is none."""
    files = sorted(parts.glob("*.gguf")) or sorted(parts.glob("*.gguf.part-*"))
    if not files:
        sys.exit(f"{parts}: expected a GGUF file, whole or as .gguf.part-aa …, found none")
    with place.open("wb") as out:
        for file in files:
            with file.open("rb") as part:
                shutil.copyfileobj(part, out)
    return place


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    script = SHARED / "models/real_model.py"
    spec = importlib.util.spec_from_file_location("real_model", script)
    if spec is None or spec.loader is None or not script.exists():
        sys.exit(f"{script}: expected the program that reads GGUF files, found none")
    real_model = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(real_model)
    # It fetches the file from a package index; here it is at hand.
    vars(real_model)["gguf_file"] = lambda name, folder: joined(given.parts, folder / f"{name}.gguf")
    unfinished = given.out.with_name(f"{given.out.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    sys.argv = [str(script), MODEL, str(unfinished)]
    taken = seconds(real_model.main)
    shutil.rmtree(given.out, ignore_errors=True)
    unfinished.rename(given.out)
    figures = [Figure(f"{MODEL} out of its GGUF file", round(taken, 1), None, True, " s")]
    keep("real_chat_model", False, "gpu/real_chat_model.py", figures, {})


if __name__ == "__main__":
    main()
