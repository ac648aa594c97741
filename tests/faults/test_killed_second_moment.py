"""kill -9 while a second moment is decomposed or written, the same command again: what an undisturbed run has."""

import shutil
from pathlib import Path

import forked
import pytest

from g2is.demo.skills import write_pool, write_target

MODEL = Path(__file__).resolve().parents[2] / "src/g2is/demo/model"
SETTINGS = {
    "warmup.lora.rank": "4",
    "warmup.fraction": "0.3",
    "warmup.epochs": "1",
    "gradients.projection.dim": "256",
    "execution.report": "false",
    "selection.duplicate_threshold": "null",
}


def command(folder: Path, name: str, *more: str) -> list[str]:
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    files = ["select", str(folder / "pool.jsonl"), str(folder / "target.jsonl"), "--model", str(MODEL)]
    places = ["--out", str(folder / f"{name}-run"), "--store", str(folder / name)]
    return [*files, *places, "--budget", "6", *settings, *more]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed-second-moment")
    write_pool(folder / "pool.jsonl", num_rows=60)
    write_target(folder / "target.jsonl", num_rows=6)
    forked.run(command(folder, "plain"), folder / "errors")
    shutil.copytree(folder / "plain", folder / "calm")
    forked.run(command(folder, "calm", "--method", "trackstar"), folder / "errors")
    return folder


@pytest.mark.parametrize(
    ("moment", "calls"),
    [
        ("g2is.jobs.preconditioned.SecondMoment", 0),
        ("g2is.jobs.preconditioned.keep_decomposition", 0),  # decomposed, and nothing written
        ("g2is.store.second_moments.write_json", 0),  # the matrices are written, and nothing vouches for them
        ("g2is.store.second_moments.record_digests", 0),
        ("g2is.jobs.choose_rows.rows_looked_at", 0),  # kept, and nothing chosen
    ],
)
def test_it_ends_in_the_same_bytes(folder: Path, moment: str, calls: int) -> None:
    name = moment.rpartition(".")[2]
    shutil.copytree(folder / "plain", folder / name)
    of_name = command(folder, name, "--method", "trackstar")
    forked.run_until_killed(of_name, folder / "errors", moment, calls)
    forked.run(of_name, folder / "errors")
    expected, found = forked.stored_bytes(folder / "calm"), forked.stored_bytes(folder / name)
    assert found.keys() == expected.keys()
    assert not [key for key in expected if found[key] != expected[key]]
    runs = [forked.stored_bytes(folder / f"{of}-run") for of in ("calm", name)]
    assert runs[0]["selected.jsonl"] == runs[1]["selected.jsonl"]
    assert runs[0]["selection.parquet"] == runs[1]["selection.parquet"]
