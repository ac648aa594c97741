"""Durable files where none can be made."""

from pathlib import Path

import pytest

from g2is.store.files import write_atomically, write_text


@pytest.mark.parametrize("place", ["/proc/g2is-of-a-test", "/proc/g2is/of/a/test"])
def test_a_place_where_no_file_can_be_made_is_no_missing_file(place: str) -> None:
    with pytest.raises(PermissionError, match="no file can be made there") as error:
        write_text(Path(place), "text")
    assert error.value.filename == place  # what `run_app` names in its one message


def test_a_file_that_is_read_while_another_is_written_stays_the_missing_one(tmp_path: Path) -> None:
    def copies(temporary: Path) -> None:
        temporary.write_bytes((tmp_path / "none").read_bytes())

    with pytest.raises(FileNotFoundError) as error:
        write_atomically(tmp_path / "to", copies)
    assert error.value.filename == str(tmp_path / "none")
    assert not any(tmp_path.iterdir())
