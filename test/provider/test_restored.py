"""Objects that were restored from a backup, and annotations that were edited while no provider ran."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from capk.api.names import KIND_CLUSTERS
from test.provider.world import World

pytestmark = pytest.mark.virtual_time


def restore(world: World, backup: Mapping[str, Any]) -> None:
    """Put an object back as backup tools do: without its status, with another uid."""
    kept = {field: backup["metadata"][field] for field in ("name", "namespace", "annotations", "finalizers")}
    world.kube.put(KIND_CLUSTERS, {"metadata": kept, "spec": backup["spec"]})


async def half_made(world: World) -> Mapping[str, Any]:
    """Have a kind cluster created; return its object as it was in the middle of that."""
    async with world.running():
        world.add()
        await world.creating()
        backup = world.get()
        assert backup is not None
        await world.ready()
    return backup


async def test_backup_from_the_middle_of_a_creation_costs_no_kind_cluster_that_was_completed_later(tmp_path):
    """The management cluster was lost, and the container engine runs on."""
    world = World(tmp_path)
    backup = await half_made(world)
    containers = dict(world.engine.containers)
    world.vanish()
    restore(world, backup)
    async with world.running():
        await world.until(lambda: world.reason() == "NameConflict")
        await asyncio.sleep(600)
        assert world.engine.containers == containers
        hint = world.condition("Ready")[2]
        mark = next(iter(containers.values())).mark
        assert f'adopt: "{mark}"' in hint
        world.annotate(ADOPT=mark)
        await world.ready()
        assert world.engine.containers == containers


async def test_deletion_of_what_was_restored_from_the_middle_of_a_creation_removes_nothing(tmp_path):
    world = World(tmp_path)
    backup = await half_made(world)
    containers = dict(world.engine.containers)
    world.vanish()
    restore(world, backup)
    async with world.running():
        world.delete()
        await world.until(lambda: world.get() is None)
        assert world.engine.containers == containers


async def test_backup_from_the_middle_of_a_creation_is_created_where_nothing_is_left(tmp_path):
    world = World(tmp_path)
    backup = await half_made(world)
    world.vanish()
    world.engine.containers.clear()
    restore(world, backup)
    async with world.running():
        await world.ready()
        assert {node.mark for node in world.engine.of()} == {f"{world.get()['metadata']['uid']}.2"}


async def test_rest_of_a_creation_goes_though_its_object_was_restored_meanwhile(tmp_path):
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.creating()
        backup = world.get()
        world.vanish()
        restore(world, backup)
        await world.ready()
        uid = world.get()["metadata"]["uid"]
        assert {node.mark.partition(".")[0] for node in world.engine.of()} == {uid}
