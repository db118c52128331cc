"""The strict Riva for real recordings, as a process of its own: it knows them by their samples, and says of each what
its script has.

python -m tests.support.riva.reciting ADDRESS SCRIPT [--speakers] [--break-streams-at SECOND ...]

A recording that it knows is replaced by speech that the strict server understands (`tests.support.riva.speech`), with
the script's words where they are in the recording; so all that is strict about the server stays. Everything else is
heard as it is.
"""

import argparse
import asyncio
import hashlib
import json
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
from riva.client.proto.riva_asr_pb2_grpc import add_RivaSpeechRecognitionServicer_to_server

from config.parenthood import die_with_parent
from tests.support.riva.server import MIB, OFFLINE, OFFLINE_SPEAKERS, STREAMING, Model, RivaServer, Saying
from tests.support.riva.speech import RATE_HZ
from tests.support.servers import free_port

ROOT = Path(__file__).parent.parent.parent.parent

LANGUAGES = ("en-US", "es-US", "pt-BR", "fr-FR")
FIRST_VALUE = 20_000
"""Lower ones are left to the scripted words of `tests.support.riva.speech`."""


@dataclass(frozen=True)
class Turn:
    """What one speaker says from `start` to `end`, in seconds."""

    start: float
    end: float
    text: str
    tag: int = 0
    """The speaker, from 1; 0 for a server that does not tell."""


Script = dict[str, list[Turn]]
"""What to say of a recording, by the SHA-256 of its samples as they reach the server."""


def fingerprint(samples: bytes) -> str:
    return hashlib.sha256(samples).hexdigest()


def fingerprint_of(recording: Path) -> str:
    """Of a WAV as the platform decodes it: 16 kHz, mono, signed 16-bit."""
    with wave.open(str(recording)) as file:
        return fingerprint(file.readframes(file.getnframes()))


def write_script(script: Mapping[str, Sequence[Turn]], path: Path) -> Path:
    path.write_text(json.dumps({key: [asdict(turn) for turn in turns] for key, turns in script.items()}))
    return path


def read_script(path: Path) -> Script:
    return {key: [Turn(**turn) for turn in turns] for key, turns in json.loads(path.read_text()).items()}


class RecitingRiva(RivaServer):
    def __init__(self, models: Sequence[Model], script: Script) -> None:
        self._values: dict[Saying, int] = {}
        self._script = script
        super().__init__(models, {})

    async def Recognize(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name for it
        turns = self._script.get(fingerprint(request.audio))
        if turns is not None:
            request.audio = self._understandable(turns, len(request.audio) // 2)
        return await super().Recognize(request, context)

    def _understandable(self, turns: Sequence[Turn], length: int) -> bytes:
        """Each turn's words evenly over its time, with a fifth of silence between them."""
        samples = np.zeros(length, np.int16)
        for turn in turns:
            words = turn.text.split()
            slot = (turn.end - turn.start) / len(words)
            for nth, word in enumerate(words):
                start = turn.start + nth * slot
                value = self._value_of(Saying(word, tag=turn.tag))
                samples[round(start * RATE_HZ) : round((start + 0.8 * slot) * RATE_HZ)] = value
        return samples.tobytes()

    def _value_of(self, saying: Saying) -> int:
        value = self._values.setdefault(saying, FIRST_VALUE + len(self._values))
        self.lexicon[value] = saying
        return value


def models_for(*, speakers: bool) -> list[Model]:
    """One for short recordings in each language, and one for long ones in English."""
    short = OFFLINE_SPEAKERS if speakers else OFFLINE
    return [*(Model(short.name.replace("en-US", tag), offline=True, language=tag) for tag in LANGUAGES), STREAMING]


async def serve(address: str, script: Script, *, speakers: bool, breaks: Sequence[float]) -> int:
    """Until SIGTERM; answers how many breaks no stream has come to."""
    riva = RecitingRiva(models_for(speakers=speakers), script)
    riva.faults.break_streams_at.extend((second, grpc.StatusCode.UNAVAILABLE) for second in breaks)
    options = [("grpc.max_receive_message_length", 4 * MIB), ("grpc.so_reuseport", 0)]
    server = grpc.aio.server(options=options)
    add_RivaSpeechRecognitionServicer_to_server(riva, server)
    server.add_insecure_port(address)
    await server.start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    print(address, flush=True)
    await ended.wait()
    await server.stop(grace=None)
    return len(riva.faults.break_streams_at)


@contextmanager
def reciting_riva(
    script: Path, *, address: str | None = None, speakers: bool = False, breaks: Sequence[float] = ()
) -> Iterator[str]:
    """Its address, while it is there. `breaks`: seconds of audio at which the next streams are aborted, one each."""
    address = address or f"127.0.0.1:{free_port()}"
    argv = [sys.executable, "-m", "tests.support.riva.reciting", address, str(script)]
    argv += ["--speakers"] if speakers else []
    argv += ["--break-streams-at", *map(str, breaks)] if breaks else []
    dying = die_with_parent(signal.SIGKILL)
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=dying) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == address, "the server did not start"
            yield address
        finally:
            process.terminate()
        assert process.wait() == 0, "streams were to break that nobody began"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("script", type=Path)
    parser.add_argument("--speakers", action="store_true", help="with a diarizer")
    parser.add_argument("--break-streams-at", type=float, nargs="*", default=[], help="seconds of audio")
    said = parser.parse_args()
    script = read_script(said.script)
    return asyncio.run(serve(said.address, script, speakers=said.speakers, breaks=said.break_streams_at))


if __name__ == "__main__":
    sys.exit(main())
