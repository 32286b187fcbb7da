"""What a KINDMachine shows of the engine in a Pod that its KINDCluster has."""

import asyncio
from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS, KIND_MACHINES
from capk.api.objects import KINDCluster
from test.provider.podworld import IN_POD, NAMESPACE, PodWorld, pending
from test.provider.world import trouble

pytestmark = pytest.mark.virtual_time

POD = f"Pod {NAMESPACE}/kc-0a1b2c3d4e5f4a6b"


@pytest.fixture
def world(tmp_path: Path) -> PodWorld:
    world = PodWorld(tmp_path)
    world.add_class()
    return world


def shown(world: PodWorld, kind: str = "EngineAvailable", name: str = "dev-w1") -> tuple[str, str, str]:
    return world.condition(kind, name, resource=KIND_MACHINES)


async def with_worker(world: PodWorld, **spec: str) -> None:
    world.add(spec={**IN_POD, **spec})
    await world.ready()
    world.add_standalone_machine()
    await world.joined()
    assert shown(world)[:2] == ("True", "EngineAnswers")


@pytest.mark.parametrize("how", ["deleted", "evicted"])
async def test_engine_that_is_lost_is_missing_for_its_workers_too(world, how):
    async with world.running():
        await with_worker(world)
        world.delete_pod() if how == "deleted" else world.evict()
        await world.until(lambda: shown(world)[:2] == ("False", "Missing"))
        assert POD in shown(world)[2]
        # Its container is certainly gone, so a MachineHealthCheck may replace it.
        await world.until(lambda: shown(world, "Ready")[0] == "False")
        await asyncio.sleep(700)
        assert shown(world)[2] == world.condition("EngineAvailable")[2]
        assert (shown(world, "Ready")[:2], shown(world, "WorkerJoined")[:2]) == (("False", "Missing"),) * 2


async def test_worker_shows_that_its_engine_is_created_again(world):
    async with world.running():
        await with_worker(world, recreatePolicy="Always")
        world.kubelet.trouble = pending(
            conditions=[{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]
        )
        world.delete_pod()
        await world.until(lambda: shown(world)[:2] == ("False", "EngineUnschedulable"))
        assert "0/3 nodes" in shown(world)[2]
        world.kubelet.trouble = None
        await world.ready()
        await world.until(lambda: shown(world)[0] == "True")


async def test_worker_shows_why_its_engine_cannot_be_created(world):
    world.kube.missing = {NAMESPACE}
    async with world.running():
        world.add()
        world.add_standalone_machine()
        await world.until(lambda: shown(world)[:2] == ("False", "EngineRefused"))
        assert f"Namespace {NAMESPACE} does not exist" in shown(world)[2]
        world.kube.missing = set()
        await world.joined()


@pytest.mark.parametrize("has_joined", [True, False])
async def test_worker_whose_object_vanished_goes_although_its_engine_stays(world, has_joined):
    async with world.running() as app:
        world.add()
        await world.ready()
        containers = app.engines.of_cluster(KINDCluster(world.get())).containers
        world.add_standalone_machine()
        await world.until(lambda: len(world.inner().of()) == 2)
        if has_joined:
            await world.joined()
        containers.removes = [trouble("Error: device or resource busy", "docker", "rm") for _ in range(3)]
        world.delete("dev-w1", resource=KIND_MACHINES)
        await asyncio.sleep(1)
        world.vanish("dev-w1", resource=KIND_MACHINES)
        await world.until(lambda: len(world.inner().of()) == 1)


async def test_worker_whose_object_and_engine_are_gone_is_forgotten(world):
    async with world.running() as app:
        world.add()
        await world.ready()
        world.add_standalone_machine()
        await world.joined()
        uid = world.machine().uid
        containers = app.engines.of_cluster(KINDCluster(world.get())).containers
        containers.removes = [trouble("Error: device or resource busy", "docker", "rm") for _ in range(30)]
        world.delete("dev-w1", resource=KIND_MACHINES)
        await asyncio.sleep(1)
        world.vanish("dev-w1", resource=KIND_MACHINES)
        world.delete()
        await world.gone()
        await world.until(lambda: app.records.find(uid) is None)


async def test_worker_goes_although_its_cluster_waits_for_its_user_and_its_engine_has_ended(tmp_path):
    world = PodWorld(tmp_path)
    world.add_class(claim=True)
    async with world.running():
        await with_worker(world)
        world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"deletionPolicy": "Retain"}})
        world.evict()
        world.delete()
        await world.until(lambda: "set spec.deletionPolicy to Delete" in world.condition("Deleting")[2])
        world.delete("dev-w1", resource=KIND_MACHINES)
        await world.gone("dev-w1", resource=KIND_MACHINES)
        world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"deletionPolicy": "Delete"}})
        await world.gone()
        assert world.left() == []
