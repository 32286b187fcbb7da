"""Virtual time and simulated processes: a deterministic event loop, and the clocks that code under test reads.

Time advances only if nothing is left to do, and then jumps to the next timer. Every callback belongs to a simulated
process (a context variable). `SimulatedLoop.kill` drops all callbacks of a process, so nothing of it ever runs again:
no `finally`, no `except`, exactly as after SIGKILL.
"""

import asyncio
import contextvars
import ctypes
import random
import socket
import sys
import time
import types
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

EPOCH: Final = datetime(2030, 1, 1, tzinfo=UTC)
PROCESS: Final[contextvars.ContextVar[str]] = contextvars.ContextVar("simulated_process", default="")
"""The simulated process that a callback belongs to; empty: the simulation itself."""


class Deadlock(Exception):
    """Every task waits and no timer is set."""


class Livelock(Exception):
    """Code loops without a pause."""


ROUNDS_WITHOUT_TIME: Final = 20_000
"""Rounds of the loop without a pause that count as an endless loop."""
ROUND_SECONDS: Final = 1e-6
"""Virtual time that a round of the loop takes."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs code that awaits only timers and other coroutines; sockets, threads and processes raise.

    steps: number of rounds of the loop, a measure of the work.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._dead: set[str] = set()
        self._selector = self
        self.graveyard: set[asyncio.Task[Any]] = set()
        self._idle_rounds = 0
        self.steps = 0

    def time(self) -> float:
        """Return the virtual time in seconds since the start of the life."""
        return self._now

    def select(self, timeout: float | None) -> Sequence[Any]:
        """Jump to the next timer. BaseEventLoop calls this to wait for sockets."""
        self.steps += 1
        if timeout is None:
            raise Deadlock("every task waits and no timer is set")
        self._idle_rounds = 0 if timeout else self._idle_rounds + 1
        # Code takes time. Otherwise a wait shorter than the clock's resolution would never end.
        self._now += ROUND_SECONDS
        if self._idle_rounds > ROUNDS_WITHOUT_TIME:
            raise Livelock("the provider goes round and round without a pause")
        if timeout > 0:
            self._now = max(self._now, self._scheduled[0].when())  # type: ignore[attr-defined]
        return ()

    def kill(self, process: str) -> None:
        """Drop all present and future callbacks of a simulated process."""
        self._dead.add(process)
        # If collected during the life, their coroutines would run `finally` blocks at an arbitrary moment.
        self.graveyard |= asyncio.all_tasks(self)
        for handle in [*self._ready, *self._scheduled]:  # type: ignore[attr-defined]
            if handle._context.get(PROCESS) == process:
                handle.cancel()

    def is_dead(self, process: str) -> bool:
        """Return whether the process was killed."""
        return process in self._dead

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Schedule a callback, unless its process is dead."""
        handle = super().call_soon(callback, *args, context=context)
        return self._unless_dead(handle)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule a callback at a time, unless its process is dead."""
        timer = super().call_at(when, callback, *args, context=context)
        self._unless_dead(timer)
        return timer

    def _unless_dead(self, handle: asyncio.Handle) -> asyncio.Handle:
        if self._dead and handle._context.get(PROCESS) in self._dead:  # type: ignore[attr-defined]
            handle.cancel()
        return handle

    def _process_events(self, event_list: Sequence[Any]) -> None:
        return None

    def _write_to_self(self) -> None:
        return None

    def run_in_executor(self, *_: Any) -> Any:  # type: ignore[override]
        """Not supported: a thread would not be deterministic."""
        raise RuntimeError("the simulation has no threads")


def context_of(process: str) -> contextvars.Context:
    """Return a context whose callbacks belong to that simulated process."""
    context = contextvars.Context()
    context.run(PROCESS.set, process)
    return context


def spawn(
    coroutine: Coroutine[Any, Any, Any], process: str = "", context: contextvars.Context | None = None
) -> asyncio.Task[Any]:
    """Run a coroutine as part of a simulated process."""
    task = asyncio.get_running_loop().create_task(coroutine, context=context or context_of(process))
    # A killed process leaves its tasks pending, which asyncio would report when they are collected.
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    return task


def now() -> float:
    """Return the virtual time in seconds."""
    return asyncio.get_running_loop().time()


def timestamp() -> str:
    """Return the virtual time in the API server's format."""
    return moment().strftime("%Y-%m-%dT%H:%M:%SZ")


def moment() -> datetime:
    """Return the virtual time as a date."""
    return EPOCH + timedelta(seconds=now())


class _SimulatedDatetime(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return moment().astimezone(tz) if tz else moment().replace(tzinfo=None)

    @classmethod
    def utcnow(cls) -> datetime:  # type: ignore[override]
        return moment().replace(tzinfo=None)


class _SimulatedTime(types.ModuleType):
    """Replaces the module `time`."""

    def __init__(self) -> None:
        super().__init__("time")
        self.monotonic = self.perf_counter = now
        self.time = lambda: moment().timestamp()

    def sleep(self, seconds: float) -> None:
        raise RuntimeError("the simulation never sleeps")

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


_INSTEAD: Final[dict[Any, Any]] = {
    time.monotonic: now,
    time.perf_counter: now,
    time.time: lambda: moment().timestamp(),
    socket.gethostname: lambda: "simulated",
}
_MODULES: Final = {id(datetime): _SimulatedDatetime, id(time): _SimulatedTime()}


def _instead_of(value: Any) -> Any:
    if id(value) in _MODULES:
        return _MODULES[id(value)]
    return _INSTEAD.get(value) if isinstance(value, types.BuiltinFunctionType | types.FunctionType) else None


def _defaults(function: Any) -> Iterator[tuple[Any, str, Any]]:
    """Yield clocks that are bound as defaults of a function."""
    positional = getattr(function, "__defaults__", None) or ()
    if any(_instead_of(value) for value in positional):
        yield function, "__defaults__", tuple(_instead_of(value) or value for value in positional)
    named = getattr(function, "__kwdefaults__", None) or {}
    if any(_instead_of(value) for value in named.values()):
        yield function, "__kwdefaults__", {key: _instead_of(value) or value for key, value in named.items()}


def _patch_points(package: str) -> Iterator[tuple[Any, str, Any]]:
    """Yield (owner, attribute, replacement) for every real clock that modules of a package refer to."""
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] != package or module is None:
            continue
        for attribute, value in list(vars(module).items()):
            if (replacement := _instead_of(value)) is not None:
                yield module, attribute, replacement
            if getattr(value, "__module__", None) != name:
                continue
            functions = [value, *vars(value).values()] if isinstance(value, type) else [value]
            for function in functions:
                yield from _defaults(function)


_points: list[tuple[Any, str, Any]] | None = None


@contextmanager
def simulated_clocks(seed: int | str) -> Iterator[None]:
    """Replace the clocks and random numbers of the package `capk`; `random` starts with the seed.

    Modules have to be imported before.
    """
    global _points
    if _points is None:
        _points = list(_patch_points("capk"))
    saved = [(owner, attribute, getattr(owner, attribute)) for owner, attribute, _ in _points]
    state = random.getstate()
    random.seed(f"chance of {seed}")
    for owner, attribute, replacement in _points:
        setattr(owner, attribute, replacement)
    try:
        yield
    finally:
        for owner, attribute, original in saved:
            setattr(owner, attribute, original)
        random.setstate(state)


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in virtual time that begins at 0, and drop remaining tasks at its end."""
    loop = SimulatedLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(loop.create_task(main, context=context_of("")))
    finally:
        asyncio.set_event_loop(None)
        _keep(asyncio.all_tasks(loop) | loop.graveyard)
        loop._ready.clear()  # type: ignore[attr-defined]
        loop._scheduled.clear()  # type: ignore[attr-defined]
        loop.close()


def _keep(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Keep unfinished tasks for ever.

    If Python collects a coroutine, it runs the `finally` blocks with all their calls. A killed process
    does not do this, and it would happen in the middle of another life. Therefore many lives run in processes that
    are replaced periodically.
    """
    for task in tasks:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(task))
