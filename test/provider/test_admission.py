"""What admission refuses, or takes out of a write without an error, is shown and tried ever less often."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from capk.api import names
from capk.api.names import KIND_CLUSTERS, SECRETS, Resource
from capk.errors import ApiError, Denied
from test.provider.world import World, quiet

pytestmark = pytest.mark.virtual_time

WORDS = 'admission webhook "policy.example" denied the request: not on my watch'


def refuse(*fields: str) -> Any:
    """Deny patches of a KINDCluster that touch one of these fields."""

    def judge(verb: str, resource: Resource, name: str, body: Any) -> ApiError | None:
        paths = [operation["path"] for operation in body if operation["op"] != "test"] if verb == "patch" else []
        is_denied = resource is KIND_CLUSTERS and any(field in path for field in fields for path in paths)
        return Denied(verb, "kindclusters", 409, WORDS) if is_denied else None

    return judge


def strip(part: str, field: str) -> Any:
    """Take a field out of every KINDCluster that is stored, as a mutating webhook can."""

    def admit(resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
        kept: Mapping[str, Any] = {key: value for key, value in obj.get(part, {}).items() if key != field}
        return {**obj, part: kept} if resource is KIND_CLUSTERS else obj

    return admit


async def test_refused_correction_of_a_restored_object_is_shown_and_is_no_hot_loop(tmp_path):
    """The annotations are those of a backup: the kind cluster that they describe was made again since."""
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.ready()
        world.annotate(IDENTITY="sha256:of-before", KUBE_SYSTEM="of-before")
        world.kube.refuse = refuse("annotations")
        await world.until(lambda: WORDS in world.condition("ClusterCreated")[2])
        assert await quiet(world, 300) < 60


async def test_finalizer_that_is_not_taken_back_is_shown_and_restored_when_it_is_allowed(tmp_path):
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.ready()
        world.kube.refuse = refuse("finalizers")
        world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"finalizers": None}})
        await world.until(lambda: world.reason() == "WriteRefused")
        assert WORDS in world.condition("Ready")[2]
        assert await quiet(world, 3000) < 60
        world.kube.refuse = None
        await world.until(lambda: world.reason() == "Ready")
        assert world.get()["metadata"]["finalizers"] == [names.KIND_CLUSTER_FINALIZER]


async def test_nothing_is_made_while_the_finalizer_is_dropped_without_an_error(tmp_path):
    world = World(tmp_path)
    world.kube.admit = strip("metadata", "finalizers")
    async with world.running():
        world.add()
        await world.until(lambda: world.reason() == "WriteRefused")
        assert names.KIND_CLUSTER_FINALIZER in world.condition("Ready")[2]
        await asyncio.sleep(60)
        assert world.engine.called("create") == []


async def test_cluster_whose_endpoint_is_dropped_without_an_error_is_not_provisioned(tmp_path):
    world = World(tmp_path)
    world.kube.admit = strip("spec", "controlPlaneEndpoint")
    async with world.running():
        world.add()
        await world.until(lambda: world.reason() == "WriteRefused")
        assert "spec.controlPlaneEndpoint" in world.condition("Ready")[2]
        await asyncio.sleep(60)
        assert "initialization" not in world.get()["status"]


async def test_refused_annotation_beside_a_secret_that_a_webhook_changes_is_no_hot_loop(tmp_path):
    """The Secret is due but waits, and the annotation is stored with the endpoint first, later by itself."""
    world = World(tmp_path)
    world.kube.refuse = refuse("kube-system-uid")

    def admit(resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
        return {**obj, "data": {**obj["data"], "more": "eA=="}} if resource is SECRETS else obj

    world.kube.admit = admit
    async with world.running():
        world.add()
        await world.until(lambda: world.reason() == "WriteRefused")
        assert await quiet(world, 300) < 60
        world.kube.refuse, world.kube.admit = None, lambda resource, obj: obj
        await world.until(lambda: world.reason() == "Ready", 1300)
