"""What a KINDCluster shows if its nodes, its spec or its class ask for another engine than the Pod that runs."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from capk.api.names import CLUSTERS, EVENTS, KIND_MACHINES, PODS
from test.provider.podworld import NAMESPACE, PodWorld

pytestmark = pytest.mark.virtual_time

POD = f"Pod {NAMESPACE}/kc-0a1b2c3d4e5f4a6b"
TOO_SMALL = f"1 control-plane node and 1 worker need 1536Mi of memory, but {POD} has 1Gi and does not grow"


@pytest.fixture
def world(tmp_path: Path) -> PodWorld:
    world = PodWorld(tmp_path)
    world.add_class()
    return world


def shown(world: PodWorld) -> str:
    """Return the message of EngineAvailable, which is True."""
    status, _, message = world.condition("EngineAvailable")
    assert status == "True"
    return message


def warnings(world: PodWorld) -> list[str]:
    found = [one for (plural, *_), one in world.kube.objects.items() if plural == EVENTS.plural]
    return [one["message"] for one in found if one["reason"] == "EngineWithWarnings"]


def memory(world: PodWorld) -> str:
    return str(world.pod()["spec"]["containers"][0]["resources"]["limits"]["memory"])


def asking(**resources: str) -> dict[str, Any]:
    return {"engine": {"className": "pods", "resources": resources}}


async def test_worker_that_joins_an_engine_without_room_is_warned_of_once(world):
    async with world.running():
        world.add()
        await world.ready()
        assert "does not grow" not in shown(world)
        world.add_standalone_machine()
        await world.joined()
        await world.until(lambda: TOO_SMALL in shown(world))
        assert "Use fewer workers, or create the KINDCluster again" in shown(world)
        assert "spec.engine.resources.memory to 1536Mi or more" in shown(world)
        assert world.reason() == "Ready"
        before = len(world.kube.writes)
        await asyncio.sleep(1300)
        assert len(world.kube.writes) == before
    async with world.running():
        await asyncio.sleep(700)
        assert len(warnings(world)) == 1
        world.delete("dev-w1", resource=KIND_MACHINES)
        await world.until(lambda: "does not grow" not in shown(world))


async def test_engine_with_room_for_later_workers_is_not_warned_of(world):
    async with world.running():
        world.add(spec=asking(memory="2Gi"))
        await world.ready()
        for number in (1, 2):
            world.add_standalone_machine(f"dev-w{number}")
        await world.joined("dev-w1", "dev-w2")
        await asyncio.sleep(700)
        assert "does not grow" not in shown(world)
        world.add_standalone_machine("dev-w3")
        await world.joined("dev-w3")
        await world.until(lambda: "need 2560Mi of memory" in shown(world))


async def test_engine_with_a_volume_gets_room_for_its_workers_with_its_next_pod(tmp_path):
    world = PodWorld(tmp_path)
    world.add_class(claim=True)
    async with world.running():
        world.add()
        await world.ready()
        world.add_standalone_machine()
        await world.joined()
        await world.until(lambda: TOO_SMALL in shown(world))
        assert "delete the Pod: the provider creates it again, and the kind cluster continues" in shown(world)
        world.delete_pod()
        await world.until(lambda: world.pods() != [] and memory(world) == "1536Mi")
        await world.ready()
        assert "does not grow" not in shown(world)


async def test_pod_that_someone_has_resized_is_taken_as_it_is(world):
    async with world.running():
        world.add()
        await world.ready()
        world.add_standalone_machine()
        await world.joined()
        await world.until(lambda: TOO_SMALL in shown(world))
        pod = world.pod()
        pod["spec"]["containers"][0]["resources"] = {"requests": {"memory": "1536Mi"}, "limits": {"memory": "1536Mi"}}
        world.kube.put(PODS, pod)
        await world.until(lambda: "does not grow" not in shown(world))


class TestTopology:
    @pytest.fixture
    def world(self, tmp_path: Path) -> PodWorld:
        world = PodWorld(tmp_path, capi="v1beta2")
        world.add_class(pods={"resources": {"max": {"memory": "4Gi"}}})
        return world

    def scale(self, world: PodWorld, *replicas: int | None) -> None:
        deployments = [{"class": "default"} | ({} if one is None else {"replicas": one}) for one in replicas]
        topology = {"workers": {"machineDeployments": deployments}}
        world.kube.edit(CLUSTERS, "dev", {"spec": {"topology": topology}})

    async def test_workers_that_the_topology_asks_for_have_room_from_the_start(self, world):
        world.add_owned()
        self.scale(world, 2, None)
        async with world.running():
            await world.ready()
            assert memory(world) == "2560Mi"

    async def test_topology_that_needs_more_than_the_class_allows_is_refused(self, world):
        world.add_owned()
        self.scale(world, 7)
        async with world.running():
            await world.until(lambda: world.reason() == "InvalidConfig")
            message = world.condition("ClusterCreated")[2]
            assert "1 control-plane node and 7 workers need 4608Mi of memory" in message
            assert world.pods() == []
            self.scale(world, 6)
            await world.ready()
            assert memory(world) == "4Gi"
