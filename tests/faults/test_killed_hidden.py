"""kill -9 while hidden states are stored, then the same again: the same bytes, and only the shard in hand is lost."""

import json
import signal
import time
from pathlib import Path

from forked import ended, start, stored_bytes

import g2is.demo
from g2is.config import Config
from g2is.config.io import parse
from g2is.demo.skills import write_pool, write_target
from g2is.jobs.prepare import prepare
from g2is.jobs.read_data import read_inputs
from g2is.jobs.representation import maker_of
from g2is.jobs.run_folder import open_run
from g2is.jobs.store_rows import store_rows
from g2is.progress import Silent
from g2is.store.manifest import open_store


def store_hidden(folder: Path, name: str) -> None:
    """Store the hidden states of the folder's pool and target in its store `name`."""
    values = {
        "pool": folder / "pool.jsonl",
        "target": folder / "target.jsonl",
        "out": folder / f"{name}-run",
        "store": folder / name,
        "model": {"name": str(Path(g2is.demo.__file__).parent / "model")},
        "selection": {"method": "rds+"},
        "execution": {"shard_rows": 8, "batch_tokens": 64, "device": "cpu"},
    }
    config = parse(Config, values, "a test")
    with open_run(config.out, config, Silent()) as run, open_store(config.store, None, 8) as store:
        prepared = prepare(config, run)
        examples = read_inputs(prepared, store.examples, run)
        store_rows(maker_of("hidden", prepared, run), prepared, store, examples, run)


def test_killed_while_storing_and_resumed_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool.jsonl", num_rows=160)
    write_target(tmp_path / "target.jsonl", num_rows=8)
    store_hidden(tmp_path, "calm")
    pool = tmp_path / "store/hidden/pool"
    process = start(store_hidden, tmp_path, "store")
    while process.is_alive() and not (pool / "markers/000002.json").exists():
        time.sleep(0.001)
    process.kill()
    assert ended(process) == -signal.SIGKILL, "it ended before it could be killed"
    kept = {path: path.stat().st_mtime_ns for path in (pool / "markers").glob("*.json")}
    assert 3 <= len(kept) < 20
    store_hidden(tmp_path, "store")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    expected, found = stored_bytes(tmp_path / "calm"), stored_bytes(tmp_path / "store")
    assert found.keys() == expected.keys()
    assert not [name for name in expected if found[name] != expected[name]]
    markers = [content for name, content in found.items() if name.startswith("hidden/pool/markers")]
    assert sum(json.loads(marker)["num_rows"] for marker in markers) == 160
