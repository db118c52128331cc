"""What is done about a call that failed: decided by its status code alone, never by what the server says in words.

Two kinds of remedy: the same call AGAIN on a new connection, a limited number of times, or the NEXT way to ask for the
same words (see `Ask`), for as long as nothing has been heard yet.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from grpc import StatusCode

from domain.errors import EngineBusy, EngineFailed, EngineSilent
from engines.riva.models import RivaModel, choose


class CallFailed(Exception):
    """A call ended with a status other than OK, or was given up by us (DEADLINE_EXCEEDED)."""

    def __init__(self, code: StatusCode) -> None:
        super().__init__(code.name)
        self.code = code


class Way(Enum):
    WHOLE = "Recognize"
    STREAM = "StreamingRecognize"
    PIECES = "Recognize, piece by piece"


@dataclass(frozen=True, slots=True)
class Ask:
    """One way to ask for the words of a recording."""

    way: Way
    model: str
    """Empty: the server chooses by language, rate and way."""
    diarize: bool


def asks(
    models: Sequence[RivaModel], *, ways: Sequence[Way], language: str, hint: str, exact: bool, diarize: bool
) -> list[Ask]:
    """Every way there is, best first. What was wished for is kept for as long as any way to it is left.

    `exact`: the caller named the only one of `models`, so the server is never left to choose. A list of models is not
    believed blindly: some servers say `online` and serve both ways.
    """
    found: dict[Ask, None] = {}
    for speakers in (True, False) if diarize else (False,):
        for way in ways:
            if way is Way.PIECES and speakers:
                continue  # a speaker of one piece cannot be found again in the next
            best = choose(models, streaming=way is Way.STREAM, language=language, hint=hint, diarize=speakers)
            if exact:
                found[Ask(way, models[0].name, speakers)] = None
                continue
            if best is not None:
                found[Ask(way, best.name, speakers)] = None
            found[Ask(way, "", speakers)] = None
    return list(found)


class _Remedy(Enum):
    AGAIN = 1
    NEXT_ASK = 2
    NEXT_WAY = 3
    NONE = 4


@dataclass(frozen=True, slots=True)
class _Rule:
    remedy: _Remedy
    message: str
    """For when the remedy is used up."""
    times: int = 0
    retryable: bool = False
    error: type[EngineFailed] = EngineFailed


_UNRELIABLE = _Rule(_Remedy.AGAIN, "Riva failed at its work; its log says why", times=2, retryable=True)

_NO_KEY = "Riva refuses our credentials: check RIVA_API_KEY and RIVA_FUNCTION_ID"

RULES = {
    StatusCode.UNAVAILABLE: _Rule(
        _Remedy.AGAIN, "Riva cannot be reached, or goes away in mid-call; is it up?", times=5, retryable=True
    ),
    StatusCode.DEADLINE_EXCEEDED: _Rule(
        _Remedy.AGAIN,
        "Riva has said nothing for too long and was given up (WHISPERX_TIMEOUT)",
        times=1,
        retryable=True,
        error=EngineSilent,
    ),
    StatusCode.RESOURCE_EXHAUSTED: _Rule(
        _Remedy.NEXT_WAY,
        "Riva has no room for this call: it is busy, or RIVA_MAX_MESSAGE_BYTES is more than it takes",
        retryable=True,
        error=EngineBusy,
    ),
    StatusCode.INVALID_ARGUMENT: _Rule(
        _Remedy.NEXT_ASK,
        "Riva refuses this recording in every way that we know to ask; its log says which model, language or option "
        "it lacks",
    ),
    StatusCode.INTERNAL: _UNRELIABLE,
    StatusCode.UNKNOWN: _UNRELIABLE,
    StatusCode.ABORTED: _UNRELIABLE,
    StatusCode.CANCELLED: _Rule(_Remedy.NONE, "Riva, or something before it, cancelled the call"),
    StatusCode.UNAUTHENTICATED: _Rule(_Remedy.NONE, _NO_KEY),
    StatusCode.PERMISSION_DENIED: _Rule(_Remedy.NONE, _NO_KEY),
    StatusCode.NOT_FOUND: _Rule(_Remedy.NONE, "there is no such function at RIVA_URI: check RIVA_FUNCTION_ID"),
    StatusCode.UNIMPLEMENTED: _Rule(
        _Remedy.NONE, "what answers at RIVA_URI recognises no speech: check its port and service"
    ),
}


def error_of(code: StatusCode) -> EngineFailed:
    """The failure of a call that nothing is done about here; a job may still be tried again."""
    rule = RULES.get(code, _UNRELIABLE)
    return rule.error(f"{rule.message} ({code.name})", retryable=rule.retryable)


class Recovery:
    """Where one recording stands among the ways to ask for it."""

    def __init__(self, asks: Sequence[Ask]) -> None:
        self._left: Iterator[Ask] = iter(asks)
        self.ask = next(self._left)
        self._failures: Counter[StatusCode] = Counter()

    def after(self, code: StatusCode, *, heard: bool) -> None:
        """Make up for a failed call: afterwards `ask` says what to try now.

        `heard`: the call had been accepted and words had come, so it is not the asking that was wrong. INVALID_ARGUMENT
        is then what a stream is told that was idle for too long, and is mended by a new one.

        Raises:
            EngineFailed: nothing is left to be tried.
        """
        rule = RULES.get(code, _UNRELIABLE)
        times = RULES[StatusCode.UNAVAILABLE].times if heard and rule.remedy is _Remedy.NEXT_ASK else rule.times
        self._failures[code] += 1
        if self._failures[code] <= times:
            return
        following = None if heard else self._following(rule.remedy)
        if following is None:
            raise error_of(code)
        self.ask = following

    def _following(self, remedy: _Remedy) -> Ask | None:
        if remedy is _Remedy.NEXT_ASK:
            return next(self._left, None)
        if remedy is _Remedy.NEXT_WAY:
            return next((ask for ask in self._left if ask.way is not self.ask.way), None)
        return None
