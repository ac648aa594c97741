"""`--adapter`: a user's own checkpoint in place of the warm-up, through the whole command."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from small_run import MODEL, SMALL, selected_ids, set_flags
from transformers import AutoTokenizer

import g2is as package
from g2is.api.settings import WarmupSettings
from g2is.store.files import remove

Command = Callable[..., tuple[int, str, str]]
SETTINGS: dict[str, Any] = {"gradients": {"projection": {"dim": 512}}, "execution": {"shard_rows": 64}}
FLAGS = set_flags({"gradients.projection.dim": "512", "execution.shard_rows": "64"})
WARMUP: WarmupSettings = {"learning_rate": 2e-3, "lora": {"rank": 4}, "fraction": 0.3, "epochs": 1}


@pytest.fixture(scope="module")
def own(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The run folder of a plain run, and the checkpoint that the Trainer left in its warm-up."""
    folder = tmp_path_factory.mktemp("own")
    kept = folder / "checkpoint"

    def keep(path: Path) -> None:
        if path.name == "trainer" and path.exists():
            last = max(path.glob("checkpoint-*"), key=lambda one: int(one.name.split("-")[1]))
            shutil.copytree(last, kept, dirs_exist_ok=True)
        remove(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("g2is.warmup.train.remove", keep)
        package.select(
            pool=sample / "pool.jsonl",
            target=sample / "target.jsonl",
            model=MODEL,
            out=folder / "run",
            budget="10%",
            warmup=WARMUP,
            **SETTINGS,
        )
    return folder / "run", kept


def files(sample: Path) -> list[Path | str]:
    return [sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL]


def test_the_warm_up_s_own_checkpoint_gives_the_warm_up_s_moments_rows_and_selection(
    own: tuple[Path, Path], sample: Path, g2is: Command, tmp_path: Path
) -> None:
    warm_run, checkpoint = own
    before = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    code, _, err = g2is(
        "select", *files(sample), "--out", tmp_path / "run", "--budget", "10%", "--adapter", checkpoint, *FLAGS
    )
    assert code == 0, err
    assert f"{checkpoint}istakeninplaceofthewarm-up" in "".join(err.split())  # the terminal's width breaks lines
    assert "warm up" not in err
    ours, theirs = warm_run / "store/warmup/epoch-1", tmp_path / "run/store/warmup/imported"
    for name in ("moments.safetensors", "adapter_model.safetensors"):
        assert (theirs / name).read_bytes() == (ours / name).read_bytes(), name
    rows = [
        np.load(file) if file.suffix == ".npy" else np.frombuffer(file.read_bytes(), np.uint8)
        for store, name in ((warm_run, "epoch-1"), (tmp_path / "run", "imported"))
        for file in sorted((store / "store/gradients/pool" / name / "less/rows/c").rglob("*"))
        if file.is_file()
    ]
    half = len(rows) // 2
    assert half
    assert all(np.array_equal(a, b) for a, b in zip(rows[:half], rows[half:], strict=True))
    assert selected_ids(tmp_path / "run") == selected_ids(warm_run)
    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == before
    trained = json.loads((warm_run / "store/manifest.json").read_text())["fingerprint"]
    assert "warmup.adapter" not in trained  # stores of before the setting was there stay what they are
    summary = json.loads((tmp_path / "run/summary.json").read_text())["adapter"]
    assert summary["folder"] == str(checkpoint)
    assert summary["step"] == json.loads((checkpoint / "trainer_state.json").read_text())["global_step"]


def test_the_store_is_known_by_the_checkpoint_s_content_and_by_no_other_setting_of_the_warm_up(
    own: tuple[Path, Path], sample: Path, g2is: Command, tmp_path: Path
) -> None:
    _, checkpoint = own
    moved = shutil.copytree(checkpoint, tmp_path / "moved")
    store = ["--store", tmp_path / "store"]
    code, out, err = g2is("warmup", *files(sample), "--out", tmp_path / "a", *store, "--adapter", checkpoint, *FLAGS)
    assert code == 0, err
    assert f"none: the adapter of {checkpoint}" in out
    manifest = json.loads((tmp_path / "store/manifest.json").read_text())["fingerprint"]
    assert [key for key in manifest if key.startswith("warmup.")] == ["warmup.adapter"]
    assert str(tmp_path) not in json.dumps(manifest)
    again = ["--adapter", moved, "--set", "warmup.epochs=3"]
    code, _, err = g2is("gradients", *files(sample), "--out", tmp_path / "b", *store, *again, *FLAGS)
    assert code == 0, err
    assert "take adapter" not in err
    config = yaml.safe_load((tmp_path / "b/config.yaml").read_text())
    assert config["warmup"]["adapter"] == str(moved)
    code, _, err = g2is("run", tmp_path / "b/config.yaml", "--out", tmp_path / "c")
    assert code == 0, err
    settings = json.loads((moved / "adapter_config.json").read_text())
    (moved / "adapter_config.json").write_text(json.dumps(settings | {"lora_alpha": 3}))
    code, _, err = g2is("gradients", *files(sample), "--out", tmp_path / "d", *store, *again, *FLAGS)
    assert code == 2
    assert f"warmup.adapter: there {manifest['warmup.adapter']}, asked for" in err
    code, _, err = g2is("gradients", *files(sample), "--out", tmp_path / "d", *store, *set_flags(SMALL))
    assert code == 2
    assert "warmup.adapter: there" in err


def test_a_dry_run_tells_of_the_adapter_and_of_no_warm_up(
    own: tuple[Path, Path], sample: Path, g2is: Command, tmp_path: Path
) -> None:
    _, checkpoint = own
    flags = ["--adapter", checkpoint, "--dry-run", *FLAGS]
    code, out, err = g2is("select", *files(sample), "--out", tmp_path / "run", *flags)
    assert code == 0, err
    assert f"warm-up    none: adapter and moments of {checkpoint}" in out
    assert "16,384 adapter coordinates to 512" in out
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_and_template_beside_the_checkpoint_take_the_place_of_the_model_s(
    own: tuple[Path, Path], sample: Path, g2is: Command, tmp_path: Path
) -> None:
    _, checkpoint = own
    theirs = shutil.copytree(checkpoint, tmp_path / "theirs")
    AutoTokenizer.from_pretrained(MODEL).save_pretrained(theirs)
    store = ["--store", tmp_path / "store"]
    code, _, err = g2is("warmup", *files(sample), "--out", tmp_path / "a", *store, "--adapter", theirs, *FLAGS)
    assert code == 0, err
    assert "of its own" not in err  # they are the model's
    template = theirs / "chat_template.jinja"
    template.write_text(template.read_text().replace("'Assistant:", "'Helper:"))
    code, _, err = g2is("warmup", *files(sample), "--out", tmp_path / "b", *store, "--adapter", theirs, *FLAGS)
    assert code == 2
    assert "found 1 that differ:\n  examples.template_sha256: there" in err
    out = tmp_path / "c"
    code, _, err = g2is("select", *files(sample), "--out", out, "--budget", "5", "--adapter", theirs, *FLAGS)
    assert code == 0, err
    assert f"{theirs} has a chat template of its own, which takes the place of the model's" in " ".join(err.split())
    found, plain = (
        json.loads((store / "manifest.json").read_text())["fingerprint"]
        for store in (out / "store", tmp_path / "store")
    )
    assert {key for key in found if found[key] != plain[key]} == {"examples.template_sha256"}
    tokenizer = AutoTokenizer.from_pretrained(theirs)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(theirs)
    code, _, err = g2is("select", *files(sample), "--out", tmp_path / "d", "--adapter", theirs, *FLAGS)
    assert code == 2
    assert "found 1 beyond it: '[PAD]' (448)" in err
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda folder: (folder / "optimizer.pt").unlink(), "save_only_model=False"),
        (lambda folder: (folder / "optimizer.pt").write_bytes(b"x"), "cannot be read as such"),
        (lambda folder: (folder / "global_step9").mkdir(), "DeepSpeed"),
        (lambda folder: shutil.rmtree(folder), "found none there"),
        (lambda folder: (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}'), "no such parameter"),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_checkpoint_that_cannot_be_taken_is_refused_and_leaves_nothing_behind(
    spoil: Callable[[Path], Any],
    expected: str,
    dry: tuple[str, ...],
    own: tuple[Path, Path],
    sample: Path,
    g2is: Command,
    tmp_path: Path,
) -> None:
    copy = shutil.copytree(own[1], tmp_path / "checkpoint")
    spoil(copy)
    code, _, err = g2is("select", *files(sample), "--out", tmp_path / "run", "--adapter", copy, *FLAGS, *dry)
    assert code == 2, err
    assert "Traceback" not in err
    assert str(copy) in err
    assert expected in err, err
    assert not (tmp_path / "run").exists()


def test_a_wrong_checkpoint_can_be_corrected_on_the_same_store(
    own: tuple[Path, Path], sample: Path, g2is: Command, tmp_path: Path
) -> None:
    copy = shutil.copytree(own[1], tmp_path / "checkpoint")
    (copy / "optimizer.pt").write_bytes(b"x")
    places = ["--out", tmp_path / "run", "--store", tmp_path / "store"]
    (tmp_path / "store").mkdir()
    code, _, err = g2is("warmup", *files(sample), *places, "--adapter", copy, *FLAGS)
    assert code == 2, err
    code, _, err = g2is("warmup", *files(sample), *places, "--adapter", own[1], *FLAGS)
    assert code == 0, err


def test_an_adapter_beside_matrices_is_refused(g2is: Command, tmp_path: Path) -> None:
    flags = ["--pool-gradients", "p.npy", "--target-gradients", "t.npy", "--adapter", tmp_path]
    code, _, err = g2is("walk", "--out", tmp_path / "run", *flags)
    assert code == 2
    assert "found matrices and --adapter" in err
