import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from capk.errors import CommandTimedOut, Conflict, LostLease, Unreachable
from capk.runtime.queueworkers import every, repeat, run_workers
from capk.runtime.workqueue import WorkQueue
from test.unit.virtual_time import now, run

Reconcile = Callable[[str], Awaitable[float | None]]


async def work_for(
    seconds: float, keys: str, reconcile: Reconcile, count: int = 1, **options: object
) -> WorkQueue[str]:
    queue: WorkQueue[str] = WorkQueue(rng=lambda: 0.5)
    for key in keys:
        queue.add(key)
    workers = asyncio.create_task(run_workers(queue, reconcile, count, **options))
    await asyncio.sleep(seconds)
    queue.shutdown()
    await workers
    return queue


def failing_first(error: Exception, times: list[float]) -> Reconcile:
    async def reconcile(key: str) -> None:
        times.append(now())
        if len(times) == 1:
            raise error

    return reconcile


def test_every_key_is_reconciled_once() -> None:
    seen: list[str] = []

    async def reconcile(key: str) -> None:
        seen.append(key)

    run(work_for(1, "abca", reconcile, count=2))
    assert sorted(seen) == ["a", "b", "c"]


def test_count_bounds_the_work_at_once() -> None:
    running: Counter[str] = Counter()
    most = 0

    async def reconcile(key: str) -> None:
        nonlocal most
        running["now"] += 1
        most = max(most, running["now"])
        await asyncio.sleep(1)
        running["now"] -= 1

    run(work_for(100, "abcdefgh", reconcile, count=3))
    assert most == 3


def test_requeue_time_is_kept() -> None:
    times: list[float] = []

    async def reconcile(key: str) -> float | None:
        times.append(now())
        return 5.0 if len(times) < 3 else None

    run(work_for(100, "a", reconcile))
    assert times == [0, 5, 10]


def test_requeue_at_once_lets_others_go_first() -> None:
    seen: list[str] = []

    async def reconcile(key: str) -> float | None:
        seen.append(key)
        return 0.0 if seen.count(key) == 1 else None

    run(work_for(1, "ab", reconcile))
    assert seen == ["a", "b", "a", "b"]


@pytest.mark.rule("K22")
def test_conflict_looks_again_soon_and_quietly(caplog: pytest.LogCaptureFixture) -> None:
    times: list[float] = []
    with caplog.at_level(logging.INFO):
        run(work_for(10, "a", failing_first(Conflict("patch", "kindclusters a/b", 409, "stale"), times)))
    assert times == [0, 0.5]
    assert caplog.records == []


@pytest.mark.rule("K11")
def test_exception_loses_no_key_and_is_logged_with_its_traceback_once(caplog: pytest.LogCaptureFixture) -> None:
    times: list[float] = []

    async def reconcile(key: str) -> None:
        times.append(now())
        if len(times) < 4:
            raise ValueError("broken")

    queue = run(work_for(100, "a", reconcile))
    assert times == pytest.approx([0, 0.5, 1.5, 3.5])
    assert queue.failures("a") == 0
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [bool(record.exc_info) for record in errors] == [True, False, False]
    assert errors[0].getMessage() == "a: ValueError: broken; trying again"


def test_unreachable_api_server_is_a_warning_without_traceback(caplog: pytest.LogCaptureFixture) -> None:
    times: list[float] = []
    run(work_for(10, "a", failing_first(Unreachable("get", "kindclusters", 0, "no answer"), times)))
    assert times == [0, 0.5]
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("WARNING", None)]


def test_success_resets_the_backoff() -> None:
    times: list[float] = []

    async def reconcile(key: str) -> float | None:
        times.append(now())
        if len(times) in (1, 2, 4):
            raise Conflict("patch", "x", 409, "stale")
        return 10.0 if len(times) == 3 else None

    run(work_for(100, "a", reconcile))
    assert times == pytest.approx([0, 0.5, 1.5, 11.5, 12.0])


def test_reconcile_past_its_deadline_is_cancelled_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    times: list[float] = []

    async def reconcile(key: str) -> None:
        times.append(now())
        if len(times) == 1:
            await asyncio.sleep(1000)

    run(work_for(100, "a", reconcile, deadline_seconds=30))
    assert times == [0, 30.5]
    assert "deadline" in caplog.text


def test_timeout_of_something_inside_is_an_ordinary_failure(caplog: pytest.LogCaptureFixture) -> None:
    run(work_for(10, "a", failing_first(TimeoutError("inner"), []), deadline_seconds=30))
    assert "TimeoutError: inner" in caplog.text


def test_lost_lease_ends_all_workers() -> None:
    async def reconcile(key: str) -> None:
        if key == "b":
            raise LostLease("gone")
        await asyncio.sleep(1000)

    async def body() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        queue.add("b")
        with pytest.raises(ExceptionGroup) as raised:
            await run_workers(queue, reconcile, 2)
        assert raised.group_contains(LostLease)
        assert now() == 0

    run(body())


def test_cancelled_workers_give_their_keys_back() -> None:
    async def reconcile(key: str) -> None:
        await asyncio.sleep(1000)

    async def body() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        workers = asyncio.create_task(run_workers(queue, reconcile, 1))
        await asyncio.sleep(1)
        workers.cancel()
        await asyncio.gather(workers, return_exceptions=True)
        assert queue.longest_work() == 0

    run(body())


def test_observer_hears_of_every_round() -> None:
    outcomes: list[tuple[str, str, float]] = []

    async def reconcile(key: str) -> float | None:
        await asyncio.sleep(2)
        if key == "b" and not outcomes[1:]:
            raise Conflict("patch", "x", 409, "stale")
        return 1000.0 if key == "c" else None

    def observe(key: str, outcome: str, seconds: float) -> None:
        outcomes.append((key, outcome, seconds))

    run(work_for(20, "abc", reconcile, observe=observe))
    assert outcomes == [("a", "done", 2), ("b", "conflict", 2), ("c", "requeued", 2), ("b", "done", 2)]


def test_ticks_come_after_the_interval_with_jitter() -> None:
    async def body() -> None:
        chances = iter([0.0, 0.5, 1.0])
        times = []
        async for _ in every(10, jitter=0.1, rng=lambda: next(chances)):
            times.append(now())
            await asyncio.sleep(5)  # the work of a round delays the next one
            if len(times) == 3:
                break
        assert times == pytest.approx([9, 24, 40])

    run(body())


class Enough(Exception):
    """The test has seen all that it needs."""


async def repeated(work: Callable[[int], Awaitable[None]], rounds: int, **options: float) -> list[float]:
    """Return the end times of the first rounds."""
    beats: list[float] = []
    count = 0

    async def once() -> None:
        nonlocal count
        count += 1
        await work(count)

    def on_round() -> None:
        beats.append(now())
        if len(beats) == rounds:
            raise Enough

    with pytest.raises(Enough):
        await repeat(
            "resync", once, on_round=on_round, rng=lambda: 0.5, **{"seconds": 10.0, "deadline_seconds": 30.0, **options}
        )
    return beats


@pytest.mark.rule("K44")
def test_loop_beats_though_its_rounds_fail(caplog: pytest.LogCaptureFixture) -> None:
    async def work(number: int) -> None:
        if number == 1:
            raise Unreachable("list", "kindclusters", 0, "no answer")
        if number == 2:
            raise CommandTimedOut(["docker", "ps"], "", 20)

    assert run(repeated(work, rounds=3)) == [10, 20, 30]
    assert [record.getMessage() for record in caplog.records] == [
        "The resync failed: list kindclusters: no answer. The next try is in 10 s.",
        "The resync failed: docker ps: stopped at its deadline of 20 s. The next try is in 10 s.",
    ]


@pytest.mark.rule("K44")
def test_loop_beats_though_a_round_hangs(caplog: pytest.LogCaptureFixture) -> None:
    async def work(number: int) -> None:
        await asyncio.sleep(1000 if number == 1 else 1)

    assert run(repeated(work, rounds=2)) == [40, 51]
    assert "The resync took longer than 30 s. The next try is in 10 s." in caplog.text


@pytest.mark.parametrize("error", [ValueError("a bug"), TimeoutError("of something inside")])
def test_bug_ends_the_loop(error: Exception) -> None:
    async def work(_: int) -> None:
        raise error

    async def body() -> None:
        with pytest.raises(type(error), match=str(error)):
            await repeated(work, rounds=1)

    run(body())
