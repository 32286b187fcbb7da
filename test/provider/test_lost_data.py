"""An etcd that came back empty is always noticed, and an unchanged one causes no requests."""

import asyncio

import pytest

from capk.api.names import KIND_CLUSTERS, KUBE_SYSTEM_ANNOTATION
from capk.errors import ApiError, Denied
from capk.workload.answer import Answer
from test.provider.world import KUBE_SYSTEM_UID, NO_ANSWER, World, quiet

pytestmark = pytest.mark.virtual_time

OTHER_UID = "0c1e3c1e-0000-4000-8000-00000000000f"
ABSENT = Answer(404, "HTTP 404: not found")
HIDDEN = Answer(403, "HTTP 403: forbidden")
PERIOD = 30.0


def lose_data(world: World, shown: Answer = ABSENT) -> None:
    world.data, world.kube_system_uid = shown, OTHER_UID


async def test_etcd_that_was_emptied_while_no_provider_ran_is_known_within_a_period(tmp_path):
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.ready()
    assert world.condition("ClusterCreated")[1] == "Created"
    lose_data(world)
    async with world.running():
        await world.until(lambda: world.reason() == "DataLost", PERIOD + 5)
        assert await quiet(world, 1200) == 0
    async with world.running():
        assert await quiet(world, 1200) == 0
        assert world.reason() == "DataLost"


async def test_etcd_that_is_emptied_in_a_container_that_runs_on_is_known_within_a_period(tmp_path):
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.ready()
        await asyncio.sleep(600)
        lose_data(world)
        await world.until(lambda: world.reason() == "DataLost", PERIOD + 5)


async def test_etcd_that_is_emptied_before_anything_could_be_stored_is_known_all_the_same(tmp_path):
    world = World(tmp_path)

    def judge(verb, resource, name, body):
        holds_uid = any(uid in str(body) for uid in (KUBE_SYSTEM_UID, OTHER_UID))
        return Denied(verb, "kindclusters", 403, "not today") if holds_uid else None

    world.kube.refuse = judge
    async with world.running():
        world.add()
        await asyncio.sleep(15)
        lose_data(world)
        await asyncio.sleep(200)
        world.kube.refuse = None
        await world.until(lambda: world.reason() == "DataLost", 400)


async def test_removal_that_was_cut_short_goes_on_though_the_rest_answers_nobody(tmp_path):
    """What is left holds that its creation was completed, and would wait for an answer for good."""
    world = World(tmp_path)
    world.add(spec={"recreatePolicy": "Always", "nodes": [{"role": "control-plane"}, {"role": "worker"}]})
    async with world.running():
        await world.ready()
        await asyncio.sleep(60)
    former = list(world.engine.containers)
    world.containers.remove_seconds = 30.0
    async with world.killed():
        lose_data(world)
        await world.until(lambda: world.engine.called("remove") != [])
        await asyncio.sleep(1)
    world.engine.containers.pop(former[1])
    answer, world.answer = world.answer, NO_ANSWER
    async with world.running():
        await world.until(lambda: len(world.engine.called("create")) == 2)
        world.answer = answer
        await world.ready()
        assert world.engine.containers.keys().isdisjoint(former)


@pytest.mark.parametrize("shown", [ABSENT, HIDDEN])
async def test_data_that_only_cannot_be_seen_costs_one_reading_after_a_start(tmp_path, shown):
    """An administrator may hide kubeadm's ConfigMap from anonymous users."""
    world = World(tmp_path, sync_period_seconds=3600)
    world.data = shown
    async with world.running():
        world.add()
        await world.ready()
        await asyncio.sleep(2 * PERIOD)
    async with world.running():
        before = len(world.engine.called("kubeconfig"))
        assert await quiet(world, 3000) == 0
        assert len(world.engine.called("kubeconfig")) == before + 1
        assert world.reason() == "Ready"


async def test_data_that_is_as_it_was_costs_no_reading(tmp_path):
    world = World(tmp_path, sync_period_seconds=3600)
    async with world.running():
        world.add()
        await world.ready()
    async with world.running():
        before = len(world.engine.called("kubeconfig"))
        assert await quiet(world, 3000) == 0
        assert len(world.engine.called("kubeconfig")) == before


async def test_doubt_stays_until_the_data_could_be_asked_for_and_is_no_hot_loop(tmp_path):
    world = World(tmp_path, sync_period_seconds=3600)
    async with world.running():
        world.add()
        await world.ready()
        world.data, world.kube_system_uid = ABSENT, "not there yet"
        before = len(world.engine.called("kubeconfig"))
        await asyncio.sleep(3600)
        assert 3 < len(world.engine.called("kubeconfig")) - before < 25
        assert world.reason() == "Ready"
        world.kube_system_uid = OTHER_UID
        await world.until(lambda: world.reason() == "DataLost", 310)


async def test_data_that_comes_back_is_believed(tmp_path):
    """From a backup of etcd, for example."""
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.ready()
        found = world.data
        await asyncio.sleep(2 * PERIOD)
        lose_data(world)
        await world.until(lambda: world.reason() == "DataLost", PERIOD + 5)
        await asyncio.sleep(600)
        world.data, world.kube_system_uid = found, KUBE_SYSTEM_UID
        await world.until(lambda: world.reason() == "Ready", PERIOD + 5)


async def test_nodes_that_started_again_are_not_ready_before_the_answer_although_nobody_waits_for_it(tmp_path):
    world = World(tmp_path, wait_for_nodes_seconds=0)
    async with world.running():
        world.add()
        await world.ready()
        await asyncio.sleep(2 * PERIOD)
        answer, world.answer = world.answer, NO_ANSWER
        world.engine.stop_nodes()
        await world.until(lambda: world.reason() == "StartingNodes", 30)
        said = set()
        for _ in range(3000):
            said.add(world.reason())
            await asyncio.sleep(0.1)
        assert said == {"StartingNodes", "NotAnswering"}
        assert NO_ANSWER.said in world.condition("Ready")[2]
        world.answer = answer
        await world.until(lambda: world.reason() == "Ready", PERIOD + 5)


async def test_loss_that_could_not_be_stored_is_stored_as_soon_as_it_can_be(tmp_path):
    """Long after the kubeconfigs were forgotten: nothing else makes the provider look again."""
    world = World(tmp_path, sync_period_seconds=3600)
    async with world.running():
        world.add()
        await world.ready()
        await asyncio.sleep(2 * PERIOD)
        refused = ApiError("patch", "kindclusters default/dev", 403, "denied by policy")
        world.kube.refuse = lambda verb, resource, name, body: refused if resource is KIND_CLUSTERS else None
        lose_data(world)
        await asyncio.sleep(600)
        assert world.reason() == "Ready"
        world.kube.refuse = None
        await world.until(lambda: world.reason() == "DataLost", 320)


@pytest.mark.parametrize("policy", ["Never", "Always"])
@pytest.mark.parametrize("when", ["just read", "long ago", "before a restart"])
async def test_annotation_that_is_edited_is_no_loss_of_data(tmp_path, policy, when):
    world = World(tmp_path)
    world.add(spec={"recreatePolicy": policy})
    async with world.running():
        await world.ready()
        await asyncio.sleep(1 if when == "just read" else 300)
        first = list(world.engine.containers)
        if when != "before a restart":
            await is_undone(world)
    if when == "before a restart":
        async with world.running():
            await asyncio.sleep(60)
            await is_undone(world)
            world.data = ABSENT
            await asyncio.sleep(2 * PERIOD)
    assert world.reason() == "Ready"
    assert list(world.engine.containers) == first


async def is_undone(world: World) -> None:
    world.annotate(KUBE_SYSTEM=OTHER_UID)
    await asyncio.sleep(120)
    assert world.get()["metadata"]["annotations"][KUBE_SYSTEM_ANNOTATION] == KUBE_SYSTEM_UID
