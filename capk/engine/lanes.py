"""Runs background operations by key, in separate bounded lanes, and calls back on changes. Knows nothing of the work.

Callers never wait for the end of an operation: they cancel it, and the last callback reports its end.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import Any, Final

from capk.engine.place import SHARED
from capk.engine.progress import Step
from capk.errors import CapkError

log = logging.getLogger(__name__)

FIRST_SECONDS: Final = 1.0
"""Operations shorter than this are announced only when they end, because every announcement costs an API write."""
QUIET_SECONDS: Final = 2.0
"""Minimum interval between two announced steps of one key, because every announcement costs an API write."""


class Lane(StrEnum):
    """Kinds of operations; each lane of a pool has its own limit, so one never waits for another."""

    CREATE = "create"
    WORKER = "worker"
    """Joins of single workers."""
    LEAVE = "leave"
    """Removals of single workers. What a drain waits for is up to the administrators of the kind cluster."""
    DELETE = "delete"
    REPAIR = "repair"
    """Starts of nodes."""
    ASK = "ask"
    """Stops of nodes, and removals of what may be complete: the nodes are asked first. How long that takes is up to
    root in them."""
    RENEW = "renew"
    """Renewals of certificates. How long a command in a node takes is up to root in it."""
    READ = "read"
    WAIT = "wait"
    """Operations that only wait and use no resources, in a lane of their own so that they block no others."""


@dataclass(frozen=True)
class OperationState:
    """The latest operation of a key; exactly one of `queued`, `running` and `done` is true.

    announced: whether `on_change` has been called for it; later changes stay hidden until the next call.
    step: the last one reported by then.
    error: why it failed; None for success and for cancellation.
    ended_at: in seconds of the given clock.
    """

    lane: Lane
    name: str
    queued: bool = True
    running: bool = False
    done: bool = False
    cancelled: bool = False
    announced: bool = False
    step: Step | None = None
    result: Any = None
    error: Exception | None = None
    ended_at: float | None = None


@dataclass(eq=False)
class _Operation:
    key: Hashable
    work: Callable[[Callable[[Step], None]], Awaitable[Any]]
    state: OperationState
    pool: str
    due: float
    """When it may be announced next, by the loop's clock."""
    step: Step | None = None
    task: asyncio.Task[Any] | None = None
    timer: asyncio.TimerHandle | None = None
    forgotten: bool = False
    begun: bool = False
    on_dropped: Callable[[], None] = lambda: None


@dataclass(eq=False)
class _Queue:
    limit: int
    waiting: deque[_Operation] = field(default_factory=deque)
    running: int = 0


class Lanes:
    """The lanes and their background operations, at most one operation per key.

    limits: how many run concurrently in each lane of a pool; the others wait in order of arrival. A pool is the engines
    that share these limits; see `capk.engine.place`. of_pools: other limits for lanes of some pools.
    on_change: called with the key one second after the request, one second after the start, at new steps after that (at
    most every 2 s), and at the end.
    clock: seconds; only for `ended_at`.
    """

    def __init__(
        self,
        limits: Mapping[Lane, int],
        *,
        of_pools: Mapping[tuple[Lane, str], int] | None = None,
        on_change: Callable[[Hashable], None],
        clock: Callable[[], float],
        first_seconds: float = FIRST_SECONDS,
        quiet_seconds: float = QUIET_SECONDS,
    ) -> None:
        self._limits = dict(limits)
        self._of_pools = dict(of_pools or {})
        self._queues: dict[tuple[Lane, str], _Queue] = {}
        """Only those that have operations: a pool may vanish."""
        self._operations: dict[Hashable, _Operation] = {}
        self._on_change = on_change
        self._clock = clock
        self._first_seconds = first_seconds
        self._quiet_seconds = quiet_seconds
        self._stopped = False

    def start(
        self,
        key: Hashable,
        lane: Lane,
        work: Callable[[Callable[[Step], None]], Awaitable[Any]],
        *,
        pool: str = SHARED,
        name: str = "",
        on_dropped: Callable[[], None] = lambda: None,
    ) -> OperationState:
        """Queue work in its lane, unless the key has an operation that has not ended; return the operation's state.

        work: its argument is a function that reports steps. It is complete before the last `on_change`.
        pool: of the engine that the work is for.
        name: of the operation, for logs and metrics.
        on_dropped: called before the last `on_change` if the work was cancelled before it began, queued or not.
        """
        latest = self._operations.get(key)
        if latest and not latest.state.done:
            return latest.state
        if self._stopped:
            raise RuntimeError("lanes have been stopped")
        due = asyncio.get_running_loop().time() + self._first_seconds
        state = OperationState(lane, name or lane.value)
        operation = _Operation(key, work, state, pool, due, on_dropped=on_dropped)
        self._operations[key] = operation
        self._announce_when_due(operation)
        limit = self._of_pools.get((lane, pool), self._limits[lane])
        queue = self._queues.setdefault((lane, pool), _Queue(limit))
        queue.waiting.append(operation)
        self._fill(queue)
        return operation.state

    def get(self, key: Hashable) -> OperationState | None:
        """Return the latest operation of a key, which is kept after its end until `forget`."""
        operation = self._operations.get(key)
        return operation.state if operation else None

    def count(self, lane: Lane) -> tuple[int, int]:
        """Return the numbers of queued and running operations of a lane, in all pools."""
        queues = [queue for (one, _), queue in self._queues.items() if one is lane]
        return sum(len(queue.waiting) for queue in queues), sum(queue.running for queue in queues)

    def forget(self, key: Hashable) -> None:
        """Drop a key; an unfinished operation is dropped when it ends."""
        if operation := self._operations.get(key):
            operation.forgotten = True
            if operation.state.done:
                del self._operations[key]

    def cancel(self, key: Hashable, *, queued_only: bool = False) -> None:
        """Cancel the operation of a key; `on_change` is called when its work, including its processes, has ended.

        queued_only: cancel it only if it has not started.
        """
        operation = self._operations.get(key)
        if operation is None or operation.state.done:
            return
        if operation.task is None:
            lane = operation.state.lane
            self._queues[lane, operation.pool].waiting.remove(operation)
            self._drop_if_empty(lane, operation.pool)
            self._end(operation, cancelled=True)
        elif not queued_only and not operation.task.cancelling():
            operation.task.cancel()

    async def stop(self) -> None:
        """Cancel all operations and wait for their end; no new one can start."""
        self._stopped = True
        unfinished = [operation for operation in self._operations.values() if not operation.state.done]
        # Queued operations first; otherwise they would start when others end.
        for operation in sorted(unfinished, key=lambda one: one.state.running):
            self.cancel(operation.key)
        if tasks := [operation.task for operation in unfinished if operation.task]:
            await asyncio.wait(tasks)

    def _drop_if_empty(self, lane: Lane, pool: str) -> None:
        queue = self._queues.get((lane, pool))
        if queue and not queue.waiting and not queue.running:
            del self._queues[lane, pool]

    def _fill(self, queue: _Queue) -> None:
        while queue.waiting and queue.running < queue.limit:
            operation = queue.waiting.popleft()
            queue.running += 1
            operation.state = replace(operation.state, queued=False, running=True)
            # Queued operations have already been announced; a short one needs no second announcement.
            operation.due = max(operation.due, asyncio.get_running_loop().time() + self._first_seconds)
            operation.task = asyncio.create_task(self._work(operation), name=operation.state.name)
            operation.task.add_done_callback(partial(self._ended, operation))
            self._announce_when_due(operation)

    async def _work(self, operation: _Operation) -> Any:
        operation.begun = True
        return await operation.work(lambda step: self._report(operation, step))

    def _report(self, operation: _Operation, step: Step) -> None:
        if operation.state.done or operation.step == step:
            return
        operation.step = step
        self._announce_when_due(operation)

    def _announce_when_due(self, operation: _Operation) -> None:
        loop = asyncio.get_running_loop()
        if operation.due <= loop.time():
            self._announce(operation)
        elif operation.timer is None:
            operation.timer = loop.call_at(operation.due, self._announce, operation)

    def _announce(self, operation: _Operation) -> None:
        if operation.timer:
            operation.timer.cancel()
            operation.timer = None
        operation.due = asyncio.get_running_loop().time() + self._quiet_seconds
        operation.state = replace(operation.state, announced=True, step=operation.step)
        self._on_change(operation.key)

    def _ended(self, operation: _Operation, task: asyncio.Task[Any]) -> None:
        lane = operation.state.lane
        queue = self._queues[lane, operation.pool]
        queue.running -= 1
        if task.cancelled():
            self._end(operation, cancelled=True)
        elif error := task.exception():
            failed = error if isinstance(error, Exception) else RuntimeError(repr(error))
            if not isinstance(failed, CapkError):
                log.error("%s failed with an unexpected error: %r", operation.state.name, failed, exc_info=error)
            self._end(operation, error=failed.with_traceback(None))
        else:
            self._end(operation, result=task.result())
        self._fill(queue)
        self._drop_if_empty(lane, operation.pool)

    def _end(self, operation: _Operation, **outcome: Any) -> None:
        # The task has the traceback too, which keeps all that the operation had read: it may be secret.
        operation.task = None
        operation.state = replace(
            operation.state, queued=False, running=False, done=True, ended_at=self._clock(), **outcome
        )
        if operation.forgotten:
            del self._operations[operation.key]
        if not operation.begun:
            operation.on_dropped()
        self._announce(operation)
