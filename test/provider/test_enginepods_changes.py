"""What a KINDCluster shows if its nodes, its spec or its class ask for another engine than the Pod that runs."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from capk.api.names import CLUSTERS, EVENTS, KIND_CLUSTERS, KIND_ENGINE_CLASSES, KIND_MACHINES, PODS
from capk.plan import enginechanges
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


def edit(world: PodWorld, **resources: str) -> None:
    world.kube.edit(KIND_CLUSTERS, "dev", {"spec": asking(**resources)})


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


class TestEdits:
    async def test_resources_that_were_edited_count_for_the_next_pod_only(self, world):
        async with world.running():
            world.add(spec=asking(memory="2Gi"))
            await world.ready()
            uid = world.pod()["metadata"]["uid"]
            edit(world, memory="4Gi", cpu="2")
            await world.until(lambda: "counts when the Pod is created" in shown(world))
            asked = "spec.engine.resources.cpu is 2 and spec.engine.resources.memory is 4Gi"
            assert f"{asked}, but {POD} has 500m of cpu and 2Gi of memory" in shown(world)
            assert "The data would go with the Pod" in shown(world)
            await asyncio.sleep(700)
            assert (world.pod()["metadata"]["uid"], memory(world), world.reason()) == (uid, "2Gi", "Ready")
            assert len(warnings(world)) == 1
            edit(world, memory="2048Mi", cpu="0.5")
            await world.until(lambda: "counts when" not in shown(world))

    async def test_edited_resources_of_an_engine_with_a_volume_come_with_its_next_pod(self, tmp_path):
        world = PodWorld(tmp_path)
        world.add_class(claim=True)
        async with world.running():
            world.add()
            await world.ready()
            edit(world, memory="4Gi")
            await world.until(lambda: "Delete the Pod: the provider creates it again" in shown(world))
            world.delete_pod()
            await world.until(lambda: world.pods() != [] and memory(world) == "4Gi")
            await world.ready()
            assert "counts when" not in shown(world)

    async def test_maximum_that_was_lowered_is_reported_and_the_pod_stays(self, world):
        async with world.running():
            world.add(spec=asking(memory="4Gi"))
            await world.ready()
            uid = world.pod()["metadata"]["uid"]
            lower = {"spec": {"pods": {"resources": {"max": {"memory": "2Gi"}}}}}
            world.kube.edit(KIND_ENGINE_CLASSES, "pods", lower, None)
            await world.until(lambda: "could not create it again" in shown(world))
            assert (
                "spec.engine.resources.memory: is 4Gi, but an engine of KINDEngineClass pods may have at most 2Gi"
                in (shown(world))
            )
            await asyncio.sleep(700)
            assert (world.pod()["metadata"]["uid"], world.reason(), len(warnings(world))) == (uid, "Ready", 1)

    async def test_policy_that_is_refused_at_the_creation_is_reported_later_too(self, world):
        async with world.running():
            world.add()
            await world.ready()
            world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"deletionPolicy": "Retain"}})
            await world.until(lambda: "spec.deletionPolicy: cannot be Retain" in shown(world))

    async def test_stop_that_is_not_possible_is_reported_once(self, world):
        async with world.running():
            world.add()
            await world.ready()
            world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"engine": {"powerState": "Stopped"}}})
            await world.until(lambda: "powerState" in shown(world))
            assert shown(world).count("powerState") == 1

    async def test_class_that_is_gone_is_nothing_to_compare_with(self, world):
        async with world.running():
            world.add()
            await world.ready()
            world.remove_class()
            edit(world, memory="4Gi")
            await asyncio.sleep(100)
            assert warnings(world) == []


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

    async def test_topology_that_asks_for_any_number_of_workers_keeps_nothing_busy(self, tmp_path, monkeypatch):
        """Everyone who may edit a Cluster chooses that number, and an engine with data comes back all the same."""
        world = PodWorld(tmp_path, capi="v1beta2")
        world.add_class(claim=True, pods={"resources": {"max": {"memory": "4Gi"}}})
        world.add_owned()
        async with world.running():
            await world.ready()
            counted, amounts_of = [], enginechanges.engine_amounts

            def noted(*arguments, **options):
                counted.append(options["workers"])
                return amounts_of(*arguments, **options)

            monkeypatch.setattr(enginechanges, "engine_amounts", noted)
            self.scale(world, 60_000, 60_000)
            await asyncio.sleep(10)
            world.delete_pod()
            await world.until(lambda: world.pods() != [] and memory(world) == "4Gi")
            await world.ready()
        assert 0 < len(counted) < 1000
