"""Limits what we ask of the API server: requests in flight, requests a second, and silence when it asks for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

LONGEST_PAUSE_SECONDS: Final = 60.0
"""An absurd Retry-After must not silence the provider for hours."""


class Throttle:
    """One for all requests of a client, in order of arrival.

    max_in_flight: requests that may wait for an answer at the same time.
    rate: requests a second in the long run; burst: how many may go at once after a quiet time.
    """

    def __init__(self, *, max_in_flight: int, rate: float, burst: int) -> None:
        self._slots = asyncio.Semaphore(max_in_flight)
        self._interval = 1 / rate
        self._burst_seconds = (burst - 1) / rate
        self._next_turn = float("-inf")
        self._silent_until = float("-inf")

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it."""
        async with self._slots:
            await self._wait_for_turn()
            yield

    def pause(self, seconds: float) -> None:
        """Send nothing for that time: the server said when it wants to hear from us again (Retry-After)."""
        self._silent_until = max(self._silent_until, _now() + min(seconds, LONGEST_PAUSE_SECONDS))

    async def _wait_for_turn(self) -> None:
        # Turns lie one interval apart; those that nobody took stay valid as long as a burst lasts.
        turn = max(self._next_turn, _now() - self._burst_seconds)
        self._next_turn = turn + self._interval
        await _sleep_until(turn)
        while self._silent_until > _now():  # may have grown while we slept
            await _sleep_until(self._silent_until)


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - _now()))


def _now() -> float:
    return asyncio.get_running_loop().time()
