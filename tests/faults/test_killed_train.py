"""kill -9 between the adapter and its record, the same command again: the adapter that an undisturbed run has."""

from pathlib import Path

import forked
import pytest

from g2is.demo.skills import write_pool

MODEL = Path(__file__).resolve().parents[2] / "src/g2is/demo/model"
SETTINGS = ["tuning.lora.rank=4", "tuning.epochs=1", "tuning.batch_size=8", "execution.resume_steps=2"]
DIES = -9


def command(folder: Path, out: str) -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return ["train", str(folder / "pool.jsonl"), "--model", str(MODEL), "--out", str(folder / out), *settings]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed-train")
    write_pool(folder / "pool.jsonl", num_rows=32)
    forked.run(command(folder, "calm"), folder / "errors")
    return folder


@pytest.mark.parametrize(
    "moment", ["g2is.training.tune.write_json", "g2is.store.files.fsync_folder", "g2is.training.tune.remove"]
)
def test_a_training_killed_after_its_adapter_was_written_goes_on(folder: Path, moment: str) -> None:
    out = "-".join(["run", *moment.split(".")[-2:]])
    process = forked.command(command(folder, out), folder / "errors", dies_before=moment)
    assert forked.ended(process) == DIES
    process = forked.command(command(folder, out), folder / "errors", dies_before=moment, calls=2)
    forked.ended(process)  # killed once more, later, or at its end
    forked.run(command(folder, out), folder / "errors")
    found, calm = (forked.stored_bytes(folder / name / "adapter") for name in (out, "calm"))
    assert found == calm
    assert (folder / out / "training.json").exists()
