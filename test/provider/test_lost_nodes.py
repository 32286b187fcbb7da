"""A kind cluster of which nodes were removed by hand is Ready only if what is left can work."""

import asyncio

import pytest

from capk.engine.containers import Node
from test.provider.world import NO_ANSWER, World, trouble

pytestmark = pytest.mark.virtual_time

BESIDE_WORKERS = [{"role": "control-plane"}, {"role": "worker"}, {"role": "worker"}]
SEVERAL = [{"role": "control-plane"}] * 3


def remove(world: World, role: str) -> None:
    for node in world.engine.of():
        if node.role == role:
            del world.engine.containers[node.container_id]
    if not any(node.role == "control-plane" for node in world.engine.of()):
        world.answer = NO_ANSWER
        lost = trouble("ERROR: could not locate any control plane nodes", "kind", "get", "kubeconfig")
        world.kind.kubeconfigs = [lost] * 100


class TestWithoutControlPlane:
    @pytest.mark.parametrize("reached", [True, False], ids=["reached", "never reached"])
    @pytest.mark.parametrize("nodes", [BESIDE_WORKERS, SEVERAL], ids=["beside workers", "behind a load balancer"])
    async def test_cluster_without_a_control_plane_is_missing(self, tmp_path, nodes, reached):
        world = World(tmp_path)
        world.answer = world.answer if reached else NO_ANSWER
        async with world.running():
            world.add(spec={"nodes": nodes})
            await world.ready()
            remove(world, "control-plane")
            left = set(world.engine.containers)
            await world.until(lambda: world.reason() == "Missing", 60)
            assert "All control-plane nodes" in world.condition("ClusterCreated")[2]
            await asyncio.sleep(1800)
            assert world.reason() == "Missing"
            assert set(world.engine.containers) == left

    @pytest.mark.parametrize("nodes", [BESIDE_WORKERS, SEVERAL], ids=["beside workers", "behind a load balancer"])
    async def test_cluster_without_a_control_plane_is_created_again_if_the_user_wants_that(self, tmp_path, nodes):
        world = World(tmp_path)
        async with world.running():
            world.add(spec={"nodes": nodes, "recreatePolicy": "Always"})
            await world.ready()
            answer, former = world.answer, set(world.engine.containers)
            remove(world, "control-plane")
            await world.until(lambda: len(world.engine.called("create")) == 2, 120)
            world.answer, world.kind.kubeconfigs = answer, []
            await world.ready()
            assert former.isdisjoint(world.engine.containers)

    @pytest.mark.parametrize("nodes", [BESIDE_WORKERS, SEVERAL], ids=["beside workers", "behind a load balancer"])
    async def test_control_plane_that_two_listings_lacked_saves_the_cluster(self, tmp_path, nodes):
        world = World(tmp_path)
        async with world.running():
            world.add(spec={"nodes": nodes, "recreatePolicy": "Always"})
            await world.ready()
            there, listings, listed = set(world.engine.containers), 0, world.containers.nodes

            async def without_control_planes(cluster: str | None = None) -> list[Node]:
                nonlocal listings
                listings += 1
                found = await listed(cluster) or []
                return [node for node in found if listings > 2 or node.role != "control-plane"]

            world.containers.nodes = without_control_planes
            await asyncio.sleep(120)
            assert listings > 2
            assert set(world.engine.containers) == there
            assert world.reason() == "Ready"


class TestWithoutLoadBalancer:
    @pytest.mark.parametrize("reached", [True, False], ids=["reached", "never reached"])
    async def test_control_planes_without_their_load_balancer_are_not_ready(self, tmp_path, reached):
        """Each control plane still answers on a port of its own, but no kubeconfig leads there."""
        world = World(tmp_path)
        world.answer = world.answer if reached else NO_ANSWER
        async with world.running():
            world.add(spec={"nodes": SEVERAL})
            await world.ready()
            remove(world, "external-load-balancer")
            await world.until(lambda: world.reason() == "Missing", 60)
            assert "dev-external-load-balancer was removed" in world.condition("NodesRunning")[2]
            await asyncio.sleep(1800)
            assert world.reason() == "Missing"
            assert len(world.engine.of()) == 3

    async def test_load_balancer_that_is_gone_shows_beside_a_worker_of_a_stranger(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add(spec={"nodes": SEVERAL})
            await world.ready()
            world.engine.run_node("dev-worker9")
            remove(world, "external-load-balancer")
            await world.until(lambda: world.reason() == "Missing", 60)


@pytest.mark.parametrize("name", ["dev-worker2", "dev-control-plane2"])
async def test_node_that_the_cluster_can_do_without_is_named_and_costs_no_readiness(tmp_path, name):
    world = World(tmp_path)
    async with world.running():
        world.add(spec={"nodes": [*SEVERAL, {"role": "worker"}, {"role": "worker"}]})
        await world.ready()
        assert world.condition("NodesRunning") == ("True", "Running", "")
        del world.engine.containers[world.node(name).container_id]
        await world.until(lambda: name in world.condition("NodesRunning")[2], 60)
        await asyncio.sleep(600)
        assert world.condition("NodesRunning")[0] == "True"
        assert world.reason() == "Ready"
