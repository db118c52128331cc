"""The native API as the command line uses it: like any client, over HTTP."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any, BinaryIO, Self

import httpx

PATIENCE_SECONDS = 60.0
"""How long a stream that broke off is tried again: a platform that restarts is back in a few seconds."""

PAUSE_SECONDS = 0.5

Answer = dict[str, Any]


class Unreachable(Exception):
    """Nobody answers at the URL."""


class Refused(Exception):
    """The platform said no: `code` is stable, the message is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Client:
    def __init__(self, url: str, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience = patience_seconds
        self.url = url.rstrip("/")
        timeout = httpx.Timeout(30.0, read=300.0)  # an upload is answered only when it is on disk
        self._http = httpx.Client(base_url=self.url, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def submit(self, recording: Path, fields: dict[str, str], *, on_read: Callable[[int], None]) -> Answer:
        """Send a recording; `on_read` is told of the bytes as they leave. Raises Unreachable, Refused."""
        with recording.open("rb") as file:
            files = {"file": (recording.name, _Told(file, on_read))}
            return self._ask("POST", "/api/transcribe/jobs/transcribe", data=fields, files=files)

    def engines(self) -> Answer:
        return self._ask("GET", "/api/transcribe/jobs/engines")

    def result(self, job_id: str) -> Answer:
        return self._ask("GET", f"/api/transcribe/jobs/result/{job_id}")

    def result_as(self, job_id: str, format_name: str) -> str:
        return self._send("GET", f"/api/transcribe/jobs/result/{job_id}", params={"format": format_name}).text

    def follow(self, job_id: str) -> Iterator[Answer]:
        """Every event of a job to its end, over reconnects. Raises Unreachable, Refused."""
        last, heard_at = "", monotonic()
        while True:
            try:
                for event_id, event in self._events(job_id, last):
                    last, heard_at = event_id or last, monotonic()
                    yield event
                    if event["type"] == "state" and event["status"] in ("completed", "failed", "cancelled"):
                        return
            except (httpx.TransportError, Unreachable) as error:
                if monotonic() - heard_at > self._patience:
                    raise Unreachable(self.url) from error
            sleep(PAUSE_SECONDS)

    def _events(self, job_id: str, last: str) -> Iterator[tuple[str, Answer]]:
        headers = {"Last-Event-ID": last} if last else {}
        timeout = httpx.Timeout(30.0)  # two pings
        with self._http.stream(
            "GET", f"/api/transcribe/jobs/stream/{job_id}", headers=headers, timeout=timeout
        ) as response:
            if response.status_code != 200:
                response.read()
                raise _refusal(response)
            event_id = ""
            for line in response.iter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    event_id = value
                elif name == "data":
                    yield event_id, json.loads(value)
                    event_id = ""

    def _ask(self, method: str, path: str, **more: Any) -> Answer:
        answer: Answer = self._send(method, path, **more).json()
        return answer

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **more)
        except httpx.TransportError as error:
            raise Unreachable(self.url) from error
        if response.is_error:
            raise _refusal(response)
        return response


def _refusal(response: httpx.Response) -> Refused:
    try:
        error = response.json()["error"]
        return Refused(error["code"], error["message"])
    except (ValueError, KeyError, TypeError):
        return Refused("not_escriba", f"the answer ({response.status_code}) is not one of Escriba's; is the URL right?")


class _Told:
    """A file that tells how much of it has been read; httpx reads uploads piece by piece."""

    def __init__(self, file: BinaryIO, on_read: Callable[[int], None]) -> None:
        self._file, self._on_read = file, on_read

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._on_read(len(data))
        return data

    def fileno(self) -> int:
        return self._file.fileno()  # how httpx learns the length

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read(64 * 1024):
            yield chunk
