"""Where a store of object storage is mirrored, for a user who has no home."""

import os
import pwd
from pathlib import Path

import pytest

from g2is.errors import StoreError
from g2is.progress import Silent
from g2is.store.objects import Bucket
from g2is.store.reach import _folder_of, join, reached


def test_a_user_without_a_home_is_told_to_name_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed (pip install 'g2is[cloud]')")
    for name in ("HOME", "XDG_CACHE_HOME", "G2IS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)  # as a container's user may be: in no list
    with pytest.raises(KeyError):
        pwd.getpwuid(4_000_000_000)
    with pytest.raises(StoreError, match="G2IS_CACHE"):
        _folder_of(Bucket("s3://bucket/store"))


def test_a_folder_that_cannot_be_written_to_is_named_and_not_the_bucket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed (pip install 'g2is[cloud]')")
    (tmp_path / "cache").touch()  # a file, which root may not write into either
    monkeypatch.setenv("G2IS_CACHE", str(tmp_path / "cache"))
    said = f"found that {tmp_path}/cache/.* cannot be written to .*G2IS_CACHE"
    with pytest.raises(StoreError, match=said), reached("s3://bucket/store", Silent()):
        pass
    with pytest.raises(StoreError, match=said):
        join("s3://bucket/store")
