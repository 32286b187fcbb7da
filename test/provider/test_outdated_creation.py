"""An edit counts from the moment of the edit, also while a kind cluster is being created or waits for its turn."""

import asyncio

import pytest

from capk.api.names import KIND_CLUSTERS, KIND_CONTROL_PLANES
from test.provider.world import World, now, quiet, trouble

pytestmark = pytest.mark.virtual_time

ONE = {"nodes": [{"role": "control-plane"}]}
TWO = {"nodes": [{"role": "control-plane"}, {"role": "worker"}]}


async def test_what_was_edited_while_its_creation_waited_is_created(tmp_path):
    world = World(tmp_path, max_concurrent_creates=1)
    world.kind.create_seconds = 60.0
    async with world.running():
        world.add("first")
        await world.creating("first")
        world.add(spec=ONE)
        await world.until(lambda: world.reason() == "Queued")
        world.kube.edit(KIND_CLUSTERS, "dev", {"spec": TWO})
        await world.ready()
        assert len(world.engine.of("dev")) == 2
        assert len(world.engine.called("create", "dev")) == 1


async def test_what_is_edited_while_kind_creates_it_is_created_instead(tmp_path):
    world = World(tmp_path)
    world.kind.create_seconds = 60.0
    async with world.running():
        world.add(spec=ONE)
        await world.creating()
        world.kube.edit(KIND_CLUSTERS, "dev", {"spec": TWO})
        await world.ready()
        assert [node.role for node in world.engine.of("dev")] == ["control-plane", "worker"]
        assert {node.mark for node in world.engine.of("dev")} == {f"{world.get()['metadata']['uid']}.2"}


@pytest.mark.parametrize("nodes", [1, 3])
@pytest.mark.parametrize("is_killed", [False, True])
async def test_what_was_begun_under_another_name_goes(tmp_path, is_killed, nodes):
    world = World(tmp_path)
    world.kind.create_seconds = 30.0
    async with world.killed():
        world.add(spec={"nodes": [{"role": "control-plane"}] * nodes})
        await world.creating()
        if not is_killed:
            await is_made_under_another_name(world)
    if is_killed:
        async with world.running():
            await is_made_under_another_name(world)


async def is_made_under_another_name(world):
    world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"clusterName": "other"}})
    await world.ready()
    assert {node.cluster for node in world.engine.containers.values()} == {"other"}


@pytest.mark.parametrize("seconds", [-0.02, 0.02, 0.2])
async def test_what_was_complete_when_the_name_changed_stays_and_is_not_called_missing(tmp_path, seconds):
    """Admission knows that it is complete only when the status says so."""
    world = World(tmp_path)
    world.kind.kubeconfigs = [trouble("ERROR: not yet")]
    async with world.running():
        world.add()
        await world.until(lambda: world.engine.called("create") != [])
        await asyncio.sleep(world.engine.called("create")[0] + world.kind.create_seconds + seconds - now())
        world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"clusterName": "other"}})
        await world.until(lambda: world.reason() == "InvalidConfig", 60)
        assert await quiet(world, 300) < 5
        assert 'is named "dev"' in world.condition("ClusterCreated")[2]
        assert len(world.engine.of("dev")) == 1
        world.delete()
        await world.gone()
        assert world.engine.containers == {}


async def test_container_of_a_stranger_with_the_earlier_name_stays(tmp_path):
    world = World(tmp_path)
    world.kind.create_seconds = 30.0
    async with world.running():
        world.add()
        await world.creating()
        theirs = world.engine.run_node("dev-worker")
        await is_made_beside(world, theirs)


async def is_made_beside(world, theirs):
    world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"clusterName": "other"}})
    await world.ready()
    assert [node.container_id for node in world.engine.of("dev")] == [theirs]


async def test_version_of_the_control_plane_that_is_edited_meanwhile_is_created_instead(tmp_path):
    world = World(tmp_path, capi="v1beta2")
    world.kind.create_seconds = 60.0
    async with world.running():
        world.add_owned()
        await world.creating()
        world.kube.edit(KIND_CONTROL_PLANES, "dev", {"spec": {"version": "v1.35.1"}})
        await world.ready()
        assert len(world.engine.called("create", "dev")) == 2


async def test_edit_that_the_kind_cluster_does_not_depend_on_ends_no_creation(tmp_path):
    world = World(tmp_path)
    world.kind.create_seconds = 60.0
    async with world.running():
        world.add(spec=ONE)
        await world.creating()
        world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"deletionPolicy": "Retain"}})
        await asyncio.sleep(1)
        await world.ready()
        assert len(world.engine.called("create", "dev")) == 1


async def test_creation_waits_until_that_of_a_vanished_object_of_the_same_name_has_ended(tmp_path):
    """kind takes a moment to end, and two calls for one name would stand in each other's way."""
    world = World(tmp_path)
    create, running, most = world.kind.create_cluster, [], []

    async def slow(name, config, **options):
        running.append(name)
        most.append(len(running))
        try:
            return await create(name, config, **options)
        finally:
            await asyncio.sleep(3)
            running.remove(name)

    world.kind.create_cluster = slow
    async with world.running():
        world.add("former", spec={"clusterName": "shared"})
        await world.creating("shared")
        world.add(spec={"clusterName": "shared"})
        await world.until(lambda: world.reason() == "NameConflict")
        world.vanish("former")
        await world.ready()
        assert len(most) > 1
        assert max(most) == 1
        assert {node.mark.partition(".")[0] for node in world.engine.of("shared")} == {world.get()["metadata"]["uid"]}
