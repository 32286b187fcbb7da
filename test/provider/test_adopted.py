"""A kind cluster that is adopted where the object had another one before is judged by nothing of that one."""

import asyncio
from dataclasses import replace

import pytest

from capk.api.names import KIND_CLUSTERS
from capk.workload.answer import Answer
from test.provider.world import World, authority, kubeconfig, quiet

pytestmark = pytest.mark.virtual_time

OTHER_UID = "0c1e3c1e-0000-4000-8000-00000000000f"
ABSENT = Answer(404, "HTTP 404: not found")


def replace_by_hand(world: World, *addresses: str) -> list[str]:
    """Have a user delete the kind cluster and make another one of its name; return the ids of its containers."""
    world.engine.containers.clear()
    world.kind.text, world.kube_system_uid = kubeconfig(ca="another"), OTHER_UID
    for number, address in enumerate(addresses, start=1):
        container = world.engine.run_node(f"dev-control-plane{number if number > 1 else ''}")
        world.engine.containers[container] = replace(world.engine.containers[container], address=address)
    if len(addresses) > 1:
        world.engine.run_node("dev-external-load-balancer")
    return list(world.engine.containers)


async def is_adopted_as_it_is(world: World, containers: list[str]) -> None:
    await asyncio.sleep(60)
    assert world.reason() == "NameConflict"
    world.annotate(ADOPT="true")
    await world.until(lambda: world.reason() == "Ready")
    await asyncio.sleep(600)
    assert world.reason() == "Ready"
    assert list(world.engine.containers) == containers
    cluster = world.read("dev-config")["clusters"][0]["cluster"]
    assert cluster["certificate-authority-data"] == authority("another")[0]


@pytest.mark.parametrize("lists", [True, False], ids=["with an engine command", "without"])
@pytest.mark.parametrize("policy", ["Never", "Always"])
async def test_adopted_cluster_has_not_lost_the_data_of_the_one_before(tmp_path, policy, lists):
    world = World(tmp_path, engine_lists=lists)
    async with world.running():
        world.add(spec={"recreatePolicy": policy})
        await world.ready()
    theirs = replace_by_hand(world, "172.18.0.2")
    async with world.running():
        await is_adopted_as_it_is(world, theirs)


async def test_cluster_that_was_taken_over_by_its_mark_is_made_again_after_a_loss_of_its_data(tmp_path):
    """Its mark has the number of a creation for the object before."""
    world = World(tmp_path)
    async with world.running():
        world.add("old", spec={"clusterName": "dev", "deletionPolicy": "Retain"})
        await world.ready("old")
        former = world.get("old")["metadata"]["uid"]
        world.delete("old")
        await world.gone("old")
        world.add(spec={"recreatePolicy": "Always"})
        world.annotate(ADOPT=former)
        await world.ready()
        await is_made_again(world)


async def test_cluster_whose_annotations_were_removed_is_made_again_after_a_loss_of_its_data(tmp_path):
    world = World(tmp_path)
    async with world.running():
        world.add(spec={"recreatePolicy": "Always"})
        await world.ready()
        removed = dict.fromkeys(world.get()["metadata"]["annotations"])
        world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"annotations": removed}})
        await asyncio.sleep(5)
        await is_made_again(world)


@pytest.mark.parametrize("others", [[], ["dev-worker"]])
async def test_adopted_cluster_that_lost_its_data_is_made_again_though_its_removal_was_cut_short(tmp_path, others):
    world = World(tmp_path)
    former = [world.engine.run_node(name) for name in ("dev-control-plane", *others)]
    async with world.running():
        world.add(spec={"recreatePolicy": "Always"})
        world.annotate(ADOPT="true")
        await world.ready()
        await asyncio.sleep(60)
    world.containers.remove_seconds = 30.0
    async with world.killed():
        world.kube_system_uid, world.data = OTHER_UID, ABSENT
        await world.until(lambda: world.engine.called("remove") != [])
        await asyncio.sleep(1)
    world.engine.containers.pop(former[-1])
    async with world.running():
        await world.until(lambda: world.engine.called("create") != [])
        await world.ready()
        assert world.engine.containers.keys().isdisjoint(former)


async def is_made_again(world: World) -> None:
    before = list(world.engine.containers)
    await asyncio.sleep(60)
    world.kube_system_uid, world.data = OTHER_UID, ABSENT
    await world.until(lambda: before[0] not in world.engine.containers, 120)
    await world.ready()
    assert len(world.engine.containers) == 1


@pytest.mark.parametrize("has_worker", [False, True])
@pytest.mark.parametrize("lost", [0, 1])
async def test_adopted_cluster_that_loses_one_of_its_control_planes_stays_the_objects(tmp_path, has_worker, lost):
    """The claim names only one of the containers."""
    world = World(tmp_path)
    theirs = replace_by_hand(world, "172.18.0.7", "172.18.0.8", "172.18.0.9")
    async with world.running():
        world.add()
        world.annotate(ADOPT="true")
        await world.ready()
        if has_worker:
            world.add_standalone_machine()
            await world.joined()
        del world.engine.containers[theirs[lost]]
        await asyncio.sleep(120)
        assert world.reason() == "Ready"
        world.delete()
        await world.gone()
        assert world.engine.containers == {}


async def test_adopted_cluster_that_loses_its_only_control_plane_is_not_adopted_again_and_again(tmp_path):
    """The kubeconfig that was just read still leads to its worker."""
    world = World(tmp_path)
    (control_plane,) = replace_by_hand(world, "172.18.0.2")
    world.engine.run_node("dev-worker")
    async with world.running():
        world.add()
        world.annotate(ADOPT="true")
        await world.ready()
        del world.engine.containers[control_plane]
        requests = await quiet(world, 120)
        assert requests < 20
        assert world.reason() == "NameConflict"


async def test_control_planes_of_an_adopted_cluster_keep_the_addresses_that_they_have(tmp_path):
    world = World(tmp_path)
    async with world.running():
        world.add(spec={"nodes": [{"role": "control-plane"}] * 2})
        await world.ready()
    theirs = replace_by_hand(world, "172.18.0.7", "172.18.0.8")
    async with world.running():
        await is_adopted_as_it_is(world, theirs)
        planes = [node for node in world.get()["status"]["nodes"] if node["role"] == "control-plane"]
        assert [node["address"] for node in planes] == ["172.18.0.7", "172.18.0.8"]


async def test_kubeconfig_that_was_just_read_is_not_that_of_the_cluster_which_takes_the_place(tmp_path):
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.ready()
        world.engine.containers.clear()
        await world.until(lambda: world.reason() == "Missing")
        theirs = replace_by_hand(world, "172.18.0.2")
        world.annotate(ADOPT="true")
        await asyncio.sleep(600)
        assert world.reason() == "Ready"
        assert list(world.engine.containers) == theirs
        cluster = world.read("dev-config")["clusters"][0]["cluster"]
        assert cluster["certificate-authority-data"] == authority("another")[0]
