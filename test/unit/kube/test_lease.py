import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import kubernetes_validate
import pytest

from capk.engine.command import GRACE_SECONDS
from capk.errors import Conflict, LostLease, Unreachable
from capk.kube.lease import LEASES, LeaseTimes, hold_lease
from test.unit.recording_kube import RecordingKube
from test.unit.virtual_time import now, run

KEY = ("leases", "capk-system", "capk")


def hold(kube: RecordingKube, identity: str = "a") -> Any:
    return hold_lease(kube, "capk", "capk-system", identity, rng=lambda: 0.5)


def spec(kube: RecordingKube) -> dict[str, Any]:
    return kube.objects[KEY]["spec"]


def someone_elses(kube: RecordingKube, **changes: Any) -> None:
    lease_spec = {"holderIdentity": "b", "leaseDurationSeconds": 15, "leaseTransitions": 2, **changes}
    kube.put(LEASES, {"metadata": {"name": "capk", "namespace": "capk-system"}, "spec": lease_spec})


def virtually(body: Callable[[RecordingKube], Awaitable[Any]]) -> Any:
    async def with_kube() -> Any:
        return await body(RecordingKube())

    return run(with_kube())


def test_free_lease_is_taken_at_once_and_released() -> None:
    async def body(kube: RecordingKube) -> None:
        async with hold(kube):
            assert now() == 0
            assert spec(kube)["holderIdentity"] == "a"
            assert spec(kube)["leaseDurationSeconds"] == 15
        assert spec(kube)["holderIdentity"] == ""

    virtually(body)


def test_lease_that_a_person_created_without_a_spec_is_taken() -> None:
    async def body(kube: RecordingKube) -> None:
        kube.put(LEASES, {"metadata": {"name": "capk", "namespace": "capk-system"}})
        async with hold(kube):
            assert now() < 3
            assert spec(kube)["holderIdentity"] == "a"

    virtually(body)


def test_lease_satisfies_the_schema_of_kubernetes() -> None:
    async def body(kube: RecordingKube) -> None:
        async with hold(kube):
            await asyncio.sleep(5)
            (lease,) = kube.objects.values()
            kubernetes_validate.validate(lease, kubernetes_validate.latest_version(), strict=True)

    virtually(body)


def test_leader_renews_every_two_seconds() -> None:
    async def body(kube: RecordingKube) -> None:
        async with hold(kube):
            kube.writes.clear()
            await asyncio.sleep(60.5)
            assert [verb for verb, *_ in kube.writes] == ["patch"] * 30

    virtually(body)


@pytest.mark.rule("K41")
def test_released_lease_is_taken_over_at_the_next_look() -> None:
    async def body(kube: RecordingKube) -> None:
        async with hold(kube, "b"):
            waiter = asyncio.create_task(lead(kube, "a"))
            await asyncio.sleep(31)
        assert 31 < await waiter <= 33.5
        assert spec(kube)["leaseTransitions"] == 1

    virtually(body)


async def lead(kube: RecordingKube, identity: str) -> float:
    """Return the time at which we got the lease."""
    async with hold(kube, identity):
        return now()


@pytest.mark.rule("K41")
def test_dead_leader_is_succeeded_after_the_lease_duration() -> None:
    async def body(kube: RecordingKube) -> None:
        someone_elses(kube, renewTime="2999-01-01T00:00:00.000000Z")  # a clock far ahead must not matter
        assert 15 < await lead(kube, "a") <= 17.5
        assert spec(kube)["leaseTransitions"] == 3

    virtually(body)


def test_living_leader_is_not_succeeded() -> None:
    async def body(kube: RecordingKube) -> None:
        async with hold(kube, "b"):
            waiter = asyncio.create_task(lead(kube, "a"))
            await asyncio.sleep(300)
            assert not waiter.done()
            waiter.cancel()
            await asyncio.gather(waiter, return_exceptions=True)
            assert spec(kube)["holderIdentity"] == "b"

    virtually(body)


def test_standby_logs_once_which_replica_is_active(caplog: pytest.LogCaptureFixture) -> None:
    async def body(kube: RecordingKube) -> None:
        async with hold(kube, "b"):
            waiter = asyncio.create_task(lead(kube, "a"))
            await asyncio.sleep(300)
            waiter.cancel()
            await asyncio.gather(waiter, return_exceptions=True)

    with caplog.at_level("INFO"):
        virtually(body)
    assert caplog.text.count("b holds the Lease and is active") == 1


def test_two_waiters_never_lead_together() -> None:
    async def body(kube: RecordingKube) -> None:
        leading: list[str] = []

        async def replica(identity: str) -> None:
            async with hold(kube, identity):
                leading.append(identity)
                assert leading == [identity]
                await asyncio.sleep(7)
                leading.remove(identity)

        someone_elses(kube)
        await asyncio.gather(*(replica(identity) for identity in ("a", "c", "d")))

    virtually(body)


@pytest.mark.rule("K41")
def test_leader_that_cannot_renew_is_stopped_before_others_take_over() -> None:
    async def body(kube: RecordingKube) -> None:
        async with hold(kube):
            kube.fail = [Unreachable("patch", "leases", 0, "no answer")] * 100
            try:
                await asyncio.sleep(1000)
            finally:
                assert now() == 9

    with pytest.raises(LostLease, match="9 s"):
        virtually(body)


class HangingKube(RecordingKube):
    """Stops answering writes at some time."""

    hangs_from = 0.0

    async def patch(self, *args: Any, **options: Any) -> dict[str, Any]:
        if now() >= self.hangs_from:
            await asyncio.sleep(1000)
        return await super().patch(*args, **options)


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("hangs_from", [0.0, 5.0, 11.0])
def test_leader_whose_renewal_hangs_is_stopped_at_the_deadline(hangs_from: float, chance: float) -> None:
    kube = HangingKube()
    kube.hangs_from = hangs_from
    renewals = [0.0]
    ended: list[float] = []

    def alarm(_: float) -> None:
        renewals.append(now())

    async def body() -> None:
        async with hold_lease(kube, "capk", "capk-system", "a", alarm=alarm, rng=lambda: chance):
            try:
                await asyncio.sleep(1000)
            finally:
                ended.append(now())

    with pytest.raises(LostLease, match="9 s"):
        run(body())
    assert ended == [pytest.approx(renewals[-1] + 9)]


def test_alarm_rings_before_others_may_act_and_never_while_the_lease_is_ours() -> None:
    kube = RecordingKube()
    alarms: list[tuple[float, float]] = []

    async def body() -> None:
        async with hold_lease(
            kube, "capk", "capk-system", "a", alarm=lambda seconds: alarms.append((now(), seconds)), rng=lambda: 0.5
        ):
            await asyncio.sleep(60)
            kube.fail = [Unreachable("patch", "leases", 0, "no answer")] * 3
            await asyncio.sleep(60)

    run(body())
    times = LeaseTimes()
    assert alarms[-1] == (120, 0)
    assert {seconds for _, seconds in alarms[:-1]} == {times.renew_deadline + times.shutdown}
    assert all(later - earlier < times.renew_deadline for (earlier, _), (later, _) in pairwise(alarms))


def test_alarm_is_near_when_another_replica_took_the_lease() -> None:
    kube = RecordingKube()
    alarms: list[float] = []

    async def body() -> None:
        async with hold_lease(kube, "capk", "capk-system", "a", alarm=alarms.append):
            someone_elses(kube)
            await asyncio.sleep(1000)

    with pytest.raises(LostLease):
        run(body())
    assert alarms[-1] == LeaseTimes().shutdown


def test_lease_outlasts_the_end_of_the_engine_commands_of_a_leader_that_lost_it() -> None:
    times = LeaseTimes()
    assert times.shutdown > GRACE_SECONDS
    assert times.duration >= times.renew_deadline + times.shutdown
    with pytest.raises(ValueError, match="must cover"):
        LeaseTimes(duration=14)


def test_short_outage_is_survived() -> None:
    async def body(kube: RecordingKube) -> None:
        async with hold(kube):
            for _ in range(5):
                kube.fail = [Unreachable("patch", "leases", 0, "no answer")] * 3
                await asyncio.sleep(20)
        assert spec(kube)["holderIdentity"] == ""

    virtually(body)


def test_lease_taken_by_somebody_else_stops_the_leader_and_is_left_alone() -> None:
    kube = RecordingKube()

    async def body() -> None:
        async with hold(kube):
            someone_elses(kube)
            try:
                await asyncio.sleep(1000)
            finally:
                assert now() <= 2.5

    with pytest.raises(LostLease, match="b holds it now"):
        run(body())
    assert spec(kube)["holderIdentity"] == "b"


def test_lease_that_somebody_edited_but_that_is_still_ours_is_kept() -> None:
    async def body(kube: RecordingKube) -> None:
        async with hold(kube):
            kube.put(LEASES, {**kube.objects[KEY], "extra": 1})
            await asyncio.sleep(60)
        assert spec(kube)["holderIdentity"] == ""

    virtually(body)


def test_deleted_lease_is_made_again_by_its_leader() -> None:
    async def body(kube: RecordingKube) -> None:
        async with hold(kube):
            kube.objects.clear()
            await asyncio.sleep(60)
            assert spec(kube)["holderIdentity"] == "a"

    virtually(body)


def test_deleted_lease_that_another_one_made_again_stops_the_leader() -> None:
    class Contested(RecordingKube):
        async def create(self, *args: Any) -> dict[str, Any]:
            if self.writes:
                someone_elses(self)
            return await super().create(*args)

    async def body() -> None:
        kube = Contested()
        async with hold(kube):
            kube.objects.clear()
            await asyncio.sleep(1000)

    with pytest.raises(LostLease, match="b holds it now"):
        run(body())


def test_lease_of_an_earlier_run_of_the_same_replica_is_taken_at_once() -> None:
    async def body(kube: RecordingKube) -> None:
        someone_elses(kube, holderIdentity="a")
        assert await lead(kube, "a") == 0

    virtually(body)


def test_api_server_that_is_away_at_the_start_is_waited_for() -> None:
    async def body(kube: RecordingKube) -> None:
        kube.fail = [Unreachable("get", "leases", 0, "no answer")] * 5
        assert await lead(kube, "a") == pytest.approx(10)

    virtually(body)


def test_quicker_replica_wins_the_takeover() -> None:
    class Contested(RecordingKube):
        async def patch(self, *args: Any, **options: Any) -> dict[str, Any]:
            if spec(self)["holderIdentity"] == "":
                someone_elses(self)
                raise Conflict("patch", "leases", 409, "stale")
            return await super().patch(*args, **options)

    async def body() -> None:
        kube = Contested()
        someone_elses(kube, holderIdentity="")
        assert await lead(kube, "a") > 15

    run(body())


def test_error_of_the_body_passes_through_and_releases() -> None:
    async def body(kube: RecordingKube) -> None:
        with pytest.raises(ValueError, match="broken"):
            async with hold(kube):
                raise ValueError("broken")
        assert spec(kube)["holderIdentity"] == ""

    virtually(body)


def test_cancelling_the_leader_from_outside_releases() -> None:
    async def body(kube: RecordingKube) -> None:
        async def leader() -> None:
            async with hold(kube):
                await asyncio.sleep(1000)

        task = asyncio.create_task(leader())
        await asyncio.sleep(5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert spec(kube)["holderIdentity"] == ""

    virtually(body)


def test_body_that_ends_in_the_moment_of_the_loss_tells_of_it() -> None:
    async def leader(kube: RecordingKube) -> None:
        async with hold(kube):
            await asyncio.sleep(0)  # the renewal goes first
            someone_elses(kube)
            await asyncio.sleep(2)  # as long as the pause before the renewal that finds out

    async def body(kube: RecordingKube) -> None:
        with pytest.raises(LostLease):
            await leader(kube)
        await asyncio.sleep(1)  # no later cancellation

    virtually(body)


def test_failed_release_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def body(kube: RecordingKube) -> None:
        async with hold(kube):
            kube.fail = [Unreachable("patch", "leases", 0, "no answer")]
        assert "Could not release" in caplog.text

    virtually(body)


def test_lease_that_is_taken_only_after_its_deadline_is_asked_for_again_and_the_alarm_never_lies_in_the_past() -> None:
    kube = RecordingKube()
    alarms: list[float] = []
    create = kube.create
    delays = [20.0]

    async def slowly(*args: Any, **options: Any) -> dict[str, Any]:
        made = await create(*args, **options)
        if delays:
            await asyncio.sleep(delays.pop())
        return made

    kube.create = slowly  # type: ignore[method-assign]

    async def body() -> None:
        async with hold_lease(kube, "capk", "capk-system", "a", alarm=alarms.append, rng=lambda: 0.5):
            assert now() < 15
            assert spec(kube)["holderIdentity"] == "a"

    run(body())
    assert min(alarms[:-1]) > 0
