"""Whether workload API servers answer, in virtual time."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from capk.workload.answer import Answer
from capk.workload.connection import Target
from capk.workload.health import MOST_IN_FLIGHT, NOTHING, Health, HealthMonitor
from capk.workload.pool import DATA_PATH, HEALTH_PATH
from test.unit.virtual_time import now, run

PERIOD = 30.0
GOOD = Answer(200, "HTTP 200")
UID = "0c1e3c1e-0000-4000-8000-000000000001"
FILLED = Answer(200, "HTTP 200", f'{{"metadata": {{"uid": "{UID}"}}}}'.encode())
REFILLED = Answer(200, "HTTP 200", b'{"metadata": {"uid": "0c1e3c1e-0000-4000-8000-000000000002"}}')
ABSENT = Answer(404, "HTTP 404: not found")
GARBAGE = Answer(200, "HTTP 200", b"[]")
FORBIDDEN = Answer(403, "HTTP 403: Forbidden")
NO_ETCD = Answer(500, "HTTP 500: [-]etcd failed: reason withheld")
REFUSED = Answer(0, "connection refused")
OUR_TROUBLE = Answer(0, "too many open files", is_our_trouble=True)


def target(number: int = 0) -> Target:
    return Target(f"https://127.0.0.1:{40000 + number}", "authority")


class World:
    """API servers with scripted answers, by URL. Records the time of each request."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.data: dict[str, Answer] = {}
        self.seconds: dict[str, float] = {}
        self.asked: list[tuple[float, str]] = []
        self.changes: list[tuple[float, str]] = []
        self.began = asyncio.Event()
        self.in_flight = 0
        self.most_in_flight = 0
        self.monitor = HealthMonitor(
            period_seconds=PERIOD, on_change=lambda uid: self.changes.append((now(), uid)), clock=now, ask=self.ask
        )

    async def ask(self, target: Target, path: str) -> Answer:
        if path == DATA_PATH:
            return self.data.get(target.server, FILLED)
        assert path == HEALTH_PATH
        self.asked.append((now(), target.server))
        self.began.set()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(self.seconds.get(target.server, 0.01))
        self.in_flight -= 1
        return self.answers.get(target.server, GOOD)

    def holds(self, answer: Answer, number: int = 0) -> None:
        self.data[target(number).server] = answer

    def set(self, answer: Answer, number: int = 0) -> None:
        self.answers[target(number).server] = answer

    def health(self, uid: str = "a") -> Health:
        found = self.monitor.health(uid)
        assert found is not None
        return found

    @asynccontextmanager
    async def running(self) -> Any:
        task = asyncio.create_task(self.monitor.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def in_virtual_time(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> World:
    async def begin() -> World:
        world = World()
        async with world.running():
            await scenario(world)
        return world

    return run(begin())


def test_unknown_object_has_no_health() -> None:
    async def scenario(world: World) -> None:
        assert world.monitor.health("a") is None
        world.monitor.forget("a")

    in_virtual_time(scenario)


def test_first_verdict_comes_within_a_period_and_is_told_once() -> None:
    async def scenario(world: World) -> None:
        world.monitor.watch("a", target())
        assert world.health() == Health(None, False, 0, "", 0.0)
        await asyncio.sleep(PERIOD)
        assert world.health().answers is True
        assert world.health().since == world.changes[0][0]
        await asyncio.sleep(100 * PERIOD)

    world = in_virtual_time(scenario)
    assert [uid for _, uid in world.changes] == ["a"]
    assert 100 <= len(world.asked) <= 102


@pytest.mark.parametrize("failure", [NO_ETCD, REFUSED])
def test_api_server_that_dies_is_known_within_two_periods_and_comes_back_by_itself(failure: Answer) -> None:
    async def scenario(world: World) -> None:
        world.monitor.watch("a", target(), answered=True)
        assert world.health().answers is True
        await asyncio.sleep(10.3 * PERIOD)
        died = now()
        world.set(failure)
        await asyncio.sleep(2 * PERIOD)
        assert world.health().answers is False
        assert world.health().said == failure.said
        assert world.changes == [(world.health().since, "a")]
        assert died < world.health().since < died + 1.3 * PERIOD
        await asyncio.sleep(100 * PERIOD)
        world.set(GOOD)
        await asyncio.sleep(PERIOD + 1)
        assert world.health() == Health(True, True, 0, GOOD.said, world.changes[1][0], UID)

    world = in_virtual_time(scenario)
    assert len(world.changes) == 2
    assert len(world.asked) < 120


def test_one_failure_is_no_verdict_but_is_looked_into_soon() -> None:
    async def scenario(world: World) -> None:
        world.monitor.watch("a", target(), answered=True)
        await asyncio.sleep(PERIOD)
        asked = world.asked[-1][0]
        world.set(REFUSED)
        await asyncio.sleep(asked + PERIOD + 1 - now())
        assert (world.health().answers, world.health().failures) == (True, 1)
        world.set(GOOD)
        await asyncio.sleep(PERIOD / 5)
        assert (world.health().answers, world.health().failures) == (True, 0)

    assert in_virtual_time(scenario).changes == []


def test_two_failures_in_a_row_are_a_verdict() -> None:
    async def scenario(world: World) -> None:
        world.monitor.watch("a", target(), answered=True)
        await asyncio.sleep(PERIOD)
        asked = world.asked[-1][0]
        world.set(REFUSED)
        await asyncio.sleep(asked + PERIOD + 1 + PERIOD / 5 - now())
        assert (world.health().answers, world.health().failures) == (False, 2)

    assert len(in_virtual_time(scenario).changes) == 1


def test_server_that_hangs_until_the_deadline_is_known_within_two_periods() -> None:
    async def scenario(world: World) -> None:
        world.monitor.watch("a", target(), answered=True)
        await asyncio.sleep(PERIOD)
        world.set(Answer(0, "no answer within 3 s"))
        world.seconds[target().server] = 3.0
        await asyncio.sleep(2 * PERIOD)
        assert world.health().answers is False

    in_virtual_time(scenario)


def test_refusal_of_anonymous_users_is_an_answer() -> None:
    async def scenario(world: World) -> None:
        world.set(FORBIDDEN)
        world.monitor.watch("a", target())
        await asyncio.sleep(PERIOD)
        assert world.health().answers is True

    in_virtual_time(scenario)


def test_server_that_was_never_reached_is_told_of_once_and_is_not_dead() -> None:
    async def scenario(world: World) -> None:
        world.set(REFUSED)
        world.monitor.watch("a", target())
        await asyncio.sleep(50 * PERIOD)
        health = world.health()
        assert (health.answers, health.ever_answered, health.is_out_of_reach) == (None, False, True)
        assert len(world.changes) == 1
        assert world.changes[0][0] < 1.5 * PERIOD
        world.set(GOOD)
        await asyncio.sleep(PERIOD + 1)
        assert world.health().answers is True
        assert not world.health().is_out_of_reach

    world = in_virtual_time(scenario)
    assert len(world.changes) == 2
    assert len(world.asked) < 56


def test_server_that_only_fails_was_reached_all_the_same() -> None:
    async def scenario(world: World) -> None:
        world.set(NO_ETCD)
        world.monitor.watch("a", target())
        await asyncio.sleep(1.3 * PERIOD)
        assert (world.health().answers, world.health().ever_answered) == (False, True)

    assert len(in_virtual_time(scenario).changes) == 1


def test_silence_after_a_restart_of_the_provider_is_a_failure_where_the_server_answered_before() -> None:
    async def scenario(world: World) -> None:
        world.set(REFUSED)
        world.monitor.watch("a", target(), ever_answered=True)
        assert world.health().answers is None
        await asyncio.sleep(1.3 * PERIOD)
        assert world.health().answers is False

    assert len(in_virtual_time(scenario).changes) == 1


def test_silence_after_a_rest_is_a_failure_where_the_server_answered_before() -> None:
    """The object may not hold that it has answered, because its writes are refused."""

    async def scenario(world: World) -> None:
        world.monitor.watch("a", target(), answered=True)
        for _ in range(2):
            world.monitor.rest("a")
        assert world.monitor.health("a") is None
        world.set(REFUSED)
        world.monitor.watch("a", target())
        assert (world.health().answers, world.health().ever_answered) == (None, True)
        await asyncio.sleep(1.3 * PERIOD)
        assert world.health().answers is False

    in_virtual_time(scenario)


@pytest.mark.parametrize("had_answered", [True, False])
def test_rest_shows_nothing_of_a_server_that_never_answered_or_was_forgotten(had_answered: bool) -> None:
    async def scenario(world: World) -> None:
        world.monitor.watch("a", target(), answered=had_answered)
        world.monitor.rest("a")
        world.monitor.forget("a")
        world.monitor.watch("a", target())
        assert not world.health().ever_answered
        world.monitor.watch("b", target())
        world.monitor.rest("b")
        world.monitor.watch("b", target())
        assert not world.health("b").ever_answered

    in_virtual_time(scenario)


def test_trouble_of_this_process_is_no_failure_of_the_server() -> None:
    async def scenario(world: World) -> None:
        world.monitor.watch("a", target(), answered=True)
        world.set(OUR_TROUBLE)
        await asyncio.sleep(10 * PERIOD)
        assert (world.health().answers, world.health().failures) == (True, 0)

    assert in_virtual_time(scenario).changes == []


def test_watching_again_changes_nothing() -> None:
    async def scenario(world: World) -> None:
        for _ in range(1000):
            world.monitor.watch("a", target(), answered=True)
            await asyncio.sleep(PERIOD / 100)

    world = in_virtual_time(scenario)
    assert len(world.asked) <= 11
    assert world.changes == []


def test_dead_server_that_is_said_to_have_answered_is_asked_soon_but_not_believed() -> None:
    async def scenario(world: World) -> None:
        world.set(REFUSED)
        world.monitor.watch("a", target(), ever_answered=True)
        await asyncio.sleep(10 * PERIOD)
        assert world.health().answers is False
        before = len(world.asked)
        for _ in range(100):
            world.monitor.watch("a", target(), answered=True)
            assert world.health().answers is False
            await asyncio.sleep(PERIOD / 100)
        assert len(world.asked) <= before + 6
        world.set(GOOD)
        world.monitor.watch("a", target(), answered=True)
        await asyncio.sleep(PERIOD / 4)
        assert world.health().answers is True

    in_virtual_time(scenario)


def test_changed_target_is_asked_soon_and_keeps_the_verdict_until_then() -> None:
    async def scenario(world: World) -> None:
        world.set(REFUSED, 1)
        world.monitor.watch("a", target(), answered=True)
        await asyncio.sleep(5 * PERIOD)
        world.monitor.watch("a", target(1))
        assert world.health().answers is True
        changed = now()
        await asyncio.sleep(PERIOD / 2)
        assert world.health().answers is False
        assert {server for at, server in world.asked if at >= changed} == {target(1).server}

    assert len(in_virtual_time(scenario).changes) == 1


def test_target_that_changes_while_it_is_asked_is_asked_itself() -> None:
    async def scenario(world: World) -> None:
        world.seconds[target().server] = 2.0
        world.monitor.watch("a", target())
        await world.began.wait()
        world.set(REFUSED)
        world.monitor.watch("a", target(1))
        await asyncio.sleep(1)
        assert world.health().answers is True
        await asyncio.sleep(2 * PERIOD)
        assert world.health() == Health(True, True, 0, GOOD.said, world.changes[0][0], UID)

    assert len(in_virtual_time(scenario).changes) == 1


def test_forgotten_server_is_not_asked_and_not_told_of() -> None:
    async def scenario(world: World) -> None:
        world.seconds[target().server] = 2.0
        world.monitor.watch("a", target())
        await world.began.wait()
        world.monitor.forget("a")
        assert world.monitor.health("a") is None
        await asyncio.sleep(10 * PERIOD)

    world = in_virtual_time(scenario)
    assert len(world.asked) == 1
    assert world.changes == []


def test_server_that_is_forgotten_before_its_turn_is_never_asked() -> None:
    async def scenario(world: World) -> None:
        world.monitor.watch("a", target())
        world.monitor.forget("a")
        await asyncio.sleep(2 * PERIOD)

    assert in_virtual_time(scenario).asked == []


def test_thousand_servers_are_asked_evenly_in_time() -> None:
    async def scenario(world: World) -> None:
        for number in range(1000):
            world.monitor.watch(f"uid-{number}", target(number))
        await asyncio.sleep(5 * PERIOD)

    world = in_virtual_time(scenario)
    assert 4900 < len(world.asked) <= 5000
    busiest = Counter(int(at) for at, _ in world.asked).most_common(1)[0][1]
    assert busiest < 60
    assert world.most_in_flight < 40


def test_thousand_servers_that_hang_are_known_dead_in_two_minutes_within_the_bound() -> None:
    async def scenario(world: World) -> None:
        for number in range(1000):
            world.monitor.watch(f"uid-{number}", target(number), answered=True)
        await asyncio.sleep(3 * PERIOD)
        for number in range(1000):
            world.set(Answer(0, "no answer within 3 s"), number)
            world.seconds[target(number).server] = 3.0
        await asyncio.sleep(120)
        assert all(world.health(f"uid-{number}").answers is False for number in range(1000))

    world = in_virtual_time(scenario)
    assert world.most_in_flight == MOST_IN_FLIGHT
    assert len(world.changes) == 1000


def test_error_of_a_listener_ends_the_monitor_with_its_cause() -> None:
    async def begin() -> None:
        async def ask(*_: object) -> Answer:
            return GOOD

        def broken(_: str) -> None:
            raise RuntimeError("listener")

        monitor = HealthMonitor(period_seconds=PERIOD, on_change=broken, clock=now, ask=ask)
        monitor.watch("a", target())
        with pytest.raises(ExceptionGroup) as raised:
            await monitor.run()
        assert isinstance(raised.value.exceptions[0], RuntimeError)

    run(begin())


class TestData:
    def test_what_kubeadm_has_put_there_is_no_cause_for_doubt(self) -> None:
        async def scenario(world: World) -> None:
            world.monitor.watch("a", target(), answered=True)
            await asyncio.sleep(20 * PERIOD)
            assert (world.health().holds, world.health().doubted_since) == (UID, None)

        assert in_virtual_time(scenario).changes == []

    @pytest.mark.parametrize("answer", [ABSENT, FORBIDDEN, REFILLED, GARBAGE])
    def test_other_data_is_news_within_a_period_and_once(self, answer: Answer) -> None:
        async def scenario(world: World) -> None:
            world.monitor.watch("a", target(), answered=True)
            await asyncio.sleep(10.3 * PERIOD)
            emptied = now()
            world.holds(answer)
            await asyncio.sleep(PERIOD + 1)
            since = world.health().doubted_since
            assert since is not None
            assert emptied < since < emptied + PERIOD + 1
            assert world.changes == [(since, "a")]
            await asyncio.sleep(20 * PERIOD)
            assert world.health().doubted_since == since

        assert len(in_virtual_time(scenario).changes) == 1

    @pytest.mark.parametrize("answer", [ABSENT, FORBIDDEN, GARBAGE])
    def test_data_that_is_absent_from_the_first_is_doubted_once(self, answer: Answer) -> None:
        """It may have disappeared while no provider asked."""

        async def scenario(world: World) -> None:
            world.holds(answer)
            world.monitor.watch("a", target(), answered=True)
            await asyncio.sleep(20 * PERIOD)
            assert world.health().holds == NOTHING
            assert world.health().doubted_since is not None

        assert len(in_virtual_time(scenario).changes) == 1

    @pytest.mark.parametrize("answer", [REFUSED, NO_ETCD, OUR_TROUBLE, Answer(429, "HTTP 429: too many requests")])
    def test_answer_that_says_nothing_of_the_data_is_no_cause_for_doubt(self, answer: Answer) -> None:
        async def scenario(world: World) -> None:
            world.monitor.watch("a", target(), answered=True)
            await asyncio.sleep(3 * PERIOD)
            world.holds(answer)
            await asyncio.sleep(3 * PERIOD)
            assert (world.health().holds, world.health().doubted_since) == (UID, None)

        assert in_virtual_time(scenario).changes == []

    def test_server_that_does_not_answer_is_not_asked_for_its_data(self) -> None:
        async def scenario(world: World) -> None:
            world.set(REFUSED)
            world.holds(ABSENT)
            world.monitor.watch("a", target(), answered=True)
            await asyncio.sleep(10 * PERIOD)
            assert (world.health().holds, world.health().doubted_since) == (None, None)

        in_virtual_time(scenario)

    def test_another_target_is_looked_at_afresh(self) -> None:
        async def scenario(world: World) -> None:
            world.monitor.watch("a", target(), answered=True)
            await asyncio.sleep(3 * PERIOD)
            world.holds(REFILLED, 1)
            world.monitor.watch("a", target(1))
            await asyncio.sleep(3 * PERIOD)
            assert world.health().holds not in (None, UID)
            assert world.health().doubted_since is None

        assert in_virtual_time(scenario).changes == []
