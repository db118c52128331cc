"""Kills parts of a running platform in the middle of a job, and times how soon the job goes on: `make bench-faults`.

Real processes with their shipped settings (a lease of 15 s). "Goes on" is what a user sees: the first segment or report
of progress on the job's event stream that comes from after the fault. Takes about ten minutes.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from cli.client import Client
from tests.support.whole import Whole, whole_platform

RECORDING = Path(__file__).parent.parent.parent / "shared" / "data" / "long" / "columbia.wma"
PAUSE_SECONDS = 20.0
JOBS_IN_PAUSE = 10


class Follower(threading.Thread):
    """Follows a job to its end and remembers when it last heard of progress, and what it heard."""

    def __init__(self, whole: Whole, job_id: str) -> None:
        super().__init__(daemon=True)
        self._whole, self.job_id = whole, job_id
        self.told: list[tuple[float, dict[str, object]]] = []
        self.middle = threading.Event()
        self.start()

    def run(self) -> None:
        with Client(self._whole.url) as client:
            for event in client.follow(self.job_id):
                self.told.append((time.monotonic(), event))
                if int(event["progress"]) >= 20:
                    self.middle.set()

    def went_on_after(self, fault_at: float) -> float:
        """Seconds from the fault to the first sign of work that was not on its way already."""
        lively = [at for at, event in self.told if event["type"] in ("progress", "segment") and at > fault_at + 0.3]
        return lively[0] - fault_at if lively else float("nan")

    def segments(self) -> int:
        return sum(event["type"] == "segment" for _, event in self.told)

    def ends(self) -> int:
        return sum(event["type"] == "state" and event["status"] == "completed" for _, event in self.told)


@dataclass(frozen=True, slots=True)
class Outcome:
    fault: str
    went_on_seconds: float
    wall_seconds: float
    status: dict[str, object]
    ends_told: int


def one_job(whole: Whole, fault: str, hurt: Callable[[Whole, str], None]) -> Outcome:
    began = time.monotonic()
    job_id = whole.submit(RECORDING, engine="sphinx")
    follower = Follower(whole, job_id)
    follower.middle.wait(timeout=300)
    fault_at = time.monotonic()
    hurt(whole, job_id)
    follower.join(timeout=600)
    wall = time.monotonic() - began
    return Outcome(fault, follower.went_on_after(fault_at), wall, whole.status(job_id), follower.ends())


def kill_its_worker(whole: Whole, job_id: str) -> None:
    whole.kill("worker", pid=int(str(whole.status(job_id)["worker_id"]).split("-")[-2]))


def kill_everything(whole: Whole, _: str) -> None:
    whole.kill_everything()
    whole.start()


FAULTS: dict[str, Callable[[Whole, str], None]] = {
    "nothing": lambda *_: None,
    "kill -9 of the worker": kill_its_worker,
    "kill -9 of the engine's child": lambda whole, _: whole.kill("engine child"),
    "kill -9 of the engine server": lambda whole, _: whole.kill("engine server"),
    "kill -9 of Redis": lambda whole, _: whole.kill("redis"),
    "kill -9 of PostgreSQL": lambda whole, _: whole.kill("postgres"),
    "kill -9 of the API": lambda whole, _: whole.kill("api"),
    "kill -9 of the whole tree, then make run": kill_everything,
}


def paused_database(whole: Whole) -> list[dict[str, object]]:
    """SIGSTOP of PostgreSQL for 20 s with ten jobs: what became of each."""
    sample = RECORDING.with_name("two_cities_16k.wav")
    followers = [Follower(whole, whole.submit(sample, engine="sphinx")) for _ in range(JOBS_IN_PAUSE)]
    followers[0].middle.wait(timeout=300)
    with whole.stopped("postgres"):
        time.sleep(PAUSE_SECONDS)  # the fault itself
    for follower in followers:
        follower.join(timeout=900)
    return [whole.status(follower.job_id) for follower in followers]


def main() -> None:
    argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__).parse_args()
    console = Console()
    table = Table("fault", "goes on after", "job's wall time", "state", "crashes", "retries", "ends told")
    with (
        tempfile.TemporaryDirectory(prefix="escriba-faults-") as folder,
        whole_platform(Path(folder) / "home") as whole,
    ):
        for fault, hurt in track(FAULTS.items(), description="faults", console=console):
            found = one_job(whole, fault, hurt)
            status = found.status
            console.log(f"{fault}: {status['status']}, went on after {found.went_on_seconds:.1f} s")
            table.add_row(
                fault,
                f"{found.went_on_seconds:.1f} s",
                f"{found.wall_seconds:.1f} s",
                str(status["status"]),
                str(status["crash_count"]),
                str(status["attempts"]),
                str(found.ends_told),
            )
        console.print(table)
        paused = paused_database(whole)
    completed = sum(status["status"] == "completed" for status in paused)
    charged = sum(int(str(status["crash_count"])) for status in paused)
    console.print(
        f"SIGSTOP of PostgreSQL for {PAUSE_SECONDS:.0f} s with {JOBS_IN_PAUSE} jobs: "
        f"{completed} completed, {charged} crashes charged"
    )


if __name__ == "__main__":
    main()
