"""Kept decompositions: read back, and any change of them seen."""

from pathlib import Path

import numpy as np
import pytest

from g2is.errors import StoreError
from g2is.store.second_moments import Decomposition, flaw_of, keep_decomposition, kept_in, read_decomposition

FILES = {"values.npy", "vectors.npy", "made_of.json", "digests.json"}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    values, vectors = np.linalg.eigh(np.diag([1.0, 2.0, 3.0]) + 0.1)
    keep_decomposition(tmp_path / "one", Decomposition(values, vectors), {"rows": "epoch-1/less", "num_rows": 7})
    return tmp_path / "one"


def test_it_is_read_back_from_the_first_place_that_has_it(kept: Path, tmp_path: Path) -> None:
    assert {file.name for file in kept.iterdir()} == FILES
    found = read_decomposition([tmp_path / "none", kept])
    np.testing.assert_allclose(found.vectors @ np.diag(found.values) @ found.vectors.T, np.diag([1.0, 2, 3]) + 0.1)
    assert kept_in(tmp_path) == [kept]
    assert kept_in(tmp_path / "none") == []
    with pytest.raises(StoreError, match=r"found it gone\. Give the run's own command again"):
        read_decomposition([tmp_path / "none"])


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("damage", ["a bit", "shorter", "gone"])
def test_any_damage_is_seen(name: str, damage: str, kept: Path) -> None:
    file = kept / name
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    if damage == "a bit":
        file.write_bytes(content)
    elif damage == "shorter":
        file.write_bytes(file.read_bytes()[:-9])
    else:
        file.unlink()
    assert flaw_of(kept)
    with pytest.raises(StoreError, match="expected the decomposed second moment"):
        read_decomposition([kept])


def test_a_whole_one_of_other_rows_is_not_this_one(kept: Path, tmp_path: Path) -> None:
    kept.rename(tmp_path / "two")
    assert flaw_of(tmp_path / "two") == "that of one"


def test_a_write_that_is_cut_short_leaves_nothing_that_is_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Decomposition(np.ones(2), np.eye(2))
    monkeypatch.setattr("g2is.store.files.keep", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        keep_decomposition(tmp_path / "one", made, {})
    assert kept_in(tmp_path) == []
    assert flaw_of(tmp_path / "one") == "gone"
    monkeypatch.undo()
    (tmp_path / ".one.partial").mkdir()  # of a kill
    keep_decomposition(tmp_path / "one", made, {})
    assert flaw_of(tmp_path / "one") == ""
    assert [place.name for place in tmp_path.iterdir()] == ["one"]
