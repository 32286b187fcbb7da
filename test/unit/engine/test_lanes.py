import asyncio
from collections import Counter
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capk.api.names import Reason
from capk.engine import command
from capk.engine.lanes import Lane, Lanes
from capk.engine.progress import Step
from capk.errors import CommandFailed
from test.unit.virtual_time import run

pytestmark = pytest.mark.virtual_time
LIMITS = {Lane.CREATE: 2, Lane.DELETE: 1, Lane.REPAIR: 1, Lane.READ: 4}


class Work:
    """Work that records its start and ends on request."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self.report = None
        self.failure: Exception | None = None
        self.cancelled = False

    async def __call__(self, report):
        self.report = report
        self.began.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self.failure:
            raise self.failure
        return "result"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def changes():
    return []


@pytest.fixture
async def lanes(changes):
    lanes = Lanes(LIMITS, on_change=changes.append, clock=Clock(), first_seconds=0.0, quiet_seconds=0.05)
    yield lanes
    await lanes.stop()


async def ticks() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def run_to_end(lanes, key, work, lane=Lane.CREATE):
    lanes.start(key, lane, work)
    await ticks()
    work.go.set()
    await ticks()
    return lanes.get(key)


async def test_operation_goes_from_running_to_done(lanes, changes):
    work = Work()
    started = lanes.start("a", Lane.CREATE, work, name="create cluster a")
    assert (started.running, started.queued, started.done) == (True, False, False)
    assert (started.name, started.lane) == ("create cluster a", Lane.CREATE)
    await work.began.wait()
    assert changes == ["a"]
    work.go.set()
    await ticks()
    done = lanes.get("a")
    assert (done.running, done.queued, done.done) == (False, False, True)
    assert (done.result, done.error, done.cancelled, done.ended_at) == ("result", None, False, 100.0)
    assert changes == ["a", "a"]


async def test_one_operation_at_a_time_per_key(lanes):
    first, second = Work(), Work()
    state = lanes.start("a", Lane.CREATE, first)
    assert lanes.start("a", Lane.DELETE, second) == state
    await ticks()
    assert not second.began.is_set()


async def test_lane_is_bounded_and_first_come_first_served(lanes):
    works = [Work() for _ in range(5)]
    states = [lanes.start(n, Lane.CREATE, work) for n, work in enumerate(works)]
    assert [state.queued for state in states] == [False, False, True, True, True]
    assert lanes.count(Lane.CREATE) == (3, 2)
    order = []
    for n, work in enumerate(works):
        await work.began.wait()
        order.append(n)
        assert sum(lanes.get(m).running for m in range(5)) <= 2
        work.go.set()
        await ticks()
    assert order == [0, 1, 2, 3, 4]
    assert lanes.count(Lane.CREATE) == (0, 0)


async def test_full_lane_of_one_pool_does_not_hold_up_another(lanes):
    first, second, elsewhere, waiting = Work(), Work(), Work(), Work()
    for number, work in enumerate((first, second, waiting)):
        lanes.start(number, Lane.CREATE, work)
    lanes.start("elsewhere", Lane.CREATE, elsewhere, pool="remote")
    await ticks()
    assert elsewhere.began.is_set()
    assert not waiting.began.is_set()
    assert lanes.count(Lane.CREATE) == (1, 3)
    elsewhere.go.set()
    await ticks()
    assert not waiting.began.is_set()
    assert lanes.count(Lane.CREATE) == (1, 2)


async def test_nothing_is_kept_of_a_pool_without_operations(lanes):
    work, cancelled = Work(), Work()
    lanes.start("ends", Lane.DELETE, work, pool="remote")
    lanes.start("cancelled", Lane.DELETE, cancelled, pool="remote")
    lanes.cancel("cancelled")
    work.go.set()
    await ticks()
    assert lanes.count(Lane.DELETE) == (0, 0)
    assert not lanes._queues


async def test_deletion_does_not_wait_behind_creations(lanes):
    for n in range(5):
        lanes.start(n, Lane.CREATE, Work())
    deletion = Work()
    assert lanes.start("gone", Lane.DELETE, deletion).running
    await asyncio.wait_for(deletion.began.wait(), 1)


async def test_failure_is_kept_and_frees_the_lane(lanes):
    error = CommandFailed(["kind"], "", 1)
    work = Work()
    work.failure = error
    failed = await run_to_end(lanes, "a", work)
    assert (failed.done, failed.error, failed.result) == (True, error, None)
    assert lanes.count(Lane.CREATE) == (0, 0)


async def test_failure_that_nobody_expected_is_logged_with_its_traceback(lanes, caplog):
    work = Work()
    work.failure = ValueError("broken")
    failed = await run_to_end(lanes, "a", work)
    assert failed.error is work.failure
    assert "broken" in caplog.text
    assert caplog.records[-1].exc_info


async def test_cancelled_operation_is_done_without_an_error(lanes, changes):
    work = Work()
    lanes.start("a", Lane.CREATE, work)
    await work.began.wait()
    lanes.cancel("a")
    assert lanes.get("a").running, "nobody waits for the end of what is cancelled"
    before = len(changes)
    await ticks()
    state = lanes.get("a")
    assert work.cancelled
    assert (state.done, state.cancelled, state.error) == (True, True, None)
    assert len(changes) == before + 1
    assert lanes.count(Lane.CREATE) == (0, 0)


async def test_only_what_has_not_begun_is_taken_back(lanes):
    works = [Work() for _ in range(3)]
    for n, work in enumerate(works):
        lanes.start(n, Lane.CREATE, work)
    for n in range(3):
        lanes.cancel(n, queued_only=True)
    await ticks()
    assert [lanes.get(n).cancelled for n in range(3)] == [False, False, True]


async def test_cancelled_queued_operation_never_begins(lanes, changes):
    works = [Work() for _ in range(4)]
    for n, work in enumerate(works):
        lanes.start(n, Lane.CREATE, work)
    lanes.cancel(2)
    assert lanes.get(2).cancelled
    for work in works:
        work.go.set()
    await works[3].began.wait()
    assert not works[2].began.is_set()


async def test_operation_cancelled_before_its_first_step_is_done(lanes):
    lanes.start("a", Lane.CREATE, Work())
    lanes.cancel("a")
    await ticks()
    assert lanes.get("a").cancelled


async def test_only_work_that_never_began_is_dropped_and_that_before_the_last_change(lanes, changes):
    dropped = {}

    def drop(number: int) -> None:
        dropped[number] = changes.count(number)

    for number in range(3):
        lanes.start(number, Lane.CREATE, Work(), on_dropped=partial(drop, number))
    assert [lanes.get(number).queued for number in range(3)] == [False, False, True]
    for number in (2, 0):
        lanes.cancel(number)
    await ticks()
    lanes.cancel(1)
    await ticks()
    assert all(lanes.get(number).cancelled for number in range(3))
    assert dropped == {number: changes.count(number) - 1 for number in (2, 0)}


async def test_cancel_of_nothing_is_fine(lanes):
    lanes.cancel("nobody")
    await run_to_end(lanes, "a", Work())
    lanes.cancel("a")
    assert not lanes.get("a").cancelled


async def test_forgotten_running_operation_vanishes_at_its_end(lanes, changes):
    work = Work()
    lanes.start("a", Lane.CREATE, work)
    lanes.forget("a")
    assert lanes.get("a").running
    work.go.set()
    await ticks()
    assert lanes.get("a") is None
    assert changes == ["a", "a"]


async def test_steps_are_announced_at_most_once_in_a_while(lanes, changes):
    work = Work()
    lanes.start("a", Lane.CREATE, work)
    await work.began.wait()
    for n in range(20):
        work.report(Step(Reason.PREPARING_NODES, f"{n}"))
        assert lanes.get("a").step is None, "what is not announced yet must not show, or each look would be a write"
    assert changes == ["a"]
    await asyncio.sleep(0.07)
    assert changes == ["a", "a"]
    assert lanes.get("a").step.message == "19"
    await asyncio.sleep(0.07)
    assert changes == ["a", "a"]
    work.report(Step(Reason.PREPARING_NODES, "late"))
    assert changes == ["a", "a", "a"]
    work.report(Step(Reason.PREPARING_NODES, "late"))
    work.report(Step(Reason.PREPARING_NODES, "last"))
    work.go.set()
    await ticks()
    assert changes == ["a"] * 4
    await asyncio.sleep(0.07)
    assert changes == ["a"] * 4
    assert lanes.get("a").step.message == "last"


async def test_short_work_is_announced_by_its_end_only(changes):
    lanes = Lanes(LIMITS, on_change=changes.append, clock=Clock(), first_seconds=0.05)
    short, long = Work(), Work()
    lanes.start("long", Lane.CREATE, long)
    await long.began.wait()
    long.report(Step(Reason.PREPARING_NODES, ""))
    assert not lanes.get("long").announced
    await run_to_end(lanes, "short", short)
    assert changes == ["short"]
    await asyncio.sleep(0.07)
    assert changes == ["short", "long"]
    assert lanes.get("long").announced
    assert lanes.get("long").step.reason is Reason.PREPARING_NODES
    await lanes.stop()


async def test_work_that_has_to_wait_is_announced(changes):
    lanes = Lanes(LIMITS, on_change=changes.append, clock=Clock(), first_seconds=0.05)
    for n in range(3):
        lanes.start(n, Lane.CREATE, Work())
    await asyncio.sleep(0.07)
    assert lanes.get(2).queued
    assert lanes.get(2).announced
    assert sorted(changes) == [0, 1, 2]
    await lanes.stop()


async def test_work_that_had_to_wait_and_then_is_short_is_announced_twice(changes):
    lanes = Lanes(LIMITS, on_change=changes.append, clock=Clock(), first_seconds=0.05, quiet_seconds=0.0)
    first, second, short = Work(), Work(), Work()
    for key, work in (("first", first), ("second", second), ("short", short)):
        lanes.start(key, Lane.CREATE, work)
    await asyncio.sleep(0.07)
    assert changes.count("short") == 1
    first.go.set()
    await short.began.wait()
    short.report(Step(Reason.PREPARING_NODES, ""))
    short.go.set()
    await ticks()
    assert lanes.get("short").done
    assert changes.count("short") == 2
    await lanes.stop()


async def test_step_after_the_end_is_ignored(lanes, changes):
    work = Work()
    await run_to_end(lanes, "a", work)
    work.report(Step(Reason.PREPARING_NODES, "late"))
    assert lanes.get("a").step is None
    assert len(changes) == 2


async def test_end_is_told_after_the_work_put_its_result_down():
    seen = []
    inventory = []

    async def work(report):
        await asyncio.sleep(0)
        inventory.append("a")

    lanes = Lanes(
        LIMITS,
        on_change=lambda key: seen.append((lanes.get(key).done, list(inventory))),
        clock=Clock(),
        first_seconds=0.0,
    )
    lanes.start("a", Lane.CREATE, work)
    await ticks()
    assert seen == [(False, []), (True, ["a"])]


async def test_new_work_may_start_from_within_on_change():
    second = Work()
    started = []

    def changed(key):
        if lanes.get(key).done and not started:
            started.append(lanes.start(key, Lane.DELETE, second))

    lanes = Lanes(LIMITS, on_change=changed, clock=Clock())
    first = Work()
    lanes.start("a", Lane.CREATE, first)
    first.go.set()
    await asyncio.wait_for(second.began.wait(), 1)
    assert lanes.get("a").lane is Lane.DELETE
    await lanes.stop()


async def test_stop_ends_everything_and_lets_nothing_begin(changes):
    lanes = Lanes(LIMITS, on_change=changes.append, clock=Clock())
    works = [Work() for _ in range(6)]
    before = asyncio.all_tasks()
    for n, work in enumerate(works):
        lanes.start(n, Lane.CREATE, work)
    await works[1].began.wait()
    await lanes.stop()
    assert [work.began.is_set() for work in works] == [True, True, False, False, False, False]
    assert all(lanes.get(n).cancelled for n in range(6))
    assert asyncio.all_tasks() == before
    with pytest.raises(RuntimeError, match="stopped"):
        lanes.start("new", Lane.CREATE, Work())


@pytest.mark.rule("K36")
@pytest.mark.virtual_time(False)
async def test_stop_ends_the_processes_of_the_work(lanes, tmp_path):
    file = tmp_path / "ended"
    ready = asyncio.Event()
    script = f"trap 'touch {file}; exit' TERM; echo ready >&2; while :; do sleep 0.05; done"

    async def work(report):
        await command.run(["/bin/sh", "-c", script], timeout_seconds=600, on_line=lambda line: ready.set())

    lanes.start("a", Lane.CREATE, work)
    await ready.wait()
    await lanes.stop()
    assert file.exists()


@given(st.lists(st.tuples(st.sampled_from(["start", "end", "fail", "cancel"]), st.integers(0, 6)), max_size=40))
def test_any_history_keeps_the_lane_bounded_and_loses_nothing(history):
    async def play() -> None:
        changes = Counter()
        lanes = Lanes({Lane.CREATE: 2}, on_change=lambda key: changes.update([key]), clock=Clock())
        works: dict[int, Work] = {}
        for action, key in history:
            state = lanes.get(key)
            active = state is not None and not state.done
            if action == "start" and not active:
                works[key] = Work()
                lanes.start(key, Lane.CREATE, works[key], pool=f"pool {key % 2}")
            elif action in ("end", "fail") and key in works:
                works[key].failure = ValueError("broken") if action == "fail" else None
                works[key].go.set()
            elif action == "cancel":
                lanes.cancel(key)
            await ticks()
            states = [lanes.get(key) for key in works]
            running, queued = ([state for state in states if getattr(state, name)] for name in ("running", "queued"))
            assert lanes.count(Lane.CREATE) == (len(queued), len(running))
            assert all(state.running + state.queued + state.done == 1 for state in states)
            for pool in range(2):
                states = [lanes.get(key) for key in works if key % 2 == pool]
                running = [state for state in states if state.running]
                assert len(running) <= 2
                assert len(running) == 2 or not any(state.queued for state in states)
        await lanes.stop()
        assert not lanes._queues
        assert all(lanes.get(key).done for key in works)
        assert all(changes[key] for key in works)

    run(play())
