"""`python -m g2is.demo FOLDER` writes the sample pool, its target and the bundled tiny model to FOLDER."""

import shutil
import sys
from importlib.resources import as_file, files
from pathlib import Path

from g2is.demo.skills import write_sample


def main() -> None:
    """Write the sample; exit with 2 if no folder is named."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m g2is.demo FOLDER\n")
        sys.exit(2)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write_sample(folder)
    with as_file(files("g2is.demo") / "model") as model:
        shutil.copytree(model, folder / "model", dirs_exist_ok=True)
    sys.stdout.write(f"sample pool, target and model written to {folder}\n")


if __name__ == "__main__":
    main()
