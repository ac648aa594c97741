"""As much of the Hugging Face hub as an upload of a dataset speaks to, on this machine."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from local_server import serving


@dataclass
class Hub:
    """What came: `created` repositories, `files` by name, the tokens that were sent."""

    address: str = ""
    created: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    tokens: set[str | None] = field(default_factory=set)
    refuses: bool = False


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """A hub while the block runs."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.tokens.add(self.headers.get("Authorization"))
            if hub.refuses:
                return self._answer(403, {"error": "you may not write here"})
            if self.path == "/api/repos/create":
                hub.created.append(made := json.loads(body))
                return self._answer(200, {"url": f"{hub.address}/datasets/{made['organization']}/{made['name']}"})
            if self.path == "/api/validate-yaml":
                return self._answer(200, {"errors": [], "warnings": []})
            if "/preupload/" in self.path:
                files = json.loads(body)["files"]
                modes = [{"path": of["path"], "uploadMode": "regular", "shouldIgnore": False} for of in files]
                return self._answer(200, {"files": modes})
            if "/commit/" in self.path:
                for line in body.decode().splitlines():
                    entry = json.loads(line)
                    if entry["key"] == "file":
                        hub.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                of = self.path.removeprefix("/api/").partition("/commit/")[0]
                made = {"commitUrl": f"{hub.address}/{of}/commit/abc", "commitOid": "abc", "hookOutput": ""}
                return self._answer(200, made | {"success": True})
            return self._answer(404, {"error": self.path})

        def do_GET(self) -> None:
            self._answer(404, {"error": self.path})

        def _answer(self, status: int, value: dict[str, Any]) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with serving(Handler) as hub.address:
        yield hub
