import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import now, run

from capk.kube.throttle import LONGEST_PAUSE_SECONDS, Throttle


async def send(throttle: Throttle, count: int, answer_seconds: float) -> tuple[list[float], int]:
    """Return when each of many simultaneous requests was sent, and how many were in flight at most."""
    sent: list[float] = []
    in_flight = most = 0

    async def request() -> None:
        nonlocal in_flight, most
        async with throttle():
            sent.append(now())
            in_flight += 1
            most = max(most, in_flight)
            await asyncio.sleep(answer_seconds)
            in_flight -= 1

    await asyncio.gather(*(request() for _ in range(count)))
    return sent, most


def test_requests_in_flight_are_bounded() -> None:
    async def body() -> None:
        _, most = await send(Throttle(max_in_flight=3, rate=1000, burst=1000), 20, 1.0)
        assert most == 3

    run(body())


def test_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    async def body() -> None:
        sent, _ = await send(Throttle(max_in_flight=100, rate=10, burst=5), 8, 0.0)
        assert sent == pytest.approx([0, 0, 0, 0, 0, 0.1, 0.2, 0.3])

    run(body())


def test_quiet_time_refills_the_burst_and_no_more() -> None:
    async def body() -> None:
        throttle = Throttle(max_in_flight=100, rate=10, burst=5)
        await send(throttle, 10, 0.0)
        await asyncio.sleep(100)
        sent, _ = await send(throttle, 6, 0.0)
        assert sum(1 for moment in sent if moment == min(sent)) == 5

    run(body())


@given(st.integers(1, 60), st.integers(1, 8), st.integers(1, 20), st.integers(1, 10))
def test_rate_holds_over_every_span(count: int, in_flight: int, rate: int, burst: int) -> None:
    sent, most = run(send(Throttle(max_in_flight=in_flight, rate=rate, burst=burst), count, 0.01))
    assert most <= in_flight
    assert len(sent) == count
    for first in range(count):
        for last in range(first, count):
            assert last - first + 1 <= burst + rate * (sent[last] - sent[first]) + 1e-6


def test_pause_silences_everybody_even_those_that_wait_already() -> None:
    async def body() -> None:
        throttle = Throttle(max_in_flight=10, rate=1, burst=1)
        requests = asyncio.create_task(send(throttle, 3, 0.0))
        await asyncio.sleep(0.5)
        throttle.pause(20)
        throttle.pause(5)  # a shorter one does not shorten it
        sent, _ = await requests
        assert sent == pytest.approx([0, 20.5, 20.5])

    run(body())


def test_absurd_pause_is_cut() -> None:
    async def body() -> None:
        throttle = Throttle(max_in_flight=10, rate=1000, burst=10)
        throttle.pause(1e9)
        sent, _ = await send(throttle, 1, 0.0)
        assert sent == [LONGEST_PAUSE_SECONDS]

    run(body())


def test_cancelled_request_gives_its_place_back() -> None:
    async def body() -> None:
        throttle = Throttle(max_in_flight=1, rate=1000, burst=10)
        throttle.pause(10)
        waiting = asyncio.create_task(send(throttle, 1, 0.0))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        sent, _ = await send(throttle, 1, 0.0)
        assert sent == [10]

    run(body())
