"""`g2is select --store s3://…` against a real S3 server: the bytes of a store on a disk, from any machine."""

import shutil
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import forked
import pytest
from s3_server import Server, credentials
from small_run import MODEL, SMALL, set_flags

Command = Callable[..., tuple[int, str, str]]


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        of.relative_to(folder).as_posix(): of.read_bytes()
        for of in folder.rglob("*")
        if of.is_file() and of.name != ".lock"
    }


def arguments(sample: Path, url: object, out: Path, command: str = "select") -> list[object]:
    budget = ["--budget", "10%"] if command == "select" else []
    files = [sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL]
    return [command, *files, *budget, "--out", out, "--store", url, *set_flags(SMALL)]


def one_line(text: str) -> str:
    """What was printed, without the breaks that the terminal's width put in."""
    return " ".join(text.split())


def wait_for(server: Server, part: str, process: BaseProcess) -> None:
    begin, asked = time.monotonic(), len(server.asked)
    while not any(of.startswith("PUT") and part in of for of in server.asked[asked:]):
        assert process.is_alive(), "it ended before it was killed"
        assert time.monotonic() - begin < 200
        time.sleep(0.02)


def test_a_run_killed_twice_goes_on_on_other_machines_to_the_bytes_of_a_store_on_a_disk(
    server: Server, finished: Path, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    url = server.url()
    command = list(map(str, arguments(sample, url, tmp_path / "killed")))
    for number, part in enumerate(("warmup/trainer/checkpoint", "pool/markers/000000")):
        environment = {**credentials(server), "G2IS_CACHE": str(tmp_path / f"machine-{number}")}
        steps = ["--set", "execution.resume_steps=2"]
        process = forked.command([*command, *steps], tmp_path / "errors", environment=environment)
        wait_for(server, part, process)
        process.kill()
        process.join()
        shutil.rmtree(tmp_path / f"machine-{number}")
    kept = [key for key in server.keys(url) if "/markers/" in key or key.startswith("warmup/epoch")]
    assert any(key.startswith("gradients/pool/markers/") for key in kept)
    asked = len(server.asked)
    code, out, err = g2is(*arguments(sample, url, tmp_path / "run"))
    assert code == 0, err
    assert "has died; its lock" in one_line(out + err)
    assert server.objects(url) == files_of(finished / "store")
    written = [of for of in server.asked[asked:] if of.startswith("PUT")]
    assert not [of for of in written if of.endswith(tuple(kept))]  # nothing that was stored is made again
    assert (tmp_path / "run/selected.jsonl").read_bytes() == (finished / "selected.jsonl").read_bytes()
    assert f"store: {url}\n" in (tmp_path / "run/config.yaml").read_text()


def test_a_store_copied_to_a_bucket_or_from_it_serves_as_it_is(
    server: Server, finished: Path, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    url = server.url()
    server.put(url, files_of(finished / "store"))
    server.fail_writes(0, "403 Forbidden")  # nothing is made anew: nothing is written
    code, out, err = g2is(*arguments(sample, url, tmp_path / "run"))
    assert code == 0, err
    assert f"{url}: read-only" in out + err
    assert (tmp_path / "run/selected.jsonl").read_bytes() == (finished / "selected.jsonl").read_bytes()
    server.mend()
    code, out, err = g2is("verify", tmp_path / "run")
    assert code == 0, err
    assert f"{url}: not checked with the run, for it lies in object storage; `g2is verify {url}`" in one_line(out + err)
    for key, content in server.objects(url).items():
        (tmp_path / "copy" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / key).write_bytes(content)
    before = files_of(tmp_path / "copy")
    code, _, err = g2is(*arguments(sample, tmp_path / "copy", tmp_path / "again"))
    assert code == 0, err
    assert files_of(tmp_path / "copy") == before


def test_a_lost_server_is_one_message_and_leaves_a_run_to_go_on(
    server: Server, finished: Path, sample: Path, g2is: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = server.url()
    server.put(url, files_of(finished / "store"))
    server.gate = lambda method: "503 Slow Down"
    code, out, err = g2is(*arguments(sample, url, tmp_path / "run"))
    assert (code, sum(line.startswith("error: ") for line in err.splitlines())) == (2, 1)
    assert url in err
    assert "which goes on from here" in one_line(err)
    assert "Traceback" not in out + err
    server.mend()
    code, out, err = g2is(*arguments(sample, url, tmp_path / "run"), "--dry-run")
    assert code == 0, err
    assert "exists: what it holds is used again" in out
    monkeypatch.setitem(sys.modules, "obstore", None)
    code, out, err = g2is(*arguments(sample, url, tmp_path / "run"))
    assert code == 2
    assert "pip install 'g2is[cloud]'" in one_line(err)


def test_unusable_input_leaves_nothing_of_a_new_store_behind(
    server: Server, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    url = server.url()
    (tmp_path / "pool.jsonl").write_text('{"neither": "nor"}\n')
    shutil.copy(sample / "target.jsonl", tmp_path)
    code, _, err = g2is(*arguments(tmp_path, url, tmp_path / "run"))
    assert code == 2, err
    assert any("manifest.json" in of for of in server.asked)
    assert not server.keys(url)
    assert not server.keys(url.removesuffix("/store"))  # nor a lock
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flag", "place", "words"),
    [
        ("--store", "ftp://host/store", "expected a folder, or s3://BUCKET/PREFIX"),
        ("--store", "S3://bucket/store", "expected a folder, or s3://BUCKET/PREFIX"),
        ("--store", "s3:/bucket/store", "expected a folder, or s3://BUCKET/PREFIX"),
        ("--store", "s3://", "expected a folder, or s3://BUCKET/PREFIX"),
        ("--store", "s3://bucket/../other", "expected a folder, or s3://BUCKET/PREFIX"),
        ("--store", "s3://bucket/a store", "expected a folder, or s3://BUCKET/PREFIX"),
        ("--out", "s3://bucket/run", "only the store (--store) may lie in object storage"),
        ("--adapter", "gs://bucket/checkpoint-3", "only the store (--store) may lie in object storage"),
    ],
)
def test_a_place_that_no_store_can_be_is_refused(
    flag: str, place: str, words: str, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    given = {"--store": tmp_path / "store", "--out": tmp_path / "run", flag: place}
    files = [sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--budget", "10%"]
    code, _, err = g2is("select", *files, *(part for pair in given.items() for part in pair))
    assert code == 2
    assert words in one_line(err)
    assert not any(tmp_path.iterdir())
    assert not Path("s3:").exists()
