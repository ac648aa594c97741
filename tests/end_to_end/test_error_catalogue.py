"""Every wrong input that the catalogue lists, through the real command line: one message, nothing left behind."""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from small_run import MODEL, SMALL, selected_ids, set_flags
from wrong_evaluate import EVALUATE
from wrong_files import FILES
from wrong_folders import FOLDERS
from wrong_input import GOOD, Case, Place, check_one_message, listing
from wrong_matrices import MATRICES
from wrong_models import MODELS
from wrong_settings import BUDGETS, COMMAND_LINE
from wrong_targets import TARGETS

from g2is.cli.app import app

Command = Callable[..., tuple[int, str, str]]
PARTS = (FILES, COMMAND_LINE, BUDGETS, TARGETS, MODELS, MATRICES, FOLDERS, EVALUATE)
CATALOGUE: dict[str, Case] = {name: wrong for part in PARTS for name, wrong in part.items()}
NEEDS = {"evaluate a task file that is not there": "lm_eval"}
SAYS_WHAT_ARGUMENTS_ARE = ("missing argument", "train without data")
HOLD = """
import sys
from pathlib import Path
from g2is.store.lock import locked
with locked(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(sample: Path, finished: Path, tmp_path: Path) -> Place:
    return Place(tmp_path, sample / "pool.jsonl", sample / "target.jsonl", finished)


@pytest.fixture
def refused(place: Place, g2is: Command) -> Callable[..., str]:
    """Run a wrong command, check that it is refused and leaves all files as they were, and return its message."""

    def run(command: list[object], *fragments: str) -> str:
        folders = (place.here, place.finished, place.pool.parent)
        before = listing(*folders)
        message = check_one_message(g2is(*command), fragments)
        assert listing(*folders) == before
        return message

    return run


def test_no_name_stands_twice_in_the_catalogue() -> None:
    assert sum(map(len, PARTS)) == len(CATALOGUE)


@pytest.mark.parametrize("name", CATALOGUE)
def test_wrong_input_is_refused_in_one_message_and_leaves_everything_as_it_was(
    name: str, place: Place, refused: Callable[..., str]
) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"{NEEDS[name]} is not installed, which is told before all else")
    commands: Any = typer.main.get_command(app)
    if name in SAYS_WHAT_ARGUMENTS_ARE and commands.commands["export"].params[0].help is None:
        pytest.skip("this typer loses, beside this click, what an argument is for")
    refused(CATALOGUE[name].command(place), *CATALOGUE[name].fragments)


@pytest.mark.parametrize(("flag", "what"), [("--out", "run"), ("--store", "store")])
def test_a_folder_that_another_process_holds_is_refused(
    flag: str, what: str, place: Place, refused: Callable[..., str]
) -> None:
    folder = place.here / what
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        refused(
            place.select(*(() if flag == "--out" else (flag, folder))),
            f"{folder}: this {what} is in use by another g2is process (-c, process {holder.pid} on ",
        )
        holder.communicate("")


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Callable[[str], None]]:
    """A small file system of its own at `folder`; gives what mounts it anew with other options."""

    def mount(options: str) -> None:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"a file system of its own cannot be mounted here: {done.stderr.strip()}")

    folder.mkdir()
    try:
        mount(options)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    try:
        yield lambda options: mount(f"remount,{options}")
    finally:
        gc.collect()  # a model of a command that ended still maps its files until then
        subprocess.run(["umount", folder], check=True)


def test_a_folder_that_must_not_be_written_is_refused(place: Place, refused: Callable[..., str]) -> None:
    with mounted(place.here / "disk", "ro"):
        command = ["select", place.pool, place.target, "--model", MODEL, "--out", place.here / "disk/run"]
        refused(command, "disk/run: expected a run folder that can be written to, found: Read-only file system. Name")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; the read-only file system stands for it")
def test_a_folder_without_permission_is_refused(place: Place, refused: Callable[..., str]) -> None:
    folder = place.here / "closed"
    folder.mkdir(mode=0o500)
    command = ["select", place.pool, place.target, "--model", MODEL, "--out", folder / "run"]
    refused(command, "closed/run: expected a run folder that can be written to, found: Permission denied. Name")


def test_a_full_disk_is_named_wherever_it_is_met_and_with_room_the_same_command_goes_on(
    place: Place, g2is: Command
) -> None:
    disk, seen = place.here / "disk", set()
    files = [place.pool, place.target, "--model", MODEL, "--budget", "10%"]
    with mounted(disk, "size=4k") as remount:
        # in turn config, tokens, adapter, moments, the Trainer's optimizer, gradients
        for size in ("4k", "20k", "64k", "280k", "340k", "600k"):
            remount(f"size={size}")
            message = check_one_message(
                g2is("select", *files, "--out", disk / "run", *set_flags(SMALL)),
                (": expected room for what is written, found: No space left on device. Make room and give the same",),
            )
            assert message.startswith(str(disk / "run"))
            seen.add(message.partition(": ")[0])
            assert not list(disk.rglob("*.partial"))
        assert len(seen) >= 4, seen
        remount("size=64m")
        code, _, err = g2is("select", *files, "--out", disk / "run", *set_flags(SMALL))
        assert code == 0, err
        assert selected_ids(disk / "run") == selected_ids(place.finished)


BAD_ROWS: dict[str, tuple[object, str | None, str]] = {
    "bad JSON": ('{"messages": [', None, "expected a JSON object, found bad JSON"),
    "no object": ("[1, 2]", None, "expected a JSON object, found a list"),
    "non-UTF-8": (b'{"messages": "\xe9"}', None, "expected UTF-8 text, found byte 0xe9"),
    "other columns": ({"id": "z1", "text": "a"}, "z1", "expected columns messages as in the rows before"),
    "null": ({"id": "z2", "messages": None}, "z2", "expected a list of {role, content} in `messages`, found null"),
    "wrong type": ({"id": "z3", "messages": [3]}, "z3", "expected {role, content} in `messages[0]`, found a number"),
    "missing content": (
        {"id": "z4", "messages": [{"role": "user"}]}, "z4", "expected `content` in `messages[0]`, found keys role"),
    "no answer": ({"id": "z5", "messages": GOOD["messages"][:1]}, "z5", "expected an assistant turn, found only user"),
    "empty answer": (
        {"id": "z6", "messages": [GOOD["messages"][0], {"role": "assistant", "content": " "}]}, "z6",
        "expected an answer in turn 2 (assistant), found an empty one"),
    "lone surrogate": (
        '{"id": "z7", "messages": [{"role": "assistant", "content": "\\ud83d"}]}', "z7", "found a lone surrogate"),
    "cut away": (
        {"id": "z8", "messages": [{"role": "user", "content": "2 + 2? " * 400}, GOOD["messages"][1]]}, "z8",
        "expected learned tokens among the 256 that are kept"),
    "id again": (GOOD | {"id": "a"}, "a", "expected an id that no other row has, found that of line 1"),
    "wrong id": (GOOD | {"id": []}, None, "expected `id` to be a string or an integer, found a list"),
    "unknown role": (
        {"id": "z9", "messages": [{"role": "narrator", "content": "a"}]}, "z9", "expected `role` to be one of"),
}  # fmt: skip


def test_every_kind_of_bad_row_can_be_skipped_and_is_listed(place: Place, g2is: Command) -> None:
    rows = [row if isinstance(row, bytes | str) else json.dumps(row) for row, _, _ in BAD_ROWS.values()]
    lines = [json.dumps(GOOD | {"id": "a"}), *rows, *place.pool.read_text().splitlines()]
    pool = place.text("pool.jsonl", b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines))
    length = {"examples.max_length": "256", "examples.truncation": "answer-end"}
    code, _, err = g2is(*place.select("--on-bad-row", "skip", "--budget", "5%", *set_flags(length), pool=pool))
    assert code == 0, err
    assert f"pool: {len(BAD_ROWS)} rows cannot be used and are set aside (listed in bad_rows.jsonl)" in err
    listed = [json.loads(line) for line in (place.here / "run/bad_rows.jsonl").read_text().splitlines()]
    listed.sort(key=lambda row: row["line"])
    expected = [(str(pool), line, id_) for line, (_, id_, _) in enumerate(BAD_ROWS.values(), start=2)]
    assert [(row["file"], row["line"], row["id"]) for row in listed] == expected
    for row, (_, _, problem) in zip(listed, BAD_ROWS.values(), strict=True):
        assert problem in row["problem"]
    assert json.loads((place.here / "run/summary.json").read_text())["pool"]["rows"] == 151


def test_a_training_skips_bad_rows_too_and_lists_them(place: Place, g2is: Command) -> None:
    data = place.rows("data.jsonl", GOOD, "{", GOOD | {"id": "b"})
    quick = set_flags({"tuning.lora.rank": "4", "tuning.epochs": "1", "examples.on_bad_row": "skip"})
    code, out, err = g2is(*place.train(data, flags=quick))
    assert code == 0, err
    assert "examples: 1 row cannot be used and is set aside (listed in bad_rows.jsonl)" in err
    assert "tuned on 2 examples" in out
    (row,) = [json.loads(line) for line in (place.here / "tuned/bad_rows.jsonl").read_text().splitlines()]
    assert (row["file"], row["line"], row["raw"]) == (str(data), 2, "{")


def test_inspect_lists_what_is_wrong_with_a_file_as_its_result(place: Place, g2is: Command) -> None:
    files = [place.text("zip.jsonl", b"PK\x03\x04 and so on"), place.rows("rows.jsonl", GOOD, "{")]
    before = listing(place.here)
    code, out, err = g2is("inspect", *files)
    assert code == 2
    assert "error" not in err
    assert "2 problems:" in out
    assert f"{files[0]}: expected UTF-8 text from its suffix, found zip data" in out
    assert f"{files[1]}:2: expected a JSON object, found bad JSON" in out
    assert listing(place.here) == before


def test_a_coloured_terminal_gets_the_same_message() -> None:
    command = [sys.executable, "-m", "g2is", "select", "--bugdet", "3"]
    coloured = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "40"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=coloured)
    message = check_one_message((done.returncode, done.stdout, done.stderr), ["did you mean --budget? "])
    assert "\x1b" not in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "fragment"),
    [
        (["--budget", "abc"], "budget: expected a number of tokens"),
        (["--budget", "101%"], "budget: expected at most 100% of the pool's rows, found 101%"),
        (["--quota", "web=half"], "quota of 'web': expected a share of the budget"),
        (["--quota", "web=0"], "quota of 'web': expected at least one row, found 0"),
        (["--exclude", "no.txt"], "no.txt: expected a list of ids"),
        (["--exclude-overlap", "no.jsonl"], "no.jsonl: expected a file"),
        (["--target", "b=no.jsonl"], "no.jsonl: expected a file"),
    ],
)
def test_what_is_wrong_beside_the_pool_is_told_before_the_pool_is_read(
    flags: list[object], fragment: str, place: Place, g2is: Command, refused: Callable[..., str]
) -> None:
    """A large pool takes hours: this one would be refused if it were looked at."""
    bad = place.rows("pool.jsonl", "{")
    files = ["--target", f"a={place.target}"] if "--target" in flags else [place.target]
    command = ["select", bad, *files, "--model", MODEL, "--out", place.here / "run", *set_flags(SMALL), *flags]
    assert "pool.jsonl" not in refused(command, fragment)
    assert "pool.jsonl:1" in check_one_message(g2is(*command[: -len(flags)]), ["bad JSON"])
    budgets = "1%,abc" if "--budget" in flags else "1%"
    test = place.target if "--budget" in flags else "no.jsonl"
    compare = ["compare", bad, place.target, "--test", test, "--model", MODEL, "--out", place.here / "all"]
    assert "pool.jsonl" not in refused([*compare, "--budgets", budgets], "expected a")


def test_a_process_of_its_own_prints_the_error_and_nothing_else(place: Place) -> None:
    command = [sys.executable, "-m", "g2is", *map(str, place.select(pool=place.rows("pool.jsonl", "{")))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    check_one_message((done.returncode, done.stdout, done.stderr), ["pool.jsonl:1: expected a JSON object, found bad"])
    assert not (place.here / "run").exists()


def test_a_bug_of_ours_keeps_its_traceback(g2is: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(_: Path) -> dict[str, object]:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("g2is.cli.replay.load", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        g2is("run", tmp_path / "x.yaml")
