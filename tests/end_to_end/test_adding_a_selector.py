"""docs/adding_a_selector.md, done literally: its blocks, in order, in a copy of the source."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pages import ROOT, blocks, run_shell

from g2is.demo.run import write_demo_sample

PAGE = ROOT / "docs/adding_a_selector.md"
COPIED = ("src", "scripts", "docs/settings.md", "pyproject.toml")


def copy_of_the_clone(folder: Path) -> None:
    for name in COPIED:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, place)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_what_the_page_says_works_block_by_block(tmp_path: Path) -> None:
    copy_of_the_clone(tmp_path)
    write_demo_sample(tmp_path / "demo-run/sample")
    written, said = [], []
    for language, text in blocks(PAGE):
        if language == "python":
            name = re.match(r"# (\S+\.py)\n", text)
            assert name, f"expected a first line that names the file, found {text.splitlines()[0]}"
            place = tmp_path / name[1]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text.partition("\n")[2])
            written.append(name[1])
        elif language == "diff":
            subprocess.run(["git", "apply", "-"], input=text, cwd=tmp_path, text=True, check=True)
        else:
            assert language == "sh"
            said.append(run_shell(text, tmp_path, tmp_path / "src").stdout)
    assert written == [
        "closest_rows.py",
        "compare_closest.py",
        "src/g2is/selection/selectors/closest.py",
        "tests/unit/selection/test_closest.py",
    ]
    printed = "\n".join(said)
    assert re.search(r"^40 rows, of the skills \['", printed, flags=re.MULTILINE)
    assert "| closest |" in (tmp_path / "runs/compared/comparison.md").read_text()
    assert "the rows most like a few of the target's examples" in printed
    assert "target examples most like a row, over which its score is the mean" in printed
    assert "3 passed" in printed
