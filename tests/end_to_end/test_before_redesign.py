"""What becomes of the stores, runs and other folders that an earlier g2is made.

Rows are rendered and the warm-up's are drawn otherwise since then: what goes on from tokens or gradients is refused in
one message, and nothing of the folder changes. What needs neither works on. `tests/data/before_redesign` says how the
folders were made.
"""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

Command = Callable[..., tuple[int, str, str]]
DATA = Path(__file__).resolve().parents[1] / "data/before_redesign"
MADE_IN = "/tmp/g2is-before"
EXPECTED: dict[str, list[int]] = json.loads((DATA / "expected.json").read_text())
RUNS = [name for name in EXPECTED if name.startswith("runs/") and name != "runs/rds+"]  # that look at gradients
MATRICES = [name for name in EXPECTED if name.startswith("matrices/")]
REWRITTEN = ("summary.json", "config.yaml", "digests.json")
TABLES = ("selection.parquet", "scores.parquet", "selected.jsonl", "selected.messages.jsonl")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A copy of all folders; the whole paths in their config files name the copy."""
    with tarfile.open(DATA / "folders.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    for config in tmp_path.rglob("config.yaml"):
        text = config.read_text()
        assert f" {MADE_IN}/" in text
        config.write_text(text.replace(f" {MADE_IN}/", f" {tmp_path}/"))
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def selected(run: Path) -> list[int]:
    rows: list[int] = pq.read_table(run / "selection.parquet").column("row").to_pylist()
    return rows


def sittings(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((run / "summary.json").read_text())["sittings"]
    return found


def refused(err: str, *keys: str) -> bool:
    """Whether `err` is one message that says what is done otherwise, and what to do."""
    message = " ".join(err.split())
    return (
        message.count("error: ") == 1
        and all(f"{key}: there " in message for key in ("examples.rendering_version", *keys))
        and "Another version of g2is made it, which does some of this otherwise: name another" in message
        and "Traceback" not in err
    )


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("again", [True, False])
def test_a_run_is_refused_given_again_or_replayed_on_its_store(
    name: str, again: bool, made: Path, g2is: Command
) -> None:
    before = contents(made)
    code, _, err = g2is("run", made / name / "config.yaml", *(() if again else ("--out", made / "again")))
    assert code == 2
    assert refused(err, "warmup.draw_version")
    assert not (made / "again").exists()
    tables = {name: of for name, of in contents(made).items() if not name.endswith(REWRITTEN)}
    assert tables == {name: of for name, of in before.items() if name in tables}


def test_a_run_of_hidden_states_works_on_for_rows_whose_tokens_are_the_same(made: Path, g2is: Command) -> None:
    store, run = contents(made / "store"), made / "runs/rds+"
    tables = {table: (run / table).read_bytes() for table in TABLES}
    for more, out in (((), run), (("--out", made / "again"), made / "again")):
        code, _, err = g2is("run", run / "config.yaml", *more)
        assert code == 0, err
        assert not any(stage in err for stage in ("warm up", "gradients of", "states of"))
        assert selected(out) == EXPECTED["runs/rds+"]  # as it was made: an example goes on to its next row
        assert {table: (out / table).read_bytes() for table in TABLES[2:]} == {
            name: tables[name] for name in TABLES[2:]
        }
    assert {table: (run / table).read_bytes() for table in TABLES} == tables
    after = contents(made / "store")
    assert {name: after[name] for name in store} == store
    assert all(name.startswith("examples/") for name in after.keys() - store.keys())


@pytest.mark.parametrize("name", ["runs/design", "runs/rds+"])
def test_its_config_replayed_on_a_new_store_selects_as_many_rows(name: str, made: Path, g2is: Command) -> None:
    code, _, err = g2is(
        "run", made / name / "config.yaml", "--out", made / "again", "--set", f"store={made / 'store-2'}"
    )
    assert code == 0, err
    assert len(selected(made / "again")) == len(EXPECTED[name])


def test_other_settings_than_those_of_the_selection_are_refused(made: Path, g2is: Command) -> None:
    tables = {table: (made / "runs/design" / table).read_bytes() for table in TABLES}
    code, _, err = g2is("run", made / "runs/design/config.yaml", "--set", "selection.noise=2")
    assert code == 2
    assert "found 1 that differ:" in err
    assert "selection.noise: there 1.0, asked for 2.0" in err
    assert {table: (made / "runs/design" / table).read_bytes() for table in TABLES} == tables


def test_its_examples_are_exported_again(made: Path, g2is: Command) -> None:
    run = made / "runs/two-targets"
    files = {name: (run / name).read_bytes() for name in ("selected.jsonl", "selected.messages.jsonl")}
    for name in files:
        (run / name).unlink()
    code, out, err = g2is("export", run)
    assert code == 0, err
    assert "8 rows selected" in out
    assert {name: (run / name).read_bytes() for name in files} == files


@pytest.mark.parametrize("method", ["less", "match", "official"])
def test_another_method_does_not_mix_its_rows_with_those_of_the_store(method: str, made: Path, g2is: Command) -> None:
    store = contents(made / "store")
    config = yaml.safe_load((made / "runs/design/config.yaml").read_text())
    config |= {"selection": {"method": method, "budget": 5}, "out": str(made / method)}
    (made / "config.yaml").write_text(yaml.safe_dump(config))
    code, _, err = g2is("run", made / "config.yaml")
    assert code == 2
    assert refused(err, "warmup.draw_version")
    assert contents(made / "store") == store
    assert not (made / method).exists()


def test_a_store_whose_extraction_was_killed_is_refused(made: Path, g2is: Command) -> None:
    store = contents(made / "stopped/store")
    code, _, err = g2is("run", made / "stopped/run/config.yaml")
    assert code == 2
    assert refused(err, "warmup.draw_version")
    assert contents(made / "stopped/store") == store


@pytest.mark.parametrize("name", MATRICES)
def test_a_walk_on_matrices_given_again_or_replayed_selects_the_same_rows(name: str, made: Path, g2is: Command) -> None:
    for more, run in (((), made / name), (("--out", made / "again"), made / "again")):
        code, out, err = g2is("run", made / name / "config.yaml", *more)
        assert code == 0, err
        assert "8 of 8 rows selected" in out
        assert selected(run) == EXPECTED[name]
    code, _, err = g2is("run", made / name / "config.yaml", "--set", "selection.budget=3")
    assert code == 2
    assert "selection.budget: there 8, asked for 3" in err


@pytest.mark.parametrize("folder", ["tuned", "tested", "comparison"])
def test_a_training_an_evaluation_and_a_comparison_are_refused_and_stay_as_they_are(
    folder: str, made: Path, g2is: Command
) -> None:
    before = contents(made / folder)
    code, _, err = g2is("run", made / folder / "config.yaml")
    assert code == 2
    assert refused(err)
    after = contents(made / folder)
    assert {name: of for name, of in before.items() if name not in ("config.yaml", "bad_rows.jsonl")}.items() <= (
        after.items()
    )


@pytest.mark.parametrize("folder", ["runs/design", "runs/g2is", "matrices/design", "tuned", "tested", "comparison"])
def test_a_folder_of_another_command_is_refused(folder: str, made: Path, g2is: Command) -> None:
    of = {"runs": "select", "matrices": "walk", "tuned": "train", "tested": "evaluate", "comparison": "compare"}
    model = ("--model", made / "model", "--out", made / folder)
    matrices = ("--pool-gradients", made / "matrices/pool.npy", "--target-gradients", made / "matrices/target.npy")
    files = (made / "pool.jsonl", made / "target.jsonl")
    commands: dict[str, tuple[object, ...]] = {
        "select": ("select", *files, *model, "--budget", 8),
        "walk": ("walk", *matrices, *model[2:], "--budget", 8),
        "train": ("train", made / "runs/design", *model),
        "evaluate": ("evaluate", made / "test.jsonl", *model),
        "compare": ("compare", *files, "--test", made / "test.jsonl", *model, "--budgets", 8),
    }
    before = contents(made / folder)
    for name, arguments in commands.items():
        if name != of[folder.partition("/")[0]]:
            code, _, err = g2is(*arguments)
            assert code == 2, (name, err)
            assert "found that of another command" in err
    assert contents(made / folder) == before
