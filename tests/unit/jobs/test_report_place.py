"""Where the page of a report may go: nothing that lies there is lost."""

from pathlib import Path

import pytest

from g2is.errors import InputError
from g2is.jobs.report import held


def test_a_folder_and_another_file_of_the_run_are_refused_and_kept(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    for folder in (run, other):
        folder.mkdir()
        (folder / "selection.parquet").write_text("precious")
    for place in (other, run, Path()):
        with pytest.raises(InputError, match=r"--out .*: expected a file for the page, found a folder"):
            held(run, "run", place).__enter__()
    with pytest.raises(InputError, match=r"found a file of .*run itself"):
        held(run, "run", run / "selection.parquet").__enter__()
    assert (other / "selection.parquet").read_text() == (run / "selection.parquet").read_text() == "precious"
    for page in (None, run / "report.html", other / "page.html"):
        with held(run, "run", page):
            pass
