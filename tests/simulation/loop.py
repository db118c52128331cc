"""A loop without I/O: one thread is many processes, time jumps to the next timer, and a seed decides who runs next.

Within a process callbacks run in the order in which asyncio runs them anywhere; between processes there is no order.
A process can be frozen (SIGSTOP: nothing of it runs until it is thawed) and killed (nothing of it ever runs again).
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any

MOST_AWAITS = 100
"""That a task may come to in its `finally` clauses."""


class Process:
    """What would be a process of the operating system: it owns tasks and timers, and dies as a whole."""

    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind = name, kind
        self.alive, self.frozen = True, False
        self.ever_frozen = False
        self.ready: deque[asyncio.Handle] = deque()
        self.overdue: list[asyncio.Handle] = []
        """Timers that ran out while it was frozen."""
        self.at_death: list[Callable[[], None]] = []

    def freeze(self) -> None:
        self.frozen = self.ever_frozen = True

    def thaw(self) -> None:
        self.frozen = False
        self.ready.extend(self.overdue)
        self.overdue.clear()

    def kill(self) -> None:
        if not self.alive:
            return
        self.alive = False
        self.ready.clear()
        self.overdue.clear()
        for told in self.at_death:
            told()


PROCESS: ContextVar[Process] = ContextVar("process")


class Task(asyncio.Task[Any]):
    """Hashed by the order of their making: sets of tasks are gone through alike in every run of a seed."""

    def __init__(self, *args: Any, number: int, **named: Any) -> None:
        self.number = number
        self.own_context: Context = named["context"]
        super().__init__(*args, **named)

    def __hash__(self) -> int:
        return self.number


class Loop(asyncio.BaseEventLoop):
    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._rng = rng
        self.now = 0.0
        self.world: Any = None
        """What happens on this loop; stand-ins in the platform's code find it here."""
        self.steps = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Process]] = []
        self._count = 0
        self._tasks: list[Task] = []
        self._ended = False
        self.outside = Process("world", "world")
        """What has no fault of its own: clients, the operator, the sky."""
        self._processes = [self.outside]
        self.set_task_factory(self._make_task)
        self.set_exception_handler(lambda _loop, _context: None)

    def start_process(self, name: str, kind: str) -> Process:
        process = Process(name, kind)
        self._processes = [each for each in self._processes if each.alive] + [process]
        return process

    def spawn(self, process: Process, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        context = copy_context()
        context.run(PROCESS.set, process)
        return self.create_task(work, context=context)

    def _make_task(self, loop: asyncio.AbstractEventLoop, work: Any, context: Context | None = None) -> Task:
        self._count += 1
        task = Task(work, loop=loop, number=self._count, context=context or copy_context())
        self._tasks.append(task)
        return task

    def time(self) -> float:
        return self.now

    def call_soon(  # type: ignore[override]  # here and below: not generic in the arguments
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        process = PROCESS.get(self.outside) if context is None else context.get(PROCESS, self.outside)
        if process.alive and not self._ended:
            process.ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        process = PROCESS.get(self.outside) if context is None else context.get(PROCESS, self.outside)
        self._count += 1
        if process.alive and not self._ended:
            heapq.heappush(self._timers, (when, self._count, handle, process))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is skipped when its time comes."""

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> Any:
        """A thread's work is done at one instant of its own."""
        done = self.create_future()

        def work() -> None:
            if done.cancelled():
                return
            try:
                done.set_result(func(*args))
            except Exception as error:
                done.set_exception(error)

        self.call_soon(work)
        return done

    def _run_once(self) -> None:
        runnable = [process for process in self._processes if process.ready and not process.frozen]
        if not runnable:
            self._on_to_the_next_timer()
            return
        self.steps += 1
        chosen = runnable[int(self._rng.random() * len(runnable))] if len(runnable) > 1 else runnable[0]
        handle = chosen.ready.popleft()
        if not handle._cancelled:
            handle._run()

    def _on_to_the_next_timer(self) -> None:
        if not self._timers:
            raise RuntimeError("nothing will ever happen again")
        self.now = max(self.now, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self.now:
            _, _, handle, process = heapq.heappop(self._timers)
            if handle.cancelled() or not process.alive:
                continue
            (process.overdue if process.frozen else process.ready).append(handle)

    def end(self) -> None:
        """Let go of everything that has not come to its end: nothing of it reaches the world any more."""
        self._ended = True
        asyncio._set_running_loop(self)
        try:
            for task in self._tasks:  # some make others as they end
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                task._log_traceback = False
                if not task.done():
                    task.own_context.run(_unwind, task.get_coro())
        finally:
            asyncio._set_running_loop(None)
        self._tasks.clear()
        self.close()


class Ended(BaseException):
    """The world has ended. No code of the platform catches it."""


def _unwind(work: Any) -> None:
    """Out of every `finally`, however often one awaits."""
    for _ in range(MOST_AWAITS):
        try:
            work.throw(Ended())
        except BaseException:
            return
