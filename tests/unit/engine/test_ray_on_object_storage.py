"""What a Ray worker checks of a store in object storage: that the command it works for holds it, and goes on to."""

import pickle

import pytest
from counting_worker import JOB, Counting
from s3_server import Server

from g2is.engine.ray_actor import Actor, versions
from g2is.errors import StoreError
from g2is.progress import Silent
from g2is.store.lease import Lease
from g2is.store.objects import Bucket
from g2is.store.reach import reached, words_of


def test_a_worker_works_while_its_command_holds_the_store_and_stops_when_it_does_not(server: Server) -> None:
    url = server.url()
    with reached(url, Silent()) as path:
        held = words_of(url)
        assert '"pid"' in held
        (path / "manifest.json").write_text("{}")
        working = Actor(pickle.dumps(Counting), url, held, versions())
        working.open()
        assert working.make(JOB) == (3, 10, [])
        working._checked = 0.0
        working.make(JOB)
    assert words_of(url) == ""
    working._checked = 0.0
    with pytest.raises(StoreError, match=f"expected {url} to be what the command holds .* has ended"):
        working.make(JOB)
    with reached(url, Silent()):
        assert words_of(url) != held
        with pytest.raises(StoreError, match="what the command holds"):
            Actor(pickle.dumps(Counting), url, held, versions()).open()


def test_a_renewal_of_the_lock_is_no_other_holder(server: Server) -> None:
    url = server.url()
    lease = Lease(Bucket(url))
    lease.take(Silent(), wait=False)
    before, content = words_of(url), Bucket(url).get(".lock")[0]
    lease._renew()
    assert Bucket(url).get(".lock")[0] != content
    assert words_of(url) == before != ""
    lease.release(remove=True)
