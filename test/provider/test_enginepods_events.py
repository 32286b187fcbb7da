"""What the Events of a KINDCluster report about its engine in a Pod, and that each fact is reported once."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from capk.api.names import EVENTS, KIND_CLUSTERS, PODS
from test.provider.podworld import IN_POD, NAMESPACE, PodWorld, running

pytestmark = pytest.mark.virtual_time

POD = f"Pod {NAMESPACE}/kc-0a1b2c3d4e5f4a6b"


@pytest.fixture
def world(tmp_path: Path) -> PodWorld:
    world = PodWorld(tmp_path)
    world.add_class()
    return world


def events(world: PodWorld, reason: str) -> list[tuple[str, int]]:
    """Return message and count of the Events with a reason."""
    found = [one for (plural, *_), one in world.kube.objects.items() if plural == EVENTS.plural]
    return [(one["message"], one["count"]) for one in found if one["reason"] == reason]


def total(world: PodWorld, reason: str) -> int:
    return sum(count for _, count in events(world, reason))


def restart(world: PodWorld, restarts: int, **last: Any) -> None:
    """End the container of the Pod, and report how the last one ended."""
    uid = world.pod()["metadata"]["uid"]
    status = running(uid, restarts)
    status["containerStatuses"][0]["lastState"] = {"terminated": last}
    world.kubelet.trouble, world.kubelet.restarts[uid] = status, restarts


async def test_node_of_the_engine_is_announced_once(world):
    async with world.running():
        world.add()
        await world.ready()
        await asyncio.sleep(700)
        assert events(world, "EngineScheduled") == [(f"{POD} of the engine is on node node-1.", 1)]
    async with world.running():
        await world.ready()
        await asyncio.sleep(700)
        assert total(world, "EngineScheduled") == 1


async def test_restart_is_announced_once_with_its_cause_and_the_limit_of_memory(world):
    async with world.running():
        world.add()
        await world.ready()
        restart(world, 1, reason="OOMKilled", exitCode=137)
        await world.until(lambda: total(world, "EngineRestarted") == 1)
        [(message, _)] = events(world, "EngineRestarted")
        assert message.startswith(f"Docker in {POD} has ended (OOMKilled, exit code 137) and was started again.")
        assert "more than its limit of 1Gi of memory" in message
        assert "spec.engine.resources.memory" in message
        # The status is written for other causes too.
        world.kubelet.trouble = None
        await world.ready()
    async with world.running():
        await asyncio.sleep(700)
        assert total(world, "EngineRestarted") == 1
        restart(world, 2, reason="OOMKilled", exitCode=137)
        await world.until(lambda: total(world, "EngineRestarted") == 2)
        assert len(events(world, "EngineRestarted")) == 1


async def test_restart_while_no_provider_runs_is_announced_by_the_next_one(world):
    async with world.running():
        world.add()
        await world.ready()
    restart(world, 3, reason="Error", exitCode=2)
    async with world.running():
        await world.until(lambda: total(world, "EngineRestarted") == 1)
        [(message, _)] = events(world, "EngineRestarted")
        assert "(Error, exit code 2)" in message
        assert "kubectl logs --previous -n capkind-engines kc-0a1b2c3d4e5f4a6b" in message


@pytest.mark.parametrize("how", ["deleted", "evicted"])
@pytest.mark.parametrize(
    ("claim", "spec", "follows"),
    [
        (False, {}, "Delete the KINDCluster, or set spec.recreatePolicy to Always"),
        (False, {"recreatePolicy": "Always"}, "creates a new, empty kind cluster"),
        (True, {}, "creates the Pod again, and the kind cluster continues"),
    ],
    ids=["missing", "created again", "with a volume"],
)
async def test_lost_engine_is_announced_once_with_what_follows(tmp_path, how, claim, spec, follows):
    world = PodWorld(tmp_path)
    world.add_class(claim=claim)
    async with world.running():
        world.add(spec={**IN_POD, **spec})
        await world.ready()
        world.delete_pod() if how == "deleted" else world.evict()
        await world.until(lambda: total(world, "EngineLost") == 1)
        [(message, _)] = events(world, "EngineLost")
        assert message.startswith(f"{POD} of the engine, on node node-1,")
        assert follows in message
        assert ("Evicted: The node was low on resource: memory." in message) == (how == "evicted")
        await asyncio.sleep(700)
    async with world.running():
        await asyncio.sleep(700)
        assert total(world, "EngineLost") == 1
        # A Pod that replaces it is on the same node: that is news again.
        assert total(world, "EngineScheduled") == (1 if follows.startswith("Delete") else 2)


async def test_pod_that_vanished_while_no_provider_ran_is_announced(world):
    async with world.running():
        world.add()
        await world.ready()
    for key in [key for key in world.kube.objects if key[0] == "pods"]:
        del world.kube.objects[key]
    async with world.running():
        await world.until(lambda: total(world, "EngineLost") == 1)
        assert "was deleted." in events(world, "EngineLost")[0][0]


async def test_engine_that_ends_because_its_object_asks_for_that_is_not_lost(tmp_path):
    world = PodWorld(tmp_path)
    world.add_class(claim=True)
    async with world.running():
        world.add()
        await world.ready()
        world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"engine": {"powerState": "Stopped"}}})
        await world.until(lambda: world.reason() == "Stopped" and world.pods() == [])
        await asyncio.sleep(100)
        world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"engine": {"powerState": "Running"}}})
        await world.ready()
        world.delete()
        await world.gone()
        assert events(world, "EngineLost") == []


async def test_engines_that_are_not_known_yet_are_not_lost(world):
    async with world.running():
        world.add()
        await world.ready()
    world.kube.denied = {PODS}
    async with world.running():
        await world.until(lambda: world.condition("EngineAvailable")[1] == "EngineRefused")
        assert events(world, "EngineLost") == []
        assert world.get()["status"]["engine"]["node"] == "node-1"
