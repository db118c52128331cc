"""What a seed's world is like: which faults there are and how often, what jobs there are and how they behave."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random


class Fault(StrEnum):
    KILL_WORKER = "kill -9 of a worker"
    KILL_DOOR = "kill -9 of a door"
    STOP_WORKER = "SIGSTOP of a worker"
    STOP_DOOR = "SIGSTOP of a door"
    DRAIN = "SIGTERM of a worker"
    POSTGRES_GONE = "PostgreSQL restarts"
    POSTGRES_HANGS = "PostgreSQL stands still"
    REDIS_GONE = "Redis is away"
    REDIS_FLUSHED = "FLUSHALL"
    STORE_GONE = "the store is away"
    ENGINE_GONE = "the engine is away"
    SLEEP = "the machine sleeps"


class Kind(StrEnum):
    PLAIN = "plain"
    FLAKY = "flaky"
    """Its engine fails, for a while, in a way that may pass."""
    BAD = "bad"
    """Not a recording."""
    POISON = "poison"
    """Kills the process that decodes it."""
    STUCK = "stuck"
    """Its engine never comes to an end."""


@dataclass(frozen=True, slots=True)
class Recording:
    number: int
    kind: Kind
    words: int
    pace: float
    """Seconds that the engine takes for a word."""
    failures: int = 0
    """How often the engine fails before it is well."""

    @property
    def content(self) -> bytes:
        return f"recording {self.number}".encode()

    @property
    def seconds(self) -> float:
        return float(self.words)


@dataclass(frozen=True, slots=True)
class Climate:
    storm: float
    """Seconds for which there are faults; then everything is mended."""
    every: float
    """Mean seconds between faults of the `kinds`."""
    kinds: tuple[Fault, ...]
    strike: float
    """How likely an await kills or stops the process that is at it."""
    errors: float
    """How likely a statement fails, or the answer to a commit is lost."""
    store_errors: float
    ambush: float
    """How likely a worker is stopped, for longer than its lease, before or behind a result's object: what chance
    alone would hardly bring about."""
    lost_hints: float
    recordings: tuple[Recording, ...]

    @classmethod
    def draw(cls, rng: Random) -> "Climate":
        """Not every fault in every world: where all is broken at once, the finer faults drown."""
        count = rng.choice((0, 1, 1, 2, 3))
        return cls(
            storm=rng.uniform(2, 12),
            every=rng.uniform(1.5, 5),
            kinds=tuple(rng.sample(list(Fault), count)),
            strike=rng.choice((0, 0, 0.002, 0.01)),
            errors=rng.choice((0, 0, 0.005, 0.02)),
            store_errors=rng.choice((0, 0, 0.05)),
            ambush=rng.choice((0, 0, 0.1)),
            lost_hints=rng.choice((0, 0, 0.1, 0.5)),
            recordings=tuple(_draw_recording(number, rng) for number in range(rng.choice((2, 3, 3, 4)))),
        )


def _draw_recording(number: int, rng: Random) -> Recording:
    kind = rng.choices(list(Kind), weights=(70, 12, 6, 8, 4))[0]
    failures = rng.randint(1, 5) if kind == Kind.FLAKY else 0
    return Recording(number, kind, words=rng.randint(1, 6), pace=rng.choice((0.05, 0.5, 1.5, 3.0)), failures=failures)
