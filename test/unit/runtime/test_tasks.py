import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from capk.errors import CapkError, LostLease, Unreachable
from capk.runtime.tasks import supervised
from test.unit.virtual_time import now, run


async def for_ever() -> None:
    await asyncio.Event().wait()


async def failing(error: BaseException, after: float = 1) -> None:
    await asyncio.sleep(after)
    raise error


def ending(order: list[str], name: str) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        try:
            await for_ever()
        finally:
            await asyncio.sleep(1)
            order.append(name)

    return work


def test_tasks_run_beside_the_body_and_end_with_it() -> None:
    order: list[str] = []

    async def body() -> None:
        async with supervised(("first", ending(order, "first")()), ("second", ending(order, "second")())):
            await asyncio.sleep(5)
            assert order == []
        assert (sorted(order), now()) == (["first", "second"], 6)

    run(body())


def test_failure_of_a_task_ends_the_body_with_its_name_and_cause(caplog: pytest.LogCaptureFixture) -> None:
    order: list[str] = []

    async def body() -> None:
        async with supervised(("resync", failing(ValueError("a bug"))), ("other", ending(order, "other")())):
            try:
                await for_ever()
            finally:
                order.append("body")

    with pytest.raises(CapkError, match=r"^the resync failed: ValueError: a bug$"):
        run(body())
    assert order == ["body", "other"]
    (record,) = caplog.records
    assert record.levelno == logging.CRITICAL
    assert record.exc_info
    assert isinstance(record.exc_info[1], ValueError)


def test_failure_of_ours_is_named_in_its_own_words() -> None:
    async def body() -> None:
        async with supervised(("resync", failing(Unreachable("list", "secrets", 0, "no answer")))):
            await for_ever()

    with pytest.raises(CapkError, match=r"^the resync failed: list secrets: no answer$"):
        run(body())


@pytest.mark.parametrize("is_grouped", [False, True])
def test_lost_lease_stays_one(is_grouped: bool) -> None:
    lost = LostLease("b holds it now")
    error = ExceptionGroup("workers", [ValueError("x"), ExceptionGroup("worker", [lost])]) if is_grouped else lost

    async def body() -> None:
        async with supervised(("workers", failing(error))):
            await for_ever()

    with pytest.raises(LostLease, match="b holds it now"):
        run(body())


def test_task_that_starts_with_a_failure_ends_the_body() -> None:
    async def body() -> None:
        async with supervised(("resync", failing(ValueError("a bug"), after=0))):
            await for_ever()

    with pytest.raises(CapkError, match="a bug"):
        run(body())


def test_body_that_ends_in_the_moment_of_the_failure_reports_it() -> None:
    async def supervisor() -> None:
        async with supervised(("resync", failing(ValueError("a bug")))):
            await asyncio.sleep(0)  # the task goes first
            await asyncio.sleep(1)

    async def body() -> None:
        with pytest.raises(CapkError, match="a bug"):
            await supervisor()
        await asyncio.sleep(1)  # no cancellation comes later

    run(body())


def test_error_of_the_body_passes_through_though_a_task_fails_at_its_end() -> None:
    async def careless() -> None:
        try:
            await for_ever()
        finally:
            raise ValueError("of the end")

    async def body() -> None:
        async with supervised(("resync", careless())):
            await asyncio.sleep(1)
            raise KeyError("of the body")

    with pytest.raises(KeyError, match="of the body"):
        run(body())


def test_group_of_errors_of_the_body_passes_through() -> None:
    async def body() -> None:
        async with supervised(("resync", for_ever())):
            raise ExceptionGroup("of the body", [ValueError("a")])

    with pytest.raises(ExceptionGroup, match="of the body"):
        run(body())


def test_task_that_waits_for_something_cancelled_has_failed() -> None:
    async def body() -> None:
        awaited = asyncio.create_task(for_ever())

        async def waiter() -> None:
            await awaited

        async with supervised(("inventory", waiter())):
            await asyncio.sleep(1)
            awaited.cancel()
            await for_ever()

    with pytest.raises(CapkError, match="the inventory failed: what it waited for was cancelled"):
        run(body())


def test_task_that_returns_does_not_end_the_body() -> None:
    async def body() -> None:
        async with supervised(("first inventory", asyncio.sleep(1))):
            await asyncio.sleep(5)
        assert now() == 5

    run(body())


def test_cancelling_the_body_from_outside_ends_the_tasks() -> None:
    order: list[str] = []

    async def supervisor() -> None:
        async with supervised(("resync", ending(order, "resync")())):
            await for_ever()

    async def body() -> None:
        task = asyncio.create_task(supervisor())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert order == ["resync"]

    run(body())
