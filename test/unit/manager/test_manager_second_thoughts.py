"""What a decision meant when it was taken may be wrong when its operation gets its turn, minutes later."""

import asyncio

import pytest

from capk.api.names import KIND_CLUSTERS
from test.unit.manager.world import World, trouble

pytestmark = pytest.mark.virtual_time


async def test_cluster_that_came_to_be_retained_while_its_removal_waited_stays(tmp_path):
    world = World(tmp_path)
    others = [f"other-{number}" for number in range(8)]
    async with world.running():
        for name in ("dev", *others):
            world.add(name)
        for name in ("dev", *others):
            await world.ready(name)
        world.containers.remove_seconds = 60.0
        for name in others:
            world.delete(name)
        await asyncio.sleep(2)
        world.delete()
        await asyncio.sleep(2)
        world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"deletionPolicy": "Retain"}})
        await world.until(lambda: world.get() is None)
        assert len(world.engine.of("dev")) == 1


async def test_object_that_was_restored_keeps_what_an_earlier_deletion_could_not_remove(tmp_path):
    """Its annotations carry the claim of the one that is gone, and with it the marks."""
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.ready()
        backup = world.get()
        world.containers.removes = [trouble("Error: device or resource busy", "docker", "rm") for _ in range(3)]
        world.delete()
        await world.until(lambda: world.condition("Deleting")[1] == "DeletionFailed")
        world.vanish()
        kept = {field: backup["metadata"][field] for field in ("name", "namespace", "annotations")}
        world.kube.put(KIND_CLUSTERS, {"metadata": kept, "spec": backup["spec"]})
        await world.ready()
        await asyncio.sleep(600)
        assert world.reason() == "Ready"
        assert len(world.engine.of("dev")) == 1
