"""A Hugging Face hub on loopback: one repository, served as `huggingface_hub` asks for it, over a line that breaks."""

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Serves the files of `folder` as `repository`; the first answer with `breaks` stops half-way.

    Where `goes_on` is given, the line does not break there but stands still until it is set.
    """

    repository: str
    folder: Path
    breaks: str | None = None
    goes_on: threading.Event | None = None
    ranges: list[str] = field(default_factory=list)
    """The Range header of every request that had one."""
    served: list[str] = field(default_factory=list)
    """The names of the files whose content was asked for, from the start or from a byte on."""

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"state": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(send_body=False)

    def do_GET(self) -> None:
        self._answer(send_body=True)

    def log_message(self, *_args: Any) -> None:
        """Tests read no access log."""

    def _answer(self, *, send_body: bool) -> None:
        path = self.path.partition("?")[0]
        repository = re.escape(self.state.repository)
        if re.fullmatch(rf"/api/models/{repository}(/revision/[^/]+)?", path):
            names = [{"rfilename": file.name} for file in sorted(self.state.folder.iterdir())]
            facts = {"id": self.state.repository, "sha": REVISION, "private": False, "tags": [], "siblings": names}
            self._send_json(facts)
        elif re.fullmatch(rf"/api/models/{repository}/tree/{REVISION}", path):
            self._send_json([_describe(file) for file in sorted(self.state.folder.iterdir())])
        elif found := re.fullmatch(rf"/{repository}/resolve/{REVISION}/([\w.-]+)", path):
            self._send_file(self.state.folder / found[1], send_body=send_body)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _send_json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_file(self, file: Path, *, send_body: bool) -> None:
        body = file.read_bytes()
        wanted = self.headers.get("Range", "")
        start = int(found[1]) if (found := re.fullmatch(r"bytes=(\d+)-", wanted)) else 0
        if start:
            self.state.ranges.append(wanted)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("ETag", f'"{_digest(file)}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if not send_body:
            return
        self.state.served.append(file.name)
        if self.state.breaks == file.name:
            self.state.breaks = None
            middle = start + (len(body) - start) // 2
            self.wfile.write(body[start:middle])
            if self.state.goes_on is None:
                self.close_connection = True
                return
            self.state.goes_on.wait()
            start = middle
        self.wfile.write(body[start:])


def _describe(file: Path) -> dict[str, object]:
    return {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": _digest(file)}


def _digest(file: Path) -> str:
    return hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()
