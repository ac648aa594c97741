"""`g2is verify`: it sees each damaged file, says what it holds, and `--repair` makes that anew and nothing else."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import privileges
import pytest
import yaml

from g2is.errors import StoreError
from g2is.jobs.verify import repair, verify
from g2is.store.digests import record_text
from g2is.store.files import read_json, write_json
from g2is.store.lock import locked
from g2is.store.matrix import RowTable

Command = Callable[..., tuple[int, str, str]]
POOL = "store/gradients/pool"


def contents(folder: Path) -> dict[str, bytes]:
    """All but the times that sittings took, which the report shows, too."""
    left_out = (".lock", "summary.json", "report.html")
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in left_out)
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    notes = json.loads(found["digests.json"])
    del notes["report.html"], notes["digest"]
    return found | {"digests.json": json.dumps(notes).encode()}


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])


def test_a_sound_run_and_its_store_are_checked_to_the_last_file(run: Path, g2is: Command) -> None:
    before = contents(run)
    code, out, err = g2is("verify", run)
    assert code == 0, err
    assert "all as written" in out
    assert "not checked" not in out
    num_files = sum(path.is_file() and path.name != ".lock" for path in run.rglob("*"))
    assert f"{num_files} files" in out
    assert contents(run) == before
    (run / "notes.txt").write_text("mine")
    (run / "store/examples/mine.parquet").write_text("mine, too")
    code, out, _ = g2is("verify", run, "--repair")
    assert code == 0
    assert "not checked, since g2is vouches for none of these: notes.txt, store/examples/mine.parquet" in out
    assert (run / "store/examples/mine.parquet").read_text() == "mine, too"


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        (f"{POOL}/epoch-1/less/rows/c/1/0", "holds shard 1 of the pool's rows, 64 rows: "),
        (f"{POOL}/epoch-1/less/norm/zarr.json", "not the shape, type and codecs"),
        (f"{POOL}/markers/000002.json", "holds shard 2 of the pool's rows"),
        ("store/manifest.json", "holds what rows are made under"),
        ("store/warmup/epoch-1/moments.safetensors", "holds the warm-up's adapter and moments"),
        ("store/warmup/sample.json", "holds which rows the warm-up is trained on"),
        ("selection.parquet", "holds the selected rows, and why"),
        ("selected.jsonl", "holds the selected rows"),
        ("picks.json", "other bytes than were written"),
        ("report.html", "holds the page that shows what was made"),
        ("map.parquet", "holds the map of the page"),
    ],
)
def test_what_is_damaged_is_named_with_what_it_holds_and_made_anew(
    run: Path, name: str, holds: str, g2is: Command
) -> None:
    before = contents(run)
    flip(run / name)
    code, out, _ = g2is("verify", run)
    assert code == 2
    named = [line for line in out.splitlines() if str(run / name) in line]
    assert len(named) == 1, out
    assert holds in named[0]
    untouched = {path: path.stat().st_mtime_ns for path in (run / POOL).rglob("c/0/*")}
    code, out, err = g2is("verify", run, "--repair")
    assert code == 0, out + err
    assert "repaired" in out
    assert contents(run) == before
    assert {path: path.stat().st_mtime_ns for path in (run / POOL).rglob("c/0/*")} == untouched


def test_the_rows_of_a_damaged_chunk_go_by_their_ids(run: Path, g2is: Command) -> None:
    (run / f"{POOL}/epoch-1/less/rows/c/1/0").write_bytes(b"")
    code, out, _ = g2is("verify", run, "--json")
    assert code == 2
    (found,) = json.loads(out)["damaged"]
    pool = yaml.safe_load((run / "config.yaml").read_text())["pool"][0]
    ids = [json.loads(line)["id"] for line in Path(pool).read_text().splitlines()]
    assert found["ids"] == ids[64:128]


def test_a_chunk_of_another_shard_is_damage_and_so_is_another_store_s_warm_up(run: Path, g2is: Command) -> None:
    shutil.copyfile(run / f"{POOL}/epoch-1/less/rows/c/1/0", run / f"{POOL}/epoch-1/less/rows/c/0/0")
    sample = json.loads((run / "store/warmup/sample.json").read_text())
    assert {"seed", "fraction"} <= sample.keys()
    code, out, _ = g2is("verify", run / "store")
    assert code == 2
    assert "rows/c/0/0: other bytes than were written" in out


def test_the_plan_that_a_stop_leaves_is_checked_and_work_goes_on_without_it(
    run: Path, g2is: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before, plan = contents(run), run / POOL / "plan.npz"
    shutil.rmtree(run / POOL)
    with monkeypatch.context() as stopped:
        stopped.setattr(RowTable, "write", stop)
        code, _, err = g2is("run", run / "config.yaml")
    assert code == 130, err
    code, out, _ = g2is("verify", run / "store")
    assert code == 0, out
    assert f"{plan.relative_to(run / 'store')}: not finished, as a stop leaves it" in out
    assert "not checked" not in out
    plan.write_bytes(plan.read_bytes()[:-40])
    code, out, _ = g2is("verify", run / "store", "--repair")
    assert code == 0, out
    assert "plan.npz: other bytes than were written; holds which rows make which shard" in out
    code, _, err = g2is("run", run / "config.yaml")
    assert code == 0, err
    assert contents(run) == before


def test_a_run_whose_store_another_process_holds_is_neither_checked_nor_mended(
    run: Path, g2is: Command, tmp_path: Path
) -> None:
    store = (run / "store").rename(tmp_path / "theirs")
    settings = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**settings, "store": str(store)}))
    record_text(run, "config.yaml", (run / "config.yaml").read_text())
    damaged = store / "gradients/pool/epoch-1/less/rows/c/1/0"
    flip(damaged)
    found = verify(run)
    assert [of.path for of in found.damages] == [damaged]
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file() and path.name != ".lock"}
    with locked(store, "store"):
        with pytest.raises(StoreError, match="theirs: this store is in use by another g2is process"):
            repair(found)
        code, _, err = g2is("verify", run)
        assert code == 2
        assert "this store is in use" in err
    assert before == {path: path.read_bytes() for path in store.rglob("*") if path.is_file() and path.name != ".lock"}


def test_settings_that_were_changed_are_refused_and_put_back(run: Path, g2is: Command) -> None:
    settings = run / "config.yaml"
    whole = settings.read_text()
    changed = whole.replace("dim: 512", "dim: 513")
    settings.write_text(changed)
    code, out, _ = g2is("verify", run)
    assert code == 2
    assert "config.yaml: other bytes than were written; holds the settings" in out
    code, _, err = g2is("run", settings)
    assert code == 2
    assert "config.yaml: expected the settings as this run wrote them, found them changed" in err
    code, _, err = g2is("run", settings, "--set", "gradients.projection.dim=512")  # the command as it was
    assert code == 0, err
    assert settings.read_text() == whole
    for damaged in (changed, "", "command: [select"):
        settings.write_text(damaged)
        assert g2is("verify", run, "--repair")[0] == 0
        assert settings.read_text() == whole


def test_what_is_no_folder_of_ours_is_refused(tmp_path: Path, g2is: Command) -> None:
    for path, found in ((tmp_path, "another folder"), (tmp_path / "none", "no folder")):
        code, _, err = g2is("verify", path)
        assert code == 2
        assert f"{path}: expected a store, or the folder of a run" in err
        assert found in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_before_there_were_digests_is_said_to_have_none(run: Path) -> None:
    (run / "digests.json").unlink()
    found = verify(run)
    assert [(damage.path.name, damage.found) for damage in found.damages] == [
        ("digests.json", "gone, or written by a version of g2is without it")
    ]


@pytest.mark.slow
def test_a_folder_that_may_not_be_written_to_is_checked_as_it_is(run: Path) -> None:
    before = contents(run)
    for path in (run, *run.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    program = (
        "import sys, privileges; privileges.heed_permissions()\n"
        "from g2is.cli.app import main; sys.argv[0] = 'g2is'; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "verify", run],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(privileges.__file__).parent), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    for path in (run, *run.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    assert done.returncode == 0, done.stderr
    assert "all as written" in done.stdout
    assert contents(run) == before


def test_notes_of_files_that_are_elsewhere_are_refused_and_nothing_there_is_removed(
    run: Path, tmp_path: Path, g2is: Command
) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text("mine\n")
    notes = read_json(run / "digests.json") | {"../other.jsonl": "0" * 32}
    write_json(run / "digests.json", notes)
    code, _, err = g2is("verify", run, "--repair")
    assert code == 2
    assert "found '../other.jsonl'" in err
    assert other.read_text() == "mine\n"
