"""`g2is plan` of a whole model: what is left, what it takes, whether it fits; and bad input."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from small_run import MODEL, SMALL, set_flags

Command = Callable[..., tuple[int, str, str]]


def files_in(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def store_without(finished: Path, kind: str, place: Path) -> Path:
    """A copy of the finished run's store that lacks the gradients of one kind."""
    store = place / "store"
    shutil.copytree(finished / "store", store)
    for marker in (store / f"gradients/{kind}/markers").glob("*.json"):
        marker.unlink()
    return store


def test_a_new_run_is_told_whole_and_nothing_is_written(
    data: tuple[Path, Path], as_json: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = as_json("plan", *data, "--model", MODEL, "--budget", "10%", *set_flags(SMALL))
    assert list(tmp_path.iterdir()) == []
    assert {key: type(of).__name__ for key, of in found.items()} == {
        **dict.fromkeys(("model", "dtype", "parameters", "devices", "method", "representation", "time_by"), "str"),
        **dict.fromkeys(("named", "exact", "store_exists"), "bool"),
        **dict.fromkeys(("device_bytes", "pool_rows", "pool_tokens", "pool_duplicates", "pool_truncated"), "int"),
        **dict.fromkeys(("excluded", "row_length", "rows_stored", "disk_free", "selecting_bytes"), "int"),
        **dict.fromkeys(("shape", "target_rows", "budget", "steps", "disk", "fit"), "dict"),
        **dict.fromkeys(("peaks", "notes"), "list"),
        "seconds": "float",
    }
    assert (found["pool_rows"], found["budget"], found["exact"]) == (150, {"rows": 15, "tokens": None}, True)
    assert list(found["steps"]) == ["reading", "warm-up", "gradients", "choosing"]
    warm_up, gradients = found["steps"]["warm-up"], found["steps"]["gradients"]
    assert (warm_up["rows"], gradients["rows"]) == (45, 150 - found["pool_duplicates"] + 8)
    assert gradients["flops"] == 4 * found["shape"]["parameters"] * gradients["tokens"]
    assert found["seconds"] == pytest.approx(sum(step["seconds"] for step in found["steps"].values()))
    assert all(step["seconds"] > 0 for step in found["steps"].values())
    assert "on this machine (cpu," in found["time_by"]
    assert found["disk"] == {
        "gradient rows": (192 * 2 + 64) * 512 * 2,  # whole shards of 64: three in both forms, and one of the target's 8
        "adapter and moments": 12 * found["shape"]["coordinates"],
        "while the warm-up trains": 24 * found["shape"]["coordinates"],
    }
    assert found["selecting_bytes"] == 150 * 512 * 2
    assert [peak["stage"] for peak in found["peaks"]] == ["warm-up", "gradients"]
    assert found["fit"]["fits"] is True


def test_what_decomposing_takes_is_told_beside_the_rows(
    data: tuple[Path, Path], as_json: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = (*data, "--model", MODEL, "--method", "trackstar", *set_flags(SMALL))
    found = as_json("plan", *flags)
    k = found["row_length"]
    assert found["selecting_bytes"] == found["pool_rows"] * k * 2
    (told,) = (note for note in found["notes"] if note.startswith("selection.precondition: "))
    assert f"takes {5 * 8 * k**2 / 2**30:.2f} GiB of main memory" in told
    assert "here are" not in told
    for module in ("g2is.machine.memory", "g2is.jobs.plan_notes"):
        monkeypatch.setattr(f"{module}.available_memory", lambda: 1)
    (told,) = (note for note in as_json("plan", *flags)["notes"] if note.startswith("selection.precondition: "))
    assert told.endswith("stops where there is less; here are 0.0 GiB")


def test_the_page_says_the_same_in_words(data: tuple[Path, Path], g2is: Command, tmp_path: Path) -> None:
    code, out, err = g2is("plan", *data, "--model", MODEL, "--out", tmp_path / "run", *set_flags(SMALL))
    assert code == 0, err
    for words in ("nothing was written", "parameters in ", "  store      new", "    warm-up    ", "    gradients  "):
        assert words in out
    for words in ("    times by   passes of ", "  disk       gradient rows ", "frozen weights", "  fits       yes: "):
        assert words in out
    assert not (tmp_path / "run").exists()


def test_the_warm_up_goes_through_the_tokens_of_the_rows_that_it_draws(
    finished: Path, data: tuple[Path, Path], as_json: Callable[..., dict[str, Any]]
) -> None:
    told = as_json("plan", *data, "--model", MODEL, "--devices", "1xH100", *set_flags(SMALL))
    drawn = json.loads((finished / "store/warmup/sample.json").read_text())["keys"]
    tables = [pq.read_table(path) for path in (finished / "store/examples").glob("*.parquet")]
    rows = max(tables, key=len).select(["key", "num_tokens"]).to_pylist()
    tokens = {row["key"].hex(): row["num_tokens"] for row in rows}
    epochs = yaml.safe_load((finished / "config.yaml").read_text())["warmup"]["epochs"]
    assert told["steps"]["warm-up"]["tokens"] == epochs * sum(tokens[key] for key in drawn)
    assert told["steps"]["warm-up"]["tokens"] != epochs * len(drawn) * told["pool_tokens"] / told["pool_rows"]


def test_a_store_with_half_of_the_shards_halves_the_extraction(
    finished: Path, data: tuple[Path, Path], as_json: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished / "store", store)
    command = (*data, "--model", MODEL, "--out", tmp_path / "run", *set_flags(SMALL))
    new = as_json("plan", *command)["steps"]["gradients"]
    ready = as_json("plan", *command, "--store", store)
    assert (ready["steps"]["gradients"]["rows"], ready["steps"]["warm-up"]["rows"]) == (0, 0)
    assert (ready["disk"], ready["peaks"], ready["fit"]) == ({"gradient rows": 0}, [], None)
    markers = sorted((store / "gradients/pool/markers").glob("*.json"))
    assert len(markers) == 3, "150 rows in shards of 64"
    for marker in markers[::2]:  # 64 and 22 of the rows; the targets' stay
        marker.unlink()
    before = files_in(store)
    half = as_json("plan", *command, "--store", store)
    assert half["rows_stored"] == 64
    assert half["steps"]["gradients"]["rows"] == ready["rows_stored"] - 64
    of_pool = new["rows"] - 8
    assert half["steps"]["gradients"]["tokens"] / new["tokens"] == pytest.approx((of_pool - 64) / new["rows"], rel=0.2)
    assert half["steps"]["warm-up"]["rows"] == 0
    assert set(half["disk"]) == {"gradient rows"}
    assert half["disk"]["gradient rows"] == 2 * 64 * 2 * 512 * 2
    assert [peak["stage"] for peak in half["peaks"]] == ["gradients"]
    assert files_in(store) == before


def test_a_ready_run_says_that_nothing_is_left(finished: Path, g2is: Command) -> None:
    code, out, err = g2is("plan", "--config", finished / "config.yaml")
    assert code == 0, err
    assert "nothing is left to be made" in out
    assert "gradients  nothing left" in out
    assert "memory" not in out.replace("main memory", "")
    assert "fits" not in out


def test_a_store_of_another_type_than_that_of_the_devices_is_told_how_to_plan_for(
    data: tuple[Path, Path], finished: Path, g2is: Command, as_json: Callable[..., dict[str, Any]]
) -> None:
    command = (*data, "--model", MODEL, "--store", finished / "store", "--devices", "2xH100", *set_flags(SMALL))
    code, _, err = g2is("plan", *command)
    assert code == 2
    assert "On 2 x H100 model.dtype: auto is bfloat16: add --set model.dtype=float32 to plan for the weights" in err
    assert as_json("plan", *command, "--set", "model.dtype=float32")["rows_stored"] > 0


def test_sizes_of_small_models_are_not_0(data: tuple[Path, Path], g2is: Command) -> None:
    code, out, err = g2is("plan", *data, "--model", MODEL, "--devices", "H100", *set_flags(SMALL))
    assert code == 0, err
    assert " MiB" in out
    assert "0.00 " not in out


def test_a_folder_with_another_run_is_refused_as_the_run_refuses_it(
    data: tuple[Path, Path], run: Path, g2is: Command, tmp_path: Path
) -> None:
    command = (*data, "--model", MODEL, *set_flags(SMALL | {"selection.method": "less"}))
    before = files_in(run)
    for asked in (("plan",), ("select",)):
        dry = ("--dry-run",) if asked == ("select",) else ()
        code, out, err = g2is(*asked, *command, "--out", run, *dry)
        assert (code, out) == (2, "")
        assert f"{run}: expected a run made with the settings asked for, found " in err
    assert files_in(run) == before
    (tmp_path / "file").write_text("")
    code, _, err = g2is("plan", *command, "--out", tmp_path / "file")
    assert code == 2
    assert "expected a run folder, found a file of that name" in err


def test_rows_of_a_target_are_batches_too(
    data: tuple[Path, Path], as_json: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    target = tmp_path / "long.jsonl"
    row = {"messages": [{"role": "user", "content": "word " * 300}, {"role": "assistant", "content": "yes"}]}
    target.write_text(json.dumps(row) + "\n")
    devices = ("--devices", "H100", "--set", "execution.batch_tokens=64", "--set", "model.dtype=float32")
    command = ("--model", MODEL, *devices, *set_flags(SMALL))

    def tokens(of: Path) -> int:
        parts = as_json("plan", data[0], of, *command)["peaks"][1]["parts"]
        arithmetic: str = next(part["arithmetic"] for part in parts if part["name"] == "activations")
        return int(arithmetic.partition(" ")[0].replace(",", ""))

    assert tokens(data[1]) < 100
    assert tokens(target) > 200


def test_beside_a_store_no_setting_is_proposed_that_it_refuses(
    data: tuple[Path, Path], finished: Path, as_json: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    store = store_without(finished, "pool", tmp_path)
    settings = SMALL | {"model.dtype": "float32", "execution.batch_tokens": "100000000"}
    found = as_json("plan", *data, "--model", MODEL, "--store", store, "--devices", "L4", *set_flags(settings))
    assert found["fit"]["settled"] is True
    assert set(found["fit"]["settings"]) <= {"execution.batch_tokens"}


def test_what_is_tuned_between_rounds_is_counted(
    data: tuple[Path, Path], finished: Path, as_json: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    store = store_without(finished, "target", tmp_path)
    command = (*data, "--model", MODEL, "--budget", "20", *set_flags(SMALL))
    rounds, devices = ("--set", "selection.rounds=5"), ("--devices", "4xH100", "--set", "model.dtype=float32")
    of_targets = as_json("plan", *command, *devices, "--store", store)["steps"]["gradients"][
        "tokens"
    ]  # all that this one lacks
    alone, found = as_json("plan", *command, *devices), as_json("plan", *command, *devices, *rounds)
    assert list(found["steps"]) == ["reading", "warm-up", "gradients", "rounds", "targets", "choosing"]
    assert all(found["steps"][name] == alone["steps"][name] for name in ("warm-up", "gradients"))
    between, targets = found["steps"]["rounds"], found["steps"]["targets"]
    # 4, 8, 12 and 16 rows of 20, one round after the other
    tuned = sum((4, 8, 12, 16)) * found["pool_tokens"] / found["pool_rows"]
    assert (between["rows"], between["tokens"]) == (16, round(tuned))
    assert (targets["rows"], targets["tokens"]) == (8, 4 * of_targets)
    for step, over in ((between, 1.0), (targets, 1.04)):
        assert step["flops"] == 4 * found["shape"]["parameters"] * step["tokens"]
        assert step["seconds"] == pytest.approx(step["flops"] * over / (66.9e12 * 0.35))  # float32, on one of the four
    assert not [note for note in found["notes"] if "rounds" in note]
    # each checkpoint is tuned, in as many epochs as the warm-up has, and has gradients of its own
    several = ("--set", "warmup.checkpoints=each", "--set", "warmup.epochs=3")
    more = as_json(
        "plan", *data, "--model", MODEL, "--budget", "20", *devices, *rounds, *several, "--set", "warmup.lora.rank=4"
    )
    assert more["steps"]["rounds"]["tokens"] == pytest.approx(3 * 3 * tuned, abs=1)
    assert more["steps"]["targets"]["tokens"] == 3 * targets["tokens"]
    # here it is measured, also where the store holds all of the rest; and a tuning takes the memory of the warm-up
    ready = as_json("plan", *command, *rounds, "--store", finished / "store")
    assert [ready["steps"][name]["tokens"] for name in ("warm-up", "gradients")] == [0, 0]
    assert [ready["steps"][name]["tokens"] for name in ("rounds", "targets")] == [between["tokens"], targets["tokens"]]
    assert min(ready["steps"][name]["seconds"] for name in ("rounds", "targets")) > 0
    assert [peak["stage"] for peak in ready["peaks"]] == ["warm-up", "gradients"]


@pytest.mark.parametrize("method", ["bm25", "random", "rds+"])
def test_other_methods_are_planned_here_alone(
    method: str, data: tuple[Path, Path], g2is: Command, as_json: Callable[..., dict[str, Any]]
) -> None:
    if method == "bm25":
        pytest.importorskip("bm25s")
    found = as_json("plan", *data, "--model", MODEL, "--method", method)
    assert set(found["steps"]) == {"reading", "choosing", *(("rows",) if method != "random" else ())}
    assert (found["disk"], found["peaks"], found["fit"]) == ({}, [], None)
    code, _, err = g2is("plan", *data, "--model", MODEL, "--method", method, "--devices", "H100")
    assert code == 2
    assert f"--devices: expected a method that looks at gradients, found {method}" in err


def test_losses_early_and_late_are_two_passes_of_each_row(
    data: tuple[Path, Path], as_json: Callable[..., dict[str, Any]]
) -> None:
    pool, target = data
    again = target.with_name("again.jsonl")
    again.write_text("".join(target.read_text().splitlines(keepends=True)[:3]))
    targets = ("--target", f"a={target}", "--target", f"b={again}")
    once, on_the_way, from_start = (
        as_json("plan", pool, *targets, "--model", MODEL, *given)["steps"]
        for given in (
            ("--method", "rds+"),
            ("--method", "tacs"),
            ("--method", "tacs", "--set", "representation.path_reference_epochs=0"),
        )
    )
    tokens = once["rows"]["tokens"]
    assert tokens > 0
    assert [of["rows"]["tokens"] for of in (on_the_way, from_start)] == [4 * tokens, 3 * tokens]
    assert on_the_way["tunings"]["tokens"] == 3 * from_start["tunings"]["tokens"] > 0  # 5 + 10 passes, and 5
    assert on_the_way["tunings"]["seconds"] > 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--devices", "8xH1000"), "--devices: expected a device whose memory and speed are known, found 'H1000'; did"),
        (("--devices", "many"), "--devices: expected a device whose memory and speed are known, found 'many'; known"),
        (("--devices", "H100", "--device", "cpu"), "--devices: expected no execution.device beside it"),
        (("--devices", "H100", "--workers", "3"), "--devices: expected no execution.workers beside it"),
        (("--budget", "0"), "budget"),
        (("--set", "warmup.lora.target_modules=[nope]"), "warmup.lora.target_modules"),
        (("--adapter", "nowhere"), "expected --adapter to be a checkpoint's folder"),
        (("--dry-run",), "expected a flag that it has, found --dry-run"),
    ],
)
def test_bad_input_is_one_message(given: tuple[str, ...], told: str, data: tuple[Path, Path], g2is: Command) -> None:
    code, out, err = g2is("plan", *data, "--model", MODEL, *given)
    assert (code, out) == (2, "")
    (error,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert told in error
    assert "Traceback" not in err
    assert "measure" not in err, "it is told before ten seconds are spent"
