"""What a decision meant when it was taken may be wrong when its operation gets its turn, minutes later."""

import asyncio
import copy
from dataclasses import replace
from typing import Any

import pytest

from capk.api import names
from capk.api.names import CLUSTERS, KIND_CLUSTERS, SECRETS
from capk.manager.application import Application
from capk.manager.records import ACCESS_SECONDS
from test.provider.world import OWNER, World, authority, kubeconfig, trouble

pytestmark = pytest.mark.virtual_time

OTHER_UID = "0c1e3c1e-0000-4000-8000-00000000000f"


def replace_by_stranger(world: World) -> str:
    """Make another kind cluster of that name, as someone at the engine does; return its container."""
    for node in world.engine.of("dev"):
        del world.engine.containers[node.container_id]
    return world.engine.run_node("dev-control-plane")


async def test_cluster_that_came_to_be_retained_while_its_removal_waited_stays(tmp_path):
    world = World(tmp_path)
    others = [f"other-{number}" for number in range(8)]
    async with world.running():
        for name in ("dev", *others):
            world.add(name)
        for name in ("dev", *others):
            await world.ready(name)
        world.containers.remove_seconds = 60.0
        for name in others:
            world.delete(name)
        await asyncio.sleep(2)
        world.delete()
        await asyncio.sleep(2)
        world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"deletionPolicy": "Retain"}})
        await world.gone()
        assert len(world.engine.of("dev")) == 1


async def test_object_that_was_restored_keeps_what_an_earlier_deletion_could_not_remove(tmp_path):
    """Its annotations carry the claim of the one that is gone, and with it the marks."""
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.ready()
        backup = world.get()
        world.containers.removes = [trouble("Error: device or resource busy", "docker", "rm") for _ in range(3)]
        world.delete()
        await world.until(lambda: world.condition("Deleting")[1] == "DeletionFailed")
        world.vanish()
        kept = {field: backup["metadata"][field] for field in ("name", "namespace", "annotations")}
        world.kube.put(KIND_CLUSTERS, {"metadata": kept, "spec": backup["spec"]})
        await world.ready()
        await asyncio.sleep(600)
        assert world.reason() == "Ready"
        assert len(world.engine.of("dev")) == 1


async def test_nodes_that_are_a_strangers_by_the_time_of_a_repair_are_left_alone(tmp_path):
    world = World(tmp_path)
    others = [f"other-{number}" for number in range(4)]
    async with world.running():
        for name in ("dev", *others):
            world.add(name)
            await world.ready(name)
        start = world.containers.start

        async def slow(names: tuple[str, ...]) -> None:
            await asyncio.sleep(100)
            await start(names)

        world.containers.start = slow
        for name in (*others, "dev"):
            world.engine.stop_nodes(*[node.container_id for node in world.engine.of(name)])
            await world.until(lambda name=name: world.reason(name) == "StartingNodes")
        world.engine.stop_nodes(replace_by_stranger(world))
        await world.until(lambda: world.reason() == "NameConflict")
        await asyncio.sleep(300)
        assert all(world.engine.called("start", f"{name}-control-plane") for name in others)
        assert world.engine.called("start", "dev-control-plane") == []


async def test_kubeconfig_of_a_stranger_who_replaced_the_cluster_reaches_no_secret(tmp_path):
    """The listing that a decision rests on may be older than the replacement."""
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.ready()
        await asyncio.sleep(ACCESS_SECONDS)
        replace_by_stranger(world)
        world.kind.text = kubeconfig(ca="stranger")
        world.kube.edit(SECRETS, "dev-config", {"data": {"more": "eA=="}})
        await world.until(lambda: world.reason() == "NameConflict")
        await asyncio.sleep(60)
        assert world.engine.called("kubeconfig", "dev")
        stored = world.read("dev-config")["clusters"][0]["cluster"]["certificate-authority-data"]
        assert stored != authority("stranger")[0]


@pytest.mark.parametrize("attempt", [None, "0", "999999999"])
async def test_half_made_cluster_is_not_the_complete_one_before_it_whose_number_was_lost(tmp_path, attempt):
    world = World(tmp_path)
    async with world.running():
        world.add(spec={"recreatePolicy": "Always"})
        await world.ready()
        world.annotate(ATTEMPT=attempt)
        world.kind.create_seconds = 60.0
        world.engine.containers.clear()
        await world.creating()
    world.kind.create_seconds = 5.0
    async with world.running():
        await world.until(lambda: len(world.engine.called("create", "dev")) == 3)
        await world.ready()


async def test_object_from_a_backup_of_its_creation_keeps_the_cluster_if_its_identity_is_to_be_read(tmp_path):
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.creating()
        backup = world.get()
        await world.ready()
    annotations = {**backup["metadata"]["annotations"], names.IDENTITY_ANNOTATION: names.UNREAD}
    world.kube.put(KIND_CLUSTERS, {**backup, "metadata": {**backup["metadata"], "annotations": annotations}})
    async with world.running():
        await world.ready()
        assert len(world.engine.called("create", "dev")) == 1
        assert world.engine.called("remove") == []


@pytest.mark.parametrize("policy", ["Always", "Never"])
@pytest.mark.parametrize("is_secret_restored", [True, False])
async def test_object_from_a_backup_before_its_cluster_was_made_again_comes_to_describe_the_new_one(
    tmp_path, policy, is_secret_restored
):
    """A backup of the management cluster's etcd: identity, attempt and kube-system are those of the lost cluster."""
    world = World(tmp_path)
    async with world.running():
        world.add(spec={"recreatePolicy": "Always"})
        await world.ready()
        await asyncio.sleep(ACCESS_SECONDS + 10)
        backup, secret = copy.deepcopy(world.get()), copy.deepcopy(world.kube.find(SECRETS, "dev-config"))
        world.engine.containers.clear()
        world.kind.text, world.kube_system_uid = kubeconfig(ca="second"), OTHER_UID
        await world.until(lambda: len(world.engine.called("create")) == 2)
        await world.until(lambda: world.reason() != "Ready")
        await world.ready()
    made = list(world.engine.containers)
    world.kube.put(KIND_CLUSTERS, {**backup, "spec": {**backup["spec"], "recreatePolicy": policy}})
    if is_secret_restored:
        world.kube.put(SECRETS, secret)
    async with world.running():
        await asyncio.sleep(300)
        assert world.reason() == "Ready"
        await asyncio.sleep(900)
    assert world.reason() == "Ready"
    assert list(world.engine.containers) == made
    assert world.read("dev-config")["clusters"][0]["cluster"]["certificate-authority-data"] == authority("second")[0]


@pytest.mark.parametrize(
    "edit", [{"ATTEMPT": None, "IDENTITY": None}, {"ATTEMPT": None, "CLAIM": None, "CLAIM_ID": None}]
)
@pytest.mark.parametrize("policy", ["Delete", "Retain"])
async def test_container_of_an_ended_creation_goes_though_the_annotations_hide_the_creation(tmp_path, edit, policy):
    """The engine shows it only seconds after kind has ended."""
    world = World(tmp_path)

    async def create(name: str, config: Any, **_: Any) -> str:
        world.engine.note("create", name)
        mark = config["nodes"][0]["extraMounts"][-1]["containerPath"].rpartition("/")[2]
        try:
            await asyncio.sleep(60)
        finally:
            asyncio.get_running_loop().call_later(3, lambda: world.engine.run_node("dev-control-plane", mark=mark))
        return kubeconfig()

    world.kind.create_cluster = create
    async with world.running():
        world.add(spec={"deletionPolicy": policy})
        await world.until(lambda: world.engine.called("create") != [])
        await asyncio.sleep(5)
        world.annotate(**edit)
        await asyncio.sleep(1)
        world.delete()
        await world.gone()
        await asyncio.sleep(60)
        assert world.engine.of() == []


@pytest.mark.parametrize("attempt", [True, False])
async def test_one_listing_without_the_cluster_neither_ends_its_deletion_nor_makes_a_second_one(tmp_path, attempt):
    """An engine may list nothing for a moment. attempt: releases before marks had attempts stored none."""
    world = World(tmp_path)
    async with world.running() as app:
        world.add(spec={"recreatePolicy": "Always"})
        await world.ready()
        if not attempt:
            for one, node in list(world.engine.containers.items()):
                world.engine.containers[one] = replace(node, mark=node.mark.partition(".")[0])
            await asyncio.sleep(20)
            world.kube.edit(KIND_CLUSTERS, "dev", {"status": {"attempt": None}})
            await asyncio.sleep(20)
        there = dict(world.engine.containers)
        await list_nothing_once(world, app)
        world.annotate(ADOPT="x")
        await asyncio.sleep(60)
        assert world.engine.containers == there
        assert len(world.engine.called("create")) == 1
        await list_nothing_once(world, app)
        world.delete()
        await world.gone()
        assert world.engine.containers == {}


async def list_nothing_once(world: World, app: Application) -> None:
    there = dict(world.engine.containers)
    world.engine.containers.clear()
    await app.engines.shared.inventory.refresh()
    world.engine.containers.update(there)


@pytest.mark.parametrize("policy", ["Always", "Never"])
@pytest.mark.parametrize("is_down", [True, False])
async def test_claim_edited_to_the_objects_own_name_hides_no_cluster_that_has_the_name_of_its_owner(
    tmp_path, policy, is_down
):
    world = World(tmp_path, capi="v1beta2")
    reference = {"infrastructureRef": {"kind": "KINDCluster", "name": "infra"}}
    owner = {"name": "dev", "namespace": "default", "uid": OWNER["uid"]}
    world.kube.put(CLUSTERS, {"metadata": owner, "spec": reference})
    world.add("infra", ownerReferences=[OWNER], spec={"recreatePolicy": policy})
    async with world.running():
        await world.ready("infra")
        made = list(world.engine.containers)
        if not is_down:
            world.annotate("infra", CLAIM="infra")
            await asyncio.sleep(120)
    if is_down:
        world.annotate("infra", CLAIM="infra")
    async with world.running():
        await asyncio.sleep(120)
        assert world.reason("infra") == "Ready"
        assert list(world.engine.containers) == made
        world.annotate("infra", CLAIM="infra")
        world.delete("infra")
        await world.until(lambda: world.get("infra") is None)
    assert world.engine.containers == {}
    assert [key for key in world.kube.objects if key[0] == "secrets"] == []
