"""Keys that wait for work, by client-go's rules; knows nothing of what a key means.

- A key that waits is not added twice.
- A key in work is not given to a second worker; added meanwhile, it waits again once the first one is done.
- Of several delayed additions of a key the earliest counts.
- Failures of a key double its delay until `forget`.

For one event loop, not for threads. Time is the loop's.
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
"""Far beyond the limit; keeps the number finite."""


class QueueObserver(Protocol):
    """Receives the length of the queue and how long keys had to wait."""

    def depth(self, keys: int) -> None:
        """The number of keys that wait for a worker has changed."""
        ...

    def waited(self, seconds: float) -> None:
        """A worker took a key after that time; the delay of a delayed addition is not part of it."""
        ...


class WorkQueue(Generic[K]):
    """A queue of keys for a fixed number of workers.

    base_seconds, limit_seconds: delay after the first failure of a key, and the longest one.
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
        self._ready: asyncio.Queue[K | None] = asyncio.Queue()
        self._waiting: dict[K, float] = {}  # key → since when, in the order of the queue
        self._working: dict[K, float] = {}
        self._dirty: set[K] = set()  # added while in work
        self._delayed: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._taken_at = float("-inf")
        self._is_shut_down = False

    def __len__(self) -> int:
        """Return how many keys wait for a worker; those delayed or in work are not among them."""
        return len(self._waiting)

    def add(self, key: K) -> None:
        """Let the key be worked on as soon as a worker is free."""
        if self._is_shut_down or key in self._waiting:
            return
        if key in self._working:
            self._dirty.add(key)
            return
        self._waiting[key] = _now()
        self._ready.put_nowait(key)
        self._report_depth()

    def add_after(self, key: K, seconds: float) -> None:
        """Add the key after that time, or earlier if that was asked for."""
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
        """Add the key after a delay that doubles with each failure, up to the limit, give or take a tenth."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(self._base * 2 ** min(failures, _MOST_DOUBLINGS), self._limit)
        self.add_after(key, delay * (1 + JITTER * (2 * self._rng() - 1)))

    def forget(self, key: K) -> None:
        """Take the key as healthy again: its next failure waits the shortest time."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """Return how often the key failed since it was last forgotten."""
        return self._failures.get(key, 0)

    async def get(self) -> K | None:
        """Wait for a key and take it; `done` must follow. None when the queue is shut down."""
        if self._is_shut_down:
            return None
        # Nothing is awaited once the key is out of the inner queue, so a cancellation cannot lose it.
        key = await self._ready.get()
        if self._is_shut_down or key is None:
            self._ready.put_nowait(None)  # wakes the next worker
            return None
        now = self._taken_at = _now()
        since = self._waiting.pop(key)
        self._working[key] = now
        if self._observer:
            self._observer.waited(now - since)
        self._report_depth()
        return key

    def done(self, key: K) -> None:
        """Give the key back; it waits again if it was added meanwhile."""
        del self._working[key]
        if key in self._dirty:
            self._dirty.discard(key)
            self.add(key)

    def shutdown(self) -> None:
        """Give out no more keys and forget all delays; whatever waited is looked at after the next start anyway."""
        self._is_shut_down = True
        for handle in self._delayed.values():
            handle.cancel()
        self._delayed.clear()
        self._waiting.clear()
        self._dirty.clear()
        self._ready.put_nowait(None)
        self._report_depth()

    def stalled_for(self) -> float:
        """Return the seconds for which keys have waited while no worker took one, 0 when none waits."""
        if not self._waiting:
            return 0.0
        return _now() - max(self._taken_at, next(iter(self._waiting.values())))

    def longest_work(self) -> float:
        """Return the seconds that the oldest key has been in work, 0 when none is."""
        return _now() - min(self._working.values()) if self._working else 0.0

    def _add_delayed(self, key: K) -> None:
        del self._delayed[key]
        self.add(key)

    def _report_depth(self) -> None:
        if self._observer:
            self._observer.depth(len(self._waiting))


def _now() -> float:
    return asyncio.get_running_loop().time()
