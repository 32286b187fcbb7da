import asyncio
import itertools
import random
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capk.runtime.workqueue import BASE_SECONDS, JITTER, LIMIT_SECONDS, WorkQueue
from test.unit.virtual_time import now, run

keys = st.sampled_from("abc")
times = st.integers(0, 20).map(lambda tenths: tenths / 10)
actions = st.tuples(times, st.sampled_from(["add", "after", "limited"]), keys, times)


class Recorder:
    """Workers that record when they had each key, and the observer's view of the queue."""

    def __init__(self, queue: WorkQueue[str], work_seconds: float) -> None:
        self.queue = queue
        self.work_seconds = work_seconds
        self.rounds: dict[str, list[tuple[float, float]]] = defaultdict(list)

    async def work(self) -> None:
        while (key := await self.queue.get()) is not None:
            started = now()
            await asyncio.sleep(self.work_seconds)
            self.rounds[key].append((started, now()))
            self.queue.done(key)


async def play(script: list[tuple[float, str, str, float]], workers: int, work_seconds: float) -> Recorder:
    """Run workers during the script's additions; return once everything is quiet."""
    queue: WorkQueue[str] = WorkQueue(rng=lambda: 0.5)
    recorder = Recorder(queue, work_seconds)
    tasks = [asyncio.create_task(recorder.work()) for _ in range(workers)]
    calls = {"add": lambda key, _: queue.add(key), "after": queue.add_after}
    calls["limited"] = lambda key, _: queue.add_rate_limited(key)
    for at, action, key, delay in sorted(script):
        await asyncio.sleep(at - now())
        calls[action](key, delay)
    await asyncio.sleep(4000)  # longer than all backoffs of a script together
    queue.shutdown()
    await asyncio.gather(*tasks)
    return recorder


@given(st.lists(actions, max_size=25), st.integers(1, 4), times)
def test_key_is_never_in_work_twice_at_once(script: list, workers: int, work_seconds: float) -> None:
    recorder = run(play(script, workers, work_seconds))
    for rounds in recorder.rounds.values():
        for (_, ended), (started, _) in itertools.pairwise(rounds):
            assert started >= ended


@given(st.lists(actions, max_size=25), st.integers(1, 4), times)
def test_no_addition_is_lost(script: list, workers: int, work_seconds: float) -> None:
    recorder = run(play(script, workers, work_seconds))
    for at, _, key, _ in script:
        # A round that begins after the addition observes everything that led to it.
        assert any(started >= at or started == pytest.approx(at) for started, _ in recorder.rounds[key])


@given(st.lists(actions, max_size=25), st.integers(1, 4), times)
def test_additions_coalesce(script: list, workers: int, work_seconds: float) -> None:
    recorder = run(play(script, workers, work_seconds))
    for key, rounds in recorder.rounds.items():
        assert len(rounds) <= sum(1 for _, _, added, _ in script if added == key)


@given(st.lists(keys, min_size=1, max_size=20))
def test_burst_of_one_key_is_one_round(burst: list[str]) -> None:
    async def body(queue: WorkQueue[str]) -> None:
        recorder = Recorder(queue, 1.0)
        for key in burst:
            queue.add(key)
        worker = asyncio.create_task(recorder.work())
        await asyncio.sleep(100)
        queue.shutdown()
        await worker
        assert {key: len(rounds) for key, rounds in recorder.rounds.items()} == dict.fromkeys(burst, 1)

    queue_test(body)


def queue_test(body: Any) -> Any:
    async def with_queue() -> None:
        await body(WorkQueue(rng=lambda: 0.5))

    return run(with_queue())


def test_key_added_in_work_comes_again_once() -> None:
    async def body(queue: WorkQueue[str]) -> None:
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        queue.add("a")
        assert len(queue) == 0
        queue.done("a")
        assert len(queue) == 1
        assert await queue.get() == "a"
        queue.done("a")
        assert len(queue) == 0

    queue_test(body)


def test_keys_come_in_order_of_arrival() -> None:
    async def body(queue: WorkQueue[str]) -> None:
        for key in "cab":
            queue.add(key)
        assert [await queue.get() for _ in range(3)] == ["c", "a", "b"]

    queue_test(body)


def test_urgent_keys_come_first_and_in_order_of_arrival() -> None:
    async def body(queue: WorkQueue[str]) -> None:
        for key in "abc":
            queue.add(key)
        for key in "dc":
            queue.add(key, urgent=True)
        queue.add("d")
        assert len(queue) == 4
        assert [await queue.get() for _ in range(4)] == ["d", "c", "a", "b"]
        queue.add("e")
        queue.add("a", urgent=True)
        queue.add("a")
        queue.done("a")
        assert [await queue.get() for _ in range(2)] == ["a", "e"]

    queue_test(body)


def test_earliest_of_several_delays_counts() -> None:
    async def body(queue: WorkQueue[str]) -> None:
        queue.add_after("a", 10)
        queue.add_after("a", 3)
        queue.add_after("a", 7)
        await queue.get()
        assert now() == 3
        queue.done("a")
        await asyncio.sleep(100)
        assert len(queue) == 0

    queue_test(body)


@pytest.mark.parametrize("seconds", [0, -1])
def test_delay_of_nothing_adds_at_once(seconds: float) -> None:
    async def body(queue: WorkQueue[str]) -> None:
        queue.add_after("a", seconds)
        assert len(queue) == 1

    queue_test(body)


def test_failures_double_the_delay_up_to_the_limit() -> None:
    async def body(queue: WorkQueue[str]) -> None:
        delays = []
        for _ in range(12):
            before = now()
            queue.add_rate_limited("a")
            await queue.get()
            queue.done("a")
            delays.append(now() - before)
        assert delays == pytest.approx([BASE_SECONDS * 2**n for n in range(10)] + [LIMIT_SECONDS, LIMIT_SECONDS])
        assert queue.failures("a") == 12
        queue.forget("a")
        assert queue.failures("a") == 0
        before = now()
        queue.add_rate_limited("a")
        await queue.get()
        assert now() - before == pytest.approx(BASE_SECONDS)

    queue_test(body)


def test_thousand_failures_do_not_overflow() -> None:
    async def body(queue: WorkQueue[str]) -> None:
        for _ in range(2000):
            queue.add_rate_limited("a")
        await queue.get()
        assert now() == pytest.approx(BASE_SECONDS)

    queue_test(body)


@pytest.mark.parametrize("chance", [0.0, 0.25, 1.0])
def test_backoff_is_spread_by_chance(chance: float) -> None:
    async def body() -> None:
        queue: WorkQueue[str] = WorkQueue(rng=lambda: chance)
        queue.add_rate_limited("a")
        await queue.get()
        assert now() == pytest.approx(BASE_SECONDS * (1 + JITTER * (2 * chance - 1)))

    run(body())


def test_shutdown_wakes_every_worker_and_takes_no_more_keys() -> None:
    async def body(queue: WorkQueue[str]) -> None:
        waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
        await asyncio.sleep(0)
        queue.add_after("late", 5)
        queue.shutdown()
        assert await asyncio.gather(*waiting) == [None, None, None]
        queue.add("a")
        queue.add_after("a", 1)
        queue.add_rate_limited("a")
        await asyncio.sleep(1000)
        assert len(queue) == 0
        assert await queue.get() is None

    queue_test(body)


def test_shutdown_leaves_waiting_keys_for_the_next_start() -> None:
    async def body(queue: WorkQueue[str]) -> None:
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        queue.add("b")
        queue.shutdown()
        queue.done("a")
        assert await queue.get() is None

    queue_test(body)


def test_cancelled_worker_loses_no_key() -> None:
    async def body(queue: WorkQueue[str]) -> None:
        getter = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        getter.cancel()  # in the moment when the key is on its way to it
        await asyncio.gather(getter, return_exceptions=True)
        if getter.cancelled():
            assert await queue.get() == "a"
        else:
            assert getter.result() == "a"

    queue_test(body)


def test_observer_hears_of_depth_and_waiting() -> None:
    class Observer:
        def __init__(self) -> None:
            self.depths: list[int] = []
            self.waits: list[float] = []

        def depth(self, keys: int) -> None:
            self.depths.append(keys)

        def waited(self, seconds: float) -> None:
            self.waits.append(seconds)

    async def body() -> None:
        observer = Observer()
        queue: WorkQueue[str] = WorkQueue(observer=observer)
        queue.add("a")
        queue.add("a")
        queue.add_after("b", 1)
        await asyncio.sleep(4)
        assert await queue.get() == "a"
        assert await queue.get() == "b"
        assert observer.depths == [1, 2, 1, 0]
        assert observer.waits == [4, 3]

    run(body())


def test_queue_reports_how_long_it_stalls_and_keys_are_in_work() -> None:
    async def body(queue: WorkQueue[str]) -> None:
        assert queue.stalled_for() == queue.longest_work() == 0
        queue.add("a")
        await asyncio.sleep(2)
        queue.add("b")
        await asyncio.sleep(3)
        assert queue.stalled_for() == 5
        await queue.get()
        await asyncio.sleep(1)
        assert queue.stalled_for() == 1
        assert queue.longest_work() == 1
        queue.done("a")
        assert queue.longest_work() == 0
        await queue.get()
        assert queue.stalled_for() == 0

    queue_test(body)


def test_key_that_comes_after_a_quiet_time_has_not_waited_for_it() -> None:
    async def body(queue: WorkQueue[str]) -> None:
        queue.add("a")
        await queue.get()
        await asyncio.sleep(1000)
        queue.add("b")
        await asyncio.sleep(1)
        assert queue.stalled_for() == 1

    queue_test(body)


def test_long_queue_that_moves_does_not_stall() -> None:
    async def body(queue: WorkQueue[int]) -> None:
        for key in range(100):
            queue.add(key)
        for _ in range(99):
            await queue.get()
            await asyncio.sleep(60)
            assert queue.stalled_for() == 60

    queue_test(body)


def test_default_jitter_is_random() -> None:
    async def body() -> None:
        random.seed(1)
        delays = set()
        for _ in range(5):
            queue: WorkQueue[str] = WorkQueue()
            before = now()
            queue.add_rate_limited("a")
            await queue.get()
            delays.add(now() - before)
        assert len(delays) == 5

    run(body())
