"""Where a store of object storage is mirrored, for a user who has no home."""

import os
import pwd

import pytest

from g2is.errors import StoreError
from g2is.store.objects import Bucket
from g2is.store.reach import _folder_of


def test_a_user_without_a_home_is_told_to_name_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed (pip install 'g2is[cloud]')")
    for name in ("HOME", "XDG_CACHE_HOME", "G2IS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)  # as a container's user may be: in no list
    with pytest.raises(KeyError):
        pwd.getpwuid(4_000_000_000)
    with pytest.raises(StoreError, match="G2IS_CACHE"):
        _folder_of(Bucket("s3://bucket/store"))
