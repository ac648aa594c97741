"""One process at a time in a folder: refused or waited for, whoever holds it named, nothing of others removed."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from g2is.errors import InputError, StoreError
from g2is.outputs.new_folder import write_new_folder
from g2is.progress import Progress, Silent
from g2is.store.lock import locked, remove_held, removed_on_error, waiting

HOLD = """
import sys
from pathlib import Path
from typing import Any
from g2is.errors import InputError
from g2is.store.lock import locked, removed_on_error
with locked(Path(sys.argv[1]), "store") as new:
    print("held", flush=True)
    try:
        with removed_on_error(Path(sys.argv[1]), new):
            if sys.stdin.readline() == "fail\\n":
                raise InputError("unusable")
    except InputError:
        pass
"""


class Heard(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.stages: list[str] = []

    @contextmanager
    def stage(self, title: str, unit: str) -> Iterator[Progress]:
        self.stages.append(title)
        with super().stage(title, unit) as progress:
            yield progress

    def notice(self, text: str) -> None:
        self.notices.append(text)


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def let_go(process: subprocess.Popen[str], seconds: float, word: str = "") -> None:
    """Have a holder end in so many seconds."""

    def tell() -> None:
        time.sleep(seconds)
        assert process.stdin is not None
        process.stdin.write(f"{word}\n")
        process.stdin.close()
        process.wait()

    threading.Thread(target=tell).start()


def test_a_folder_in_use_is_refused_and_its_holder_named(tmp_path: Path) -> None:
    with holder(tmp_path / "s") as process:
        with pytest.raises(StoreError) as error, locked(tmp_path / "s", "store"):
            pass
        assert "in use by another g2is process" in str(error.value)
        assert f"process {process.pid} on {socket.gethostname()}, since 2" in str(error.value)
        assert "--wait" in str(error.value)


def test_words_of_a_process_that_died_are_of_no_account(tmp_path: Path) -> None:
    with holder(tmp_path / "s") as process:
        process.kill()
        process.wait()
    words = json.loads((tmp_path / "s/.lock").read_text())
    assert words["pid"] == process.pid
    with locked(tmp_path / "s", "store"):
        assert json.loads((tmp_path / "s/.lock").read_text())["pid"] == os.getpid()
    assert (tmp_path / "s/.lock").read_text() == ""


@pytest.mark.parametrize("words", ["", "[]", '{"pid": "x"}', '{"command": 1, "pid": 1e400}', "\x00" * 9999])
def test_a_lock_file_with_other_words_names_nobody(words: str, tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text(words)
    with (tmp_path / ".lock").open("r+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match=r"another g2is process\. Wait"), locked(tmp_path, "store"):
            pass


@pytest.mark.slow
def test_it_is_waited_for_and_said_once(tmp_path: Path) -> None:
    heard = Heard()
    with holder(tmp_path / "s") as process:
        let_go(process, 1.5)
        with waiting(heard), locked(tmp_path / "s", "store") as new:
            process.wait(timeout=30)
            assert not new
    assert heard.stages == ["wait for store"]
    (said,) = heard.notices
    assert f"process {process.pid}" in said


def test_who_waited_for_a_folder_that_was_removed_has_a_lock_that_others_see(tmp_path: Path) -> None:
    with holder(tmp_path / "s") as process:
        let_go(process, 1.0, "fail")
        with waiting(Heard()), locked(tmp_path / "s", "store") as new:
            assert new
            again = subprocess.run([sys.executable, "-c", HOLD, str(tmp_path / "s")], capture_output=True, check=False)
            assert b"in use by another g2is process" in again.stderr


def test_work_of_a_faster_process_is_not_removed_as_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, make = tmp_path / "s", Path.mkdir

    def make_and_be_slow(path: Path, *arguments: bool, **options: bool) -> None:
        make(path, *arguments, **options)
        (path / "work").touch()  # of another, which had the lock before this process came to it

    monkeypatch.setattr(Path, "mkdir", make_and_be_slow)
    with pytest.raises(InputError), locked(folder, "store") as new, removed_on_error(folder, new):
        raise InputError("unusable")
    assert (folder / "work").exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_one_message(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StoreError, match="that can lock files"), locked(tmp_path / "s", "store"):
        pass


def test_two_who_wait_have_it_one_after_the_other(tmp_path: Path) -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal inside, most
        with waiting(Silent()), locked(tmp_path / "s", "store"):
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.05)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@pytest.mark.slow
def test_ctrl_c_while_waiting_is_one_line_on_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with holder(out):
        arguments = [sys.executable, "-m", "g2is", "demo", "--out", str(out), "--wait"]
        process = subprocess.Popen(
            arguments,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "1000"},
            # as in the foreground: a shell's jobs in the background, as tests may be, are told to ignore Ctrl-C
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "in use by another g2is process" in line
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
        assert process.returncode == 130
        assert rest.strip().startswith("stopped; ")
        assert len(rest.splitlines()) == 1


@pytest.mark.slow
def test_python_functions_wait_too(tmp_path: Path) -> None:
    import g2is

    heard, rng = Heard(), np.random.default_rng(0)
    for name, num_rows in (("pool", 50), ("target", 3)):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(num_rows, 8)).astype(np.float32))
    files: dict[str, Any] = {f"{name}_gradients": tmp_path / f"{name}.npy" for name in ("pool", "target")}
    with holder(tmp_path / "run") as process:
        with pytest.raises(StoreError, match="in use by another"):
            g2is.walk_matrices(**files, out=tmp_path / "run", budget=5)
        let_go(process, 0.5)
        found = g2is.walk_matrices(**files, out=tmp_path / "run", budget=5, reporter=heard, wait=True)
    assert len(found.steps) == 5
    assert heard.stages[0] == "wait for run"


def test_a_link_in_the_lock_s_place_is_refused_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "folder"
    victim.write_text("keep")
    folder.mkdir()
    (folder / ".lock").symlink_to(victim)
    with pytest.raises(StoreError, match="found a link to another place"), locked(folder, "store"):
        pass
    assert victim.read_text() == "keep"
    (folder / ".lock").unlink()
    (folder / ".lock").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="found a link to another place"), locked(folder, "store"):
        pass
    assert not (tmp_path / "nowhere").exists()


@pytest.fixture
def _as_on_nfs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is open is kept under another name until it is closed, and does not go by that name."""
    unlink, close = Path.unlink, os.close
    kept: dict[int, Path] = {}

    def unlink_on_nfs(path: Path, missing_ok: bool = False) -> None:
        if path.name.startswith(".nfs"):
            raise OSError(errno.EBUSY, "Device or resource busy")
        if path.name == ".lock":
            moved = path.rename(path.with_name(".nfs0000000000000001"))
            kept[moved.stat().st_ino] = moved
        else:
            unlink(path, missing_ok=missing_ok)

    def close_on_nfs(handle: int) -> None:
        number = os.fstat(handle).st_ino
        close(handle)
        if number in kept:
            unlink(kept.pop(number))

    monkeypatch.setattr(Path, "unlink", unlink_on_nfs)
    monkeypatch.setattr("g2is.store.lock.os.close", close_on_nfs)


@pytest.mark.usefixtures("_as_on_nfs")
def test_on_nfs_a_folder_goes_whose_lock_this_process_holds(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def begin() -> None:
        (folder / "a/b").mkdir(parents=True)
        (folder / "z").touch()
        raise InputError("unusable")

    with pytest.raises(InputError, match="unusable"), locked(folder, "run") as new, removed_on_error(folder, new):
        begin()
    assert not folder.exists()
    with (
        pytest.raises(InputError, match="unusable"),
        locked(folder, "run") as new,
        locked(folder / "store", "store") as new_store,
        removed_on_error(folder, new),
        removed_on_error(folder / "store", new_store),
    ):
        begin()
    assert not folder.exists()
    write_new_folder(tmp_path / "to", lambda made: made.mkdir())
    assert [of.name for of in tmp_path.iterdir()] == ["to"]


def test_what_another_process_put_in_the_folder_that_it_waited_for_stays(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with locked(folder, "run"):
        remove_held(folder)
        with locked(folder, "run"):
            (folder / "theirs").touch()
    assert (folder / "theirs").exists()


def test_a_lock_may_be_written_to_by_whom_the_umask_lets_write_to_the_folder(tmp_path: Path) -> None:
    before = os.umask(0o002)  # as where a group shares its files
    try:
        with locked(tmp_path / "store", "store"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "store/.lock").stat().st_mode & 0o777 == 0o664
