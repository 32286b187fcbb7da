"""A kind cluster that is adopted where the object had another one before is judged by nothing of that one."""

import asyncio
import re
from dataclasses import replace

import pytest

from capk.api import names
from capk.api.names import KIND_CLUSTERS
from capk.workload.answer import Answer
from test.provider.world import World, authority, kubeconfig, quiet, trouble

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


async def moved(world: World) -> None:
    """Have a kind cluster made, and its object moved here: another uid, and no status."""
    async with world.running():
        world.add()
        await world.ready()
    before = world.get()
    assert before is not None
    world.vanish()
    kept = {field: before["metadata"][field] for field in ("name", "namespace", "annotations", "finalizers")}
    world.kube.put(KIND_CLUSTERS, {"metadata": kept, "spec": before["spec"]})
    async with world.running():
        await world.ready()
        await asyncio.sleep(120)


async def adopted(world: World) -> None:
    world.engine.run_node("dev-control-plane")
    async with world.running():
        world.add(annotations={names.ADOPT_ANNOTATION: "true"})
        await world.ready()
        await asyncio.sleep(120)


def strip(world: World) -> dict[str, str]:
    """Remove all annotations; return those about whose the kind cluster is."""
    before = world.get()["metadata"]["annotations"]
    world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"annotations": dict.fromkeys(before)}})
    assert not world.get()["metadata"].get("annotations")
    claim = (names.CLAIM_ANNOTATION, names.CLAIM_ID_ANNOTATION, names.IDENTITY_ANNOTATION)
    return {name: before[name] for name in claim}


class TestStripped:
    """Neither marks nor annotations lead to the kind cluster any more; the status has its certificate authority."""

    @pytest.fixture(params=[adopted, moved], ids=["adopted", "moved"])
    async def world(self, request, tmp_path):
        world = World(tmp_path)
        await request.param(world)
        return world

    @pytest.mark.parametrize("restarts", [False, True])
    async def test_object_finds_its_kind_cluster_again(self, world, restarts):
        containers = dict(world.engine.containers)
        claim = strip(world) if restarts else {}
        async with world.running():
            if not restarts:
                await asyncio.sleep(120)
                claim = strip(world)
            await asyncio.sleep(60)
            assert world.reason() == "Ready"
            assert claim.items() <= world.get()["metadata"]["annotations"].items()
            assert world.engine.containers == containers

    @pytest.mark.parametrize("restarts", [False, True])
    async def test_deletion_leaves_nothing_behind(self, world, restarts):
        if restarts:
            strip(world)
            world.delete()
        async with world.running():
            if not restarts:
                await asyncio.sleep(120)
                strip(world)
                world.delete()
            await world.gone()
            assert world.engine.containers == {}

    async def test_deletion_waits_for_the_proof_and_names_the_way_out(self, world):
        containers = dict(world.engine.containers)
        world.kind.kubeconfigs = [trouble("ERROR: the control plane does not run", "kind", "get", "kubeconfig")] * 99
        strip(world)
        world.delete()
        async with world.running():
            await asyncio.sleep(600)
            assert world.engine.containers == containers
            message = world.condition("Deleting")[2]
            assert "Only the kubeconfig proves whether" in message
            assert "set spec.deletionPolicy to Retain" in message
            world.kind.kubeconfigs.clear()
            await world.gone()
            assert world.engine.containers == {}

    @pytest.mark.parametrize("deleted", [False, True])
    async def test_command_of_the_message_restores_the_claim_without_the_proof(self, world, deleted):
        containers = dict(world.engine.containers)
        world.kind.kubeconfigs = [trouble("ERROR: the control plane does not run", "kind", "get", "kubeconfig")] * 99
        claim = strip(world)
        if deleted:
            world.delete()
        async with world.running():
            await asyncio.sleep(60)
            message = world.condition("Deleting" if deleted else "ClusterCreated")[2]
            found = re.search(r"`kubectl annotate --overwrite kindcluster dev --namespace default (.*)`", message)
            restored = dict(word.split("=") for word in found[1].split())
            assert restored == {**claim, names.IDENTITY_ANNOTATION: names.UNREAD}
            world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"annotations": restored}})
            if deleted:
                await world.gone()
                assert world.engine.containers == {}
            else:
                world.kind.kubeconfigs.clear()
                await world.ready()
                assert world.engine.containers == containers

    async def test_kind_cluster_that_came_into_its_place_stays_someone_elses(self, world):
        theirs = replace_by_hand(world, "172.18.0.2")
        strip(world)
        async with world.running():
            await asyncio.sleep(600)
            assert world.reason() == "NameConflict"
            world.delete()
            await world.gone()
            assert list(world.engine.containers) == theirs

    @pytest.mark.parametrize("deleted", [False, True])
    async def test_kind_cluster_that_another_object_has_adopted_since_stays_its_own(self, world, deleted):
        strip(world)
        world.add("other", spec={"clusterName": "dev"})
        mark = next(iter(world.engine.containers.values())).mark
        world.annotate("other", ADOPT=mark or "true")
        first = world.get()
        world.vanish()
        async with world.running():
            await world.ready("other")
            deleting = {"deletionTimestamp": "2026-01-02T00:00:00Z"} if deleted else {}
            world.kube.put(KIND_CLUSTERS, {**first, "metadata": {**first["metadata"], **deleting}})
            if not deleted:
                await asyncio.sleep(120)
                assert world.reason() == "NameConflict"
                world.delete()
            await world.gone()
            await asyncio.sleep(60)
            assert world.engine.containers
            assert world.reason("other") == "Ready"
