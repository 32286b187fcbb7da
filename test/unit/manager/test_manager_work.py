"""What is remembered of an operation, and for how long."""

import asyncio
from collections.abc import Callable

import pytest
from capk.manager.work import ACCESS_SECONDS, RECHECK_SECONDS, Work

from capk.api import names
from capk.api.objects import KINDCluster
from capk.engine.operations import Lane, Operations
from capk.plan.observed import Access
from capk.plan.plan import ReadAccess, Request
from capk.runtime.metrics import Metrics

ACCESS = Access(external="external", internal="internal")


class Engine:
    async def carry_out(self, request: Request, on_step: Callable[[object], None]) -> Access:
        return ACCESS


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def seen(uid: str, identity: str = "sha256:aaaa") -> KINDCluster:
    metadata = {"namespace": "default", "name": uid, "uid": uid, "annotations": {names.IDENTITY_ANNOTATION: identity}}
    status = {"initialization": {"provisioned": True}}
    return KINDCluster({"kind": "KINDCluster", "metadata": metadata, "spec": {}, "status": status})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def work(clock: Clock) -> Work:
    operations = Operations(dict.fromkeys(Lane, 1), on_change=lambda uid: None, clock=clock)
    return Work(Engine(), operations, Metrics(), clock)


async def _read(work: Work, one: KINDCluster) -> None:
    work.start(one, ReadAccess(one.name))
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.rule("C14")
async def test_kubeconfigs_are_forgotten_soon(work: Work, clock: Clock) -> None:
    one = seen("one")
    await _read(work, one)
    clock.now += ACCESS_SECONDS - 1
    assert work.access(one) is ACCESS
    clock.now += 2
    assert work.access(one) is None
    assert work.facts(one) is None


async def test_what_tells_a_whole_cluster_from_a_half_made_one_is_kept(work: Work, clock: Clock) -> None:
    """The API server may be away for hours when a creation ends."""
    one = seen("one", identity="")
    await _read(work, one)
    clock.now += 100 * ACCESS_SECONDS
    assert work.access(one) is ACCESS


async def test_kubeconfigs_are_read_again_now_and_then(work: Work, clock: Clock) -> None:
    one = seen("one")
    await _read(work, one)
    assert work.access(one) is ACCESS
    clock.now += RECHECK_SECONDS - 1
    assert not work.is_access_old(one)
    clock.now += 2
    assert work.is_access_old(one)


async def test_after_a_start_clusters_have_their_turns_at_different_times(work: Work, clock: Clock) -> None:
    ones = [seen(f"uid-{number}") for number in range(200)]
    assert not any(work.is_access_old(one) for one in ones)
    clock.now += RECHECK_SECONDS * 0.75
    assert 60 < sum(work.is_access_old(one) for one in ones) < 140
    clock.now += RECHECK_SECONDS * 0.25 + 1
    assert all(work.is_access_old(one) for one in ones)
