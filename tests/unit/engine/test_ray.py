"""What is refused before a cluster is used, and by a node that is not as the command's own."""

import pickle
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from counting_worker import JOB, Counting

from g2is.engine.job import ShardJob
from g2is.engine.ray import connected
from g2is.engine.ray_actor import Actor, versions
from g2is.engine.worker import Notice
from g2is.errors import ConfigError, ModelError, StoreError
from g2is.store.lock import locked, words


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    with locked(tmp_path / "store", "store"):
        yield tmp_path / "store"


def fail(error: Exception, _: Notice) -> Any:
    raise error


def actor(store: Path, opens: Any = Counting, held: str | None = None, **other: str) -> Actor:
    return Actor(pickle.dumps(opens), store, words(store) if held is None else held, versions() | other)


def test_ray_that_is_not_installed_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'g2is\[ray\]'"), connected("auto"):
        pass


@pytest.mark.parametrize(
    "address", ["here", "host:", "ray://host:10001", "http://host:8265", "host:0", "host:99999", ""]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'g2is[ray]'")
    with pytest.raises(ConfigError, match="expected auto, or host:port"), connected(address):
        pass


def test_an_address_where_nobody_listens_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'g2is[ray]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"expected a Ray cluster at {address}"), connected(address):
            pass
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(ConfigError, match=f"expected a Ray cluster at {address}"), connected("auto"):
            pass


def test_an_actor_tells_of_tokens_and_of_each_notice_once(store: Path) -> None:
    working = actor(store, torch="9.9")
    _, _, notices = working.open()
    assert [text.partition(" ")[0] for text in notices] == ["node", "begun"]
    assert "has torch" in notices[0]
    assert working.make(JOB) == (3, 10, [])
    assert working.told() == (3, 10, [])


def test_a_node_with_another_g2is_is_refused_before_anything_of_the_command_is_read(store: Path) -> None:
    with pytest.raises(ConfigError, match=r"node .*: expected g2is 0\.0\.7, as the command is of, found"):
        Actor(b"no pickle", store, words(store), versions() | {"g2is": "0.0.7"}).open()


def test_a_node_without_the_store_or_with_another_one_there_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"node .*: expected the command's folder .*elsewhere, found none"):
        actor(tmp_path / "elsewhere").open()
    with pytest.raises(StoreError, match=r"node .*: expected .*store to be what the command holds"):
        actor(store, held='{"pid": 1}\n').open()


def test_an_actor_whose_command_has_ended_stops_before_it_stores(store: Path) -> None:
    working = actor(store)
    working.open()
    (store / ".lock").write_text("another's")
    working._checked = 0.0
    with pytest.raises(StoreError, match="or a command that has ended"):
        working.make(JOB)


class Storing:
    """Has all tokens done, and its command's store goes to another before it stores."""

    def __init__(self, store: Path, _: Notice) -> None:
        self._store = store

    def make(self, job: ShardJob, add: Callable[[int], None]) -> None:
        add(len(job.rows))
        (self._store / ".lock").write_text("another's")
        add(0)
        (self._store / "stored").touch()


def test_an_actor_looks_right_before_it_stores_whenever_it_looked_last(store: Path) -> None:
    working = actor(store, partial(Storing, store))
    working.open()
    with pytest.raises(StoreError, match="or a command that has ended"):
        working.make(JOB)
    assert not (store / "stored").exists()


def test_what_opening_raises_names_the_node(store: Path) -> None:
    with pytest.raises(ModelError, match=f"node {socket.gethostname()}: no weights"):
        actor(store, partial(fail, ModelError("no weights"))).open()
