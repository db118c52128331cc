"""Small changes to code by name, made for a while: a stretch of a function's source is replaced by another."""

import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from types import FunctionType
from typing import Any

from tests.simulation import decide


@dataclass(frozen=True, slots=True)
class Patch:
    name: str
    where: str
    """module:function or module:Class.function."""
    old: str
    new: str
    what: str
    """What it makes of the platform."""

    def fits(self) -> bool:
        return self.old in self._source()

    @contextmanager
    def applied(self) -> Iterator[None]:
        owner, name, original = self._found()
        source = self._source()
        assert source.count(self.old) == 1, f"{self.where} does not say {self.old!r} once"
        made: dict[str, Any] = {}
        exec(compile(source.replace(self.old, self.new), f"<{self.name}>", "exec"), original.__globals__, made)
        with _in_place(owner, name, original, made[name]):
            yield

    def _found(self) -> tuple[Any, str, FunctionType]:
        module, _, path = self.where.partition(":")
        *way, name = path.split(".")
        owner: Any = import_module(module)
        for step in way:
            owner = getattr(owner, step)
        function = inspect.unwrap(getattr(owner, name))
        return owner, name, function

    def _source(self) -> str:
        return textwrap.dedent(inspect.getsource(self._found()[2]))


@contextmanager
def _in_place(owner: Any, name: str, original: FunctionType, changed: Any) -> Iterator[None]:
    kept, transitions = inspect.getattr_static(owner, name), dict(decide.TRANSITIONS)
    setattr(owner, name, changed)
    for move, transition in transitions.items():
        if transition.function is original:
            decide.TRANSITIONS[move] = replace(transition, function=changed)
    try:
        yield
    finally:
        setattr(owner, name, kept)
        decide.TRANSITIONS.update(transitions)
