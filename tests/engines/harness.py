"""A real engine server as a child of the tests, and a stranger's model for it to host."""

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from config.load import load_settings
from config.settings import Settings
from domain.capabilities import EngineReport, LoadedModel
from domain.transcript import Heard, Segment
from engines.contract import Engine, Hearing
from engines.hosted import HostedEngines

ROOT = Path(__file__).parent.parent.parent
TOKEN = "a-token-for-tests"

INFRASTRUCTURE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}
"""What Settings want to know and engines never use."""


@dataclass
class EngineServer:
    url: str
    process: asyncio.subprocess.Process
    environ: Mapping[str, str]

    def settings(self, **environ: str) -> Settings:
        """Those of a worker that uses this server."""
        defaults = {**INFRASTRUCTURE, "ENGINE_SERVER_URL": self.url, "ENGINE_SERVER_TOKEN": TOKEN}
        return load_settings({**defaults, **environ})

    @asynccontextmanager
    async def client(self, **environ: str) -> AsyncIterator[HostedEngines]:
        source = HostedEngines(self.settings(**environ))
        try:
            yield source
        finally:
            await source.close()

    @asynccontextmanager
    async def engine(self, name: str, **environ: str) -> AsyncIterator[Engine]:
        async with self.client(**environ) as source:
            (found,) = [engine for engine in await source.engines() if engine.name == name]
            yield found

    @asynccontextmanager
    async def http(self) -> AsyncIterator[httpx.AsyncClient]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30, trust_env=False) as client:
            yield client

    async def loads(self, engine: str) -> int:
        """How often a child was started for `engine`."""
        return int((await self.report(engine)).detail["loads"])

    async def pid(self, engine: str) -> int:
        """The one child that has a model of `engine` in memory."""
        (loaded,) = await self.loaded(engine)
        assert loaded.pid is not None
        return loaded.pid

    async def loaded(self, engine: str) -> list[LoadedModel]:
        return list((await self.report(engine)).memory or [])

    async def report(self, engine: str) -> EngineReport:
        async with self.client() as source:
            return (await source.reports())[engine]


@asynccontextmanager
async def engine_server(
    *arguments: str,
    flags: Sequence[str] = (),
    cwd: str | Path = ROOT,
    python: str | Path = sys.executable,
    **environ: str,
) -> AsyncIterator[EngineServer]:
    """A server on a free port; `environ` beside this process's own. Ends however the test ends."""
    variables = {**os.environ, "ENGINE_SERVER_TOKEN": TOKEN, **environ}
    process = await asyncio.create_subprocess_exec(
        *(python, *flags, "-m", "engines.server", *arguments),
        cwd=cwd,
        env=variables,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        assert line.startswith("listening on http://"), f"the server did not start: {line!r}"
        yield EngineServer(line.split()[-1], process, environ)
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def gone(pid: int) -> None:
    """Wait until process `pid`, which is not ours, has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        async with asyncio.timeout(30):
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def hear(engine: Engine, audio: Path, hearing: Hearing) -> list[Heard]:
    return [heard async for heard in engine.transcribe(audio, hearing)]


def text_of(heard: list[Heard]) -> str:
    return " ".join(item.text for item in heard if isinstance(item, Segment))


STRANGER = '''
    """A local model that somebody else wrote: it does what a job's options say."""

    import os
    import re
    import resource
    import signal
    import subprocess
    import sys
    from domain.capabilities import EngineReport
    from domain.errors import EngineFailed
    from domain.transcript import Progress, Segment


    class Stranger:
        @classmethod
        def report(cls, settings):
            return EngineReport(engine="whatever", available=True, quality=1, description="a stranger's")

        @classmethod
        def load(cls, settings, model, on_download):
            """Hangs while somebody holds the other end of a pipe among the models."""
            pipe = settings.models_dir / "pipe"
            if pipe.exists():
                pipe.read_bytes()
            return cls()

        def transcribe(self, audio, hearing):
            deed = hearing.options.get("deed", "none")
            print("rubbish on standard output")
            os.write(1, b'{"event": "done"}\\n')
            yield Segment(start=0, end=0.1, text=f"{deed} by {os.getpid()}")
            while deed == "chatter":
                yield Progress(stage="transcribe", done=0, total=hearing.audio_seconds)
            getattr(self, deed)(hearing.options)
            yield Segment(start=0.1, end=0.2, text=hearing.options.get("say", "and after"))
            yield Progress(stage="transcribe", done=hearing.audio_seconds, total=hearing.audio_seconds)

        def none(self, options):
            pass

        def hog(self, options):
            """Holds the interpreter's lock for good, so that no thread of this process hears of anything."""
            resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
            re.match("(a+)+$", "a" * 64 + "b")

        def wait(self, options):
            """Blocks, as native code would, until somebody opens the other end."""
            with open(options["pipe"]) as pipe:
                pipe.read()

        def grow(self, options):
            """Has a process of its own hold a hundred megabytes and more until somebody opens the other end."""
            held = "held = bytearray(b'x' * (120 << 20)); pipe = open(sys.argv[1]); pipe.read()"
            subprocess.run([sys.executable, "-c", f"import sys; {held}", options["pipe"]], check=True)

        def kill(self, options):
            os.kill(os.getpid(), signal.SIGKILL)

        def crash(self, options):
            os.kill(os.getpid(), signal.SIGSEGV)

        def exhaust(self, options):
            raise MemoryError

        def blunder(self, options):
            raise ValueError("the secret words of the recording")

        def refuse(self, options):
            raise EngineFailed("not this one", retryable=False)


    class Twin(Stranger):
        """The same under another name, so that two models compete for memory."""
'''

ENTRY_POINTS = """
    [escriba.models]
    stranger = stranger_of_the_tests:Stranger
    twin = stranger_of_the_tests:Twin
    broken = stranger_of_the_tests:NotThere
"""


def install_stranger(folder: Path) -> str:
    """Put a distribution with the models stranger, twin and broken in `folder`; answers its PYTHONPATH."""
    info = folder / "stranger_of_the_tests-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "stranger_of_the_tests.py").write_text(textwrap.dedent(STRANGER))
    (info / "entry_points.txt").write_text(textwrap.dedent(ENTRY_POINTS))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger-of-the-tests\nVersion: 1.0\n")
    return os.pathsep.join([str(folder), str(ROOT)])
