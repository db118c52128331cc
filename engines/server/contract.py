"""What a local model promises. The engine server hosts it in a child process; `escriba.models` names its class.

`tests/engines/contract_suite.py` holds every model to it, through a real server.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, Self

from config.settings import EngineSettings
from domain.capabilities import EngineReport
from domain.transcript import Heard
from engines.contract import Hearing

OnDownload = Callable[[int, int], None]
"""Told (bytes done, bytes in all) while weights are fetched; the total may still grow. Call it from any thread."""


class LocalModel(Protocol):
    @classmethod
    def report(cls, settings: EngineSettings, /) -> EngineReport:
        """What this engine can do on this machine, by a look at the disk.

        Called often, in the server's own process: it must not import the model's library, load weights or use the
        network; the module of the class must not either when it is imported. The engine's public name is that of the
        entry point, whatever the report says.
        """
        ...

    @classmethod
    def load(cls, settings: EngineSettings, model: str | None, on_download: OnDownload, /) -> Self:
        """Bring a model into this process: once, in a child, before anything is heard.

        Args:
            settings: the section as the server has it, without its secrets.
            model: a name from `report().models`, or None where the report lists none.
            on_download: to be called while weights are fetched.

        Raises:
            ModelMissing: there are no weights and none can be had.
            EngineFailed: with `retryable=True` where the same call may succeed later.
        """
        ...

    def transcribe(self, audio: Path, hearing: Hearing) -> Iterator[Heard]:
        """Hear one file; as `engines.contract.Engine.transcribe`, but as a plain iterator.

        Say a Progress whose `done` is 0 before any other work: what came before it, waiting for a turn and for the
        model, is then not taken for the model's own time, by which the platform says how fast it is.

        A cancelled job is dropped between two items. A model that takes longer than 0.3 s for one is killed for it, and
        loaded again for the next job. Anything but EngineFailed that is raised here ends the child, as nobody knows
        what state it is in.
        """
        ...
