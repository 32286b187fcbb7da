"""A work queue with client-go's rules. It does not depend on the meaning of keys.

- A waiting key is not added twice.
- A key that a worker has is not given to a second one. If it is added meanwhile, it waits again after `done`.
- Only the earliest of several delayed additions of a key counts.
- Each failure of a key doubles its delay, until `forget`.

One rule is not client-go's: keys that are added as urgent come before the others.

For one event loop, not for threads. It uses the loop's clock.
"""

import asyncio
import random
from collections.abc import Callable, Hashable
from typing import Final, Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)

BASE_SECONDS: Final = 0.5
LIMIT_SECONDS: Final = 300.0
JITTER: Final = 0.1
_MOST_DOUBLINGS: Final = 32
"""Far beyond the delay limit; keeps the number finite."""


class QueueObserver(Protocol):
    """Receives the length of the queue and the waiting times of keys."""

    def depth(self, keys: int) -> None:
        """The number of keys that wait for a worker has changed."""
        ...

    def waited(self, seconds: float) -> None:
        """A worker took a key after that time, which does not include the delay of a delayed addition."""
        ...


class WorkQueue(Generic[K]):
    """A queue of keys for a fixed number of workers.

    base_seconds, limit_seconds: delay after the first failure of a key, and the longest delay.
    """

    def __init__(
        self,
        *,
        base_seconds: float = BASE_SECONDS,
        limit_seconds: float = LIMIT_SECONDS,
        observer: QueueObserver | None = None,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._base = base_seconds
        self._limit = limit_seconds
        self._observer = observer
        self._rng = rng
        self._ready: asyncio.Queue[bool] = asyncio.Queue()  # True for each waiting key, False for the end
        self._urgent: dict[K, float] = {}  # key → since when, in the order of the queue
        self._waiting: dict[K, float] = {}  # the same for the keys after these
        self._working: dict[K, float] = {}
        self._dirty: dict[K, bool] = {}  # added while in work; whether as urgent
        self._delayed: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._taken_at = float("-inf")
        self._is_shut_down = False

    def __len__(self) -> int:
        """Return the number of keys that wait for a worker, without delayed keys and those that a worker has."""
        return len(self._urgent) + len(self._waiting)

    def add(self, key: K, *, urgent: bool = False) -> None:
        """Add the key for the next free worker; urgent: before all keys that are not."""
        if self._is_shut_down or key in self._urgent:
            return
        if key in self._working:
            self._dirty[key] = urgent or self._dirty.get(key, False)
            return
        since = self._waiting.get(key)
        if since is not None:
            if urgent:
                self._urgent[key] = self._waiting.pop(key)
            return
        (self._urgent if urgent else self._waiting)[key] = _now()
        self._ready.put_nowait(True)
        self._report_depth()

    def add_after(self, key: K, seconds: float) -> None:
        """Add the key after that time, or earlier if an earlier addition is pending."""
        if self._is_shut_down:
            return
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        pending = self._delayed.get(key)
        if pending is not None:
            if pending.when() <= loop.time() + seconds:
                return
            pending.cancel()
        self._delayed[key] = loop.call_later(seconds, self._add_delayed, key)

    def add_rate_limited(self, key: K) -> None:
        """Add the key after a delay that doubles with each failure, up to the limit, with a jitter of a tenth."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(self._base * 2 ** min(failures, _MOST_DOUBLINGS), self._limit)
        self.add_after(key, delay * (1 + JITTER * (2 * self._rng() - 1)))

    def forget(self, key: K) -> None:
        """Reset the failures of the key: its next failure has the shortest delay."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """Return the number of failures of the key since the last `forget`."""
        return self._failures.get(key, 0)

    async def get(self) -> K | None:
        """Wait for a key and take it; the caller must call `done`. Returns None once the queue is shut down."""
        if self._is_shut_down:
            return None
        # There is no await after this, so a cancellation cannot lose a key.
        await self._ready.get()
        first = self._urgent or self._waiting
        if not first:  # the queue was shut down
            self._ready.put_nowait(False)  # wakes the next worker
            return None
        now = self._taken_at = _now()
        key = next(iter(first))
        since = first.pop(key)
        self._working[key] = now
        if self._observer:
            self._observer.waited(now - since)
        self._report_depth()
        return key

    def done(self, key: K) -> None:
        """Return the key; it waits again if it was added meanwhile."""
        del self._working[key]
        if (urgent := self._dirty.pop(key, None)) is not None:
            self.add(key, urgent=urgent)

    def shutdown(self) -> None:
        """Hand out no more keys and drop all delays; the next start reconciles every object anyway."""
        self._is_shut_down = True
        for handle in self._delayed.values():
            handle.cancel()
        self._delayed.clear()
        self._urgent.clear()
        self._waiting.clear()
        self._dirty.clear()
        self._ready.put_nowait(False)
        self._report_depth()

    def stalled_for(self) -> float:
        """Return the seconds that keys have waited while no worker took one; 0 if none waits."""
        since = [next(iter(keys.values())) for keys in (self._urgent, self._waiting) if keys]
        return _now() - max(self._taken_at, min(since)) if since else 0.0

    def longest_work(self) -> float:
        """Return the longest time in seconds that a worker has had its key; 0 if none has one."""
        return _now() - min(self._working.values()) if self._working else 0.0

    def _add_delayed(self, key: K) -> None:
        del self._delayed[key]
        self.add(key)

    def _report_depth(self) -> None:
        if self._observer:
            self._observer.depth(len(self))


def _now() -> float:
    return asyncio.get_running_loop().time()
