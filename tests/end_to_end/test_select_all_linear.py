"""`gradients.parameters=all` through the whole command: warm-up, rows, selection, a second run, and what is refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open
from small_run import MODEL, SMALL, selected_ids, set_flags

Command = Callable[..., tuple[int, str, str]]
ALL = {name: of for name, of in SMALL.items() if name != "warmup.lora.rank"} | {
    "warmup.learning_rate": "5e-4",
    "gradients.parameters": "all",
}


@pytest.fixture(scope="module")
def pool(sample: Path) -> list[Path | str]:
    return [sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--budget", "10%"]


@pytest.mark.parametrize("moments", ["factored", "adam"])
def test_a_selection_by_all_linear_layers(moments: str, pool: list[Path | str], g2is: Command, tmp_path: Path) -> None:
    flags = set_flags(ALL | {"gradients.second_moments": moments})
    code, out, err = g2is("select", *pool, "--out", tmp_path / "run", *flags)
    assert code == 0, err
    assert "gradients of 28 linear layers, weights and biases, in 4 of 4 blocks" in out + err
    assert "Left out, for its weight is the embedding's: lm_head" in out + err
    assert len(selected_ids(tmp_path / "run")) == 15
    assert json.loads((tmp_path / "run/summary.json").read_text())["all_linear"]["layers"] == 28

    kept = tmp_path / "run/store/warmup/epoch-1"
    assert sorted(of.name for of in kept.iterdir()) == [
        *("digests.json", "linear_weights.safetensors", "moments.safetensors")
    ]
    with safe_open(kept / "linear_weights.safetensors", framework="pt") as of_run:
        weights = {name: of_run.get_tensor(name) for name in of_run.keys()}  # noqa: SIM118
    with safe_open(MODEL / "model.safetensors", framework="pt") as of_base:
        assert all((weights[name] != of_base.get_tensor(name)).any() for name in weights), "a layer was not trained"
    num_weights = sum(weight.numel() for weight in weights.values())
    size = (kept / "moments.safetensors").stat().st_size
    sums = sum(sum(weight.shape) for weight in weights.values())
    expected = 4 * sums if moments == "factored" else 8 * num_weights
    assert expected < size < expected + 20_000  # and the names

    # what --dry-run says is kept is what was kept
    code, out, err = g2is("select", *pool, "--out", tmp_path / "dry", "--dry-run", *flags)
    assert code == 0, err
    assert f"{num_weights:,} weights and biases to 512" in out
    told = re.search(r"weights and moments of ([\d.]+) GiB are kept", out)
    assert told is not None, out
    assert float(told[1]) == pytest.approx((4 * num_weights + expected) / 2**30, abs=0.006)

    # again: nothing is made anew, and all is as it was written
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run/store/gradients").rglob("*")}
    code, _, err = g2is("select", *pool, "--out", tmp_path / "run", *flags)
    assert code == 0, err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run/store/gradients").rglob("*")} == before
    code, out, err = g2is("verify", tmp_path / "run")
    assert code == 0, out + err
    (kept / "linear_weights.safetensors").write_bytes(b"x")
    code, out, err = g2is("verify", tmp_path / "run")
    assert code != 0
    assert "linear_weights.safetensors" in out + err


@pytest.mark.long
def test_workers_make_the_same_rows(pool: list[Path | str], g2is: Command, tmp_path: Path) -> None:
    for out, settings in (("one", {}), ("two", {"execution.gradient_bytes": "100000", "execution.workers": "2"})):
        code, _, err = g2is("select", *pool, "--out", tmp_path / out, *set_flags(ALL | settings))
        assert code == 0, err
    assert selected_ids(tmp_path / "one") == selected_ids(tmp_path / "two")


def test_a_two_sided_projection_selects_by_plain_gradients(
    pool: list[Path | str], g2is: Command, tmp_path: Path
) -> None:
    flags = set_flags(ALL | {"gradients.projection.kind": "two-sided", "selection.form": "sgd"})
    code, out, err = g2is("select", *pool, "--out", tmp_path / "dry", "--dry-run", *flags)
    assert code == 0, err
    assert " weights and biases to 448;" in out  # 28 weights, sides of 4
    code, _, err = g2is("select", *pool, "--out", tmp_path / "run", *flags)
    assert code == 0, err
    assert len(selected_ids(tmp_path / "run")) == 15


def test_a_store_of_an_adapter_is_no_store_of_all_layers(
    finished: Path, pool: list[Path | str], g2is: Command, tmp_path: Path
) -> None:
    store = ("--store", finished / "store", "--out", tmp_path / "run")
    code, _, err = g2is("select", *pool, *store, *set_flags(ALL))
    assert code == 2
    assert "gradients.parameters: there lora, asked for all" in err


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"gradients.second_moments": "adam"}, "second_moments: expected parameters: all beside it"),
        (
            {"gradients.parameters": "all", "gradients.target_form": "adam"},
            "expected forms of Adafactor's second moment",
        ),
        (
            {"gradients.parameters": "all", "model.dtype": "float16"},
            "found float16, in which weights cannot be trained",
        ),
        ({"gradients.parameters": "all", "warmup.adapter": "x"}, "expected lora beside an adapter"),
        (
            {"gradients.parameters": "all", "gradients.projection.kind": "two-sided"},
            "expected the Γ form sgd alone, found less, momentum-free",
        ),
        ({"gradients.projection.kind": "two-sided", "selection.form": "sgd"}, "expected parameters: all beside it"),
    ],
)
def test_what_does_not_go_together_is_refused(
    settings: dict[str, str], expected: str, pool: list[Path | str], g2is: Command, tmp_path: Path
) -> None:
    code, _, err = g2is("select", *pool, "--out", tmp_path / "run", *set_flags(settings))
    assert code == 2
    assert expected in " ".join(err.split())
