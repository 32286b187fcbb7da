"""The order in which the process ends, and that it certainly does."""

import asyncio
import signal

import pytest
from virtual_time import run

from capk.manager.process import _end_process_after, _ending


def test_watches_end_after_the_commands_of_the_engine() -> None:
    order: list[str] = []

    async def watch() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(60)  # kopf takes its time
            order.append("watches ended")

    async def provider() -> None:
        async with _ending() as watching:
            try:
                await watching(watch())
            finally:
                order.append("commands ended")

    async def body() -> None:
        process = asyncio.create_task(provider())
        await asyncio.sleep(1)
        process.cancel()
        await asyncio.wait([process])
        assert process.cancelled()

    run(body())
    assert order == ["commands ended", "watches ended"]


def test_failure_of_the_watches_ends_the_process_with_it() -> None:
    async def watch() -> None:
        raise ValueError("a bug of kopf")

    async def provider() -> None:
        async with _ending() as watching:
            await watching(watch())

    with pytest.raises(ValueError, match="a bug of kopf"):
        run(provider())


def test_kernel_ends_a_process_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[tuple[int, float]] = []
    monkeypatch.setattr(signal, "setitimer", lambda timer, seconds: timers.append((timer, seconds)))
    for seconds in (14.5, 0):
        _end_process_after(seconds)
    assert timers == [(signal.ITIMER_REAL, 14.5), (signal.ITIMER_REAL, 0)]
