"""Remembered facts about an object: for how long, and what ends with the object."""

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from capk.api import names
from capk.api.names import Reason
from capk.api.objects import KINDCluster
from capk.engine.lanes import Lane, Lanes
from capk.engine.place import SHARED, Place
from capk.engine.progress import Step
from capk.errors import CommandFailed
from capk.manager.outcome import Joined, Made, Withdrawn
from capk.manager.record import FORGET_SECONDS, Record
from capk.manager.records import ACCESS_SECONDS, RECHECK_SECONDS, Records
from capk.manager.writebackoff import FREE_REPLIES, FREE_WRITES
from capk.plan.facts import Access
from capk.plan.joining import join_request
from capk.plan.plan import Goal, OperationRequest, ReadAccess, RemoveWorker, RenewCertificates, StartNodes
from capk.plan.policy import Policy, retry_delay
from capk.runtime.metrics import Metrics
from test.unit.manager.places import ELSEWHERE, HERE
from test.unit.plan.builders import MACHINE_UID, NODE, NOW, create_request, kindcluster, observe_machine, removal
from test.unit.virtual_time import now

pytestmark = pytest.mark.virtual_time

POLICY = Policy()
CREATE = create_request()
ACCESS = Access(external="external", internal="internal")
READ, START = ReadAccess("dev"), StartNodes("dev", ("dev-worker",))
FAILED = CommandFailed(["kind", "create", "cluster"], "ERROR: something new", 1)


class Executor:
    """Waits for a second, then returns the test's answer, or raises it if it is an exception."""

    def __init__(self, place: Place = HERE) -> None:
        self.place = place
        self.answer: Any = None
        self.seconds = 1.0
        self.done: list[OperationRequest] = []

    async def carry_out(self, record: Record, request: OperationRequest, on_step: Callable[[Step], None]) -> Any:
        on_step(Step(Reason.PREPARING_NODES, ""))
        await asyncio.sleep(self.seconds)
        self.done.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class World:
    def __init__(self, limit: int = 10) -> None:
        self.executor = Executor()
        self.changes: list[Any] = []
        self.lanes = Lanes(dict.fromkeys(Lane, limit), on_change=self.changes.append, clock=now)
        self.records = Records(self.lanes, Metrics(), POLICY, now)

    def record(self, uid: str = "one") -> Record:
        return self.records.of(seen(uid))

    async def run(self, request: OperationRequest, answer: Any = None, uid: str = "one") -> Record:
        """Carry out a request to its end."""
        record, self.executor.answer = self.record(uid), answer
        self.records.start(record, request, self.executor)
        await asyncio.sleep(self.executor.seconds + 0.5)
        return record

    def attempts(self, goal: Goal, uid: str = "one") -> int | None:
        facts = self.records.goals(self.record(uid)).get(goal)
        return facts.attempts if facts else None


def seen(uid: str, identity: str | None = None) -> KINDCluster:
    annotations = {names.IDENTITY_ANNOTATION: identity} if identity is not None else {}
    return kindcluster(uid=uid, name=uid, annotations=annotations)


@pytest.fixture
async def world() -> World:
    return World()


class TestOperation:
    async def test_running_operation_goes_on_whatever_else_is_asked_for(self, world):
        record = world.record()
        world.records.start(record, CREATE, world.executor)
        await asyncio.sleep(0.5)
        world.records.start(record, READ, world.executor)
        running = world.records.operation("one")
        assert (running.request, running.queued) == (CREATE, False)
        await asyncio.sleep(1)
        assert world.executor.done == [CREATE]
        assert world.records.operation("one") is None

    async def test_request_that_was_not_started_leaves_no_trace(self, world):
        """A failed read must not count as a failed creation."""
        record = world.record()
        world.executor.answer = FAILED
        world.records.start(record, CREATE, world.executor)
        world.records.start(record, READ, world.executor)
        await asyncio.sleep(2)
        assert set(world.records.goals(record)) == {Goal.UP}
        assert world.records.goals(record)[Goal.UP].request == CREATE

    async def test_operation_that_waits_for_its_turn_says_so(self):
        world = World(limit=1)
        world.records.start(world.record("one"), CREATE, world.executor)
        world.records.start(world.record("two"), CREATE, world.executor)
        assert world.records.operation("two").queued
        await asyncio.sleep(1.5)
        assert not world.records.operation("two").queued

    async def test_step_is_announced_with_the_operation(self, world):
        world.executor.seconds = 5.0
        world.records.start(world.record(), CREATE, world.executor)
        await asyncio.sleep(2)
        running = world.records.operation("one")
        assert (running.announced, running.step) == (True, Reason.PREPARING_NODES)

    async def test_wait_for_an_answer_takes_no_place_from_those_who_work(self, world):
        world.records.start(world.record(), ReadAccess("dev", await_answer=True), world.executor)
        await asyncio.sleep(0.5)
        assert world.lanes.count(Lane.WAIT) == (0, 1)
        assert world.lanes.count(Lane.READ) == (0, 0)

    async def test_cancelled_before_its_turn_it_is_over_and_counts_for_nothing(self):
        world = World(limit=1)
        world.records.start(world.record("one"), CREATE, world.executor)
        world.records.start(world.record("two"), CREATE, world.executor)
        world.records.cancel("two", queued_only=True)
        assert world.records.operation("two") is None
        assert world.record("two").request is None
        await asyncio.sleep(2)
        assert world.executor.done == [CREATE]
        assert world.attempts(Goal.UP, "two") is None

    @pytest.mark.parametrize("queued", [True, False], ids=["queued", "before its first step"])
    async def test_creation_that_never_began_keeps_no_place(self, queued):
        """Otherwise the object could go to no other engine, and what it would have left would be waited for."""
        world = World(limit=1)
        if queued:
            await world.run(READ, uid="another")
            world.records.start(world.record("another"), CREATE, world.executor)
        record = world.record()
        world.records.start(record, CREATE, world.executor)
        assert world.records.kept_place("one") == HERE.key
        world.records.cancel("one")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert world.records.kept_place("one") is None
        assert (record.request, record.unfinished, record.never_began) == (None, None, CREATE.mark)
        assert world.records.operation("one") is None

    async def test_cancelled_while_it_runs_it_counts_for_nothing(self, world):
        world.records.start(world.record(), CREATE, world.executor)
        await asyncio.sleep(0.5)
        world.records.cancel("one", queued_only=True)
        assert world.records.operation("one") is not None
        world.records.cancel("one")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert world.records.operation("one") is None
        assert world.attempts(Goal.UP) is None

    async def test_withdrawn_operation_counts_for_nothing(self, world):
        record = await world.run(CREATE, Withdrawn())
        assert world.records.goals(record) == {}
        assert world.lanes.get("one").error is None


class TestGoals:
    async def test_failures_of_a_goal_add_up_and_keep_the_last_words(self, world):
        for number in range(1, 4):
            record = await world.run(CREATE, FAILED)
            facts = world.records.goals(record)[Goal.UP]
            assert (facts.attempts, facts.request) == (number, CREATE)
            assert "something new" in facts.failure.message

    async def test_other_work_in_between_does_not_shorten_the_back_off(self, world):
        """A removal of a failed creation's remains, or a read, does not shorten the wait for the next creation."""
        await world.run(CREATE, FAILED)
        await world.run(removal(Goal.UP))
        await world.run(READ, ACCESS)
        await world.run(CREATE, FAILED)
        assert world.attempts(Goal.UP) == 2

    async def test_failed_clean_up_adds_to_the_same_back_off(self, world):
        await world.run(CREATE, FAILED)
        await world.run(removal(Goal.UP), FAILED)
        assert world.attempts(Goal.UP) == 2

    async def test_creation_that_asks_for_something_else_begins_again(self, world):
        await world.run(CREATE, FAILED)
        await world.run(CREATE, FAILED)
        await world.run(replace(CREATE, generation=2), FAILED)
        assert world.attempts(Goal.UP) == 1

    async def test_success_settles_a_goal_that_is_reached_for_good(self, world):
        await world.run(CREATE, FAILED)
        record = await world.run(CREATE, Made("sha256:aaaa", "text"))
        facts = world.records.goals(record)[Goal.UP]
        assert (facts.attempts, facts.failure) == (0, None)

    async def test_repair_that_succeeds_again_and_again_counts(self, world):
        """The started node may exit a moment later."""
        for number in range(1, 4):
            await world.run(START)
            assert world.attempts(Goal.REPAIRED) == number

    async def test_goal_is_at_peace_when_nothing_was_done_for_it_for_long(self, world):
        await world.run(START)
        await world.run(START)
        quiet = FORGET_SECONDS + 2 * retry_delay(2, POLICY)
        await asyncio.sleep(quiet - 2)
        assert world.attempts(Goal.REPAIRED) == 2
        await asyncio.sleep(3)
        assert world.attempts(Goal.REPAIRED) is None
        assert world.record().goals == {}

    async def test_removal_is_never_forgotten(self, world):
        await world.run(removal(Goal.GONE))
        await asyncio.sleep(7 * 86400)
        assert world.records.goals(world.record())[Goal.GONE].failure is None

    async def test_renewal_is_never_forgotten(self, world):
        """Otherwise certificates that expire soon all the same would be renewed every minute."""
        await world.run(RenewCertificates("dev", ("dev-control-plane",), NOW))
        await asyncio.sleep(7 * 86400)
        assert world.attempts(Goal.RENEWED) == 1

    async def test_failure_is_never_forgotten_while_it_is_the_last_word(self, world):
        await world.run(CREATE, FAILED)
        await asyncio.sleep(7 * 86400)
        record = world.record()
        assert world.records.goals(record)[Goal.UP].failure is not None


class TestContest:
    """`object_written` is called with the version that was overwritten and the new one."""

    def write(self, world: World, before: int, after: int) -> bool:
        return world.records.backoff.object_written("one", str(before), str(after))

    async def test_own_writes_in_a_row_never_wait(self, world):
        world.record()
        for version in range(100):
            assert not self.write(world, version, version + 1)
        assert world.records.backoff.contest_wait("one") == 0.0

    async def test_writes_that_each_follow_one_by_someone_else_wait_ever_longer(self, world):
        world.record()
        waits, warnings = [], 0
        for version in range(0, 40, 2):
            warnings += self.write(world, version, version + 1)
            waits.append(world.records.backoff.contest_wait("one"))
            await asyncio.sleep(waits[-1])
        # The first one follows nothing that is known.
        assert waits[: FREE_REPLIES + 1] == [0.0] * (FREE_REPLIES + 1)
        assert waits[FREE_REPLIES + 1 : FREE_REPLIES + 5] == pytest.approx([5, 10, 20, 40])
        assert warnings == 1
        await asyncio.sleep(POLICY.retry_limit_seconds + FORGET_SECONDS)
        self.write(world, 100, 101)
        assert world.records.backoff.contest_wait("one") == 0.0

    async def test_identity_of_a_new_kind_cluster_does_not_wait(self, world):
        record = await world.run(CREATE, Made("sha256:aaaa", "kubeconfig"))
        for version in range(0, 60, 2):
            self.write(world, version, version + 1)
        assert world.records.backoff.contest_wait("one") == 0.0
        record.made = None
        assert world.records.backoff.contest_wait("one") > 0.0

    async def test_write_that_changes_nothing_does_not_count(self, world):
        world.record()
        for version in range(0, 100, 2):
            self.write(world, version, version)
        assert world.records.backoff.contest_wait("one") == 0.0

    async def test_object_without_a_record_never_waits(self, world):
        assert not self.write(world, 1, 2)
        assert world.records.backoff.contest_wait("one") == 0.0


class TestMade:
    @pytest.mark.parametrize("next_request", [CREATE, removal(Goal.UP)])
    async def test_completed_creation_is_known_until_what_it_made_is_to_go(self, world, next_request):
        record = await world.run(CREATE, Made("sha256:aaaa", "kubeconfig"))
        assert record.completed == CREATE.mark.attempt
        await world.run(READ, ACCESS)
        assert record.completed == CREATE.mark.attempt
        await world.run(next_request, FAILED)
        assert record.completed is None

    async def test_what_a_creation_made_is_known_until_the_object_holds_it(self, world):
        """The API server may be unavailable for hours when a creation ends."""
        record = await world.run(CREATE, Made("sha256:aaaa", "text"))
        world.records.stored(seen("one", identity=""))
        await asyncio.sleep(100 * ACCESS_SECONDS)
        assert record.made == "sha256:aaaa"
        world.records.stored(seen("one", identity="sha256:bbbb"))
        assert record.made == "sha256:aaaa"
        world.records.stored(seen("one", identity="sha256:aaaa"))
        assert record.made is None

    async def test_creation_is_unfinished_until_it_ended_well_or_was_removed(self, world):
        record = await world.run(CREATE, FAILED)
        assert record.unfinished == CREATE
        await world.run(removal(Goal.UP))
        assert record.unfinished is None
        await world.run(CREATE, Made("sha256:aaaa", "text"))
        assert record.unfinished is None

    async def test_nothing_of_a_key_shows_in_its_words(self, world):
        record = await world.run(CREATE, Made("sha256:aaaa", "secret-external"))
        assert "secret" not in repr(record) + repr(Made("", "secret"))
        await world.run(READ, Access(external="secret-one", internal="secret-two"))
        assert "secret" not in repr(record)


class TestAccess:
    @pytest.mark.rule("C14")
    async def test_kubeconfigs_are_forgotten_soon_though_nothing_happens(self, world):
        record = await world.run(READ, ACCESS)
        await asyncio.sleep(ACCESS_SECONDS - 2)
        assert record.access is ACCESS
        await asyncio.sleep(3)
        assert record.access is None

    @pytest.mark.rule("C14")
    async def test_nothing_else_keeps_the_kubeconfigs(self, world):
        kept = Access(external="external", internal="internal")
        gone = weakref.ref(kept)
        record = await world.run(READ, kept)
        del kept
        world.executor.answer = None
        assert gone() is not None
        await asyncio.sleep(ACCESS_SECONDS + 1)
        gc.collect()
        assert gone() is None
        assert record.access_timer is None

    @pytest.mark.rule("C14")
    @pytest.mark.parametrize("kind", [CommandFailed, RuntimeError])
    async def test_failed_operation_keeps_nothing_of_what_it_had_read(self, world, kind, monkeypatch):
        """Neither the secrets among it, nor megabytes for each of a thousand objects."""

        class Text(str):
            """Can be referenced weakly."""

        async def fail(*_: Any) -> Any:
            text = Text("a kubeconfig")
            references.append(weakref.ref(text))
            raise kind(["kind"], str(text), 1) if kind is CommandFailed else kind("unexpected")

        # pytest keeps what was logged.
        monkeypatch.setattr(logging.getLogger("capk.engine.lanes"), "disabled", True)
        references: list[Any] = []
        world.executor.carry_out = fail
        record = await world.run(READ)
        assert world.records.goals(record)[Goal.ACCESS].failure is not None
        gc.collect()
        assert references[0]() is None

    async def test_text_of_the_creation_goes_when_it_has_been_read(self, world):
        record = await world.run(CREATE, Made("sha256:aaaa", "text"))
        assert record.external == "text"
        await world.run(READ, ACCESS)
        assert record.external is None

    @pytest.mark.rule("C14")
    async def test_text_of_the_creation_is_forgotten_though_nobody_reads_it(self, world):
        """The object may be paused when its creation ends."""
        record = await world.run(CREATE, Made("sha256:aaaa", "text"))
        await asyncio.sleep(ACCESS_SECONDS + 1)
        assert (record.external, record.made) == (None, "sha256:aaaa")

    async def test_kubeconfigs_that_were_read_again_stay_for_their_whole_time(self, world):
        await world.run(READ, ACCESS)
        await asyncio.sleep(ACCESS_SECONDS - 10)
        record = await world.run(READ, ACCESS)
        await asyncio.sleep(ACCESS_SECONDS - 10)
        assert record.access is ACCESS
        await asyncio.sleep(11)
        assert record.access is None

    async def test_kubeconfigs_are_read_again_now_and_then(self, world):
        one = seen("one")
        await world.run(READ, ACCESS)
        await asyncio.sleep(RECHECK_SECONDS - 1)
        assert not world.records.is_access_old(one)
        await asyncio.sleep(2)
        assert world.records.is_access_old(one)

    async def test_after_a_start_clusters_have_their_turns_at_different_times(self, world):
        ones = [seen(f"uid-{number}") for number in range(200)]
        assert not any(world.records.is_access_old(one) for one in ones)
        await asyncio.sleep(RECHECK_SECONDS * 0.75)
        assert 60 < sum(world.records.is_access_old(one) for one in ones) < 140
        await asyncio.sleep(RECHECK_SECONDS * 0.25 + 1)
        assert all(world.records.is_access_old(one) for one in ones)


class TestRefusals:
    async def test_refused_part_is_held_back_longer_each_time(self, world):
        record = world.record()
        for attempts in (1, 2, 3):
            world.records.backoff.refused(record, "claim", f"no {attempts}")
            assert world.records.backoff.refusals(record) == {"claim": f"no {attempts}"}
            assert world.records.backoff.next_try(record) == pytest.approx(retry_delay(attempts, POLICY))
            await asyncio.sleep(retry_delay(attempts, POLICY) + 0.1)
            assert world.records.backoff.held_back(record) == frozenset()
            assert world.records.backoff.next_try(record) is None

    async def test_next_try_is_the_one_that_comes_first(self, world):
        record = world.record()
        for _ in range(3):
            world.records.backoff.refused(record, "claim", "no")
        world.records.backoff.refused(record, "endpoint", "no")
        assert world.records.backoff.next_try(record) == pytest.approx(retry_delay(1, POLICY))

    async def test_accepted_part_is_news_once(self, world):
        record = world.record()
        world.records.backoff.refused(record, "claim", "no")
        assert world.records.backoff.accepted(record, "claim")
        assert not world.records.backoff.accepted(record, "claim")
        assert world.records.backoff.next_try(record) is None
        assert world.records.backoff.refusals(record) == {}


class TestWrites:
    async def test_part_that_is_written_again_and_again_rests_ever_longer(self, world):
        record = world.record()
        for times in range(1, 12):
            world.records.backoff.written(record, "secret dev-config")
            rest = retry_delay(times - FREE_WRITES, POLICY)
            assert world.records.backoff.is_throttled(record, "secret dev-config") == (rest > 0)
            assert world.records.backoff.next_try(record) == (pytest.approx(rest) if rest else None)
            await asyncio.sleep(rest + 1)
        assert not world.records.backoff.is_throttled(record, "secret other")

    async def test_part_that_had_peace_is_written_without_a_rest(self, world):
        record = world.record()
        for _ in range(3):
            world.records.backoff.written(record, "secret dev-config", is_changed=True)
        assert world.records.backoff.is_throttled(record, "secret dev-config")
        await asyncio.sleep(retry_delay(1, POLICY) + FORGET_SECONDS + 1)
        world.records.backoff.written(record, "secret dev-config")
        assert not world.records.backoff.is_throttled(record, "secret dev-config")


class TestForget:
    async def test_object_of_the_same_name_has_its_own_record(self, world):
        one, other = kindcluster(uid="one"), kindcluster(uid="two")
        assert world.records.of(one) is not world.records.of(other)
        assert [record.uid for record in world.records.of_key(one.key)] == ["one", "two"]
        world.records.forget("one")
        assert [record.uid for record in world.records.of_key(one.key)] == ["two"]
        assert world.records.find("one") is None

    async def test_running_operation_ends_with_its_record(self, world):
        world.records.start(world.record(), CREATE, world.executor)
        await asyncio.sleep(0.5)
        world.records.forget("one")
        await asyncio.sleep(2)
        assert world.executor.done == []
        assert world.lanes.get("one") is None

    @pytest.mark.rule("C14")
    async def test_kubeconfigs_of_an_object_that_is_gone_go_too(self, world):
        kept = Access(external="external", internal="internal")
        gone = weakref.ref(kept)
        await world.run(READ, kept)
        del kept
        world.executor.answer = None
        world.records.forget("one")
        gc.collect()
        assert gone() is None

    async def test_thousand_objects_that_came_and_went_leave_nothing(self, world):
        world.executor.seconds = 0.01
        for number in range(1000):
            uid = f"uid-{number}"
            record = world.record(uid)
            world.records.backoff.refused(record, "claim", "no")
            world.records.start(record, READ, world.executor)
            await asyncio.sleep(0.02 if number % 2 else 0)
            world.records.forget(uid)
        await asyncio.sleep(1)
        assert len(world.records) == 0
        assert world.records.of_key(seen("uid-7").key) == []
        assert all(world.lanes.get(f"uid-{number}") is None for number in range(1000))
        assert not world.records._uids
        assert not world.lanes._operations

    async def test_looking_for_a_key_makes_no_record(self, world):
        assert world.records.of_key(seen("one").key) == []
        assert world.records.find("one") is None
        assert len(world.records) == 0
        assert not world.records._uids


JOIN = join_request(observe_machine())
CLEAN_UP = RemoveWorker("dev", NODE, MACHINE_UID, goal=Goal.JOINED)


class TestWorker:
    async def test_joined_container_is_known_until_the_next_operation_on_the_node(self, world):
        record = await world.run(JOIN, Joined("w1"))
        assert (record.joined, record.unfinished, world.attempts(Goal.JOINED)) == ("w1", None, 0)
        world.records.start(record, CLEAN_UP, world.executor)
        assert record.joined == ""

    async def test_join_that_failed_or_was_cancelled_is_unfinished_until_it_is_cleaned_up(self, world):
        record = await world.run(JOIN, FAILED)
        assert record.unfinished == JOIN
        await world.run(CLEAN_UP)
        assert record.unfinished is None
        world.records.start(record, JOIN, world.executor)
        await asyncio.sleep(0.5)
        world.records.cancel("one")
        await asyncio.sleep(0.5)
        assert record.unfinished == JOIN

    async def test_cleanup_leaves_the_outcome_of_the_attempt(self, world):
        await world.run(JOIN, FAILED)
        await world.run(CLEAN_UP)
        assert world.attempts(Goal.JOINED) == 1
        await world.run(JOIN, FAILED)
        assert world.attempts(Goal.JOINED) == 2

    async def test_another_request_is_a_first_attempt(self, world):
        await world.run(JOIN, FAILED)
        await world.run(JOIN, FAILED)
        await world.run(replace(JOIN, image="kindest/node:v1.36.2"), FAILED)
        assert world.attempts(Goal.JOINED) == 1

    async def test_joins_of_a_kind_cluster_are_known_and_cancelled_by_its_name(self):
        world = World(limit=1)
        world.records.start(world.record("one"), JOIN, world.executor)
        world.records.start(world.record("two"), replace(JOIN, node="dev-two"), world.executor)
        world.records.start(world.record("three"), replace(JOIN, name="other", node="other-one"), world.executor)
        assert world.records.joining(SHARED, "dev") == {NODE: "one", "dev-two": "two"}
        world.records.cancel_joins(SHARED, "dev", {NODE, "dev-two", "other-one"})
        await asyncio.sleep(0.1)
        assert world.records.joining(SHARED, "dev") == {}
        assert world.records.joining(SHARED, "other") == {"other-one": "three"}

    async def test_operations_on_two_engines_with_one_name_are_told_apart(self, world):
        elsewhere = Executor(ELSEWHERE)
        world.records.start(world.record("one"), JOIN, world.executor)
        world.records.start(world.record("two"), JOIN, elsewhere)
        world.records.start(world.record("three"), removal(Goal.GONE), elsewhere)
        assert world.records.joining(SHARED, "dev") == {NODE: "one"}
        assert world.records.joining(ELSEWHERE.key, "dev") == {NODE: "two"}
        removed = next(iter(removal(Goal.GONE).uids))
        assert world.records.is_being_removed(removed, ELSEWHERE.key, "dev")
        assert not world.records.is_being_removed(removed, SHARED, "dev")
        assert world.records.places() == {SHARED, ELSEWHERE.key}
        await asyncio.sleep(2)
        assert world.records.places() == set()

    async def test_join_of_a_forgotten_object_is_under_way_until_its_end(self, world):
        async def slow(record: Record, request: OperationRequest, on_step: Callable[[Step], None]) -> Any:
            try:
                await asyncio.sleep(10)
            finally:
                await asyncio.sleep(3)

        world.executor.carry_out = slow
        world.records.start(world.record(), JOIN, world.executor)
        await asyncio.sleep(1)
        world.records.forget("one")
        assert world.records.joining(SHARED, "dev") == {NODE: "one"}
        await asyncio.sleep(4)
        assert world.records.joining(SHARED, "dev") == {}
