"""A store in object storage against a real S3 server: the same bytes as on a disk, whatever fails at any moment."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from s3_server import Server

from g2is.errors import ConfigError, StoreError, UnreachableError
from g2is.progress import Silent
from g2is.store import lease, objects
from g2is.store.elsewhere import elsewhere
from g2is.store.files import read_json, remove, write_atomically, write_json
from g2is.store.lock import Holder, waiting
from g2is.store.manifest import open_store
from g2is.store.matrix import RowTable, Shard
from g2is.store.reach import join, reached, record_of

FINGERPRINT = {"model": "of the tests"}
SHARD_ROWS = 8
RANDOM = np.random.default_rng(0)
KEYS = RANDOM.integers(0, 256, (20, 16), np.uint8)
ROWS = RANDOM.standard_normal((20, 5)).astype(np.float16)


class Heard(Silent):
    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


def make(path: Path) -> None:
    """What a run does to a store: manifest, a folder kept whole, small files, planned shards, one removed again."""
    with open_store(path, FINGERPRINT, SHARD_ROWS) as store:
        if not (store.warmup / "epoch-1").exists():
            write_atomically(store.warmup / "epoch-1", folder_of_two)
        write_json(store.warmup / "complete.json", {"done": True})
        table = RowTable(path / "gradients/pool", "f", SHARD_ROWS)
        table.sweep()
        for shard in table.plan(KEYS, lambda _: None):
            norm = np.arange(len(shard.rows), dtype=np.float32)
            table.write(shard.number, Shard(KEYS[shard.rows], {"rows": ROWS[shard.rows], "c/norm": norm}))
        table.end_plan()


def folder_of_two(folder: Path) -> None:
    folder.mkdir()
    for name in ("adapter", "moments"):
        (folder / name).write_bytes(name.encode() * 1000)


def on_disk(path: Path) -> dict[str, bytes]:
    return {
        of.relative_to(path).as_posix(): of.read_bytes()
        for of in path.rglob("*")
        if of.is_file() and of.name != ".lock"
    }


def read(url: str) -> np.ndarray:
    with reached(url, Silent()) as path:
        table = RowTable(path / "gradients/pool", "f", SHARD_ROWS)
        return table.read("rows", table.positions_of(KEYS))


def reach(url: str, reporter: Silent | None = None) -> None:
    with reached(url, reporter or Silent()):
        pass


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, bytes]:
    make(tmp_path / "on disk")
    return on_disk(tmp_path / "on disk")


def test_each_object_is_a_file_of_the_store_on_a_disk_and_rows_come_back(
    server: Server, expected: dict[str, bytes]
) -> None:
    url = server.url()
    with reached(url, Silent()) as path:
        make(path)
        assert elsewhere(path / "gradients") is not None
    assert server.objects(url) == expected == on_disk(path)
    assert elsewhere(path) is None
    puts = [of for of in server.asked if of.startswith("PUT") and "/.lock" not in of]
    assert puts[-1].endswith("/markers/000002.json")  # of each shard the marker last


def test_a_machine_without_a_copy_reads_the_rows_and_brings_a_damaged_copy_again(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = server.url()
    with reached(url, Silent()) as path:
        make(path)
    monkeypatch.setenv("G2IS_CACHE", str(tmp_path / "another"))
    with reached(url, Silent()) as path:
        chunk = path / "gradients/pool/rows/c/1/0"
        assert not chunk.exists()  # chunks come when they are read
        assert read_json(path / "warmup/complete.json") == {"done": True}
        table = RowTable(path / "gradients/pool", "f", SHARD_ROWS)
        assert np.array_equal(table.read("rows", table.positions_of(KEYS)), ROWS)
        whole = chunk.read_bytes()
    chunk.write_bytes(whole[:9] + bytes([whole[9] ^ 1]) + whole[10:])
    small = path / "warmup/epoch-1/moments"
    small.write_bytes(b"x" * small.stat().st_size)
    server.asked.clear()
    with reached(url, Silent()) as path:
        assert small.read_bytes() == b"moments" * 1000
        table = RowTable(path / "gradients/pool", "f", SHARD_ROWS)
        assert np.array_equal(table.read("rows", table.positions_of(KEYS)), ROWS)
    assert chunk.read_bytes() == whole
    assert sum(of.startswith("GET") and "/c/" in of for of in server.asked) == 1


def test_what_is_damaged_in_the_bucket_itself_is_told_with_its_url(server: Server) -> None:
    url = server.url()
    with reached(url, Silent()) as path:
        make(path)
    server.put(url, {"gradients/pool/rows/c/1/0": b"short"})
    with pytest.raises(StoreError, match=f"{url}/gradients/pool/rows/c/1/0: expected shard 1 as it was written"):
        read(url)


def stopped_by(url: str) -> str:
    """What stops the work on a store; nothing if it is done."""
    try:
        with reached(url, Silent()) as path:
            make(path)
    except UnreachableError as error:
        return str(error)
    return ""


@pytest.mark.slow
def test_a_write_that_fails_at_any_moment_is_one_message_and_the_next_goes_on_from_an_empty_cache(
    server: Server, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(objects, "RETRIES", 0)
    monkeypatch.setattr(Holder, "is_dead", lambda self: True)  # of one whose lock could not be given back
    stops: list[str] = []
    while not stops or stops[-1]:
        url, after = server.url(), 1 + 2 * len(stops)
        server.fail_writes(after)
        monkeypatch.setenv("G2IS_CACHE", str(tmp_path / f"cache-{after}"))
        stops.append(stopped_by(url))
        server.mend()
        monkeypatch.setenv("G2IS_CACHE", str(tmp_path / f"other-{after}"))
        assert not stopped_by(url)
        assert server.objects(url) == expected, after
    assert len(stops) > 10
    assert all(of.startswith("s3://") and "\n" not in of for of in stops[:-1])


def test_a_hiccup_of_the_server_is_not_noticed(server: Server, expected: dict[str, bytes]) -> None:
    url, seen = server.url(), 0

    def every_third(_: str) -> str | None:
        nonlocal seen
        seen += 1
        return "500 Internal Server Error" if seen % 3 == 0 else None

    server.gate = every_third
    with reached(url, Silent()) as path:
        make(path)
    server.mend()
    assert server.objects(url) == expected


def test_a_store_is_held_by_one_process_which_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = server.url()
    with reached(url, Silent()):
        monkeypatch.setenv("G2IS_CACHE", str(tmp_path / "another machine's"))
        with pytest.raises(StoreError, match=rf"{url}: this store is in use .*process {os.getpid()} on .*--wait"):
            reach(url)
        heard = Heard()
    with waiting(heard), reached(url, heard) as path:  # given back: at once
        make(path)
    assert heard.notices == []


def test_waiting_for_a_holder_ends_when_it_gives_the_store_back(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url, heard, held = server.url(), Heard(), threading.Event()

    def hold() -> None:
        with reached(url, Silent()):
            held.set()
            time.sleep(1)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    monkeypatch.setenv("G2IS_CACHE", str(tmp_path / "another machine's"))
    with waiting(heard), reached(url, heard):
        holder.join(1)
        assert not holder.is_alive()
    assert [f"process {os.getpid()}" in of and "waiting for its end" in of for of in heard.notices] == [True]


HOLD = """
import sys, time
from g2is.progress import Silent
from g2is.store.reach import reached
with reached(sys.argv[1], Silent()):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_the_lock_of_a_killed_process_is_taken_over_at_once_here_and_after_a_while_elsewhere(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, heard = server.url(), Heard()
    monkeypatch.setattr(lease, "LEASE", 2.0)
    for elsewhere_too in (False, True):
        with subprocess.Popen([sys.executable, "-c", HOLD, url], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            process.kill()
        if elsewhere_too:
            monkeypatch.setattr(Holder, "is_dead", lambda self: False)  # another machine cannot know
            with pytest.raises(StoreError, match=f"process {process.pid} on .* taken over 2 s after its last sign"):
                reach(url, heard)
            time.sleep(2)
        with reached(url, heard) as path:
            make(path)
        said = "gave no sign of life for 2 s" if elsewhere_too else "has died"
        assert said in heard.notices[-1], heard.notices
        assert f"process {process.pid}" in heard.notices[-1]


@pytest.mark.slow
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_dead_holders_lock_is_taken_over_whatever_this_clock_says(
    hours: int, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, heard = server.url(), Heard()
    monkeypatch.setattr(lease, "LEASE", 2.0)
    monkeypatch.setattr(Holder, "is_dead", lambda self: False)  # another machine cannot know
    with subprocess.Popen([sys.executable, "-c", HOLD, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.kill()
    age = lease._age
    monkeypatch.setattr(lease, "_age", lambda of: age(of) + 3600 * hours)
    with reached(url, heard):
        pass
    assert "gave no sign of life for 2 s" in heard.notices[-1], heard.notices


def test_the_lock_of_a_store_that_goes_again_is_held_until_it_is_gone(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, delete, held = server.url(), objects.Bucket.delete, []

    def looked_at(bucket: objects.Bucket, keys: list[str]) -> None:
        held.append(bucket.get(".lock")[0])
        delete(bucket, keys)

    monkeypatch.setattr(objects.Bucket, "delete", looked_at)
    with reached(url, Silent()):
        pass  # nothing is made
    assert [bool(Holder.read(content)) for content in held] == [True]
    with pytest.raises(FileNotFoundError):
        objects.Bucket(url).get(".lock")


@pytest.mark.slow
def test_a_holder_that_was_thought_dead_writes_nothing_more(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = server.url()
    monkeypatch.setattr(lease, "LEASE", 1.0)  # and it is renewed every 15: as if the process stood still
    with reached(url, Silent()) as path:
        time.sleep(1.5)
        monkeypatch.setenv("G2IS_CACHE", str(tmp_path / "another machine's"))
        with reached(url, Silent()) as theirs:
            make(theirs)
            before = server.objects(url)
            with pytest.raises(StoreError, match="expected the lock that this process holds, found it taken over by"):
                make(path)
    assert server.objects(url) == before


def test_processes_that_join_make_shards_which_the_holder_then_sees(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = server.url()
    with reached(url, Silent()) as path, open_store(path, FINGERPRINT, SHARD_ROWS):
        planned = RowTable(path / "gradients/pool", "f", SHARD_ROWS).plan(KEYS, lambda _: None)
        monkeypatch.setenv("G2IS_CACHE", str(tmp_path / "another machine's"))
        from g2is.store import elsewhere as registry

        theirs = join(url)
        assert theirs != path
        table = RowTable(theirs / "gradients/pool", "f", SHARD_ROWS)
        for shard in reversed(planned):
            table.write(shard.number, Shard(KEYS[shard.rows], {"rows": ROWS[shard.rows]}))
        joined = elsewhere(theirs)
        assert joined is not None
        registry.remove(joined)
        mine = RowTable(path / "gradients/pool", "f", SHARD_ROWS)
        assert np.array_equal(mine.read("rows", mine.positions_of(KEYS)), ROWS)


def test_what_another_machine_removed_is_gone_here_too(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url, here = server.url(), str(tmp_path / "cache")
    with reached(url, Silent()) as mine:
        make(mine)
    monkeypatch.setenv("G2IS_CACHE", str(tmp_path / "another machine's"))
    with reached(url, Silent()) as path:
        remove(path / "gradients")
        remove(path / "warmup/epoch-1")
    monkeypatch.setenv("G2IS_CACHE", here)
    with reached(url, Silent()) as path:
        assert path == mine
        assert sorted(on_disk(path)) == ["manifest.copy.json", "manifest.json", "warmup/complete.json"]
        assert not (path / "warmup/epoch-1").exists()


def test_a_store_that_may_only_be_read_is_used_and_one_that_is_not_there_is_refused(server: Server) -> None:
    url = server.url()
    with reached(url, Silent()) as path:
        make(path)
    before = server.objects(url)
    server.fail_writes(0, "403 Forbidden")
    with reached(url, Silent()) as path, open_store(path, FINGERPRINT, SHARD_ROWS) as store:
        assert not store.writable
        table = RowTable(path / "gradients/pool", "f", SHARD_ROWS, store.writable)
        assert np.array_equal(table.read("rows", table.positions_of(KEYS)), ROWS)
    with pytest.raises(StoreError, match="expected leave for it to be written, found none"):
        reach(server.url())
    server.mend()
    assert server.objects(url) == before


def test_each_way_of_not_reaching_a_store_is_one_message(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refusal(url: str) -> str:
        with pytest.raises((StoreError, ConfigError)) as refused:
            reach(url)
        assert "\n" not in str(refused.value)
        assert str(refused.value).removeprefix("--store ").startswith(url)
        return str(refused.value)

    assert "expected a bucket that exists" in refusal("s3://no-such-bucket/store")
    url = server.url()
    server.put(url, {"films/a.mp4": b"0", "films/b.mp4": b"0"})
    assert "found other objects (films/a.mp4 and 1 more)" in refusal(url)
    assert set(server.objects(url)) == {"films/a.mp4", "films/b.mp4"}
    server.gate = lambda method: "403 Forbidden"
    assert "expected leave" in refusal(server.url())
    server.gate = lambda method: "503 Slow Down"
    begin = time.monotonic()
    assert "give the same command, which goes on from here" in refusal(server.url())
    assert time.monotonic() - begin < 20
    server.mend()
    with monkeypatch.context() as without:
        without.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens
        assert "expected it to be written, found" in refusal(server.url())
    with monkeypatch.context() as without:
        without.delenv("AWS_ACCESS_KEY_ID")
        without.delenv("AWS_SECRET_ACCESS_KEY")
        without.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        without.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
        assert "expected credentials" in (found := refusal(server.url()))
        assert "AWS_ACCESS_KEY_ID" in found
    assert "expected credentials" in refusal("az://container/store")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "obstore", None)
        assert "pip install 'g2is[cloud]'" in refusal(server.url())


def test_a_look_takes_no_lock_and_writes_nothing(server: Server) -> None:
    url = server.url()
    with record_of(url) as folder:
        assert not folder.exists()
    with reached(url, Silent()) as path:
        make(path)
        server.asked.clear()
        with record_of(url) as folder:
            assert read_json(folder / "manifest.json")["fingerprint"] == FINGERPRINT
    assert all(of.startswith("GET") or "/.lock" in of for of in server.asked)
