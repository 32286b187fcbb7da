"""An engine that needs longer for an answer than a worker waits delays a decision, and does not prevent it."""

import asyncio

import pytest

from capk.manager.reconcile import REFRESH_SECONDS
from test.provider.world import World, trouble

pytestmark = pytest.mark.virtual_time


def slow_down(world: World) -> None:
    nodes = world.containers.nodes

    async def slow(cluster=None):
        await asyncio.sleep(2 * REFRESH_SECONDS)
        return await nodes(cluster)

    world.containers.nodes = slow


async def test_cluster_that_was_deleted_is_missing(tmp_path):
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.ready()
        slow_down(world)
        world.engine.containers.clear()
        await world.until(lambda: world.reason() == "Missing", 60)


async def test_name_of_a_strangers_cluster_is_a_conflict(tmp_path):
    world = World(tmp_path)
    world.engine.run_node("dev-control-plane")
    slow_down(world)
    async with world.running():
        world.add()
        await world.until(lambda: world.reason() == "NameConflict", 60)


async def test_failed_creation_is_tried_again(tmp_path):
    world = World(tmp_path)
    world.kind.creates = [trouble()]
    slow_down(world)
    async with world.running():
        world.add()
        await world.until(lambda: world.reason() == "Ready", 120)
