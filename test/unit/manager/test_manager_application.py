"""The provider as a whole, in virtual time."""


import pytest
from simulation import World, quiet

pytestmark = pytest.mark.virtual_time


@pytest.mark.rule("C28")
async def test_cluster_comes_up_costs_nothing_at_rest_and_goes(tmp_path):
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.ready()
        assert await quiet(world, 500) == 0
        world.delete()
        await world.until(lambda: world.get() is None)
    assert world.engine.containers == {}
