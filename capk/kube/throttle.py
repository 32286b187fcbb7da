"""Limits requests to the API server: the number in flight, and none at all after a Retry-After.

There is no limit of requests per second: the API server's own priority and fairness sets one and responds with 429.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

LONGEST_PAUSE_SECONDS: Final = 60.0
"""Limit of a pause: an absurd Retry-After must not stop the provider for hours."""


class Throttle:
    """The throttle for all requests of a client, in order of arrival.

    max_in_flight: how many requests may wait for a response concurrently.
    """

    def __init__(self, *, max_in_flight: int) -> None:
        self._slots = asyncio.Semaphore(max_in_flight)
        self._silent_until = float("-inf")

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it."""
        async with self._slots:
            await self._silence()
            yield

    def pause(self, seconds: float) -> None:
        """Send nothing for that time, which the server set in a Retry-After."""
        self._silent_until = max(self._silent_until, _now() + min(seconds, LONGEST_PAUSE_SECONDS))

    async def _silence(self) -> None:
        while self._silent_until > _now():  # may have grown during the sleep
            await _sleep_until(self._silent_until)


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - _now()))


def _now() -> float:
    return asyncio.get_running_loop().time()
