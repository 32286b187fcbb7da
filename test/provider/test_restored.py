"""Objects that were restored from a backup, and annotations that were edited while no provider ran."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from capk.api import names
from capk.api.names import KIND_CLUSTERS
from capk.workload.answer import Answer
from test.provider.world import KUBE_SYSTEM_UID, World, trouble

pytestmark = pytest.mark.virtual_time

OTHER_UID = "0c1e3c1e-0000-4000-8000-00000000000f"


def restore(world: World, backup: Mapping[str, Any]) -> None:
    """Put an object back as backup tools do: without its status, with another uid."""
    kept = {field: backup["metadata"][field] for field in ("name", "namespace", "annotations", "finalizers")}
    world.kube.put(KIND_CLUSTERS, {"metadata": kept, "spec": backup["spec"]})


async def half_made(world: World, control_planes: int = 1) -> Mapping[str, Any]:
    """Have a kind cluster created; return its object as it was in the middle of that."""
    async with world.running():
        world.add(spec={"nodes": [{"role": "control-plane"}] * control_planes})
        await world.creating()
        backup = world.get()
        assert backup is not None
        await world.ready()
    return backup


async def test_backup_from_the_middle_of_a_creation_costs_no_kind_cluster_that_was_completed_later(tmp_path):
    """The management cluster was lost, and the container engine runs on."""
    world = World(tmp_path)
    backup = await half_made(world)
    containers = dict(world.engine.containers)
    world.vanish()
    restore(world, backup)
    async with world.running():
        await world.until(lambda: world.reason() == "NameConflict")
        await asyncio.sleep(600)
        assert world.engine.containers == containers
        hint = world.condition("Ready")[2]
        mark = next(iter(containers.values())).mark
        assert f'adopt: "{mark}"' in hint
        world.annotate(ADOPT=mark)
        await world.ready()
        assert world.engine.containers == containers


async def test_deletion_of_what_was_restored_from_the_middle_of_a_creation_removes_nothing(tmp_path):
    world = World(tmp_path)
    backup = await half_made(world)
    containers = dict(world.engine.containers)
    world.vanish()
    restore(world, backup)
    async with world.running():
        world.delete()
        await world.gone()
        assert world.engine.containers == containers


async def test_backup_from_the_middle_of_a_creation_is_created_where_nothing_is_left(tmp_path):
    world = World(tmp_path)
    backup = await half_made(world)
    world.vanish()
    world.engine.containers.clear()
    restore(world, backup)
    async with world.running():
        await world.ready()
        assert {node.mark for node in world.engine.of()} == {f"{world.get()['metadata']['uid']}.2"}


async def test_rest_of_a_creation_goes_though_its_object_was_restored_meanwhile(tmp_path):
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.creating()
        backup = world.get()
        world.vanish()
        restore(world, backup)
        await world.ready()
        uid = world.get()["metadata"]["uid"]
        assert {node.mark.partition(".")[0] for node in world.engine.of()} == {uid}


def edit(world: World, uid: str | None) -> None:
    """Edit the annotation, and have the provider doubt the data, so that it reads the uid again."""
    world.annotate(KUBE_SYSTEM=uid)
    world.data = Answer(404, "HTTP 404: not found")


@pytest.mark.parametrize("uid", [OTHER_UID, None])
@pytest.mark.parametrize("policy", ["Never", "Always"])
async def test_uid_of_kube_system_that_was_edited_while_no_provider_ran_is_undone(tmp_path, policy, uid):
    world = World(tmp_path)
    world.add(spec={"recreatePolicy": policy})
    async with world.running():
        await world.ready()
    history, containers = world.history(), dict(world.engine.containers)
    edit(world, uid)
    async with world.running():
        await asyncio.sleep(13 * 3600)
        assert world.history() == history
        assert world.engine.containers == containers
        assert world.get()["metadata"]["annotations"][names.KUBE_SYSTEM_ANNOTATION] == KUBE_SYSTEM_UID


@pytest.mark.parametrize("uid", [OTHER_UID, None])
async def test_edit_while_no_provider_ran_hides_no_loss_of_data(tmp_path, uid):
    world = World(tmp_path)
    world.add()
    async with world.running():
        await world.ready()
    edit(world, uid)
    world.kube_system_uid = OTHER_UID
    async with world.running():
        await world.until(lambda: world.reason() == "DataLost", 60)
        await asyncio.sleep(13 * 3600)
        assert world.reason() == "DataLost"
    async with world.running():
        await asyncio.sleep(600)
        assert world.reason() == "DataLost"


@pytest.mark.parametrize("policy", ["Never", "Always"])
async def test_edit_of_what_a_backup_holds_destroys_nothing_and_is_reported(tmp_path, policy):
    world = World(tmp_path)
    world.add(spec={"recreatePolicy": policy})
    async with world.running():
        await world.ready()
    backup, containers = world.get(), dict(world.engine.containers)
    world.vanish()
    restore(world, backup)
    edit(world, OTHER_UID)
    async with world.running():
        await world.until(lambda: world.reason() == "DataLost", 60)
        await asyncio.sleep(60)
        reads = len(world.engine.called("kubeconfig"))
        await asyncio.sleep(7200)
        assert world.engine.containers == containers
        assert len(world.engine.called("kubeconfig")) == reads
        assert "remove the annotation" in world.condition("Ready")[2]
        world.annotate(KUBE_SYSTEM=None)
        await world.ready()
        await world.until(lambda: names.KUBE_SYSTEM_ANNOTATION in world.get()["metadata"]["annotations"])
        assert world.get()["metadata"]["annotations"][names.KUBE_SYSTEM_ANNOTATION] == KUBE_SYSTEM_UID
        assert world.engine.containers == containers


class TestSameUid:
    """The storage of the API server was rolled back, and the container engine runs on."""

    @pytest.mark.parametrize("state", ["running", "stopped", "several control planes"])
    async def test_object_from_the_middle_of_its_creation_keeps_the_kind_cluster_that_was_completed(
        self, tmp_path, state
    ):
        world = World(tmp_path)
        backup = await half_made(world, 3 if "several" in state else 1)
        if state == "stopped":
            world.engine.stop_nodes()
        containers = set(world.engine.containers)
        world.kube.put(KIND_CLUSTERS, backup)
        async with world.running():
            await world.ready()
            assert world.engine.containers.keys() == containers
            await asyncio.sleep(120)
            assert world.get()["status"]["attempt"] == 1
            assert names.BLOCK_MOVE_ANNOTATION not in world.get()["metadata"]["annotations"]
            world.delete()
            await world.gone()
            assert world.engine.containers == {}

    async def test_object_from_the_middle_of_a_later_creation_keeps_it(self, tmp_path):
        world = World(tmp_path)
        world.add(spec={"recreatePolicy": "Always"})
        async with world.running():
            await world.ready()
            world.engine.containers.clear()
            await world.creating()
            backup = world.get()
            await world.until(lambda: world.reason() != "Ready")
            await world.ready()
        containers = set(world.engine.containers)
        world.kube.put(KIND_CLUSTERS, backup)
        async with world.running():
            await asyncio.sleep(120)
            assert world.engine.containers.keys() == containers
            assert world.get()["status"]["attempt"] == 2

    async def test_restored_object_that_retains_its_kind_cluster_leaves_it(self, tmp_path):
        world = World(tmp_path)
        backup = await half_made(world)
        containers = set(world.engine.containers)
        world.kube.put(KIND_CLUSTERS, {**backup, "spec": {**backup["spec"], "deletionPolicy": "Retain"}})
        world.delete()
        async with world.running():
            await world.gone()
            assert world.engine.containers.keys() == containers

    @pytest.mark.parametrize("state", ["running", "stopped"])
    async def test_nothing_is_removed_as_long_as_no_control_plane_can_be_read(self, tmp_path, state):
        """For example because the engine is busy: that proves nothing."""
        world = World(tmp_path)
        backup = await half_made(world)
        if state == "stopped":
            world.engine.stop_nodes()
        containers = set(world.engine.containers)
        world.kube.put(KIND_CLUSTERS, backup)
        world.containers.unreadable = trouble("OCI runtime exec failed: exec failed", "docker", "exec")
        async with world.running():
            await asyncio.sleep(1800)
            assert world.engine.containers.keys() == containers
            reason, message = world.condition("ClusterCreated")[1:3]
            assert reason == "CommandFailed"
            assert "dev-control-plane cannot be read: OCI runtime exec failed" in message
            assert "delete the object with spec.deletionPolicy Delete" in message
            world.containers.unreadable = None
            await world.ready()
            assert world.engine.containers.keys() == containers

    async def test_deletion_needs_no_proof(self, tmp_path):
        world = World(tmp_path)
        backup = await half_made(world)
        world.kube.put(KIND_CLUSTERS, backup)
        world.containers.unreadable = trouble("OCI runtime exec failed: exec failed", "docker", "exec")
        async with world.running():
            await asyncio.sleep(60)
            world.delete()
            await world.gone()
            assert world.engine.containers == {}

    async def test_deletion_that_retains_a_kind_cluster_waits_a_while_for_the_proof_and_leaves_it(self, tmp_path):
        world = World(tmp_path)
        backup = await half_made(world)
        containers = set(world.engine.containers)
        world.kube.put(KIND_CLUSTERS, {**backup, "spec": {**backup["spec"], "deletionPolicy": "Retain"}})
        world.containers.unreadable = trouble("OCI runtime exec failed: exec failed", "docker", "exec")
        async with world.running():
            world.delete()
            await world.gone()
            assert world.engine.containers.keys() == containers

    async def test_deletion_that_retains_removes_what_is_proven_incomplete_meanwhile(self, tmp_path):
        world = World(tmp_path)
        world.kind.create_seconds = 60.0
        world.add(spec={"deletionPolicy": "Retain"})
        async with world.killed():
            await world.creating()
        world.containers.unreadable = trouble("OCI runtime exec failed: exec failed", "docker", "exec")
        world.delete()
        async with world.running():
            await asyncio.sleep(20)
            world.containers.unreadable = None
            await world.gone()
            assert world.engine.containers == {}

    async def test_control_plane_that_vanishes_while_it_is_read_delays_nothing(self, tmp_path):
        world = World(tmp_path)
        world.kind.create_seconds = 60.0
        world.add()
        async with world.killed():
            await world.creating()
        copied = world.containers.copied

        async def vanishing(container_id: str, folder: str, **options: Any) -> Any:
            world.engine.containers.pop(container_id, None)
            return await copied(container_id, folder, **options)

        world.containers.copied = vanishing
        world.engine.stop_nodes()
        async with world.running():
            await asyncio.sleep(3)
            assert world.engine.called("create")[1:]

    async def test_interrupted_creation_is_begun_again(self, tmp_path):
        world = World(tmp_path)
        world.kind.create_seconds = 60.0
        world.add()
        async with world.killed():
            await world.creating()
        first = set(world.engine.containers)
        async with world.running():
            await world.ready()
            assert world.engine.containers.keys().isdisjoint(first)


@pytest.mark.parametrize("engine_lists", [True, False], ids=["with an engine command", "without"])
@pytest.mark.parametrize("restarts", [False, True], ids=["while it runs", "while no provider ran"])
async def test_identity_that_was_emptied_costs_no_complete_kind_cluster(tmp_path, engine_lists, restarts):
    """As a backup from the middle of the creation does, if its annotations are applied to the object."""
    world = World(tmp_path, engine_lists=engine_lists)
    world.add(spec={"recreatePolicy": "Always"})
    async with world.running():
        await world.ready()
        containers = dict(world.engine.containers)
        if not restarts:
            world.annotate(IDENTITY="")
            await asyncio.sleep(600)
    if restarts:
        world.annotate(IDENTITY="")
        async with world.running():
            await asyncio.sleep(600)
    assert world.engine.containers == containers
    assert world.reason() == "Ready"
    assert world.get()["metadata"]["annotations"][names.IDENTITY_ANNOTATION] != ""


async def test_identity_that_was_emptied_after_it_was_corrected_costs_no_complete_kind_cluster(tmp_path):
    """Status and identity were of another kind cluster, and the only read of the kubeconfig was long ago."""
    world = World(tmp_path)
    world.engine.run_node("dev-control-plane", mark="uid-that-is-gone.1")
    containers = dict(world.engine.containers)
    claim = {names.CLAIM_ANNOTATION: "dev", names.CLAIM_ID_ANNOTATION: "uid-that-is-gone"}
    async with world.running():
        world.add(annotations={**claim, names.ATTEMPT_ANNOTATION: "1", names.IDENTITY_ANNOTATION: "sha256:another"})
        await world.ready()
        await asyncio.sleep(120)
    world.annotate(IDENTITY="")
    async with world.running():
        await asyncio.sleep(120)
    assert world.engine.containers == containers
    assert world.reason() == "Ready"


@pytest.mark.parametrize("edit", ["while it runs", "while no provider ran", "before a deletion that retains"])
@pytest.mark.parametrize("origin", ["adopted", "adopted without an engine command", "made by an early release"])
async def test_identity_that_was_emptied_costs_no_kind_cluster_without_a_counted_creation(tmp_path, origin, edit):
    """No number in marks and status shows that it is complete; a creation that has begun would have one."""
    world = World(tmp_path, engine_lists="without" not in origin)
    is_adopted = origin.startswith("adopted")
    world.engine.run_node("dev-control-plane", mark=None if is_adopted else "uid-of-dev")
    world.engine.run_node("dev-worker", mark=None if is_adopted else "uid-of-dev")
    claim = {
        names.CLAIM_ANNOTATION: "dev",
        names.CLAIM_ID_ANNOTATION: "uid-of-dev",
        names.IDENTITY_ANNOTATION: "unread",
    }
    adopt = {names.ADOPT_ANNOTATION: "true"}
    spec = {"deletionPolicy": "Retain"} if "deletion" in edit else {"recreatePolicy": "Always"}
    containers = dict(world.engine.containers)
    async with world.running():
        world.add(uid="uid-of-dev", spec=spec, annotations=adopt if is_adopted else claim)
        await world.ready()
        await asyncio.sleep(120)
        if "runs" in edit:
            world.annotate(IDENTITY="")
            await asyncio.sleep(120)
    if "runs" not in edit:
        world.annotate(IDENTITY="")
        if "deletion" in edit:
            world.delete()
        async with world.running():
            await asyncio.sleep(120)
    assert world.engine.containers == containers
    if "deletion" in edit:
        assert world.get() is None
    else:
        assert world.reason() == "Ready"
        assert world.get()["metadata"]["annotations"][names.IDENTITY_ANNOTATION] != ""


async def test_object_that_was_restored_while_the_kind_cluster_is_removed_gets_a_new_one_and_no_last_moment(tmp_path):
    """The claim of the object that is gone would make what remains of its kind cluster the new object's."""
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.ready()
        backup = world.get()
        assert backup is not None
        world.containers.remove_seconds = 30.0
        world.delete()
        await world.until(lambda: bool(world.engine.called("remove")))
        world.vanish()
        restore(world, backup)
        for _ in range(20):
            await asyncio.sleep(1)
            assert world.reason() != "Ready"
        assert world.reason() == "CleaningUp"
        await world.ready()
        assert len(world.engine.called("create", "dev")) == 2
        await asyncio.sleep(600)
        assert world.reason() == "Ready"
        assert len(world.engine.of("dev")) == 1
