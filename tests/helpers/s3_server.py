"""A real S3-compatible server on this machine (moto's), with a gate before it that can be told to fail."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

BUCKET = "bucket"


@dataclass
class Server:
    """Where it is, what it was asked, and the `gate` of each request, which may answer with a status by itself."""

    endpoint: str
    asked: list[str] = field(default_factory=list)
    gate: Callable[[str], str | None] = lambda method: None

    def fail_writes(self, after: int, status: str = "503 Service Unavailable") -> None:
        """Answer each PUT and DELETE (which obstore sends as POST) but the first ones with `status`."""
        seen = 0

        def gate(method: str) -> str | None:
            nonlocal seen
            seen += method != "GET"
            return status if method != "GET" and seen > after else None

        self.gate = gate

    def mend(self) -> None:
        """Let everything pass."""
        self.gate = lambda method: None

    def url(self) -> str:
        """Where no object is yet."""
        return f"s3://{BUCKET}/{uuid4().hex[:8]}/store"

    def objects(self, url: str) -> dict[str, bytes]:
        """The objects below a URL, by key, without the lock."""
        import obstore
        from obstore.store import from_url

        store = from_url(url, client_options={"allow_http": True})
        return {key: bytes(obstore.get(store, key).bytes()) for key in self.keys(url)}

    def keys(self, url: str) -> list[str]:
        """The keys of the objects below a URL, without the lock."""
        import obstore
        from obstore.store import from_url

        store = from_url(url, client_options={"allow_http": True})
        return [of["path"] for page in obstore.list(store) for of in page if of["path"] != ".lock"]

    def put(self, url: str, objects: dict[str, bytes]) -> None:
        """Store objects below a URL."""
        import obstore
        from obstore.store import from_url

        store = from_url(url, client_options={"allow_http": True})
        for key, content in objects.items():
            obstore.put(store, key, content)

    def delete(self, url: str, keys: list[str]) -> None:
        """Remove objects below a URL."""
        import obstore
        from obstore.store import from_url

        obstore.delete(from_url(url, client_options={"allow_http": True}), keys)


@contextmanager
def serving() -> Iterator[Server]:
    """A server with an empty bucket; skips where moto or obstore is not installed."""
    pytest.importorskip("obstore", reason="obstore is not installed (pip install 'g2is[cloud]')")
    pytest.importorskip(
        "moto", reason="moto, the S3 server of these tests, is not installed (pip install 'moto[server]')"
    )
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = DomainDispatcherApplication(create_backend_app)

    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        server.asked.append(f"{method} {path}")
        refused = server.gate(method)
        if refused is None:
            return moto(environ, start)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start(refused, [("Content-Length", "0")])
        return [b""]

    http = make_server("127.0.0.1", 0, answer, threaded=True)
    server = Server(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        import urllib.request

        urllib.request.urlopen(urllib.request.Request(f"{server.endpoint}/{BUCKET}", method="PUT")).close()
        yield server
    finally:
        http.shutdown()
        thread.join()


def credentials(server: Server) -> dict[str, str]:
    """The environment in which obstore finds the server."""
    return {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server.endpoint,
    }
