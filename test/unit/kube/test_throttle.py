import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capk.kube.throttle import LONGEST_PAUSE_SECONDS, Throttle
from test.unit.virtual_time import now, run


async def send(throttle: Throttle, count: int, answer_seconds: float) -> tuple[list[float], int]:
    """Return the send times of many concurrent requests, and their maximum number in flight."""
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
        _, most = await send(Throttle(max_in_flight=3), 20, 1.0)
        assert most == 3

    run(body())


@given(st.integers(1, 60), st.integers(1, 8))
def test_requests_wait_for_nothing_but_a_place(count: int, in_flight: int) -> None:
    sent, most = run(send(Throttle(max_in_flight=in_flight), count, 1.0))
    assert most == min(count, in_flight)
    assert sent == [number // in_flight for number in range(count)]


def test_pause_silences_every_request_even_those_that_wait_already() -> None:
    async def body() -> None:
        throttle = Throttle(max_in_flight=1)
        requests = asyncio.create_task(send(throttle, 3, 1.0))
        await asyncio.sleep(0.5)
        throttle.pause(20)
        throttle.pause(5)  # a shorter one does not shorten it
        sent, _ = await requests
        assert sent == pytest.approx([0, 20.5, 21.5])

    run(body())


def test_pause_that_grows_during_the_wait_is_kept() -> None:
    async def body() -> None:
        throttle = Throttle(max_in_flight=10)
        throttle.pause(10)
        requests = asyncio.create_task(send(throttle, 1, 0.0))
        await asyncio.sleep(5)
        throttle.pause(20)
        assert (await requests)[0] == [25]

    run(body())


def test_absurd_pause_is_cut() -> None:
    async def body() -> None:
        throttle = Throttle(max_in_flight=10)
        throttle.pause(1e9)
        sent, _ = await send(throttle, 1, 0.0)
        assert sent == [LONGEST_PAUSE_SECONDS]

    run(body())


def test_cancelled_request_gives_its_place_back() -> None:
    async def body() -> None:
        throttle = Throttle(max_in_flight=1)
        throttle.pause(10)
        waiting = asyncio.create_task(send(throttle, 1, 0.0))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        sent, _ = await send(throttle, 1, 0.0)
        assert sent == [10]

    run(body())
