"""A provider at rest writes nothing, hides nothing, and misses nothing."""

import asyncio
from dataclasses import replace

import pytest

from capk.api import names
from capk.api.names import KIND_CLUSTERS, KIND_CONTROL_PLANES, SECRETS
from capk.errors import ApiError
from test.provider.world import NO_ANSWER, World, quiet, trouble
from test.unit.recording_kube import asked_for

pytestmark = pytest.mark.virtual_time


def refusal(resource="kindclusters"):
    return ApiError("patch", f"{resource} default/dev", 422, "denied by policy")


class TestAdoption:
    async def test_refused_adoption_is_tried_again_with_pauses_and_shown(self, tmp_path):
        world = World(tmp_path)
        world.engine.run_node("dev-control-plane")

        def refuse(verb, resource, name, body):
            annotations = asked_for(body or {}).get("metadata", {}).get("annotations", {})
            return refusal() if resource is KIND_CLUSTERS and names.CLAIM_ANNOTATION in annotations else None

        world.kube.refuse = refuse
        async with world.running():
            world.add(annotations={names.ADOPT_ANNOTATION: "true"})
            await asyncio.sleep(10)
            assert await quiet(world, 20) < 20
            assert world.condition("ClusterCreated")[1] == "WriteRefused"
            world.kube.refuse = None
            await world.ready()

    async def test_claim_that_a_webhook_drops_is_tried_again_with_pauses_and_shown(self, tmp_path):
        world = World(tmp_path)

        def admit(resource, obj):
            if resource is KIND_CLUSTERS:
                (obj["metadata"].get("annotations") or {}).pop(names.CLAIM_ANNOTATION, None)
                (obj["metadata"].get("annotations") or {}).pop(names.ATTEMPT_ANNOTATION, None)
            return obj

        world.kube.admit = admit
        async with world.running():
            world.add()
            await asyncio.sleep(10)
            assert await quiet(world, 20) < 20
            assert world.condition("ClusterCreated")[1] == "WriteRefused"
            assert not world.engine.called("create")


class TestConditions:
    async def test_foreign_secret_is_one_condition_for_as_long_as_it_is_there(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")
        async with world.running():
            world.add_owned()
            await world.ready()
            for name in ("dev-config", "dev-kubeconfig"):
                del world.kube.objects["secrets", "default", name]
                world.kube.put(SECRETS, {"metadata": {"name": name, "namespace": "default"}, "data": {}})
            await asyncio.sleep(120)
            assert world.condition("KubeconfigAvailable")[1] == "NameConflict"
            before, planes = world.history(), world.kube.written(KIND_CONTROL_PLANES)
            writes = world.kube.written(KIND_CLUSTERS)
            await asyncio.sleep(700)
            assert world.condition("KubeconfigAvailable")[1] == "NameConflict"
            assert world.history() == before
            assert (world.kube.written(KIND_CLUSTERS), world.kube.written(KIND_CONTROL_PLANES)) == (writes, planes)

    async def test_refused_secret_is_one_condition_for_as_long_as_it_is_refused(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            world.kube.refuse = lambda verb, resource, *_: refusal("secrets") if resource is SECRETS else None
            del world.kube.objects["secrets", "default", "dev-config"]
            await asyncio.sleep(120)
            assert world.condition("KubeconfigAvailable")[1] == "WriteRefused"
            before, writes = world.history(), world.kube.written(KIND_CLUSTERS)
            await asyncio.sleep(700)
            assert world.history() == before
            assert world.kube.written(KIND_CLUSTERS) == writes
            world.kube.refuse = None
            await asyncio.sleep(600)
            assert world.reason() == "Ready"

    async def test_identity_that_someone_edits_does_not_let_ready_flap(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            world.annotate(IDENTITY="sha256:other")
            await asyncio.sleep(620)
            assert world.reason() == "Ready"
            before, writes = world.history(), world.kube.written(KIND_CLUSTERS)
            await asyncio.sleep(1300)
            assert world.history() == before
            assert world.kube.written(KIND_CLUSTERS) == writes

    async def test_edited_secret_of_a_paused_control_plane_does_not_let_ready_flap(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")
        async with world.running():
            world.add_owned()
            await world.ready()
            patch = {"metadata": {"annotations": {names.PAUSED_ANNOTATION: ""}}}
            world.kube.edit(KIND_CONTROL_PLANES, "dev", patch)
            await asyncio.sleep(1)
            world.kube.edit(SECRETS, "dev-kubeconfig", {"data": {"value": "e30="}})
            await asyncio.sleep(620)
            before, writes = world.history(), world.kube.written(KIND_CLUSTERS)
            await asyncio.sleep(1300)
            assert world.history() == before
            assert world.kube.written(KIND_CLUSTERS) == writes

    async def test_kubeconfig_that_cannot_be_read_after_a_restart_of_the_nodes_is_shown(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            world.kind.kubeconfigs = [trouble("ERROR: no such file", "kind", "get", "kubeconfig") for _ in range(99)]
            world.engine.stop_nodes()
            await asyncio.sleep(120)
            texts = " ".join(world.condition(kind)[2] for kind in ("NodesRunning", "KubeconfigAvailable"))
            assert "no such file" in texts


class TestSilence:
    async def test_api_server_that_dies_is_seen_where_the_engine_cannot_be_asked_for_containers(self, tmp_path):
        for endpoint in ("external", "internal"):
            world = World(tmp_path, engine_lists=False, endpoint=type(World(tmp_path).settings.endpoint)(endpoint))
            async with world.running():
                world.add()
                await world.ready()
                await asyncio.sleep(700)
                world.answer = NO_ANSWER
                await asyncio.sleep(300)
                assert world.reason() == "NotAnswering", endpoint

    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_api_server_that_dies_around_a_restart_of_the_provider_is_seen_there_too(self, tmp_path, when):
        world = World(tmp_path, engine_lists=False)
        async with world.running():
            world.add()
            await world.ready()
            await asyncio.sleep(700)
        if when == "before":
            world.answer = NO_ANSWER
        async with world.running():
            await asyncio.sleep(700)
            if when == "after":
                assert world.reason() == "Ready"
                # Its kubeconfig is read once, for the address.
                assert len(world.engine.called("kubeconfig")) <= 2
                world.answer = NO_ANSWER
                await asyncio.sleep(300)
            assert world.reason() == "NotAnswering"

    async def test_engine_failure_that_only_one_look_has_seen_is_over_with_the_next(self, tmp_path):
        world = World(tmp_path)
        async with world.running() as app:
            world.add()
            await world.ready()
            world.engine.down = trouble("Cannot connect to the Docker daemon", "docker", "ps")
            await app.engines.shared.inventory.refresh()
            world.engine.down = None
            world.annotate(ADOPT="x")
            await asyncio.sleep(0.5)
            assert world.condition("EngineAvailable")[0] == "False"
            await asyncio.sleep(30)
            assert world.reason() == "Ready"


class TestSeveralControlPlanes:
    async def test_nodes_of_a_recreated_cluster_are_not_stopped_for_addresses_of_the_lost_one(self, tmp_path):
        world = World(tmp_path)
        create, subnet = world.kind.create_cluster, ["172.18.0."]

        async def with_addresses(name, config, **more):
            text = await create(name, config, **more)
            for number, node in enumerate(world.engine.of(name)):
                world.engine.containers[node.container_id] = replace(node, address=f"{subnet[0]}{number + 2}")
            return text

        world.kind.create_cluster = with_addresses
        async with world.running():
            world.add(spec={"nodes": [{"role": "control-plane"}] * 3, "recreatePolicy": "Always"})
            await world.ready()
            await asyncio.sleep(60)
            subnet[0] = "172.19.0."
            world.engine.containers.clear()
            await asyncio.sleep(120)
            await world.ready()
            assert not world.engine.called("stop")
            planes = [node for node in world.get()["status"]["nodes"] if node["role"] == "control-plane"]
            assert {node["address"] for node in planes} == {f"172.19.0.{n}" for n in (2, 3, 4)}


class TestOlderResources:
    async def test_fields_that_the_api_server_drops_do_not_let_two_objects_wake_each_other(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")

        def admit(resource, obj):
            if resource in (KIND_CLUSTERS, KIND_CONTROL_PLANES):
                for field in ("history", "clusterName", "externalManagedControlPlane"):
                    obj.get("status", {}).pop(field, None)
            return obj

        world.kube.admit = admit
        async with world.running():
            world.add_owned()
            await world.ready()
            assert await quiet(world, 10) < 10
