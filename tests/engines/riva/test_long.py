"""A recording of twenty minutes, ten times what a message may hold, and the memory that it takes."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from grpc import StatusCode

from tests.engines.contract_suite import Recording
from tests.engines.harness import INFRASTRUCTURE, ROOT
from tests.engines.riva.client import numbered
from tests.support.riva.server import MIB, MIXED, OFFLINE, Model, RivaServer, riva_server
from tests.support.riva.speech import write_speech

WORDS = 1091
"""Ten a slot of eleven seconds: 1200 seconds."""

MOST_MORE_MIB = 15
"""What twenty minutes may take beyond four: half of what their further samples are."""

CLIENT = """
import asyncio, json, re, sys, wave
from pathlib import Path
from config.load import load_settings
from domain.transcript import Segment
from engines.contract import Hearing
from engines.riva import RivaEngine

async def main(environ, path):
    with wave.open(path) as file:
        seconds = file.getnframes() / file.getframerate()
    engine = RivaEngine(load_settings(environ))
    words = []
    async for heard in engine.transcribe(Path(path), Hearing(audio_seconds=seconds)):
        if isinstance(heard, Segment):
            words += [word.strip(".").lower() for word in heard.text.split()]
    # Not ru_maxrss, which begins with the memory of the parent.
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
    print(json.dumps({"words": words, "peak_mib": int(peak) / 1024}))

asyncio.run(main(json.loads(sys.argv[1]), sys.argv[2]))
"""


@pytest.fixture(scope="module")
def four_minutes(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Two messages long, so that what a message costs is no difference."""
    return write_speech(tmp_path_factory.mktemp("long") / "four.wav", range(1, 219))


@pytest.fixture(scope="module")
def twenty_minutes(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    recording = write_speech(tmp_path_factory.mktemp("long") / "twenty.wav", range(1, WORDS + 1))
    assert recording.seconds == pytest.approx(1200, abs=1)
    return recording


async def hear_elsewhere(server: RivaServer, path: Path) -> tuple[list[str], float]:
    """The words, and the peak of memory in MiB, of a process that does nothing else."""
    environ = json.dumps({**INFRASTRUCTURE, "RIVA_URI": server.uri})
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, environ, str(path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    said = json.loads(output)
    return said["words"], said["peak_mib"]


@pytest.mark.parametrize("models", [MIXED, (OFFLINE,)], ids=["stream", "pieces"])
async def test_twenty_minutes_lose_no_word_and_take_no_more_memory_than_four(
    models: tuple[Model, ...], four_minutes: Recording, twenty_minutes: Recording
) -> None:
    async with riva_server(models, max_message_bytes=4 * MIB) as server:
        _, before = await hear_elsewhere(server, four_minutes.path)
        words, peak = await hear_elsewhere(server, twenty_minutes.path)
    assert words == numbered(WORDS)
    assert peak - before < MOST_MORE_MIB


async def test_twenty_minutes_lose_no_word_when_the_stream_is_aborted_twice(
    four_minutes: Recording, twenty_minutes: Recording
) -> None:
    async with riva_server(MIXED, max_message_bytes=4 * MIB) as server:
        _, before = await hear_elsewhere(server, four_minutes.path)
        server.faults.break_streams_at.extend([(400.0, StatusCode.UNAVAILABLE), (900.0, StatusCode.ABORTED)])
        words, peak = await hear_elsewhere(server, twenty_minutes.path)
        assert len(server.heard("StreamingRecognize")) == 1 + 3
    assert words == numbered(WORDS)
    assert peak - before < MOST_MORE_MIB
