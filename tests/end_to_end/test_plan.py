"""`g2is plan`: what is left, what it takes, whether it fits; from a whole model, its settings alone, and bad input."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from llamas import config_alone
from local_server import serving
from small_run import MODEL, SMALL, set_flags

Command = Callable[..., tuple[int, str, str]]
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def files_in(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def data(sample: Path) -> tuple[Path, Path]:
    return sample / "pool.jsonl", sample / "target.jsonl"


@pytest.fixture
def ask(g2is: Command) -> Callable[..., dict[str, Any]]:
    def run(*arguments: object) -> dict[str, Any]:
        code, out, err = g2is("plan", *arguments, "--json")
        assert code == 0, err
        found: dict[str, Any] = json.loads(out)
        return found

    return run


@pytest.fixture
def settings_of_70b(tmp_path: Path) -> Path:
    return config_alone(tmp_path / "llama-70b", "70B")


def test_a_new_run_is_told_whole_and_nothing_is_written(
    data: tuple[Path, Path], ask: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = ask(*data, "--model", MODEL, "--budget", "10%", *set_flags(SMALL))
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
    num_rows = 150 - found["pool_duplicates"]
    assert found["disk"] == {
        "gradient rows": (num_rows * 2 + 8) * 512 * 2,
        "adapter and moments": 12 * found["shape"]["coordinates"],
        "while the warm-up trains": 24 * found["shape"]["coordinates"],
    }
    assert found["selecting_bytes"] == 150 * 512 * 2
    assert [peak["stage"] for peak in found["peaks"]] == ["warm-up", "gradients"]
    assert found["fit"]["fits"] is True


def test_the_page_says_the_same_in_words(data: tuple[Path, Path], g2is: Command, tmp_path: Path) -> None:
    code, out, err = g2is("plan", *data, "--model", MODEL, "--out", tmp_path / "run", *set_flags(SMALL))
    assert code == 0, err
    for words in ("nothing was written", "parameters in ", "  store      new", "    warm-up    ", "    gradients  "):
        assert words in out
    for words in ("    times by   passes of ", "  disk       gradient rows ", "frozen weights", "  fits       yes: "):
        assert words in out
    assert not (tmp_path / "run").exists()


def test_the_warm_up_goes_through_the_tokens_of_the_rows_that_it_draws(
    finished: Path, data: tuple[Path, Path], ask: Callable[..., dict[str, Any]]
) -> None:
    told = ask(*data, "--model", MODEL, "--devices", "1xH100", *set_flags(SMALL))
    drawn = json.loads((finished / "store/warmup/sample.json").read_text())["keys"]
    tables = [pq.read_table(path) for path in (finished / "store/examples").glob("*.parquet")]
    rows = max(tables, key=len).select(["key", "num_tokens"]).to_pylist()
    tokens = {row["key"].hex(): row["num_tokens"] for row in rows}
    epochs = yaml.safe_load((finished / "config.yaml").read_text())["warmup"]["epochs"]
    assert told["steps"]["warm-up"]["tokens"] == epochs * sum(tokens[key] for key in drawn)
    assert told["steps"]["warm-up"]["tokens"] != epochs * len(drawn) * told["pool_tokens"] / told["pool_rows"]


def test_a_store_with_half_of_the_shards_halves_the_extraction(
    finished: Path, data: tuple[Path, Path], ask: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished / "store", store)
    command = (*data, "--model", MODEL, "--out", tmp_path / "run", *set_flags(SMALL))
    new = ask(*command)["steps"]["gradients"]
    ready = ask(*command, "--store", store)
    assert (ready["steps"]["gradients"]["rows"], ready["steps"]["warm-up"]["rows"]) == (0, 0)
    assert (ready["disk"], ready["peaks"], ready["fit"]) == ({"gradient rows": 0}, [], None)
    markers = sorted((store / "gradients/pool/markers").glob("*.json"))
    assert len(markers) == 3, "150 rows in shards of 64"
    for marker in markers[::2]:  # 64 and 22 of the rows; the targets' stay
        marker.unlink()
    before = files_in(store)
    half = ask(*command, "--store", store)
    assert half["rows_stored"] == 64
    assert half["steps"]["gradients"]["rows"] == ready["rows_stored"] - 64
    of_pool = new["rows"] - 8
    assert half["steps"]["gradients"]["tokens"] / new["tokens"] == pytest.approx((of_pool - 64) / new["rows"], rel=0.2)
    assert half["steps"]["warm-up"]["rows"] == 0
    assert set(half["disk"]) == {"gradient rows"}
    assert half["disk"]["gradient rows"] == (of_pool - 64) * 2 * 512 * 2
    assert [peak["stage"] for peak in half["peaks"]] == ["gradients"]
    assert files_in(store) == before


def test_a_ready_run_says_that_nothing_is_left(finished: Path, g2is: Command) -> None:
    code, out, err = g2is("plan", "--config", finished / "config.yaml")
    assert code == 0, err
    assert "nothing is left to be made" in out
    assert "gradients  nothing left" in out
    assert "memory" not in out.replace("main memory", "")
    assert "fits" not in out


def test_settings_alone_are_planned_for_devices_that_are_named(
    data: tuple[Path, Path], settings_of_70b: Path, ask: Callable[..., dict[str, Any]], g2is: Command
) -> None:
    found = ask(*data, "--model", settings_of_70b, "--devices", "8xH100")
    assert (found["exact"], found["named"], found["devices"], found["dtype"]) == (False, True, "8 x H100", "bfloat16")
    assert found["shape"]["parameters"] == 70_553_706_496
    assert found["device_bytes"] == 80 * 10**9
    assert (found["fit"]["fits"], found["fit"]["settings"], found["fit"]["devices_a_copy"]) == (False, {}, 3)
    copies = 2
    step = found["steps"]["gradients"]
    assert step["seconds"] == pytest.approx(step["flops"] * 1.04 / (989.4e12 * 0.35 * copies))
    assert step["flops"] == 4 * 70_553_706_496 * step["tokens"]
    warm_up = found["steps"]["warm-up"]
    assert warm_up["seconds"] == pytest.approx(warm_up["flops"] / (989.4e12 * 0.35))
    # four bytes a token, at least one
    texts = [
        [turn["content"] for turn in json.loads(line)["messages"]]
        for path in data
        for line in path.read_text().splitlines()
    ]
    assert step["tokens"] == sum(max(1, -(-sum(len(text.encode()) for text in row) // 4)) for row in texts)
    code, out, err = g2is("plan", *data, "--model", settings_of_70b, "--devices", "h100")
    assert code == 0, err
    assert "not told: 1 x H100 hold no copy of the model" in out
    assert "no setting of memory makes it fit on one device" in out
    assert "3 such devices of one machine hold a copy of the model, with" in out
    smallest = ("model.device_map=auto", "execution.batch_tokens=512", "warmup.device_batch_size=1")
    spread = [part for name in smallest for part in ("--set", name)]
    assert " ".join(spread) in out
    # and what is told is taken
    assert ask(*data, "--model", settings_of_70b, "--devices", "8xH100", *spread)["fit"]["devices_a_copy"] == 3
    assert "a quarter of the texts' bytes" in out
    code, out, err = g2is("plan", *data, "--model", settings_of_70b)
    assert code == 0, err
    assert "times by   not measured: there is no tokenizer to measure with; name devices with --devices" in out


def test_what_is_tuned_between_rounds_is_counted(
    data: tuple[Path, Path], finished: Path, ask: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished / "store", store)
    for marker in (store / "gradients/target/markers").glob("*.json"):
        marker.unlink()
    command = (*data, "--model", MODEL, "--budget", "20", *set_flags(SMALL))
    rounds, devices = ("--set", "selection.rounds=5"), ("--devices", "4xH100", "--set", "model.dtype=float32")
    of_targets = ask(*command, *devices, "--store", store)["steps"]["gradients"]["tokens"]  # all that this one lacks
    alone, found = ask(*command, *devices), ask(*command, *devices, *rounds)
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
    more = ask(*data, "--model", MODEL, "--budget", "20", *devices, *rounds, *several, "--set", "warmup.lora.rank=4")
    assert more["steps"]["rounds"]["tokens"] == pytest.approx(3 * 3 * tuned, abs=1)
    assert more["steps"]["targets"]["tokens"] == 3 * targets["tokens"]
    # here it is measured, also where the store holds all of the rest; and a tuning takes the memory of the warm-up
    ready = ask(*command, *rounds, "--store", finished / "store")
    assert [ready["steps"][name]["tokens"] for name in ("warm-up", "gradients")] == [0, 0]
    assert [ready["steps"][name]["tokens"] for name in ("rounds", "targets")] == [between["tokens"], targets["tokens"]]
    assert min(ready["steps"][name]["seconds"] for name in ("rounds", "targets")) > 0
    assert [peak["stage"] for peak in ready["peaks"]] == ["warm-up", "gradients"]


def test_rounded_weights_are_counted_and_what_is_not_is_said(
    data: tuple[Path, Path], settings_of_70b: Path, ask: Callable[..., dict[str, Any]]
) -> None:
    pytest.importorskip("bitsandbytes")
    settings = ["--set", "model.quantization=nf4", "--set", "model.activation_checkpointing=true"]
    found = ask(*data, "--model", settings_of_70b, "--devices", "8xH100", *settings)
    weights = found["peaks"][0]["parts"][0]
    # 80 blocks in 4 bits and a scale for 64; the head and embeddings, 2 x 128,256 x 8,192, in bfloat16
    assert weights["num_bytes"] == pytest.approx(68.45e9 * (0.5 + 4 / 64 / 4) + 2.1e9 * 2, rel=0.05)
    assert weights["arithmetic"].endswith("linear layers of the blocks in nf4")
    assert {note.split(":")[0] for note in found["notes"]} >= {"model.quantization", "model.activation_checkpointing"}


def test_settings_with_a_tokenizer_count_as_the_whole_model_does(
    data: tuple[Path, Path], ask: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("config.json", *TOKENIZER):
        if (MODEL / name).exists():
            shutil.copy(MODEL / name, alone)
    command = ("--devices", "2xA100", *set_flags(SMALL))
    of_whole = ask(*data, "--model", MODEL, *command)
    of_settings = ask(*data, "--model", alone, *command)
    for found in (of_whole, of_settings):
        del found["model"], found["steps"]["reading"], found["seconds"]
    assert of_whole == of_settings
    assert of_whole["exact"] is True
    here = ask(*data, "--model", alone, *set_flags(SMALL))
    assert here["steps"]["gradients"]["seconds"] is None
    assert here["seconds"] is None
    assert "the model's weights are not here" in here["time_by"]


@pytest.mark.parametrize("method", ["bm25", "random", "rds+"])
def test_other_methods_are_planned_here_alone(
    method: str, data: tuple[Path, Path], g2is: Command, ask: Callable[..., dict[str, Any]]
) -> None:
    if method == "bm25":
        pytest.importorskip("bm25s")
    found = ask(*data, "--model", MODEL, "--method", method)
    assert set(found["steps"]) == {"reading", "choosing", *(("rows",) if method != "random" else ())}
    assert (found["disk"], found["peaks"], found["fit"]) == ({}, [], None)
    code, _, err = g2is("plan", *data, "--model", MODEL, "--method", method, "--devices", "H100")
    assert code == 2
    assert f"--devices: expected a method that looks at gradients, found {method}" in err


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


def test_a_folder_without_settings_or_with_others_is_refused(
    data: tuple[Path, Path], g2is: Command, tmp_path: Path, finished: Path
) -> None:
    (tmp_path / "empty").mkdir()
    code, _, err = g2is("plan", *data, "--model", tmp_path / "empty", "--devices", "H100")
    assert code == 2
    assert "expected a Hugging Face model folder with config.json, found none there" in err
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/config.json").write_text('{"model_type": "llama", "num_hidden_layers": 999999}')
    code, _, err = g2is("plan", *data, "--model", tmp_path / "broken", "--devices", "H100")
    assert code == 2
    assert "num_hidden_layers = 999999" in err
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(MODEL / "config.json", alone)
    store = ("--store", finished / "store", *set_flags(SMALL))
    code, _, err = g2is("plan", *data, "--model", alone, *store)
    assert code == 2
    assert "expected no store, or a model with weights and tokenizer" in err
    for name in TOKENIZER:
        if (MODEL / name).exists():
            shutil.copy(MODEL / name, alone)
    code, _, err = g2is("plan", *data, "--model", alone, *store)
    assert code == 2
    assert "expected no store, or a model with its weights" in err
    code, _, err = g2is("select", *data, "--model", alone, "--out", tmp_path / "run")
    assert code == 2
    assert "expected weights in *.safetensors, found none" in err


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    """A hub with the bundled model as org/tiny: its address, and the files that were fetched from it."""
    fetched: list[str] = []
    commit = "a" * 40
    names = sorted(path.name for path in MODEL.iterdir() if path.is_file())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if "/resolve/" in path:
                return self._file(path.rpartition("/")[2], send=True)
            if "/tree/" in path:
                tree = [{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in names]
                return self._answer(200, json.dumps(tree).encode(), {})
            if path.startswith("/api/models/org/tiny"):
                of = {"id": "org/tiny", "sha": commit, "gated": False}
                siblings = [{"rfilename": name} for name in names]
                return self._answer(200, json.dumps(of | {"siblings": siblings}).encode(), {})
            return self._answer(404, b"{}", {})

        def do_HEAD(self) -> None:
            self._file(self.path.rpartition("/")[2], send=False)

        def _file(self, name: str, send: bool) -> None:
            content = (MODEL / name).read_bytes()
            if send:
                fetched.append(name)
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commit}
            self._answer(200, content, headers, send)

        def _answer(self, status: int, content: bytes, headers: dict[str, str], send: bool = True) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if send:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as address:
        yield address, fetched


def test_of_a_hub_model_no_weights_are_fetched(
    hub: tuple[str, list[str]], data: tuple[Path, Path], tmp_path: Path
) -> None:
    address, fetched = hub
    left = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    environment = {**left, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    files = (*data, "--model", "org/tiny", "--devices", "4xL4", "--json", *set_flags(SMALL))
    command = [sys.executable, "-m", "g2is", "plan", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["exact"] is True
    assert {"config.json", "tokenizer.json"} <= set(fetched)
    assert not [name for name in fetched if name.endswith(".safetensors")]
