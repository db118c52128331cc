"""G7: what an upload of 100 MB costs the API where it goes straight to the store, beside the same through the API.

    python -m bench.direct [--rounds 3]

The store is OpenStack Swift (`make ci-services`), the API the real process; no worker runs. Counted is the processor
time of the API alone: whoever sends, and the store, have the same to do either way. The sha256 is said beforehand.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import httpx
import psutil
from rich.progress import Progress

from bench.connection import Connection, form
from bench.measure import Goal, Line, Runs, Side, abba, present, quantile
from bench.processes import cpu_seconds
from bench.running import Running, running
from tests.support.swift import Swift, running_swift

RECORDING_BYTES = 100_000_000
JOBS, UPLOADS = "/api/transcribe/jobs", "/api/transcribe/uploads"

CPU_MS, AGAINST = Goal(10, "≤"), Goal(0.1, "≤")


def _environ(swift: Swift) -> dict[str, str]:
    return {
        "MINIO_ENDPOINT": swift.endpoint,
        "MINIO_ACCESS_KEY": swift.access_key,
        "MINIO_SECRET_KEY": swift.secret_key,
        "S3_REGION": swift.region,
    }


@dataclass(frozen=True, slots=True)
class Sides:
    platform: Running
    api: psutil.Process
    client: httpx.AsyncClient
    recording: bytes
    body: Path
    """The form that has it."""

    async def run(self, side: Side) -> float:
        """Milliseconds of the API's processor time for one upload, which is erased afterwards."""
        before = cpu_seconds([self.api])
        job = await (self._straight() if side == "ours" else self._through())
        spent = cpu_seconds([self.api]) - before
        (await self.client.delete(f"{JOBS}/{job}")).raise_for_status()
        return 1000 * spent

    async def _through(self) -> str:
        async with Connection(self.platform.address) as connection:
            answer = await connection.post_file(f"{JOBS}/transcribe", self.body)
        return str(answer["job_id"])

    async def _straight(self) -> str:
        about = {"size": len(self.recording), "sha256": sha256(self.recording).hexdigest()}
        upload = (await self.client.post(UPLOADS, json=about)).raise_for_status().json()
        for part in upload["parts"]:
            piece = self.recording[part["offset"] : part["offset"] + part["size"]]
            (await self.client.put(part["url"], content=piece)).raise_for_status()
        (await self.client.post(f"{UPLOADS}/{upload['upload_id']}/complete")).raise_for_status()
        return str(upload["job_id"])


@asynccontextmanager
async def _sides() -> AsyncIterator[Sides]:
    recording = os.urandom(RECORDING_BYTES)
    with (
        tempfile.TemporaryDirectory(prefix="escriba-bench-swift-") as folder,
        tempfile.NamedTemporaryFile(prefix="escriba-bench-") as file,
        running_swift(Path(folder)) as swift,
    ):
        file.write(form(recording))
        file.flush()
        async with running(_environ(swift), workers=False) as platform:
            base = platform.embedded.address
            async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=120) as client:
                yield Sides(platform, platform.process("api"), client, recording, Path(file.name))


async def _runs(bar: Progress, rounds: int) -> Runs[float]:
    runs: Runs[float] = Runs()
    task = bar.add_task("100 MB to the store", total=4 * rounds + 2)
    order: tuple[Side, ...] = ("anchor", "ours", *abba(rounds))
    async with _sides() as sides:
        for number, side in enumerate(order):
            spent = await sides.run(side)
            if number >= 2:  # the first of each side warm up
                runs.add(side, spent)
            bar.advance(task)
    return runs


def _lines(runs: Runs[float]) -> list[Line]:
    ours, anchor = quantile(runs.ours), quantile(runs.anchor)
    shown = f"{ours.value:.1f} ms", f"{anchor.value:.0f} ms"
    return [
        Line("the API's processor time for 100 MB", *shown, ours, "ms", CPU_MS),
        Line("   ÷ through the API", *shown, runs.ratio(float), goal=AGAINST),
        Line("   the same side again (A/A)", "", "", runs.noise(float)),
    ]


def measure(bar: Progress, *, rounds: int = 3) -> list[Line]:
    return _lines(asyncio.run(_runs(bar, rounds)))


if __name__ == "__main__":
    sys.exit(present(__doc__, "Uploads straight to the store", measure))
