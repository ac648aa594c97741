import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from g2is.errors import FingerprintError, StoreError
from g2is.store.files import read_json
from g2is.store.fingerprint import Fingerprint, Value, digest, flatten
from g2is.store.manifest import Store, check_representation, open_store
from g2is.store.matrix import Shard

FINGERPRINT: dict[str, Value] = {"model.weights": "abc", "warmup.epochs": 4, "gradients.forms": "less"}
MANIFESTS = ("manifest.copy.json", "manifest.json")


def start_store(path: Path, shard_rows: int = 8) -> None:
    """A store in which a warm-up has begun."""
    with open_store(path, FINGERPRINT, shard_rows) as store:
        store.warmup.mkdir()
        (store.warmup / "sample.json").write_text("{}")


def test_a_setting_may_be_mended_before_the_warm_up_has_begun(tmp_path: Path) -> None:
    for epochs in (4, 2):
        with open_store(tmp_path / "s", FINGERPRINT | {"warmup.epochs": epochs}, 8) as store:
            assert store.fingerprint["warmup.epochs"] == epochs


def test_what_a_kill_at_the_first_write_leaves_is_still_taken_for_a_store(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".manifest.json.partial").write_text("{")
    with open_store(tmp_path, FINGERPRINT, 8):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", *MANIFESTS]


def test_a_store_made_with_other_settings_is_refused_and_every_differing_key_named(tmp_path: Path) -> None:
    start_store(tmp_path / "s")
    other = {**FINGERPRINT, "warmup.epochs": 2, "gradients.forms": "less, adam"}
    with pytest.raises(FingerprintError) as error, open_store(tmp_path / "s", other, 8):
        pass
    message = str(error.value)
    assert "found 2 that differ" in message
    assert "warmup.epochs: there 4, asked for 2" in message
    assert "gradients.forms: there less, asked for less, adam" in message
    assert "model.weights" not in message
    assert "another --store" in message


def test_the_shard_length_is_layout_and_the_store_keeps_its_own(tmp_path: Path) -> None:
    start_store(tmp_path / "s")
    with open_store(tmp_path / "s", FINGERPRINT, 99) as store:
        assert store.shard_rows == 8


def test_a_store_in_use_by_another_process_is_refused(tmp_path: Path) -> None:
    holder = (
        "import sys; from pathlib import Path; from g2is.store.lock import locked\n"
        "with locked(Path(sys.argv[1]), 'store'):\n    print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path / "s")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(StoreError, match="in use by another g2is process"), open_store(tmp_path / "s", FINGERPRINT, 8):
        pass
    process.kill()
    process.communicate()
    with open_store(tmp_path / "s", FINGERPRINT, 8):
        pass


def test_a_folder_with_other_files_is_not_taken_for_a_store(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match="found other files"), open_store(tmp_path, FINGERPRINT, 8):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest(FINGERPRINT) == digest(dict(reversed(FINGERPRINT.items())))
    assert digest(FINGERPRINT) != digest({**FINGERPRINT, "warmup.epochs": 5})


def test_flatten_joins_keys_with_dots() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [1, "x"]}}, "e": None}) == {"a.b": 1, "a.c.d": "1, x", "e": None}


def write_rows(store: Store, name: str, fingerprint: Fingerprint, number: int = 0) -> None:
    key = np.full((2, 16), number, np.uint8)
    store.tables(name, fingerprint)["pool"].write(number, Shard(key, {"rows": np.ones((2, 3), np.float16)}))


def test_a_representation_lies_in_its_own_folder_and_binds_no_setting_of_the_gradients(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with open_store(path, None, 8) as store:
        write_rows(store, "hidden", {"model.weights": "abc"})
    start_store(path, shard_rows=4)  # whatever settings the gradients have
    with open_store(path, None, 99) as store:
        write_rows(store, "hidden", {"model.weights": "abc"}, 1)
        assert store.tables("hidden", {"model.weights": "abc"})["pool"].shard_rows == 8
        assert store.tables("own", {})["pool"].shard_rows == 4
    with open_store(path, FINGERPRINT, 8) as store:
        assert store.shard_rows == 4
    assert sorted(entry.name for entry in path.iterdir()) == [".lock", "hidden", *MANIFESTS, "own", "warmup"]


def test_a_run_without_gradients_leaves_what_they_were_made_with_as_it_is(tmp_path: Path) -> None:
    start_store(tmp_path / "s")
    before = (tmp_path / "s/manifest.json").read_bytes()
    with open_store(tmp_path / "s", None, 99) as store:
        write_rows(store, "hidden", {"model.weights": "another"})
    assert (tmp_path / "s/manifest.json").read_bytes() == before
    with pytest.raises(FingerprintError), open_store(tmp_path / "s", FINGERPRINT | {"warmup.epochs": 2}, 8):
        pass


def test_rows_of_a_representation_made_otherwise_are_refused_and_the_key_named(tmp_path: Path) -> None:
    stored: Fingerprint = {"embedding.model": "a", "text.version": 1}
    other: Fingerprint = {"embedding.model": "b", "text.version": 1}
    with open_store(tmp_path / "s", None, 8) as store:
        store.tables("embedding", stored)
        write_rows(store, "embedding", other)  # before there are rows, a setting may still be mended
        with pytest.raises(FingerprintError) as error:
            store.tables("embedding", stored)
    message = str(error.value)
    assert message.startswith(
        f"{tmp_path / 's/embedding'}: expected rows of embedding made with the settings asked for"
    )
    assert "embedding.model: there b, asked for a" in message
    assert "text.version" not in message
    assert "another --store" in message
    with pytest.raises(FingerprintError):
        check_representation(tmp_path / "s", "embedding", stored)
    check_representation(tmp_path / "s", "hidden", stored)
    check_representation(tmp_path / "nowhere", "hidden", stored)
    assert not (tmp_path / "nowhere").exists()


def test_shards_are_no_longer_than_the_rows_there_are(tmp_path: Path) -> None:
    with open_store(tmp_path / "s", FINGERPRINT, 10**9) as store:
        bounded = store.with_shards_for(120)
        assert bounded.shard_rows == 1024
        assert bounded.table("pool", []).shard_rows == 1024
        assert bounded.with_shards_for(5).shard_rows == 1024
    assert read_json(tmp_path / "s/manifest.json")["shard_rows"] == 1024  # where who goes on finds it
    with open_store(tmp_path / "t", FINGERPRINT, 10**9) as store:
        assert store.with_shards_for(5000).shard_rows == 5000


@pytest.mark.parametrize("shard_rows", [1, 64, 1024])
def test_shards_of_usual_length_stay_as_they_are(tmp_path: Path, shard_rows: int) -> None:
    with open_store(tmp_path / "s", FINGERPRINT, shard_rows) as store:
        before = (tmp_path / "s/manifest.json").read_bytes()
        assert store.with_shards_for(10) is store
        assert (tmp_path / "s/manifest.json").read_bytes() == before
