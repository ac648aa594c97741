"""A folder for the user to take away: whole or not there, of one process, whatever a killed one left."""

import multiprocessing
import os
import signal
import stat
from pathlib import Path

import pytest

from g2is.errors import InputError, StoreError
from g2is.outputs.new_folder import check_is_free, write_new_folder


def fill(made: Path, text: str = "one") -> None:
    made.mkdir()
    (made / "a.txt").write_text(text)
    (made / "a.txt").chmod(0o600)  # as a library does that makes a temporary file


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_is_there_whole_and_nothing_beside_it(tmp_path: Path) -> None:
    write_new_folder(tmp_path / "to", fill)
    assert (tmp_path / "to/a.txt").read_text() == "one"
    assert stat.S_IMODE((tmp_path / "to/a.txt").stat().st_mode) & 0o044
    assert left(tmp_path) == ["to"]
    assert left(tmp_path / "to") == ["a.txt"]
    (tmp_path / "empty").mkdir()
    write_new_folder(tmp_path / "empty", fill)
    assert left(tmp_path / "empty") == ["a.txt"]
    write_new_folder(tmp_path / "below/another", fill)
    assert left(tmp_path / "below/another") == ["a.txt"]


def test_of_what_fails_nothing_is_left(tmp_path: Path) -> None:
    def fails(made: Path) -> None:
        fill(made)
        raise InputError("row 3")

    with pytest.raises(InputError, match="row 3"):
        write_new_folder(tmp_path / "to", fails)
    assert left(tmp_path) == []


def _killed_while_it_writes(to: Path) -> None:
    def dies(made: Path) -> None:
        fill(made, "half")
        os.kill(os.getpid(), signal.SIGKILL)

    write_new_folder(to, dies)


def test_what_a_killed_process_left_is_overwritten(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_killed_while_it_writes, args=[tmp_path / "to"])
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert left(tmp_path) == [".to.partial"]
    write_new_folder(tmp_path / "to", fill)
    assert left(tmp_path) == ["to"]
    assert (tmp_path / "to/a.txt").read_text() == "one"


def test_of_two_at_once_one_writes_and_the_other_is_told(tmp_path: Path) -> None:
    def beside_another(made: Path) -> None:
        with pytest.raises(InputError, match=rf"found another g2is process at work on {tmp_path}/to\. Name another"):
            write_new_folder(tmp_path / "to", lambda _: pytest.fail("it writes all the same"))
        fill(made)

    write_new_folder(tmp_path / "to", beside_another)
    assert left(tmp_path) == ["to"]
    assert left(tmp_path / "to") == ["a.txt"]


def test_one_that_another_has_just_written_is_kept(tmp_path: Path) -> None:
    check_is_free(tmp_path / "to")
    write_new_folder(tmp_path / "to", fill)
    with pytest.raises(InputError, match=f"found {tmp_path}/to in use"):
        write_new_folder(tmp_path / "to", lambda made: fill(made, "other"))
    assert (tmp_path / "to/a.txt").read_text() == "one"
    assert left(tmp_path) == ["to"]


def test_a_link_in_its_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine/to").mkdir(parents=True)
    (tmp_path / "mine/to/kept").touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.to.partial").symlink_to(tmp_path / "mine")
    write_new_folder(tmp_path / "out/to", fill)
    assert left(tmp_path / "out") == ["to"]
    assert left(tmp_path / "mine/to") == ["kept"]


@pytest.mark.parametrize("place", ["/proc/g2is-of-a-test", "/proc/g2is/of/a/test"])
def test_a_place_where_no_folder_can_be_made_is_told(place: str) -> None:
    with pytest.raises(StoreError, match=rf"^{place}: expected a new folder that can be written to, found: No such"):
        write_new_folder(Path(place), fill)
