"""Files and folders without permission, as a user who is not root meets them: named, never called damaged, kept."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import forked
import pytest
from privileges import heed_permissions

from g2is.demo.skills import write_pool, write_target

pytestmark = pytest.mark.slow
MODEL = Path(__file__).resolve().parents[2] / "src/g2is/demo/model"
SETTINGS = ("warmup.lora.rank=4", "warmup.fraction=0.3", "warmup.epochs=1", "gradients.projection.dim=128")


def command(folder: Path, out: str, pool: str = "pool.jsonl", target: str = "target.jsonl") -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    places = ["--out", str(folder / out), "--store", str(folder / "store"), "--budget", "10%"]
    return ["select", str(folder / pool), str(folder / target), "--model", str(MODEL), *places, *settings]


def as_user(arguments: list[str], errors: Path) -> None:
    heed_permissions()
    forked.command_here(arguments, errors)


def run(arguments: list[str], errors: Path) -> tuple[int, str]:
    """Run `g2is ARGUMENTS` as a user: exit code and what it printed, on one line."""
    code = forked.ended(forked.start(as_user, arguments, errors))
    return code, " ".join(errors.read_text().split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("permissions")
    write_pool(folder / "pool.jsonl", num_rows=40)
    lines = (folder / "pool.jsonl").read_text().splitlines(keepends=True)
    (folder / "part.jsonl").write_text("".join(lines[:30]))
    write_target(folder / "target.jsonl", num_rows=4)
    write_target(folder / "other.jsonl", num_rows=4, seed=7)
    forked.run(command(folder, "calm"), folder / "errors")
    return folder


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing below `folder` may be written to."""
    paths = [folder, *folder.rglob("*")]
    before = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(before[path] & ~0o222)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(before[path])


@contextmanager
def closed(path: Path) -> Iterator[None]:
    """`path` may not be read."""
    before = path.stat().st_mode
    path.chmod(0)
    try:
        yield
    finally:
        path.chmod(before)


def test_a_finished_store_that_is_read_only_is_selected_from(folder: Path) -> None:
    before = forked.stored_bytes(folder / "store")
    with read_only(folder / "store"):
        code, text = run(command(folder, "again"), folder / "errors")
    assert code == 0, text
    assert text.count("read-only; it is used as it is") == 1
    assert forked.stored_bytes(folder / "store") == before
    for name in ("selection.parquet", "selected.jsonl", "scores.parquet"):
        assert (folder / "again" / name).read_bytes() == (folder / "calm" / name).read_bytes()
    assert not (folder / "again/examples").exists()


def test_of_a_finished_store_that_is_read_only_a_part_has_nothing_to_make(folder: Path) -> None:
    _, *rest = command(folder, "parts")
    at = rest.index("--budget")
    with read_only(folder / "store"):
        code, text = run(["gradients", *rest[:at], *rest[at + 2 :], "--worker", "1/2"], folder / "errors")
    assert code == 0, text


def test_other_files_of_stored_rows_are_tokenised_beside_a_read_only_store(folder: Path) -> None:
    with read_only(folder / "store"):
        code, text = run(command(folder, "part", pool="part.jsonl"), folder / "errors")
    assert code == 0, text
    assert list((folder / "part/examples").glob("*.parquet"))


@pytest.mark.parametrize("which", ["pool", "target"])
def test_rows_that_a_read_only_store_lacks_are_one_message(which: str, folder: Path) -> None:
    asked = {"pool": {"pool": "other.jsonl"}, "target": {"target": "other.jsonl"}}[which]
    write_pool(folder / "other-pool.jsonl", num_rows=40, seed=9)
    asked = {"pool": "other-pool.jsonl"} if which == "pool" else asked
    with read_only(folder / "store"):
        code, text = run(command(folder, f"lacks-{which}", **asked), folder / "errors")
    assert code == 2, text
    assert text.count("error: ") == 1
    assert f"store/gradients/{which}: expected all" in text
    assert "name the copy as --store" in text


def test_a_read_only_store_without_a_warm_up_is_one_message(folder: Path) -> None:
    empty = folder / "begun"
    arguments = [*command(folder, "begun-run"), "--method", "random"]
    arguments[arguments.index("--store") + 1] = str(empty)
    forked.run(arguments, folder / "errors")
    arguments = command(folder, "begun-run-2")
    arguments[arguments.index("--store") + 1] = str(empty)
    with read_only(empty):
        code, text = run(arguments, folder / "errors")
    assert code == 2, text
    assert "begun: expected a finished warm-up in a store that is read-only" in text


STORED = (
    "manifest.json",
    "examples/*.parquet",
    "warmup/complete.json",
    "warmup/sample.json",
    "gradients/pool/markers",
    "gradients/pool/markers/000000.json",
    "gradients/pool/key/zarr.json",
    "gradients/pool/key/c/0/0",
    "gradients/pool/epoch-1/momentum-free/rows/c/0/0",
    "gradients/pool/epoch-1/momentum-free/rows/c/0",
    "gradients/target/epoch-1/*/rows/c/0/0",
)


@pytest.mark.parametrize("pattern", STORED)
def test_a_stored_file_without_permission_is_named_and_not_called_damaged(pattern: str, folder: Path) -> None:
    before = forked.stored_bytes(folder / "store")
    path = next((folder / "store").glob(pattern))
    with closed(path):
        code, text = run(command(folder, f"closed-{STORED.index(pattern)}"), folder / "errors")
    assert code == 2, text
    assert text.count("error: ") == 1
    assert str(path) in text
    assert "this user may read, found one without permission" in text
    assert "damaged" not in text
    assert forked.stored_bytes(folder / "store") == before


def test_the_adapter_without_permission_is_named(folder: Path) -> None:
    path = folder / "store/warmup/epoch-1/adapter_model.safetensors"
    with closed(path):
        code, text = run(command(folder, "closed-adapter", target="other.jsonl"), folder / "errors")
    assert code == 2, text
    assert f"{path}: expected a file or folder that this user may read" in text


@pytest.mark.parametrize("name", ["selection.parquet", "scores.parquet", "config.yaml"])
def test_a_file_of_a_run_without_permission_is_named(name: str, folder: Path) -> None:
    path = folder / "calm" / name
    with closed(path):
        code, text = run(command(folder, "calm"), folder / "errors")
    assert code == 2, text
    assert str(path) in text
    assert "ermission" in text
    assert "damaged" not in text


def test_root_of_these_tests_heeds_permissions(folder: Path) -> None:
    with closed(folder / "pool.jsonl"):
        code, text = run(command(folder, "without-pool"), folder / "errors")
    assert code == 2, text
    assert os.access(folder / "pool.jsonl", os.R_OK)


def test_a_store_on_a_read_only_file_system_is_selected_from(folder: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own cannot be mounted here")
    try:
        shutil.copytree(folder / "store", disk / "store")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        arguments = command(folder, "mounted")
        arguments[arguments.index("--store") + 1] = str(disk / "store")
        code = forked.ended(forked.command(arguments, folder / "errors"))
        assert code == 0, (folder / "errors").read_text()
        assert "read-only" in (folder / "errors").read_text()
    finally:
        subprocess.run(["umount", disk], check=True)
    assert (folder / "mounted/selection.parquet").read_bytes() == (folder / "calm/selection.parquet").read_bytes()
