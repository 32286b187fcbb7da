"""A reference to a Cluster can be copied with a manifest: what counts is whom the Cluster names."""

import asyncio
from typing import Any

import pytest

from capk.api.names import CLUSTERS, KIND_CONTROL_PLANES, SECRETS
from test.provider.world import OWNER, World

pytestmark = pytest.mark.virtual_time


def put_owner(world: World, **spec: Any) -> None:
    """Store a Cluster whose infrastructure, or control plane, is of another provider."""
    world.kube.put(CLUSTERS, {"metadata": {"name": "dev", "namespace": "default", "uid": OWNER["uid"]}, "spec": spec})


async def test_cluster_of_another_infrastructure_provider_gets_no_kubeconfig(tmp_path):
    world = World(tmp_path, capi="v1beta2")
    async with world.running():
        put_owner(world, infrastructureRef={"kind": "DockerCluster", "name": "dev"})
        world.add(ownerReferences=[OWNER])
        await world.until(lambda: world.kube.find(SECRETS, "dev-config") is not None)
        await asyncio.sleep(60)
        assert world.kube.find(SECRETS, "dev-kubeconfig") is None


async def test_cluster_of_another_control_plane_gets_its_kubeconfig_from_the_kindcluster_only(tmp_path):
    world = World(tmp_path, capi="v1beta2")
    async with world.running():
        put_owner(
            world,
            infrastructureRef={"kind": "KINDCluster", "name": "dev"},
            controlPlaneRef={"kind": "OtherControlPlane", "name": "dev"},
        )
        world.add_control_plane()
        world.add(ownerReferences=[OWNER])
        await world.ready()
        world.kube.edit(KIND_CONTROL_PLANES, "dev", {"metadata": {"labels": {"seen": "again"}}})
        await asyncio.sleep(10)
        secret = world.kube.find(SECRETS, "dev-kubeconfig")
        assert secret is not None
        assert [owner["kind"] for owner in secret["metadata"]["ownerReferences"]] == ["KINDCluster"]
        assert world.kube.written(SECRETS) == 2
