"""Workers of KINDMachines, in virtual time: they join, they leave, and nothing of them is left behind."""

import asyncio

import pytest

from capk.api import names
from capk.api.names import KIND_MACHINES
from test.provider.world import World, quiet

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, capi="v1beta2")


class TestJoin:
    async def test_worker_joins_leaves_and_costs_nothing_at_rest(self, world):
        async with world.running():
            world.add_owned()
            world.add_machine()
            await world.ready()
            await world.joined()
            machine, node = world.machine(), world.node()
            assert machine.provider_id == "kind://docker/dev/dev-w1"
            assert machine.is_provisioned
            assert machine.joined_containers == {node.container_id}
            assert names.BLOCK_MOVE_ANNOTATION not in machine.annotations
            assert {entry.get("machine") for entry in world.get()["status"]["nodes"]} == {None, "dev-w1"}
            assert world.engine.kubernetes_nodes == {"dev-w1"}
            assert await quiet(world, 500) == 0
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.until(lambda: world.get("dev-w1", resource=KIND_MACHINES) is None)
            assert [one.name for one in world.engine.of()] == ["dev-control-plane"]
            assert world.engine.kubernetes_nodes == set()
            await asyncio.sleep(5)
            assert [entry["name"] for entry in world.get()["status"]["nodes"]] == ["dev-control-plane"]
            assert world.reason() == "Ready"
