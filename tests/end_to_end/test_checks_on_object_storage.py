"""`g2is verify`, `store ls` and `store gc` of a store in object storage: what they say of the same store on a disk."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from s3_server import Server
from small_run import MODEL, SMALL, set_flags

from g2is.jobs import store_folder
from g2is.progress import Silent
from g2is.store.lease import Lease
from g2is.store.objects import Bucket
from g2is.store.reach import reached

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(finished: Path, tmp_path: Path) -> Path:
    """A store on a disk."""
    shutil.copytree(finished / "store", tmp_path / "store", ignore=shutil.ignore_patterns(".lock"))
    return tmp_path / "store"


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        of.relative_to(folder).as_posix(): of.read_bytes()
        for of in folder.rglob("*")
        if of.is_file() and of.name != ".lock"
    }


def verified(g2is: Command, place: object) -> dict[str, object]:
    """What `verify` says, with names in the store."""
    _, out, err = g2is("verify", place, "--json")
    assert out, err
    return dict(json.loads(out.replace(f"{place}/", "").replace(str(place), "")))


def changed(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def test_a_sound_store_is_verified_as_the_same_on_a_disk_and_left_as_it_is(
    server: Server, store: Path, g2is: Command
) -> None:
    url = server.url()
    server.put(url, files_of(store))
    code, out, err = g2is("verify", url)
    assert code == 0, err
    assert "all as written" in out
    assert verified(g2is, url) == verified(g2is, store)
    assert server.objects(url) == files_of(store)
    server.fail_writes(0, "403 Forbidden")  # with leave to read alone, too
    assert verified(g2is, url) == verified(g2is, store)


def test_damage_in_the_bucket_is_found_though_the_copy_here_is_whole_and_repair_makes_room_for_it(
    server: Server, store: Path, sample: Path, finished: Path, g2is: Command, tmp_path: Path
) -> None:
    url = server.url()
    server.put(url, files_of(store))
    assert g2is("verify", url)[0] == 0  # all is here now, whole
    tokens = next(of for of in sorted((store / "examples").glob("*.parquet")))
    damaged = [
        store / "gradients/pool/epoch-1/momentum-free/rows/c/1/0",
        store / "gradients/pool/epoch-1/loss/zarr.json",
        store / "gradients/target/markers/000000.json",
        store / "manifest.json",
        tokens,
    ]
    for file in damaged:
        file.write_bytes(changed(file.read_bytes()))
    gone = store / "gradients/pool/key/c/2/0"
    gone.unlink()
    server.put(url, files_of(store))
    server.delete(url, ["gradients/pool/key/c/2/0"])
    code, out, _ = g2is("verify", url)
    assert code == 2
    for file in [*damaged, gone]:
        assert f"{url}/{file.relative_to(store)}: " in out
    assert verified(g2is, url) == verified(g2is, store)
    assert server.objects(url) == files_of(store)  # nothing is removed yet
    assert str(tmp_path) not in out
    for place in (url, store):
        code, out, err = g2is("verify", place, "--repair")
        assert code == 0, out + err
        assert "repaired" in out
    assert server.objects(url) == files_of(store)
    files = [sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--budget", "10%"]
    code, _, err = g2is("select", *files, "--out", tmp_path / "run", "--store", url, *set_flags(SMALL))
    assert code == 0, err
    assert server.objects(url) == files_of(finished / "store")


def test_repair_of_what_only_a_copy_can_put_right_or_nobody_may_write_removes_nothing(
    server: Server, store: Path, g2is: Command
) -> None:
    url = server.url()
    for name in ("manifest.json", "manifest.copy.json"):
        (store / name).write_bytes(changed((store / name).read_bytes()))
    server.put(url, files_of(store))
    code, _, err = g2is("verify", url, "--repair")
    assert code == 2
    assert "Put these back first" in err
    assert server.objects(url) == files_of(store)
    server.put(other := server.url(), files_of(store) | {"manifest.json": files_of(store)["manifest.copy.json"]})
    before = server.objects(other)
    server.fail_writes(0, "403 Forbidden")
    code, _, err = g2is("verify", other, "--repair")
    assert code == 2
    server.mend()
    assert server.objects(other) == before


def test_what_stops_left_is_listed_and_collected_as_on_a_disk(
    server: Server, store: Path, g2is: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url()
    chunk = store / "gradients/pool/epoch-1/momentum-free/rows/c/9/0"
    trainer = store / "warmup/trainer/checkpoint-5/model"
    for file in (chunk, trainer):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"half a shard")
    half = store / "warmup/.epoch-9.partial/adapter"
    half.parent.mkdir()
    half.write_bytes(b"half a folder")
    of_disk = files_of(store)
    content = of_disk.pop("warmup/.epoch-9.partial/adapter")
    server.put(url, of_disk | {"warmup/.epoch-9.partial": b"", "warmup/epoch-9/adapter": content})
    unfinished = verified(g2is, url)["unfinished"]
    assert isinstance(unfinished, list)
    assert "warmup/epoch-9" in unfinished
    _, out, _ = g2is("store", "ls", url)
    assert "leftovers" not in out  # written just now
    monkeypatch.setattr(store_folder, "IN_WORK", 3600.0)
    then = time.time() - 7200
    for path in store.rglob("*"):
        os.utime(path, (then, then))
    _, out, _ = g2is("store", "ls", store, "--json")
    expected = json.loads(out)
    monkeypatch.setattr(store_folder, "IN_WORK", -60.0)  # the server's times are now
    before = server.objects(url)
    _, out, _ = g2is("store", "ls", url, "--json")
    found = json.loads(out)
    assert found.pop("store") == url
    assert expected.pop("store") == str(store)
    assert found == expected
    assert {"warmup/trainer", "warmup/.epoch-9.partial"} <= found["leftovers"].keys()
    assert "nothing was removed" in g2is("store", "gc", url)[1]
    assert server.objects(url) == before
    code, out, err = g2is("store", "gc", url, "--yes")
    assert code == 0, err
    assert all(name in out for name in found["leftovers"])
    assert g2is("store", "gc", store, "--yes")[0] == 0
    assert server.objects(url) == files_of(store)
    assert "nothing to remove" in g2is("store", "gc", url, "--yes")[1]
    assert g2is("verify", url)[0] == 0


def test_a_store_in_use_is_listed_and_neither_checked_nor_collected(
    server: Server, store: Path, g2is: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = server.url()
    server.put(url, files_of(store))
    with reached(url, Silent()):
        monkeypatch.setenv("G2IS_CACHE", str(tmp_path / "another machine's"))
        for command in (["verify", url], ["verify", url, "--repair"], ["store", "gc", url, "--yes"]):
            code, _, err = g2is(*command)
            assert code == 2
            assert f"process {os.getpid()} on" in " ".join(err.split())
        assert g2is("store", "ls", url)[0] == 0


@pytest.mark.parametrize("command", [["verify"], ["store", "ls"], ["store", "gc"], ["store", "gc", "--yes"]])
def test_where_no_store_is_the_command_ends_with_one_message_and_writes_nothing(
    command: list[str], server: Server, g2is: Command
) -> None:
    def refusal(url: str) -> str:
        before = server.objects(url) if "://bucket" in url else {}
        code, out, err = g2is(*command, url)
        assert (code, out) == (2, "")
        assert sum(line.startswith("error: ") for line in err.splitlines()) == 1
        assert "Traceback" not in err
        assert "://bucket" not in url or server.objects(url) == before
        return " ".join(err.split())

    url = server.url()
    assert f"{url}: expected a store, found no objects" in refusal(url)
    server.put(url, {"films/a.mp4": b"0"})
    assert "found other objects (films/a.mp4)" in refusal(url)
    assert "expected a bucket that exists" in refusal("s3://no-such-bucket/store")
    assert "expected a folder, or s3://BUCKET/PREFIX" in refusal("ftp://host/store")
    server.gate = lambda method: "503 Slow Down"
    assert "give the same command" in refusal("s3://elsewhere/store")


def test_a_part_of_a_plan_is_refused_with_what_to_do_instead(
    server: Server, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    url = server.url()
    files = [sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--worker", "1/2"]
    code, _, err = g2is("gradients", *files, "--out", tmp_path / "run", "--store", url)
    assert code == 2
    assert "--worker 1/2: expected a store in a folder that all workers see" in " ".join(err.split())
    assert not server.keys(url)
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_worker_processes_write_to_the_bucket_what_one_process_does(
    server: Server, sample: Path, finished: Path, g2is: Command, tmp_path: Path
) -> None:
    url = server.url()
    files = [sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--budget", "10%", "--workers", "2"]
    code, _, err = g2is("select", *files, "--out", tmp_path / "run", "--store", url, *set_flags(SMALL))
    assert code == 0, err
    assert server.objects(url) == files_of(finished / "store")


def test_wait_goes_on_when_the_holder_gives_the_store_back(
    server: Server, store: Path, sample: Path, finished: Path, g2is: Command, tmp_path: Path
) -> None:
    url = server.url()
    server.put(url, files_of(store))
    files = [sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--budget", "10%"]
    command = ["select", *files, "--out", tmp_path / "run", "--store", url, *set_flags(SMALL)]
    lease = Lease(Bucket(url))
    lease.take(Silent(), wait=False)
    code, _, err = g2is(*command)
    assert code == 2
    assert "(--wait does" in " ".join(err.split())
    ending = threading.Timer(3, lambda: lease.release(remove=False))
    ending.start()
    code, out, err = g2is(*command, "--wait")
    assert ending.finished.is_set()
    assert code == 0, err
    assert f"process {os.getpid()} on" in " ".join((out + err).split())
    assert (tmp_path / "run/selected.jsonl").read_bytes() == (finished / "selected.jsonl").read_bytes()


@pytest.mark.long
@pytest.mark.timeout(900)  # seconds of imports in each process
@pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()), reason="this torch has no gloo"
)
def test_processes_of_torchrun_write_to_the_bucket_what_one_process_does(
    server: Server, sample: Path, g2is: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = server.url()
    files = [sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--budget", "10%", "--device", "cpu"]
    flags = set_flags({**SMALL, "execution.shard_rows": "16"})
    command = ["select", *files, "--out", tmp_path / "run", "--store", url, *flags]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "g2is"]
    done = subprocess.run([*launcher, *map(str, command)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    code, out, err = g2is("verify", url)
    assert code == 0, out + err
    made = server.objects(url)
    server.delete(url, [key for key in made if key.startswith("gradients/")])
    monkeypatch.setenv("G2IS_CACHE", str(tmp_path / "another machine's"))
    code, _, err = g2is("select", *files, "--out", tmp_path / "again", "--store", url, *flags)
    assert code == 0, err
    assert server.objects(url) == made
    assert (tmp_path / "again/selected.jsonl").read_bytes() == (tmp_path / "run/selected.jsonl").read_bytes()
