"""A KINDCluster whose engine is a Pod of its own: its whole life, with a pretended kubelet."""

from pathlib import Path

import pytest

from capk.api import names
from test.provider.podworld import NAMESPACE, PodWorld

pytestmark = pytest.mark.virtual_time

ENGINE = "kc-0a1b2c3d4e5f4a6b"


@pytest.fixture
def world(tmp_path: Path) -> PodWorld:
    world = PodWorld(tmp_path)
    world.add_class()
    return world


class TestFirstCreation:
    async def test_engine_comes_first_and_the_kind_cluster_is_ready_in_it(self, world):
        async with world.running():
            world.add()
            await world.ready()
            assert world.left() == [f"Pod {ENGINE}", f"Service {ENGINE}", f"Secret {ENGINE}"]
            assert [node.cluster for node in world.inner().containers.values()] == ["dev"]
            assert world.engine.calls == [] or all(call[0] != "create" for call in world.engine.calls)
            found = world.get()
            assert found["spec"]["controlPlaneEndpoint"] == {"host": f"{ENGINE}.{NAMESPACE}.svc", "port": 6443}
            assert found["status"]["engine"] == {
                "className": "pods",
                "pod": f"{NAMESPACE}/{ENGINE}",
                "address": f"{ENGINE}.{NAMESPACE}.svc",
                "node": "node-1",
                "restarts": 0,
            }
            assert found["metadata"]["annotations"][names.BLOCK_MOVE_ANNOTATION] == "engine"
            assert (
                world.read("dev-config")["clusters"][0]["cluster"]["server"] == f"https://{ENGINE}.{NAMESPACE}.svc:6443"
            )
