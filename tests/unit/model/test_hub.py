"""A hub model that is not to be had: one message, within seconds, before anything heavy is imported."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from local_server import serving

MODEL = Path(__file__).resolve().parents[3] / "src/g2is/demo/model"
COMMIT = "a" * 40
RUN = """
import sys
sys.argv = ["g2is", *sys.argv[1:]]
from g2is.__main__ import main
try:
    main()
except SystemExit as ended:
    assert not {"torch", "transformers", "zarr", "pyarrow"} & set(sys.modules), "imported something heavy"
    sys.exit(ended.code)
"""


@contextmanager
def hub() -> Iterator[str]:
    """As much of the hub as says which models there are: org/open, org/gated, and none else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/api/models/org/gated/auth-check":
                return self._answer(403, {"error": "ask"}, {"X-Error-Code": "GatedRepo"})
            if self.path.startswith(("/api/models/org/gated", "/api/models/org/open")):
                if "/revision/" in self.path and not self.path.endswith("/main"):
                    return self._answer(404, {"error": "no"}, {"X-Error-Code": "RevisionNotFound"})
                gated = "manual" if "gated" in self.path else False
                return self._answer(200, {"id": "org/x", "sha": COMMIT, "gated": gated, "siblings": []})
            return self._answer(401, {"error": "no"}, {"X-Error-Code": "RepoNotFound"})

        def _answer(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            for name, text in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as address:
        yield address


def select(tmp_path: Path, model: str, *flags: str, **environment: str) -> tuple[int, str, float]:
    command = ["select", "pool.jsonl", "target.jsonl", "--model", model, "--out", str(tmp_path / "run"), *flags]
    own = {key: of for key, of in os.environ.items() if not key.lower().endswith("_proxy") and key != "HF_TOKEN"}
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", RUN, *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**own, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0", **environment},
    )
    assert done.stdout == ""
    return done.returncode, done.stderr, time.monotonic() - begin


@pytest.mark.parametrize(
    ("model", "flags", "expected"),
    [
        (
            "org/none",
            (),
            "does not give it (it has none of that name, or shows it to others alone); check the",
        ),
        ("org/gated", (), "does not give it (only those get it who were granted access); ask for that at http"),
        ("org/open", ("--set", "model.revision=v9"), "its revision v9 (it has the model, and no such revision); name"),
        ("a/b/c", (), "a/b/c: expected a model folder, found no folder there; name a local folder, or a hub model"),
        ("bad name!", (), "bad name!: expected a model, found no folder of that name, and the hub does not give it ("),
    ],
)
def test_what_the_hub_does_not_give_is_told_with_the_reason(
    model: str, flags: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    with hub() as address:
        code, err, _ = select(tmp_path, model, *flags, HF_ENDPOINT=address)
    assert code == 2, err
    assert err.startswith(f"error: {model}: expected a model")
    assert expected in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_model_that_the_hub_has_is_gone_on_with(tmp_path: Path) -> None:
    from g2is.errors import ModelError

    program = "import sys; from g2is.model.hub import check_there; check_there(sys.argv[1])"
    with hub() as address:
        environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0"}
        for model, is_there in (("org/open", True), ("org/none", False)):
            done = subprocess.run(
                [sys.executable, "-c", program, model], capture_output=True, text=True, check=False, env=environment
            )
            assert (done.returncode == 0) is is_there, done.stderr
            assert (ModelError.__name__ in done.stderr) is not is_there


def test_without_a_network_it_is_told_at_once_and_what_was_fetched_serves(tmp_path: Path) -> None:
    with socket.socket() as closed:  # a port that nobody listens at
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        code, err, seconds = select(tmp_path, "org/name", HF_ENDPOINT=address)
    assert code == 2
    assert f"the hub does not give it ({address}: " in err
    assert f"and no earlier fetch left it in {tmp_path / 'hf/hub'}); name a local folder" in err
    assert err.count("\n") == 1
    assert seconds < 20  # two of its own; the rest is a busy machine's


def test_a_hub_that_never_answers_is_given_up_after_two_seconds() -> None:
    from g2is.store.network import why_unreachable

    # of the addresses that are for documentation: packets to it get lost, or there is no way to it
    begin = time.monotonic()
    assert why_unreachable("https://192.0.2.1")
    assert time.monotonic() - begin < 4


@pytest.mark.parametrize(
    ("name", "proxy"),
    [("ALL_PROXY", "http://127.0.0.1:{}"), ("HTTPS_PROXY", "127.0.0.1:{}"), ("HTTPS_PROXY", "http://127.0.0.1:{}")],
)
def test_a_hub_behind_a_proxy_is_as_near_as_the_proxy(name: str, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from g2is.store.network import why_unreachable

    for other in ("all_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(other, raising=False)
        monkeypatch.delenv(other.upper(), raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv(name, proxy.format(server.getsockname()[1]))
        assert why_unreachable("https://hub.invalid") == ""
    monkeypatch.setenv(name, "http://127.0.0.1:x")
    assert "'x'" in why_unreachable("https://hub.invalid")


def test_offline_it_is_said_what_is_set(tmp_path: Path) -> None:
    code, err, _ = select(tmp_path, "org/name", HF_HUB_OFFLINE="1")
    assert code == 2
    assert "(HF_HUB_OFFLINE is set, and no earlier fetch left it in " in err
    assert "; unset it, set HF_HOME to where the model was fetched, or name a local folder" in err


def test_what_an_earlier_fetch_left_is_found_offline(tmp_path: Path) -> None:
    place = tmp_path / "hf/hub/models--org--name"
    (place / "snapshots" / COMMIT).mkdir(parents=True)
    (place / "snapshots" / COMMIT / "config.json").write_text("{}")
    (place / "refs").mkdir()
    (place / "refs/main").write_text(COMMIT)
    program = "from g2is.model.hub import check_there; check_there('org/name'); check_there('org/name', 'a' * 40)"
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


def test_a_folder_is_no_matter_of_the_hub() -> None:
    from g2is.model.hub import check_there

    check_there(str(MODEL))
