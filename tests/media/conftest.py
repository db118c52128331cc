import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest

from media import confine


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(__file__).parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the recordings of ../shared/data, which lie beside the repository")
    return folder


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    return str(imageio_ffmpeg.get_ffmpeg_exe())


Encode = Callable[..., bytes]


@pytest.fixture(scope="session")
def encode(ffmpeg: str, tmp_path_factory: pytest.TempPathFactory) -> Encode:
    """`encode("opus", seconds=3, rate_hz=48000)`: a tone of 440 Hz in the container that the suffix names."""
    folder = tmp_path_factory.mktemp("encoded")

    def run(suffix: str, *options: str, seconds: float = 3, rate_hz: int = 16_000) -> bytes:
        made = folder / f"tone.{suffix}"
        tone = f"sine=frequency=440:sample_rate={rate_hz}:duration={seconds}"
        command = [ffmpeg, "-v", "error", "-y", "-f", "lavfi", "-i", tone, "-bitexact", *options, str(made)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return made.read_bytes()

    return run


@pytest.fixture(scope="session")
def whole_sandbox() -> None:
    """Skips where a machine refuses namespaces or Landlock: then the whitelists hold alone, as a log line says."""
    numbers = (os.getpid(), 2**30, 5, 2**20)
    command = [sys.executable, "-I", "-S", confine.__file__, *map(str, numbers), "/bin/true"]
    said = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True).stderr
    if said:
        pytest.skip(f"this machine does not allow the whole sandbox: {said.strip()}")


@dataclass
class Canary:
    """A sound that no hostile file may bring, as a file and behind an address that counts its callers."""

    folder: Path
    port: int
    calls: list[str]
    connections: int = 0

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"


@pytest.fixture
def canary(tmp_path: Path, encode: Encode) -> Iterator[Canary]:
    folder = tmp_path / "canary"
    folder.mkdir()
    for suffix in ("wav", "ts", "mp4"):
        (folder / f"canary.{suffix}").write_bytes(encode(suffix, seconds=2))
    calls: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(self.path)
            body = (folder / self.path.lstrip("/")).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    class Counter(ThreadingHTTPServer):
        def get_request(self) -> tuple[socket.socket, Any]:
            found.connections += 1
            return super().get_request()

    with Counter(("127.0.0.1", 0), Listener) as server:
        found = Canary(folder, server.server_port, calls)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()
