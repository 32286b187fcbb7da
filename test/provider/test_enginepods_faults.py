"""Engines in Pods when classes change, nodes refuse Pods, watches are forbidden, and Secrets are lost."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from capk.api.names import (
    BLOCK_MOVE_ANNOTATION,
    EVENTS,
    KIND_CLUSTERS,
    KIND_ENGINE_CLASSES,
    KIND_MACHINES,
    PODS,
    SECRETS,
    SERVICES,
    VOLUME_CLAIMS,
)
from capk.errors import Forbidden
from capk.manager.enginekeys import AUTHORITY_SECRET
from test.provider.podworld import IN_POD, NAMESPACE, PodWorld, pending
from test.provider.test_enginepods import ALL, posted

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def world(tmp_path: Path) -> PodWorld:
    world = PodWorld(tmp_path)
    world.add_class()
    return world


def edit_class(world: PodWorld, patch: Any, name: str = "pods") -> None:
    world.kube.edit(KIND_ENGINE_CLASSES, name, patch, cast(Any, None))


def power(world: PodWorld, state: str) -> None:
    world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"engine": {"className": "pods", "powerState": state}}})


def list_slowly(world: PodWorld) -> None:
    """Let each list of what engines consist of take three seconds."""
    list_ = world.kube.list

    async def slow(resource, namespace=None, **selectors):
        await asyncio.sleep(3 if resource in (PODS, SERVICES, VOLUME_CLAIMS) else 0)
        return await list_(resource, namespace, **selectors)

    world.kube.list = slow


class TestVolume:
    @pytest.fixture
    def world(self, tmp_path: Path) -> PodWorld:
        world = PodWorld(tmp_path)
        world.add_class(claim=True)
        return world

    @pytest.mark.parametrize("recreates", [False, True])
    async def test_class_that_no_longer_gives_volumes_does_not_part_an_engine_from_its_own(self, world, recreates):
        async with world.running():
            world.add(spec={**IN_POD, **({"recreatePolicy": "Always"} if recreates else {})})
            await world.ready()
            engine = world.inner()
            edit_class(world, {"spec": {"pods": {"storage": None}}})
            world.delete_pod()
            await world.until(lambda: world.reason() != "Ready")
            await world.ready()
            assert world.inner() is engine
            assert len(engine.called("create")) == 1

    async def test_workers_do_not_keep_a_stopped_engine_from_coming_back(self, world):
        edit_class(world, {"spec": {"pods": {"resources": {"max": {"memory": "1536Mi"}}}}})
        async with world.running():
            world.add()
            await world.ready()
            for number in range(3):
                world.add_standalone_machine(f"dev-w{number}")
                await world.joined(f"dev-w{number}")
            power(world, "Stopped")
            await world.until(lambda: world.pods() == [])
            power(world, "Running")
            await asyncio.sleep(100)
            assert world.reason() == "Ready", world.condition("Ready")

    async def test_request_that_keeps_a_stopped_engine_from_coming_back_is_named(self, world):
        async with world.running():
            world.add()
            await world.ready()
            resources = {"className": "pods", "resources": {"memory": "64Gi"}}
            world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"engine": resources}})
            world.delete_pod()
            await world.until(lambda: world.reason() == "InvalidConfig")
            assert "spec.engine.resources.memory" in world.condition("EngineAvailable")[2]
            assert world.condition("ClusterCreated")[0] == "True"
            world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"engine": {"className": "pods", "resources": None}}})
            await world.ready()

    async def test_pod_that_ends_at_every_start_is_not_created_all_the_time(self, world):
        async with world.running():
            world.add()
            await world.ready()
            world.kubelet.trouble = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no device"}
            world.delete_pod()
            await asyncio.sleep(1200)
            assert posted(world).count("pods") <= 22


async def test_pod_that_ends_at_every_start_is_not_created_all_the_time(world):
    world.kubelet.trouble = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no device"}
    async with world.running():
        world.add()
        await asyncio.sleep(1200)
        assert posted(world).count("pods") <= 22


@pytest.mark.parametrize("seconds", [0.05, 1.02, 1.5, 2.0, 3.5, 5.0])
async def test_default_class_that_changes_during_a_creation_changes_no_engine(tmp_path, seconds):
    world = PodWorld(tmp_path)
    world.add_class(default=True)
    async with world.killed():
        await asyncio.sleep(1)
        world.add(spec={})
        await asyncio.sleep(seconds)
    began = world.left()
    world.remove_class()
    world.add_class()
    list_slowly(world)
    async with world.running():
        await world.ready()
        if began:
            assert world.engine.called("create") == []
            assert world.left() == ALL
        else:
            assert world.left() == []


@pytest.mark.parametrize("begun", [1, 2, 3])
async def test_creation_whose_default_class_goes_continues_nowhere_else(tmp_path, begun):
    world = PodWorld(tmp_path)
    world.add_class(default=True)
    async with world.killed():
        world.add(spec={})
        await world.until(lambda: len(world.left()) >= begun, every=0.001)
    world.remove_class()
    list_slowly(world)
    async with world.running():
        await asyncio.sleep(60)
    assert world.engine.called("create") == []
    assert len(world.left()) == begun


@pytest.mark.parametrize("keeps_status", [True, False])
async def test_class_of_another_kind_with_the_same_name_loses_no_kind_cluster(tmp_path, keeps_status):
    world = PodWorld(tmp_path)
    world.add_secret("pods")
    world.add_class(pods=None)
    async with world.running():
        world.add(spec={**IN_POD, "recreatePolicy": "Always"})
        await world.ready()
        if keeps_status:
            world.remove_class()
            world.add_class()
            await asyncio.sleep(600)
            assert world.left() == []
    if not keeps_status:
        world.remove_class()
        world.add_class()
        world.kube.put(KIND_CLUSTERS, {field: value for field, value in world.get().items() if field != "status"})
    async with world.running():
        await asyncio.sleep(600)
        assert world.left() == []
        world.delete()
        await asyncio.sleep(600)
        assert world.get() is not None or world.engine.of("dev") == []


@pytest.mark.parametrize("is_away", [True, False])
async def test_class_of_another_kind_during_a_creation_makes_no_second_kind_cluster(tmp_path, is_away):
    """A creation that was cut short has left containers on the machine, which nothing else remembers."""
    world = PodWorld(tmp_path)
    world.add_secret("pods")
    world.add_class(pods=None)
    world.kind.create_seconds = 30.0
    async with world.killed():
        world.add()
        await world.until(lambda: world.engine.of() != [])
        if not is_away:
            world.remove_class()
            world.add_class()
            await asyncio.sleep(100)
    if is_away:
        world.remove_class()
        world.add_class()
    async with world.running():
        await world.until(lambda: world.reason() == "EngineClassNotFound")
        await asyncio.sleep(100)
        assert world.left() == []
        world.delete()
        world.remove_class()
        world.add_class(pods=None)
        await world.gone()
        assert world.engine.of() == []


async def test_creation_in_a_pod_does_not_need_its_class_any_more(tmp_path):
    """Not even for the paths that its nodes mount."""
    world = PodWorld(tmp_path)
    world.add_class(pods={"allowedHostPaths": ["/data"]})
    mounts = [{"hostPath": "/data/x", "containerPath": "/x"}]
    async with world.running():
        world.add(spec={**IN_POD, "nodes": [{"role": "control-plane", "extraMounts": mounts}]})
        await world.until(lambda: world.pods() != [] and world.inner().called("create") != [])
        world.remove_class()
        await world.ready()
        assert len(world.inner().called("create")) == 1


async def test_watch_that_is_forbidden_does_not_make_conditions_change_all_the_time(world):
    async def forbidden(resource, namespace, **_):
        raise Forbidden("watch", resource.plural, 403, "no watch")
        yield

    world.kube.watch = forbidden
    async with world.running():
        world.add()
        await asyncio.sleep(60)
        before = len(world.kube.writes)
        asked = len([one for one in world.kube.asked if one == ("list", "pods")])
        await asyncio.sleep(600)
        assert len(world.kube.writes) - before <= 4
        assert len([one for one in world.kube.asked if one == ("list", "pods")]) - asked <= 30


async def test_authority_that_someone_deletes_comes_back(world):
    async with world.running():
        world.add()
        await world.ready()
        before = world.kube.objects[SECRETS.plural, "default", AUTHORITY_SECRET]["data"]
        del world.kube.objects[SECRETS.plural, "default", AUTHORITY_SECRET]
        await asyncio.sleep(1300)
        assert world.kube.objects[SECRETS.plural, "default", AUTHORITY_SECRET]["data"] == before


async def test_orphan_that_may_not_be_deleted_keeps_no_other(world):
    others = [f"{str(number) * 8}-4e5f-4a6b-8c7d-000000000000" for number in range(1, 6)]
    async with world.running():
        for number, uid in enumerate(others):
            world.add(f"c{number}", uid=uid)
            await world.ready(f"c{number}")
        stuck = world.pods()[2]["metadata"]["name"]
        world.kube.refuse = lambda verb, kind, name, body: (
            Forbidden(verb, kind.plural, 403, "no") if (verb, name) == ("delete", stuck) else None
        )
        for number in range(5):
            world.vanish(f"c{number}")
        await asyncio.sleep(1300)
        assert [pod["metadata"]["name"] for pod in world.pods()] == [stuck]


async def test_machine_of_an_engine_that_cannot_start_can_be_deleted(tmp_path):
    world = PodWorld(tmp_path)
    world.add_class(claim=True)
    async with world.running():
        world.add()
        await world.ready()
        world.add_standalone_machine()
        await world.joined()
        power(world, "Stopped")
        await world.until(lambda: world.reason() == "Stopped")
        world.delete("dev-w1", resource=KIND_MACHINES)
        await asyncio.sleep(100)
        power(world, "Running")
        await world.gone("dev-w1", resource=KIND_MACHINES)
        await world.ready()


async def test_engine_whose_object_and_class_vanished_while_no_provider_ran_is_deleted(world):
    async with world.running():
        world.add()
        await world.ready()
    world.vanish()
    world.remove_class()
    async with world.running():
        await world.until(lambda: world.left() == [])


async def test_service_has_the_ports_of_the_kind_cluster_that_is_made(world):
    def nodes(port: int) -> Any:
        return [{"role": "control-plane", "extraPortMappings": [{"containerPort": 80, "hostPort": port}]}]

    async with world.running():
        world.add(spec={**IN_POD, "nodes": nodes(8080)})
        await world.until(lambda: world.pods() != [])
        world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"nodes": nodes(9090)}})
        await world.ready()
        (service,) = world.of_engines(SERVICES)
        assert [port["port"] for port in service["spec"]["ports"]] == [2376, 6443, 9090]
        assert posted(world).count("pods") == 1


async def test_annotation_of_a_copied_manifest_does_not_wait_for_engines_that_cannot_be_listed(tmp_path):
    world = PodWorld(tmp_path)
    world.kube.denied = {PODS, SERVICES, VOLUME_CLAIMS}
    async with world.running():
        world.add(spec={}, annotations={BLOCK_MOVE_ANNOTATION: "engine"})
        await world.ready()
        assert BLOCK_MOVE_ANNOTATION not in world.get()["metadata"]["annotations"]


async def test_container_beside_the_engine_hides_no_cause(world):
    beside = {"name": "a-proxy", "containerID": "containerd://b", "restartCount": 0, "state": {"running": {}}}
    waiting = {"reason": "ImagePullBackOff", "message": "no such image docker:x"}
    world.kubelet.trouble = pending(
        on=True, containerStatuses=[beside, {"name": "engine", "restartCount": 0, "state": {"waiting": waiting}}]
    )
    async with world.running():
        world.add()
        await world.until(lambda: world.reason() == "EngineImageNotFound")


@pytest.mark.parametrize("change", ["class", "spec"])
async def test_service_comes_back_whatever_became_of_class_and_spec(world, change):
    async with world.running():
        world.add()
        await world.ready()
        if change == "class":
            world.remove_class()
        else:
            # Without a volume that is refused.
            power(world, "Stopped")
        await asyncio.sleep(5)
        (service,) = world.of_engines(SERVICES)
        del world.kube.objects[SERVICES.plural, NAMESPACE, service["metadata"]["name"]]
        await world.until(lambda: world.left() == ALL, 60)
        (again,) = world.of_engines(SERVICES)
        assert again["metadata"]["annotations"] == service["metadata"]["annotations"]


async def test_secret_without_which_a_pod_does_not_start_again_comes_back(world):
    async with world.running():
        world.add()
        await world.ready()
        del world.kube.objects[SECRETS.plural, NAMESPACE, world.pod()["metadata"]["name"]]
        world.kubelet.trouble = pending(on=True)
        uid, name = world.pod()["metadata"]["uid"], world.pod()["metadata"]["name"]
        world.kube.put(
            EVENTS,
            {
                "metadata": {"name": "event", "namespace": NAMESPACE},
                "involvedObject": {"uid": uid},
                "type": "Warning",
                "message": f'MountVolume.SetUp failed for volume "certs" : secret "{name}" not found',
            },
        )
        await world.until(lambda: len(world.of_engines(SECRETS)) == 1, 300)
        assert all(world.of_engines(SECRETS)[0]["data"].values())
        world.kubelet.trouble = None
        await world.ready()
        assert world.pod()["metadata"]["uid"] == uid


async def test_event_about_a_secret_that_is_back_hides_no_cause(world):
    """Kubernetes keeps Events for an hour."""
    async with world.running():
        world.add()
        await world.ready()
        uid, name = world.pod()["metadata"]["uid"], world.pod()["metadata"]["name"]
        waiting = {"reason": "ImagePullBackOff", "message": "no such image docker:x"}
        world.kubelet.trouble = pending(
            on=True, containerStatuses=[{"name": "engine", "restartCount": 0, "state": {"waiting": waiting}}]
        )
        about = {"involvedObject": {"uid": uid}, "type": "Warning", "message": f'secret "{name}" not found'}
        world.kube.put(EVENTS, {"metadata": {"name": "event", "namespace": NAMESPACE}, **about})
        await world.until(lambda: world.reason() == "EngineImageNotFound", 300)
        before = len(world.kube.writes)
        await asyncio.sleep(1300)
        assert (world.reason(), world.kube.writes[before:]) == ("EngineImageNotFound", [])


async def test_secret_of_an_orphan_goes_although_nothing_else_of_its_engine_is_left(world):
    async with world.running():
        world.add()
        await world.ready()
        world.kubelet.end_seconds = 60
        world.vanish()
        (service,) = world.of_engines(SERVICES)
        del world.kube.objects[SERVICES.plural, NAMESPACE, service["metadata"]["name"]]
        await world.until(lambda: world.left() == [], 200)
