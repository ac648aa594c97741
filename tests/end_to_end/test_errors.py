"""Wrong input: one message that says what was expected, what was found and what to do; exit code 2; nothing written."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import MODEL, SMALL, set_flags

Command = Callable[..., tuple[int, str, str]]
GOOD = {"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]}


def write_rows(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def check_refused(outcome: tuple[int, str, str], *expected: str) -> None:
    code, out, err = outcome
    assert code == 2, (code, out, err)
    assert "Traceback" not in err
    for text in expected:
        assert text in err, f"expected {text!r} in: {err}"


BAD_POOLS: dict[str, tuple[tuple[object, ...], str]] = {
    "bad-json": ((GOOD, '{"messages": ['), "pool.jsonl:2"),
    "not-an-object": ((GOOD, "[1, 2]"), "pool.jsonl:2"),
    "unknown-columns": (({"text": "hello"},), "text"),
    "mixed-schemas": ((GOOD, {"instruction": "a", "output": "b"}), "pool.jsonl:2"),
    "null-field": (({"instruction": "a", "output": None},), "pool.jsonl:1"),
    "empty-answer": (({"prompt": "a", "completion": ""},), "pool.jsonl:1"),
    "no-assistant-turn": (({"messages": [{"role": "user", "content": "hi"}]},), "pool.jsonl:1"),
    "duplicate-ids": ((GOOD | {"id": "a"}, GOOD | {"id": "a"}), "pool.jsonl:2"),
    "no-rows": ((), "pool.jsonl"),
}


@pytest.mark.parametrize("case", BAD_POOLS)
def test_a_pool_that_cannot_be_used_is_refused_with_its_place(
    case: str, g2is: Command, sample: Path, tmp_path: Path
) -> None:
    rows, place = BAD_POOLS[case]
    pool = write_rows(tmp_path / "pool.jsonl", *rows)
    outcome = g2is("select", pool, sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "run")
    check_refused(outcome, place, "expected")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pool.jsonl"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--budget", "0"), "at least one row"),
        (("--budget", "-3"), "-3"),
        (("--budget", "some"), "'some'"),
        (("--budget", "101%"), "at most the pool's 150 rows"),
        (("--preset", "best"), "'g2is' or 'official'"),
        (("--device", "gpu7"), "gpu7"),
        (("--set", "warmup.epoch=2"), "did you mean warmup.epochs"),
        (("--set", "warmup.epochs"), "KEY=VALUE"),
        (("--set", "warmup.epochs=0"), "greater than or equal to 1"),
        (("--set", "gradients.forms=[less, less]"), "each Γ form once"),
        (("--set", "selection.form=adam"), "gradients.forms stores only"),
        (("--set", "warmup.lora.target_modules=[q_prj]"), "q_prj"),
        (("--set", "examples.template=plan"), "'plan'"),
        (("--bugdet", "3"), "--budget"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_wrong_setting_is_refused_before_any_work(
    flags: tuple[str, ...], expected: str, g2is: Command, sample: Path, tmp_path: Path
) -> None:
    outcome = g2is(
        *("select", sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "run", *flags)
    )
    check_refused(outcome, expected)
    assert not (tmp_path / "run/selection.parquet").exists()


def test_files_that_are_not_there_are_named(g2is: Command, sample: Path, tmp_path: Path) -> None:
    pool, target = sample / "pool.jsonl", sample / "target.jsonl"
    for arguments, expected in (
        ((tmp_path / "none.jsonl", target, "--model", MODEL), "none.jsonl"),
        ((pool, sample, "--model", MODEL), str(sample)),
        ((pool, target, "--model", tmp_path / "no-model"), "no-model"),
        ((pool, target, "--model", sample), "config.json"),
    ):
        check_refused(g2is("select", *arguments, "--out", tmp_path / "run"), expected, "expected")
        assert not (tmp_path / "run").exists()


def test_models_that_cannot_be_used_are_refused(g2is: Command, sample: Path, tmp_path: Path) -> None:
    import shutil

    files = (sample / "pool.jsonl", sample / "target.jsonl")
    no_tokenizer = shutil.copytree(MODEL, tmp_path / "no-tokenizer")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (no_tokenizer / name).unlink()
    pickled = shutil.copytree(MODEL, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    no_template = shutil.copytree(MODEL, tmp_path / "no-template")
    (no_template / "chat_template.jinja").unlink()
    encoder = shutil.copytree(MODEL, tmp_path / "encoder")
    settings = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps(settings | {"model_type": "vit", "architectures": ["ViTModel"]}))
    for model, flags, expected in (
        (no_tokenizer, (), "tokenizer"),
        (pickled, (), "safetensors"),
        (no_template, ("--set", "examples.template=chat"), "template"),
        (encoder, (), "causal language model"),
    ):
        outcome = g2is("select", *files, "--model", model, "--out", tmp_path / "run", *flags)
        check_refused(outcome, "expected", expected)
        assert not (tmp_path / "run").exists()


def test_a_run_folder_of_another_run_and_a_store_of_other_settings_name_each_difference(
    finished: Path, g2is: Command, sample: Path, tmp_path: Path
) -> None:
    files = (sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL)
    outcome = g2is("select", *files, "--out", finished, "--budget", "7%", *set_flags(SMALL))
    check_refused(outcome, "selection.budget: there 10%, asked for 7%", "another --out")
    other = SMALL | {"warmup.epochs": "2", "gradients.projection.dim": "256"}
    outcome = g2is("select", *files, "--out", tmp_path / "r", "--store", finished / "store", *set_flags(other))
    check_refused(
        outcome, "warmup.epochs: there 1, asked for 2", "gradients.projection.dim: there 512, asked for 256", "--store"
    )


def test_folders_that_cannot_be_written_are_named(g2is: Command, sample: Path, tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("x")
    files = (sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL)
    check_refused(g2is("select", *files, "--out", tmp_path / "a-file"), "a-file", "folder")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").write_text("x")
    outcome = g2is("select", *files, "--out", tmp_path / "run", "--store", tmp_path / "thesis")
    check_refused(outcome, "thesis", "found other files")


def test_matrices_that_cannot_be_walked_are_refused(g2is: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    good = tmp_path / "good.npy"
    np.save(good, rng.normal(size=(30, 8)))
    broken = rng.normal(size=(30, 8))
    broken[4, 2] = np.nan
    np.save(tmp_path / "nan.npy", broken)
    np.save(tmp_path / "narrow.npy", rng.normal(size=(30, 7)))
    np.save(tmp_path / "cube.npy", rng.normal(size=(3, 3, 3)))
    np.save(tmp_path / "whole.npy", np.ones((30, 8), np.int64))
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    torch.save({"a": torch.ones(3, 8), "b": torch.ones(3, 8)}, tmp_path / "two.pt")
    (tmp_path / "text.npy").write_text("not a matrix")
    (tmp_path / "matrix.csv").write_text("1,2\n")
    np.save(tmp_path / "graph.npy", np.full((30, 4), 30))
    for pool, expected in (
        ("nan.npy", "NaN"),
        ("narrow.npy", "narrow.npy"),
        ("cube.npy", "cube.npy"),
        ("whole.npy", "int64"),
        ("objects.npy", "objects.npy"),
        ("two.pt", "two.pt"),
        ("text.npy", "text.npy"),
        ("matrix.csv", "matrix.csv"),
        ("none.npy", "none.npy"),
    ):
        outcome = g2is(
            *("walk", "--pool-gradients", tmp_path / pool, "--target-gradients", good, "--budget", "3"),
            *("--out", tmp_path / "run"),
        )
        check_refused(outcome, expected)
        assert not (tmp_path / "run").exists()
    files = ("--pool-gradients", good, "--target-gradients", good, "--budget", "3", "--out", tmp_path / "run")
    check_refused(g2is("walk", *files, "--graph", tmp_path / "graph.npy"), "graph.npy")
    check_refused(g2is("walk", "--pool-gradients", good, "--out", tmp_path / "run"), "--target-gradients")
    check_refused(g2is("walk", "--out", tmp_path / "run"), "POOL, TARGET and --model")
    check_refused(
        g2is("walk", *files, "--preset", "official", "--core-mode", "count_ratio", "--core-fraction", "1", "--set",
             "selection.delta=2"),
        "selection.delta",
    )  # fmt: skip


def test_a_config_that_cannot_be_replayed_is_refused(finished: Path, g2is: Command, tmp_path: Path) -> None:
    check_refused(g2is("run", tmp_path / "none.yaml"), "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    check_refused(g2is("run", tmp_path / "list.yaml"), "mapping of settings")
    text = (finished / "config.yaml").read_text()
    (tmp_path / "typo.yaml").write_text(text.replace("epochs:", "epochz:"))
    check_refused(g2is("run", tmp_path / "typo.yaml"), "warmup.epochz", "did you mean warmup.epochs")
    check_refused(g2is("export", tmp_path), "selection.parquet")


def test_a_bug_of_ours_keeps_its_traceback(g2is: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(_: Path) -> dict[str, object]:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("g2is.cli.app.load", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        g2is("run", tmp_path / "x.yaml")
