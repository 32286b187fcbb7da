"""The objects that an inventory of the engine wakes."""

import asyncio

import pytest

from capk.engine.inventory import Inventory
from capk.manager.enginewatch import EngineWatch, KindVersions
from capk.runtime.metrics import Metrics
from test.provider.world import Engine, FakeContainers, FakeKind, trouble

pytestmark = pytest.mark.virtual_time


class World:
    def __init__(self) -> None:
        self.engine = Engine()
        self.kind, self.containers = FakeKind(self.engine), FakeContainers(self.engine, ("docker",))
        self.inventory = Inventory(self.kind, self.containers)
        self.woken: list[set[str] | str] = []
        metrics = Metrics()
        self.watch = EngineWatch(
            self.inventory,
            metrics,
            KindVersions(metrics),
            wake=lambda found: self.woken.append(set(found)),
            wake_all=lambda: self.woken.append("all"),
        )

    async def look(self) -> list[set[str] | str]:
        self.woken.clear()
        await self.watch.refresh()
        return [found for found in self.woken if found]


@pytest.fixture
async def world() -> World:
    return World()


async def test_first_look_wakes_all_and_the_next_one_nobody(world):
    world.engine.run_node("dev-control-plane")
    assert await world.look() == ["all"]
    assert await world.look() == []


async def test_change_wakes_whom_it_concerns(world):
    dev = world.engine.run_node("dev-control-plane")
    await world.look()
    world.engine.run_node("other-control-plane", "other")
    assert await world.look() == [{"other"}]
    world.engine.stop_nodes(dev)
    assert await world.look() == [{"dev"}]
    world.engine.containers.clear()
    assert await world.look() == [{"dev", "other"}]


async def test_engine_that_begins_or_ceases_to_answer_wakes_all_once(world, caplog):
    await world.look()
    world.engine.down = trouble("half a line", "docker", "inspect")
    assert await world.look() == ["all"]
    assert await world.look() == []
    assert len([record for record in caplog.records if "does not answer" in record.getMessage()]) == 1
    world.engine.down = None
    assert await world.look() == ["all"]


async def test_change_that_someone_else_read_first_still_wakes(world):
    await world.look()
    world.engine.run_node("dev-control-plane")
    await world.inventory.refresh()
    assert await world.look() == [{"dev"}]


async def test_late_answer_holds_nobody_and_is_taken_in_when_it_comes(world):
    await world.look()
    nodes = world.containers.nodes

    async def slow(cluster=None):
        await asyncio.sleep(30)
        return await nodes(cluster)

    world.containers.nodes = slow
    world.engine.run_node("dev-control-plane")
    assert not await world.watch.refresh_within(2.0)
    await asyncio.sleep(60)
    assert "dev" in world.inventory.latest.clusters
    world.containers.nodes = nodes
    assert await world.watch.refresh_within(2.0)
