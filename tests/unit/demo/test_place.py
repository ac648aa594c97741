"""Where the demo may write: a new folder, or that of an earlier one, however that ended."""

from pathlib import Path

import pytest

from g2is.demo.run import _check_is_demo, write_demo_sample
from g2is.demo.skills import POOL_FILE, TEST_FILE
from g2is.errors import StoreError


def check(out: Path) -> None:
    _check_is_demo(out, out / "sample")


def test_an_earlier_demo_serves_whole_or_stopped(tmp_path: Path) -> None:
    check(tmp_path)
    write_demo_sample(tmp_path / "sample")
    (tmp_path / "tuned").mkdir()
    check(tmp_path)
    stopped = tmp_path / "stopped"
    (stopped / "sample").mkdir(parents=True)
    (stopped / "sample" / POOL_FILE).write_bytes((tmp_path / "sample" / POOL_FILE).read_bytes()[:5000])
    check(stopped)


@pytest.mark.parametrize("name", ["sample/pool.jsonl", "tuned", "run", "sample/model", "sample/test.jsonl", "sample"])
def test_what_is_no_demos_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    if name in ("sample/pool.jsonl", "sample"):
        (tmp_path / name).write_text('{"mine": 1}')
    else:
        (tmp_path / name).mkdir()
    with pytest.raises(StoreError, match="expected a new folder, or that of an earlier demo, found other files in"):
        check(tmp_path)


def test_a_sample_that_was_edited_is_refused(tmp_path: Path) -> None:
    write_demo_sample(tmp_path / "sample")
    with (tmp_path / "sample" / TEST_FILE).open("a") as file:
        file.write("{}\n")
    with pytest.raises(StoreError, match="sample, where it would write"):
        check(tmp_path)
