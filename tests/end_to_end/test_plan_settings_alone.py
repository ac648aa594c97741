"""`g2is plan` of a model's settings without weights, in a folder or on a hub, and of devices that are not here."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from llamas import config_alone
from local_server import serving
from small_run import MODEL, SMALL, set_flags

Command = Callable[..., tuple[int, str, str]]
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


@pytest.fixture
def settings_of_70b(tmp_path: Path) -> Path:
    return config_alone(tmp_path / "llama-70b", "70B")


def test_settings_alone_are_planned_for_devices_that_are_named(
    data: tuple[Path, Path], settings_of_70b: Path, as_json: Callable[..., dict[str, Any]], g2is: Command
) -> None:
    found = as_json("plan", *data, "--model", settings_of_70b, "--devices", "8xH100")
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
    assert found["time_by"].endswith(
        "on 2 copies of the model, spread over 3 devices each, by a process of its own, with the settings below; not"
        " measured"
    )
    # and what is told is taken
    taken = as_json("plan", *data, "--model", settings_of_70b, "--devices", "3xH100", *spread)
    assert (taken["fit"]["fits"], taken["fit"]["devices"]) == (True, 3)
    assert "on 1 copy of the model, spread over 3 devices; not" in taken["time_by"]
    assert taken["steps"]["gradients"]["seconds"] == pytest.approx(copies * step["seconds"])
    of_all = as_json("plan", *data, "--model", settings_of_70b, "--devices", "100xH100", *spread)
    assert of_all["fit"]["devices"] == 80, "of its blocks each is on one"
    code, page, err = g2is("plan", *data, "--model", settings_of_70b, "--devices", "3xH100", *spread)
    assert code == 0, err
    assert "  fits       yes: " in page
    assert " on the fullest of 3 devices, and " in page
    assert "device_map" not in page
    assert "a quarter of the texts' bytes" in out
    code, out, err = g2is("plan", *data, "--model", settings_of_70b)
    assert code == 0, err
    assert "times by   not measured: there is no tokenizer to measure with; name devices with --devices" in out


def test_without_a_tokenizer_rows_are_shortened_to_what_the_model_attends_to(
    data: tuple[Path, Path], as_json: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    settings = config_alone(tmp_path / "short", "13B")
    values = json.loads((settings / "config.json").read_text())
    found = as_json("plan", *data, "--model", settings, "--devices", "2xH100")
    assert found["pool_truncated"] == 0
    assert any("duplicates are not looked for" in note for note in found["notes"])
    (settings / "config.json").write_text(json.dumps(values | {"max_position_embeddings": 16}))
    shorter = as_json("plan", *data, "--model", settings, "--devices", "2xH100")
    assert shorter["pool_truncated"] > 0
    assert shorter["pool_tokens"] < found["pool_tokens"]
    assert shorter["pool_tokens"] <= 16 * shorter["pool_rows"]


@pytest.mark.parametrize(
    ("devices", "settings"),
    [
        ("4xA100", {"model.dtype": "float32"}),  # fits with smaller batches
        ("3xA100-40GB", {"model.dtype": "float32"}),  # with bfloat16 alone
    ],
)
def test_times_are_those_of_the_settings_that_are_proposed(
    devices: str,
    settings: dict[str, str],
    data: tuple[Path, Path],
    as_json: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    command = (*data, "--model", config_alone(tmp_path / "13b", "13B"), "--devices", devices)
    found = as_json("plan", *command, *set_flags(settings))
    assert not found["fit"]["fits"]
    assert found["fit"]["settings"]
    taken = as_json("plan", *command, *set_flags(settings | found["fit"]["settings"]))
    assert taken["fit"]["fits"]
    for name in ("warm-up", "gradients"):
        assert found["steps"][name]["seconds"] == taken["steps"][name]["seconds"] > 0
    assert "with the settings below that make it fit" in found["time_by"]


def test_times_of_shorter_rows_are_not_told(
    as_json: Callable[..., dict[str, Any]], data: tuple[Path, Path], tmp_path: Path
) -> None:
    pool = tmp_path / "long.jsonl"
    row = {"messages": [{"role": "user", "content": "a" * 9_000}, {"role": "assistant", "content": "b"}]}
    pool.write_text("".join(json.dumps(row) + "\n" for _ in range(200)))
    command = (pool, data[1], "--model", config_alone(tmp_path / "13b", "13B"), "--devices", "A100-40GB")
    found = as_json("plan", *command)
    assert "examples.max_length" in found["fit"]["settings"]
    assert found["time_by"] == "not told: rows are shorter with the settings below; ask anew with them"
    assert found["seconds"] is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"execution.workers": "2", "model.device_map": "auto"},
            "execution.workers: expected 1 beside model.device_map",
        ),
        ({"examples.chat_template": "nowhere.jinja"}, "examples.chat_template: "),
        ({"execution.report_to": "wandb"}, "execution.report_to: expected the package wandb"),
    ],
)
def test_what_the_run_refuses_is_refused_without_a_tokenizer_too(
    given: dict[str, str], told: str, data: tuple[Path, Path], g2is: Command, tmp_path: Path
) -> None:
    if given.get("execution.report_to") and importlib.util.find_spec("wandb"):
        pytest.skip("wandb is installed")
    settings = config_alone(tmp_path / "13b", "13B")
    code, out, err = g2is("plan", *data, "--model", settings, *set_flags(given))
    assert (code, out) == (2, "")
    assert told in err
    code, out, err = g2is("plan", data[0], data[0], "--model", settings)
    assert (code, out) == (2, "")
    assert "found the very content of the pool" in err


def test_a_pass_of_the_warm_up_has_no_more_rows_than_a_step(
    data: tuple[Path, Path], as_json: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    command = (*data, "--model", config_alone(tmp_path / "13b", "13B"), "--devices", "H200")

    def rows(**settings: str) -> str:
        flags = set_flags({f"warmup.{name}": value for name, value in ({"fraction": "0.5"} | settings).items()})
        parts = as_json("plan", *command, *flags)["peaks"][0]["parts"]
        arithmetic: str = next(part["arithmetic"] for part in parts if part["name"] == "activations")
        return arithmetic.partition(" x ")[0]

    assert rows() == "8 rows"
    assert rows(batch_size="1") == "1 rows"
    assert rows(device_batch_size="12") == "8 rows", "of 32 in a step, the trainer takes a divisor"
    assert rows(fraction="0.02") == "3 rows", "no more were drawn"


def test_rounded_weights_are_counted_and_what_is_not_is_said(
    data: tuple[Path, Path], settings_of_70b: Path, as_json: Callable[..., dict[str, Any]]
) -> None:
    pytest.importorskip("bitsandbytes")
    settings = ["--set", "model.quantization=nf4", "--set", "model.activation_checkpointing=true"]
    found = as_json("plan", *data, "--model", settings_of_70b, "--devices", "8xH100", *settings)
    weights = found["peaks"][0]["parts"][0]
    # 80 blocks in 4 bits and a scale for 64; the head and embeddings, 2 x 128,256 x 8,192, in bfloat16
    assert weights["num_bytes"] == pytest.approx(68.45e9 * (0.5 + 4 / 64 / 4) + 2.1e9 * 2, rel=0.05)
    assert weights["arithmetic"].endswith("linear layers of the blocks in nf4")
    assert {note.split(":")[0] for note in found["notes"]} >= {"model.quantization", "model.activation_checkpointing"}


def test_settings_with_a_tokenizer_count_as_the_whole_model_does(
    data: tuple[Path, Path], as_json: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("config.json", *TOKENIZER):
        if (MODEL / name).exists():
            shutil.copy(MODEL / name, alone)
    command = ("--devices", "2xA100", *set_flags(SMALL))
    of_whole = as_json("plan", *data, "--model", MODEL, *command)
    of_settings = as_json("plan", *data, "--model", alone, *command)
    for found in (of_whole, of_settings):
        del found["model"], found["steps"]["reading"], found["seconds"]
    assert of_whole == of_settings
    assert of_whole["exact"] is True
    here = as_json("plan", *data, "--model", alone, *set_flags(SMALL))
    assert here["steps"]["gradients"]["seconds"] is None
    assert here["seconds"] is None
    assert "the model's weights are not here" in here["time_by"]


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
