"""kill -9 while a user's checkpoint is taken, the same command again: the same stored bytes as undisturbed."""

from pathlib import Path

import forked
import pytest
from checkpoints import train
from forked import stored_bytes

from g2is.config import ModelConfig
from g2is.demo.skills import write_pool, write_target
from g2is.model.folder import find_model

MODEL = Path(__file__).resolve().parents[2] / "src/g2is/demo/model"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed-import")
    write_pool(folder / "pool.jsonl", num_rows=20)
    write_target(folder / "target.jsonl", num_rows=4)
    base = find_model(ModelConfig(name=str(MODEL)))
    train(base, folder / "training", {"r": 4, "target_modules": ["q_proj", "v_proj"]}).folder.rename(folder / "own")
    forked.run(command(folder, "calm"), folder / "errors")
    return folder


def command(folder: Path, name: str) -> list[str]:
    files = [str(folder / "pool.jsonl"), str(folder / "target.jsonl"), "--model", str(MODEL)]
    places = ["--out", str(folder / f"run-{name}"), "--store", str(folder / f"store-{name}")]
    settings = ["--set", "gradients.projection.dim=128", "--adapter", str(folder / "own")]
    return ["gradients", *files, *places, *settings]


@pytest.mark.parametrize(
    "window",
    [
        "g2is.warmup.imported.save_moments",  # the adapter is copied, the moments are not
        "g2is.warmup.imported.write_json",  # both are there, complete.json is not
        "g2is.jobs.select.imported_summary",  # the checkpoint is kept, nothing after it done
    ],
)
def test_killed_while_a_checkpoint_is_taken_it_ends_in_the_same_bytes(window: str, folder: Path) -> None:
    name = window.rsplit(".", 1)[1]
    arguments = command(folder, name)
    forked.run_until_killed(arguments, folder / "errors", window)
    own = stored_bytes(folder / "own")
    forked.run(arguments, folder / "errors")
    assert stored_bytes(folder / f"store-{name}") == stored_bytes(folder / "store-calm")
    assert stored_bytes(folder / "own") == own
