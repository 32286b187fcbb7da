"""Workers that reconcile the keys of a queue, and periodic work. Does not depend on any kind of object."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import Final, Literal, TypeVar

from capk.errors import ApiError, CommandError, Conflict, LostLease
from capk.runtime.workqueue import WorkQueue

K = TypeVar("K", bound=Hashable)

Outcome = Literal["done", "requeued", "conflict", "unreachable", "error", "timeout"]
ReconcileObserver = Callable[[K, Outcome, float], None]
"""Called after every reconcile with key, outcome and duration in seconds."""

log = logging.getLogger(__name__)

CONFLICTS_IN_A_ROW: Final = 4
"""So many conflicts in a row have a cause that does not pass by itself."""


async def run_workers(
    queue: WorkQueue[K],
    reconcile: Callable[[K], Awaitable[float | None]],
    count: int,
    *,
    deadline_seconds: float | None = None,
    observe: ReconcileObserver[K] | None = None,
) -> None:
    """Run `count` workers that reconcile keys until the queue is shut down.

    reconcile: returns the seconds until the next reconcile, or None to wait for an event.
    deadline_seconds: a reconcile that takes longer is cancelled and tried again.
    Raises LostLease, in an ExceptionGroup, if a reconcile did. Every other exception only delays its key.
    """

    async def work() -> None:
        while (key := await queue.get()) is not None:
            started = _now()
            try:
                outcome = await _reconcile_once(queue, reconcile, key, deadline_seconds)
                if observe:
                    observe(key, outcome, _now() - started)
            finally:
                queue.done(key)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(work(), name=f"worker-{number}")


async def every(
    seconds: float, jitter: float = 0.1, *, rng: Callable[[], float] = random.random
) -> AsyncIterator[None]:
    """Yield repeatedly, each time that long after the previous round ended.

    jitter: share of the time that is added or subtracted at random, so that several processes do not synchronise.
    """
    while True:
        await asyncio.sleep(seconds * (1 + jitter * (2 * rng() - 1)))
        yield


async def repeat(
    what: str,
    work: Callable[[], Awaitable[object]],
    *,
    seconds: float,
    deadline_seconds: float,
    on_round: Callable[[], None],
    jitter: float = 0.1,
    rng: Callable[[], float] = random.random,
) -> None:
    """Repeat the work, each time that long after the previous round ended.

    what: the name of the work in the log. deadline_seconds: a round that takes longer is cancelled.
    on_round: called after each round, successful or not, as the heartbeat of this loop (see `capk.runtime.probes`).
    A round that exceeds its deadline or fails for a cause outside this process (ApiError, CommandError) is logged, and
    the next round tries again. Raises all other exceptions of the work, for `capk.runtime.tasks`.
    """
    async for _ in every(seconds, jitter, rng=rng):
        limit = asyncio.timeout(deadline_seconds)
        try:
            async with limit:
                await work()
        except (ApiError, CommandError) as error:
            log.warning("The %s failed: %s. The next try is in %.0f s.", what, error, seconds)
        except TimeoutError:
            if not limit.expired():
                raise
            log.warning("The %s took longer than %.0f s. The next try is in %.0f s.", what, deadline_seconds, seconds)
        on_round()


async def _reconcile_once(
    queue: WorkQueue[K],
    reconcile: Callable[[K], Awaitable[float | None]],
    key: K,
    deadline_seconds: float | None,
) -> Outcome:
    """Reconcile, and schedule the key again."""
    limit = asyncio.timeout(deadline_seconds)
    try:
        async with limit:
            requeue_seconds = await reconcile(key)
    except LostLease:
        raise
    except Exception as error:
        outcome = _outcome(error, is_late=limit.expired())
        _log_failure(key, error, outcome, before=queue.failures(key))
        queue.add_rate_limited(key)
        return outcome
    queue.forget(key)
    if requeue_seconds is None:
        return "done"
    queue.add_after(key, requeue_seconds)
    return "requeued"


def _outcome(error: Exception, *, is_late: bool) -> Outcome:
    if is_late and isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, Conflict):
        return "conflict"
    return "unreachable" if isinstance(error, ApiError) else "error"


def _log_failure(key: Hashable, error: Exception, outcome: Outcome, *, before: int) -> None:
    """Log why a reconcile failed; before: how many have failed in a row before it."""
    if outcome == "conflict" and before < CONFLICTS_IN_A_ROW:
        # The object was newer than our copy, which is normal for a few writes in a thousand (K22).
        log.debug("%s: %s; reconciling again", key, error)
    elif outcome in ("conflict", "unreachable"):
        log.warning("%s: %s; trying again", key, error)
    elif outcome == "timeout":
        log.error("%s: the reconcile was cancelled at its deadline; trying again", key)
    else:
        # The same failure again has the same traceback.
        log.error("%s: %s: %s; trying again", key, type(error).__name__, error, exc_info=None if before else error)


def _now() -> float:
    return asyncio.get_running_loop().time()
