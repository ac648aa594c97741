"""`g2is export --push-to-hub`, through the hub's own client, against a hub on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hub_server import Hub, serve_hub
from huggingface_hub import constants
from small_run import selected_ids

from g2is.errors import ConfigError, InputError, StoreError
from g2is.jobs.publish import publish
from g2is.store.digests import record_digests


def push(
    run: Path, hub: Hub, folder: Path, name: str = "org/selection", token: str | None = "hf_mine"
) -> tuple[int, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING_FACE"))}
    given = {"HF_ENDPOINT": hub.address, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "g2is", "export", str(run), "--push-to-hub", name],
        env=kept | given | ({} if token is None else {"HF_TOKEN": token}),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_a_private_dataset_with_its_card_is_made_and_nothing_tells_of_this_machine(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [json.loads(line) for line in (run / "selected.jsonl").read_text().splitlines()]
    rows[0]["license"], rows[1]["license"] = "cc-by-4.0", "odd | *licence*"
    (run / "selected.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    with pytest.raises(InputError, match=r"found another content\. Write it again with `g2is export"):
        publish(run, "org/selection")
    record_digests(run, ["selected.jsonl"])
    with serve_hub() as hub:
        code, said = push(run, hub, tmp_path)
    assert code == 0, said
    assert f"uploaded: {hub.address}/datasets/org/selection" in said
    assert "private" in said
    assert hub.tokens == {"Bearer hf_mine"}
    (created,) = hub.created
    assert (created["organization"], created["name"], created["type"]) == ("org", "selection", "dataset")
    assert created.get("private") or created.get("visibility") == "private"  # as older clients say it, and newer
    assert set(hub.files) == {"README.md", "train.jsonl", "selection.parquet"}
    assert hub.files["train.jsonl"] == (run / "selected.messages.jsonl").read_bytes()
    card = hub.files["README.md"].decode()
    head = yaml.safe_load(card.split("---")[1])
    assert "license" not in head  # most rows name none
    assert head["configs"][0]["data_files"] == [{"split": "train", "path": "train.jsonl"}]
    num = len(selected_ids(run))
    assert f"{num} of 150 instruction examples" in card
    assert "**Method**: `design`" in card
    assert "| cc-by-4.0 |" in card
    assert "odd \\| \\*licence\\* |" in card
    assert "| not said by the pool |" in card
    assert str(tmp_path) not in card
    assert str(Path.home()) not in card


def test_without_a_token_under_another_name_or_refused_it_is_one_message(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with serve_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        with pytest.raises(ConfigError, match="expected a token of the Hugging Face hub that may write, found none"):
            publish(finished, "org/selection")
        monkeypatch.setenv("HF_TOKEN", "hf_mine")
        with pytest.raises(ConfigError, match="expected ORG/NAME, found 'selection'"):
            publish(finished, "selection")
        assert not hub.tokens
        monkeypatch.setenv("HF_TOKEN", "hf_\x01mine")  # a header that the HTTP library refuses, and quotes
        with pytest.raises(StoreError) as raised:
            publish(finished, "org/selection")
        assert "mine" not in str(raised.value)
        monkeypatch.setenv("HF_TOKEN", "hf_mine")
        hub.refuses = True
        with pytest.raises(StoreError, match="expected to write to the dataset org/selection, but the hub at"):
            publish(finished, "org/selection")
    assert not hub.files
    with pytest.raises(StoreError, match="refused or did not answer"):  # nobody is there any more
        publish(finished, "org/selection")
