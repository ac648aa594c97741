"""kill -9 between rounds and warm-ups, the same command again: what an undisturbed run has, and nothing left over."""

import shutil
from pathlib import Path

import forked
import pytest

from g2is.demo.skills import write_pool, write_target

MODEL = Path(__file__).resolve().parents[2] / "src/g2is/demo/model"
SETTINGS = {
    "warmup.lora.rank": "4",
    "warmup.learning_rate": "2e-3",
    "warmup.fraction": "0.3",
    "warmup.epochs": "2",
    "gradients.projection.dim": "256",
    "execution.report": "false",
    "execution.resume_steps": "1",
}


def command(folder: Path, name: str, method: str) -> list[str]:
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    files = ["select", str(folder / "pool.jsonl"), str(folder / "target.jsonl"), "--model", str(MODEL)]
    places = ["--out", str(folder / f"{name}-run"), "--store", str(folder / name)]
    return [*files, *places, "--budget", "9", *settings, "--method", method]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed-rounds")
    write_pool(folder / "pool.jsonl", num_rows=60)
    write_target(folder / "target.jsonl", num_rows=6)
    return folder


@pytest.fixture(scope="module")
def in_rounds(folder: Path) -> Path:
    """The same, with what undisturbed selections have, in one round and in several."""
    for method in ("design", "design-rounds"):
        forked.run(command(folder, method, method), folder / "errors")
    return folder


@pytest.mark.parametrize(
    ("moment", "calls"),
    [
        pytest.param("g2is.jobs.rounds.train_warmup", 0, marks=pytest.mark.long),  # the first part is chosen
        ("g2is.model.trainer.seal", 1),  # in the midst of a tuning
        pytest.param("g2is.warmup.train.adapter_digest", 1, marks=pytest.mark.long),  # tuned, and not recorded
        pytest.param("g2is.jobs.rounds.load_extractor", 0, marks=pytest.mark.long),  # tuned, and no gradient taken
        pytest.param("g2is.jobs.rounds.train_warmup", 1, marks=pytest.mark.long),  # a second part is chosen
        ("g2is.jobs.choose_rows.write_tables", 0),  # all is chosen, and nothing written
        pytest.param("g2is.jobs.select.remove", 0, marks=pytest.mark.long),  # written, and the rounds are left
    ],
)
def test_a_selection_in_rounds_ends_in_the_same_bytes(in_rounds: Path, moment: str, calls: int) -> None:
    folder, name = in_rounds, f"{moment.rpartition('.')[2]}-{calls}"
    shutil.copytree(folder / "design", folder / name)
    of_name = command(folder, name, "design-rounds")
    forked.run_until_killed(of_name, folder / "errors", moment, calls)
    assert (folder / f"{name}-run/rounds").is_dir()
    forked.run(of_name, folder / "errors")
    runs = [forked.stored_bytes(folder / f"{of}-run") for of in ("design-rounds", name)]
    assert runs[0].keys() == runs[1].keys()
    assert not [key for key in runs[1] if key.startswith("rounds")]
    for key in ("selected.jsonl", "selection.parquet", "scores.parquet", "picks.json"):
        assert runs[0][key] == runs[1][key], key
    assert runs[0]["selected.jsonl"] != forked.stored_bytes(folder / "design-run")["selected.jsonl"]


@pytest.fixture(scope="module")
def over_seeds(folder: Path) -> Path:
    """The same, with what an undisturbed selection over several warm-ups has."""
    forked.run(command(folder, "design-seeds", "design-seeds"), folder / "errors")
    return folder


@pytest.mark.parametrize(
    ("moment", "calls"),
    [
        pytest.param("g2is.jobs.warm_up.draw_rows", 1, marks=pytest.mark.long),  # the first of three is trained
        pytest.param("g2is.model.trainer.seal", 3, marks=pytest.mark.long),  # in the midst of one
        ("g2is.jobs.warm_up.join_warmups", 0),  # all are, and nothing says so
        pytest.param("g2is.jobs.store_rows.load_extractor", 0, marks=pytest.mark.long),
    ],
)
def test_a_selection_over_several_warm_ups_ends_in_the_same_bytes(over_seeds: Path, moment: str, calls: int) -> None:
    folder, name = over_seeds, f"{moment.rpartition('.')[2]}-{calls}-seeds"
    of_name = command(folder, name, "design-seeds")
    forked.run_until_killed(of_name, folder / "errors", moment, calls)
    forked.run(of_name, folder / "errors")
    expected, found = forked.stored_bytes(folder / "design-seeds"), forked.stored_bytes(folder / name)
    assert found.keys() == expected.keys()
    assert not [key for key in expected if found[key] != expected[key]]
    runs = [forked.stored_bytes(folder / f"{of}-run") for of in ("design-seeds", name)]
    assert runs[0]["selection.parquet"] == runs[1]["selection.parquet"]
