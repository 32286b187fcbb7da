"""Workers of KINDMachines, in virtual time: they join, they leave, and nothing of them is left behind."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from capk.api import names
from capk.api.names import CLUSTERS, KIND_CLUSTERS, KIND_CONFIGS, KIND_MACHINES, MACHINES
from capk.engine.command import Output
from capk.engine.place import SHARED
from capk.errors import Denied, Forbidden
from test.provider.world import NO_ANSWER, World, quiet, trouble

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, capi="v1beta2")


class TestJoin:
    async def test_worker_joins_leaves_and_costs_nothing_at_rest(self, world):
        async with world.running():
            world.add_owned()
            world.add_machine()
            await world.ready()
            await world.joined()
            machine, node = world.machine(), world.node()
            assert machine.provider_id == "kind://docker/dev/dev-w1"
            assert machine.is_provisioned
            assert machine.joined_containers == {node.container_id}
            assert names.BLOCK_MOVE_ANNOTATION not in machine.annotations
            assert {entry.get("machine") for entry in world.get()["status"]["nodes"]} == {None, "dev-w1"}
            assert world.engine.kubernetes_nodes == {"dev-w1"}
            assert await quiet(world, 500) == 0
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.gone("dev-w1", resource=KIND_MACHINES)
            assert [one.name for one in world.engine.of()] == ["dev-control-plane"]
            assert world.engine.kubernetes_nodes == set()
            await asyncio.sleep(5)
            assert [entry["name"] for entry in world.get()["status"]["nodes"]] == ["dev-control-plane"]
            assert world.reason() == "Ready"

    async def test_restart_beside_a_worker_writes_nothing(self, world):
        async with world.running():
            await up(world)
        writes = len(world.kube.writes)
        async with world.running():
            await asyncio.sleep(300)
        assert len(world.kube.writes) == writes
        assert len(world.engine.called("run")) == 1

    async def test_nothing_is_kept_of_machines_that_are_gone(self, world):
        async with world.running() as app:
            await up(world, "dev-w1", "dev-w2", "dev-w3")
            for name in ("dev-w1", "dev-w2", "dev-w3"):
                world.delete(name, resource=KIND_MACHINES)
            await asyncio.sleep(60)
            assert not app.store.keys(KIND_MACHINES)
            assert {record.key.kind for record in app.records._records.values()} == {"KINDCluster", "KINDControlPlane"}
            assert app.records.joining(SHARED, "dev") == {}

    async def test_failed_join_and_its_next_attempt_leave_the_kindcluster_ready(self, world):
        world.containers.joins = [trouble("failed to join the worker: no route to host", "docker", "exec")]
        world.containers.join_seconds = 30
        seen = set()
        async with world.running():
            world.add_owned()
            await world.ready()
            world.add_machine()
            while world.condition("Ready", "dev-w1", resource=KIND_MACHINES)[0] != "True":
                seen.add(world.reason())
                await asyncio.sleep(0.1)
        assert len(world.engine.called("run")) == 2
        assert seen == {"Ready"}

    async def test_join_waits_for_its_turn(self, tmp_path):
        world = World(tmp_path, capi="v1beta2", max_concurrent_workers=1)
        world.containers.join_seconds = 20
        async with world.running():
            world.add_owned()
            await world.ready()
            world.add_machine("dev-w1")
            world.add_machine("dev-w2")
            await asyncio.sleep(10)
            reasons = {
                world.condition("WorkerJoined", name, resource=KIND_MACHINES)[1] for name in ("dev-w1", "dev-w2")
            }
            assert reasons == {"JoiningNode", "Queued"}
            await world.joined("dev-w1", "dev-w2")

    async def test_failed_join_is_explained_and_tried_again(self, world):
        world.containers.joins = [trouble("failed to join the worker: no route to host", "docker", "exec")] * 2
        async with world.running():
            world.add_owned()
            world.add_machine()
            await world.until(lambda: bool(world.engine.called("kubeadm join")))
            await asyncio.sleep(4)
            status, _, message = world.condition("WorkerJoined", "dev-w1", resource=KIND_MACHINES)
            assert status == "False"
            assert message
            assert [node.name for node in world.engine.of()] == ["dev-control-plane"]
            assert world.reason() == "Ready"
            await world.joined()
            assert len(world.engine.called("kubeadm join")) == 3

    async def test_worker_for_which_nothing_is_stored_does_not_join(self, world):
        """Without the machine id, a killed provider could not find the container again."""

        def judge(verb, resource, name, body):
            is_metadata = verb == "patch" and any("metadata" in one["path"] for one in body if one["op"] != "test")
            return Denied(verb, "kindmachines", 403, "not today") if resource is KIND_MACHINES and is_metadata else None

        async with world.running():
            world.add_owned()
            await world.ready()
            world.kube.refuse = judge
            world.add_machine()
            await asyncio.sleep(60)
            assert world.condition("WorkerJoined", "dev-w1", resource=KIND_MACHINES)[1] == "WriteRefused"
            assert not world.engine.called("run")
            world.kube.refuse = None
            await world.joined()

    async def test_worker_waits_at_rest_for_an_api_server_that_answers_nobody(self, world):
        """The provider never reached it and calls the KINDCluster Ready: only the node itself shows that it is down."""
        world.answer, run, is_down = NO_ANSWER, world.containers.run, [True]

        async def running(node, command, **options):
            if is_down[0] and command[0] == "kubectl":
                raise trouble("The connection to the server was refused", "docker", "exec")
            return await run(node, command, **options)

        world.containers.run = running
        async with world.running():
            world.add_owned(control_plane=False)
            await world.ready()
            world.add_machine()
            await world.until(lambda: world.reason("dev-w1", resource=KIND_MACHINES) == "NotAnswering")
            assert "tries again by itself" in world.condition("WorkerJoined", "dev-w1", resource=KIND_MACHINES)[2]
            await asyncio.sleep(600)
            writes = len(world.kube.writes)
            await asyncio.sleep(1200)
            assert (len(world.kube.writes), world.engine.called("run")) == (writes, [])
            is_down[0] = False
            await world.joined()

    async def test_machine_that_must_not_be_read_is_the_reported_cause(self, world, monkeypatch):
        get = world.kube.get

        async def refuse(resource, namespace, name):
            if resource.plural == MACHINES.plural:
                raise Forbidden("get", "machines", 403, "not today")
            return await get(resource, namespace, name)

        async with world.running():
            world.add_owned()
            await world.ready()
            monkeypatch.setattr(world.kube, "get", refuse)
            world.add_machine()
            await asyncio.sleep(60)
            assert "not today" in world.condition("WorkerJoined", "dev-w1", resource=KIND_MACHINES)[2]
            monkeypatch.undo()
            await world.joined()

    async def test_engine_without_a_command_cannot_add_workers(self, tmp_path):
        world = World(tmp_path, capi="v1beta2", engine_lists=False)
        async with world.running():
            world.add_owned()
            world.add_machine()
            await world.ready()
            await asyncio.sleep(10)
            assert world.condition("WorkerJoined", "dev-w1", resource=KIND_MACHINES)[1] == "EngineUnsupported"
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.gone("dev-w1", resource=KIND_MACHINES)

    async def test_config_is_complete_from_the_start(self, world):
        async with world.running():
            labels = {names.CORE_CLUSTER_NAME_LABEL: "dev"}
            world.kube.put(
                KIND_CONFIGS, {"metadata": {"name": "w1", "namespace": "default", "labels": labels}, "spec": {}}
            )
            await world.until(lambda: world.reason("w1", resource=KIND_CONFIGS) == "Ready")
            status = world.get("w1", resource=KIND_CONFIGS)["status"]
            assert (status["dataSecretName"], status["initialization"]) == ("", {"dataSecretCreated": True})
            assert await quiet(world, 500) == 0


class TestWhoseContainer:
    async def test_container_of_someone_else_is_never_touched(self, world):
        async with world.running():
            world.add_owned()
            await world.ready()
            stranger = world.engine.run_node("dev-w1", role="worker", mark="another.1", machine="theirs")
            world.add_machine()
            await world.until(lambda: world.reason("dev-w1", resource=KIND_MACHINES) == "NameConflict")
            await asyncio.sleep(100)
            world.engine.stop_nodes(stranger)
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.gone("dev-w1", resource=KIND_MACHINES)
            assert stranger in world.engine.containers
            assert not world.engine.called("remove")

    async def test_container_of_someone_else_in_the_kind_cluster_does_not_keep_workers_out(self, world):
        async with world.running():
            world.add_owned()
            await world.ready()
            stranger = world.engine.run_node("dev-worker9", role="worker", mark="another.1")
            await asyncio.sleep(20)
            world.add_machine()
            await world.joined()
            assert stranger in world.engine.containers

    async def test_no_worker_joins_a_control_plane_of_someone_else(self, world):
        async with world.running():
            world.add_owned()
            await world.ready()
            world.engine.run_node("dev-control-plane2", mark="another.1")
            await asyncio.sleep(20)
            world.add_machine()
            await asyncio.sleep(60)
            assert not world.engine.called("run")
            assert "belongs to someone else" in world.condition("WorkerJoined", "dev-w1", resource=KIND_MACHINES)[2]

    async def test_half_joined_container_is_removed_and_the_join_begins_again(self, world):
        async with world.running():
            await up(world)
            forgotten = {"metadata": {"annotations": {names.JOINED_CONTAINER_ANNOTATION: None}}, "status": None}
            world.kube.edit(KIND_MACHINES, "dev-w1", forgotten)
        former = world.node().container_id
        async with world.running():
            await world.until(lambda: [one for one in world.engine.of() if one.name == "dev-w1"] == [])
            await world.joined()
            assert world.node().container_id != former

    async def test_edited_machine_id_does_not_part_a_machine_from_its_container(self, world):
        async with world.running():
            world.add_owned()
            await world.ready()
            world.add_machine()
            await world.until(lambda: bool(world.engine.called("kubeadm join")))
            edited = {"metadata": {"annotations": {names.MACHINE_ID_ANNOTATION: "uid-of-nobody"}}}
            world.kube.edit(KIND_MACHINES, "dev-w1", edited)
            await world.joined()
            assert world.machine().stored_machine_id == world.node().machine == world.machine().uid
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.gone("dev-w1", resource=KIND_MACHINES)
            assert [node.name for node in world.engine.of()] == ["dev-control-plane"]

    @pytest.mark.parametrize("label", ["other", "nowhere", None])
    async def test_label_edited_during_a_join_does_not_part_a_machine_from_its_container(self, world, label):
        """Before the provider id is stored, only the join itself knows where the container is."""
        reasons = set()
        world.kube.refuse = lambda verb, resource, name, body: _refused_provider_id(verb, body)
        async with world.running():
            world.add_owned()
            await world.ready()
            await other_cluster(world)
            world.add_machine()
            await world.until(lambda: bool(world.engine.called("kubeadm join")))
            world.kube.edit(KIND_MACHINES, "dev-w1", {"metadata": {"labels": {names.CORE_CLUSTER_NAME_LABEL: label}}})
            for _ in range(300):
                reasons.add(world.reason("dev-w1", resource=KIND_MACHINES))
                await asyncio.sleep(0.1)
        world.kube.refuse = None
        async with world.running():
            await world.joined()
        assert reasons <= {"", "PreparingNode", "JoiningNode", "WriteRefused"}
        assert world.machine().provider_id == "kind://docker/dev/dev-w1"
        assert len(world.engine.called("run")) == 1

    async def test_worker_does_not_join_the_cluster_of_an_edited_label(self, world):
        async with world.running():
            world.add_owned()
            await world.ready()
            await other_cluster(world)
            world.add_machine(labels={names.CORE_CLUSTER_NAME_LABEL: "other"})
            world.kube.edit(MACHINES, "dev-w1", {"spec": {"clusterName": "dev"}})
            await asyncio.sleep(30)
            said = world.condition("WorkerJoined", "dev-w1", resource=KIND_MACHINES)
            assert said[1] == "WaitingForInfrastructure"
            assert "Set the label to dev" in said[2]
            assert not world.engine.called("run")
            world.kube.edit(KIND_MACHINES, "dev-w1", {"metadata": {"labels": {names.CORE_CLUSTER_NAME_LABEL: "dev"}}})
            await world.joined()

    async def test_copy_of_a_manifest_does_not_take_the_container_of_the_original(self, world):
        async with world.running():
            await up(world)
            container = world.node().container_id
            stored = world.machine().annotations
            world.add_machine("dev-w2", annotations=dict(stored))
            await world.joined("dev-w2")
            world.delete("dev-w2", resource=KIND_MACHINES)
            await world.gone("dev-w2", resource=KIND_MACHINES)
            assert [node.container_id for node in world.engine.of() if node.machine] == [container]

    async def test_copy_of_an_owner_reference_makes_no_second_container_for_one_machine(self, world):
        async with world.running():
            world.add_owned()
            world.add_machine()
            world.kube.edit(MACHINES, "dev-w1", {"spec": {"infrastructureRef": {"name": "dev-w1"}}})
            await world.ready()
            await world.joined()
            copied = {key: world.machine().metadata[key] for key in ("namespace", "labels", "ownerReferences")}
            world.kube.put(KIND_MACHINES, {"metadata": {**copied, "name": "dev-w2"}, "spec": {}})
            await asyncio.sleep(30)
            assert world.reason("dev-w2", resource=KIND_MACHINES) == "WaitingForMachine"
            assert len(world.engine.called("run")) == 1

    async def test_failed_join_of_a_copy_is_tried_again(self, world):
        async with world.running():
            await up(world)
            world.add_machine("dev-w2", annotations=dict(world.machine().annotations))
            world.containers.joins = [trouble("failed to join the worker: no route", "docker", "exec")]
            await world.joined("dev-w2")

    @pytest.mark.parametrize("edited", ["x" * 300, "x" * 200_000, "one\ntwo", "zero\0byte", "--privileged"])
    async def test_machine_id_that_is_no_id_does_not_reach_the_label(self, world, edited):
        """A label that the next listing cannot read would hide every kind cluster of the engine."""
        async with world.running():
            world.add_owned()
            world.add_machine(annotations={names.MACHINE_ID_ANNOTATION: edited})
            await world.ready()
            await world.joined()
            assert world.node().machine == world.machine().uid

    async def test_container_removed_by_hand_is_reported_and_not_replaced(self, world):
        async with world.running():
            await up(world)
            del world.engine.containers[world.node().container_id]
            await world.until(lambda: world.reason("dev-w1", resource=KIND_MACHINES) == "Missing")
            await asyncio.sleep(300)
            assert len(world.engine.called("run")) == 1
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.gone("dev-w1", resource=KIND_MACHINES)

    async def test_worker_that_an_old_listing_lacks_is_not_replaced(self, world):
        async with world.running():
            world.add_owned()
            world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"recreatePolicy": "Always"}})
            world.add_machine()
            await world.joined()
            former, listed = world.node().container_id, world.containers.nodes

            async def old(cluster=None):
                return [node for node in await listed(cluster) if not node.machine]

            world.containers.nodes = old
            await world.until(lambda: len(world.engine.called("run")) > 1)
            await asyncio.sleep(1)
            world.containers.nodes = listed
            await world.joined()
            assert world.node().container_id == former

    async def test_stopped_worker_is_started_with_the_nodes_of_its_cluster(self, world):
        async with world.running():
            await up(world)
            world.engine.stop_nodes(world.node().container_id)
            await world.until(lambda: world.node().running)
            await world.joined()
            assert len(world.engine.called("run")) == 1


class TestSlowRemoval:
    @pytest.mark.parametrize("vanishes", [False, True])
    async def test_container_that_is_stopped_to_be_removed_is_not_started(self, world, vanishes):
        """podman stops a container, for ten seconds, before it removes it."""
        remove = world.containers.remove

        async def slowly(container_ids):
            world.engine.stop_nodes(*container_ids)
            await asyncio.sleep(40)
            await remove(container_ids)

        async with world.running():
            await up(world)
            world.containers.remove = slowly
            world.delete("dev-w1", resource=KIND_MACHINES)
            await asyncio.sleep(1)
            if vanishes:
                world.vanish("dev-w1", resource=KIND_MACHINES)
            await world.until(lambda: len(world.engine.of()) == 1)
            await asyncio.sleep(5)
            assert not world.engine.called("start")
            assert not {"StartingNodes", "NodesStopped"} & set(world.history())
            assert world.reason() == "Ready"


class TestEditedReferences:
    @pytest.mark.parametrize(
        ("resource", "name", "edit"),
        [
            (KIND_MACHINES, "dev-w1", {"metadata": {"labels": {names.CORE_CLUSTER_NAME_LABEL: None}}}),
            (KIND_MACHINES, "dev-w1", {"metadata": {"labels": {names.CORE_CLUSTER_NAME_LABEL: "other"}}}),
            (CLUSTERS, "dev", {"spec": {"infrastructureRef": None}}),
        ],
    )
    async def test_container_goes_with_its_object_all_the_same(self, world, resource, name, edit):
        async with world.running():
            await up(world)
            world.kube.edit(resource, name, edit)
            await asyncio.sleep(5)
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.gone("dev-w1", resource=KIND_MACHINES)
            assert [node.name for node in world.engine.of()] == ["dev-control-plane"]
            assert world.engine.kubernetes_nodes == set()

    @pytest.mark.parametrize("paused", [False, True])
    async def test_label_of_another_cluster_changes_nothing_for_a_node_that_has_joined(self, world, paused):
        """Cluster API writes the label again; until then the container proves whose worker it is."""
        async with world.running():
            await up(world)
            await other_cluster(world)
            world.kube.edit(CLUSTERS, "other", {"spec": {"paused": paused}})
            edit = {"metadata": {"labels": {names.CORE_CLUSTER_NAME_LABEL: "other"}}}
            world.kube.edit(KIND_MACHINES, "dev-w1", edit)
            await asyncio.sleep(60)
            assert world.reason("dev-w1", resource=KIND_MACHINES) == "Ready"
            assert world.machine().provider_id == "kind://docker/dev/dev-w1"
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.until(lambda: world.get("dev-w1", resource=KIND_MACHINES) is None)
            assert sorted(node.name for node in world.engine.of()) == ["dev-control-plane"]
            assert len(world.engine.called("remove")) == 1

    async def test_copied_provider_id_does_not_lead_away_from_the_own_cluster(self, world):
        async with world.running():
            await up(world)
            await other_cluster(world)
            world.add_machine(
                "other-w1",
                labels={names.CORE_CLUSTER_NAME_LABEL: "other"},
                spec={"providerID": "kind://docker/dev/dev-w1"},
            )
            await world.joined("other-w1")
            assert world.machine("other-w1").provider_id == "kind://docker/other/other-w1"


class TestMovedBesideItsCopy:
    async def test_moved_machine_keeps_its_container_and_the_copy_gets_its_own(self, world):
        """Someone has applied a saved manifest under another name, and then `clusterctl move` moves the original."""
        async with world.running():
            await up(world)
            former, saved = world.node().container_id, world.machine().metadata
            kept = {key: saved[key] for key in ("namespace", "labels", "annotations")}
            world.kube.put(KIND_MACHINES, {"metadata": {**kept, "name": "dev-copy", "ownerReferences": []}, "spec": {}})
            moved = {**kept, "name": "dev-w1", "ownerReferences": saved["ownerReferences"]}
            world.kube.edit(
                KIND_MACHINES, "dev-w1", {"metadata": {"annotations": {names.DELETE_FOR_MOVE_ANNOTATION: ""}}}
            )
            world.vanish("dev-w1", resource=KIND_MACHINES)
            await asyncio.sleep(5)
            world.kube.put(KIND_MACHINES, {"metadata": moved, "spec": {}})
            await world.joined()
            await asyncio.sleep(60)
            assert world.node().container_id == former
            assert len(world.engine.called("run")) == 1
            adopt = {"metadata": {"labels": None}, "spec": {"clusterName": "dev"}}
            world.kube.edit(KIND_MACHINES, "dev-copy", adopt)
            await world.joined("dev-w1", "dev-copy")
            assert len(world.engine.called("run")) == 2

    async def test_saved_manifest_that_is_applied_after_the_deletion_is_a_new_worker(self, world):
        async with world.running():
            await up(world)
            saved = world.machine().metadata
            again = {key: saved[key] for key in ("name", "namespace", "labels", "annotations", "ownerReferences")}
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.until(lambda: world.get("dev-w1", resource=KIND_MACHINES) is None)
            world.kube.put(KIND_MACHINES, {"metadata": again, "spec": {}})
            await world.joined()
            assert len(world.engine.called("run")) == 2


class TestWatchFilter:
    @pytest.fixture
    def world(self, tmp_path):
        return World(tmp_path, capi="v1beta2", watch_filter="blue")

    async def test_kindcluster_without_the_label_is_named_as_the_cause(self, world):
        label = {names.WATCH_FILTER_LABEL: "blue"}
        async with world.running():
            world.add(spec={"standalone": True}, labels=label)
            world.add_standalone_machine(labels=label)
            await world.ready()
            await world.joined()
            world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"labels": {names.WATCH_FILTER_LABEL: None}}})
            world.kube.edit(KIND_MACHINES, "dev-w1", {"metadata": {"annotations": {"touched": ""}}})
            await asyncio.sleep(5)
            world.delete("dev-w1", resource=KIND_MACHINES)
            await asyncio.sleep(60)
            status, reason, message = world.condition("Deleting", "dev-w1", resource=KIND_MACHINES)
            assert (status, reason) == ("True", "WaitingForInfrastructure")
            assert message.startswith("KINDCluster dev exists, but this provider does not serve it")
            assert world.node()
            world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"labels": label}})
            await world.until(lambda: world.get("dev-w1", resource=KIND_MACHINES) is None)
            assert [node.name for node in world.engine.of()] == ["dev-control-plane"]

    async def test_new_machine_waits_with_that_cause(self, world):
        async with world.running():
            world.add(spec={"standalone": True})
            world.add_standalone_machine(labels={names.WATCH_FILTER_LABEL: "blue"})
            await world.until(lambda: world.reason("dev-w1", resource=KIND_MACHINES) == "WaitingForInfrastructure")
            message = world.condition("WorkerJoined", "dev-w1", resource=KIND_MACHINES)[2]
            assert "does not serve it" in message
            assert await quiet(world, 500) == 0


class TestOtherEngine:
    @pytest.mark.parametrize("seconds", [0.5, 5, 60])
    async def test_worker_is_not_gone_because_another_engine_does_not_have_it(self, world, seconds):
        async with world.running():
            await up(world)
            with world.engine.switched():
                world.delete("dev-w1", resource=KIND_MACHINES)
                await asyncio.sleep(seconds)
            await world.gone("dev-w1", resource=KIND_MACHINES)
            assert [node.name for node in world.engine.of()] == ["dev-control-plane"]

    async def test_join_of_a_vanished_object_is_cleaned_up_once_its_engine_answers(self, world):
        world.containers.join_seconds = 600
        async with world.running():
            world.add_owned()
            await world.ready()
            world.add_machine()
            await world.until(lambda: bool(world.engine.called("kubeadm join")))
            with world.engine.switched():
                world.vanish("dev-w1", resource=KIND_MACHINES)
                await asyncio.sleep(60)
            await world.until(lambda: [node.name for node in world.engine.of()] == ["dev-control-plane"])


class TestPause:
    async def test_nothing_joins_or_leaves_while_the_cluster_is_paused(self, world):
        async with world.running():
            await up(world)
            world.kube.edit(CLUSTERS, "dev", {"spec": {"paused": True}})
            await asyncio.sleep(5)
            world.add_machine("dev-w2")
            world.delete("dev-w1", resource=KIND_MACHINES)
            await asyncio.sleep(60)
            assert [node.name for node in world.engine.of() if node.machine] == ["dev-w1"]
            assert world.condition("Paused", "dev-w2", resource=KIND_MACHINES)[0] == "True"
            world.kube.edit(CLUSTERS, "dev", {"spec": {"paused": False}})
            await world.joined("dev-w2")
            await world.gone("dev-w1", resource=KIND_MACHINES)
            assert [node.name for node in world.engine.of() if node.machine] == ["dev-w2"]

    async def test_queued_join_of_a_paused_machine_does_not_begin(self, tmp_path):
        world = World(tmp_path, capi="v1beta2", max_concurrent_workers=1)
        world.containers.join_seconds = 20
        async with world.running():
            world.add_owned()
            await world.ready()
            world.add_machine("dev-w1")
            await asyncio.sleep(3)
            world.add_machine("dev-w2")
            await asyncio.sleep(3)
            world.kube.edit(KIND_MACHINES, "dev-w2", {"metadata": {"annotations": {names.PAUSED_ANNOTATION: ""}}})
            await world.joined("dev-w1")
            await asyncio.sleep(60)
            assert len(world.engine.called("run")) == 1


class TestKindclusterThatGoes:
    @pytest.mark.parametrize("seconds", [0.1, 0.3, 1.0, 2.0])
    async def test_its_deletion_ends_a_join_and_leaves_nothing(self, world, seconds):
        world.containers.join_seconds = 60
        async with world.running():
            world.add_owned()
            await world.ready()
            world.add_machine()
            await asyncio.sleep(seconds)
            world.delete()
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.until(lambda: world.get() is None and world.get("dev-w1", resource=KIND_MACHINES) is None, 100)
            await asyncio.sleep(30)
        assert world.engine.containers == {}

    async def test_its_deletion_takes_workers_along_whose_machines_stay(self, world):
        async with world.running():
            await up(world)
            world.delete()
            await world.gone()
            assert world.engine.containers == {}
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.gone("dev-w1", resource=KIND_MACHINES)

    async def test_deletion_of_another_object_of_the_name_ends_no_join(self, world):
        world.containers.join_seconds = 20
        async with world.running():
            world.add_owned()
            await world.ready()
            world.add_machine()
            await world.until(lambda: bool(world.engine.called("kubeadm join")))
            world.add("dev", namespace="other", finalizers=[names.KIND_CLUSTER_FINALIZER])
            await asyncio.sleep(1)
            world.delete("dev", namespace="other")
            await world.until(lambda: world.get("dev", "other") is None)
            await world.joined()
            assert len(world.engine.called("kubeadm join")) == 1

    async def test_retained_cluster_keeps_whole_workers_and_nothing_half_joined(self, world):
        async with world.running():
            world.add_owned()
            world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"deletionPolicy": "Retain"}})
            world.add_machine()
            await world.joined()
            world.containers.join_seconds = 60
            world.add_machine("dev-w2")
            await world.until(lambda: len(world.engine.of()) == 3)
            await asyncio.sleep(2)
            world.delete()
            for name in ("dev-w1", "dev-w2"):
                world.delete(name, resource=KIND_MACHINES)
            await world.gone("dev-w2", resource=KIND_MACHINES)
            await world.until(lambda: world.get("dev-w1", resource=KIND_MACHINES) is None and world.get() is None)
            assert sorted(node.name for node in world.engine.of()) == ["dev-control-plane", "dev-w1"]

    async def test_cluster_of_which_only_workers_are_left_is_missing(self, world):
        async with world.running():
            await up(world)
            del world.engine.containers[world.node("dev-control-plane").container_id]
            await world.until(lambda: world.reason() == "Missing")
            await asyncio.sleep(60)
            assert [node.name for node in world.engine.of()] == ["dev-w1"]

    @pytest.mark.parametrize("seconds", [0.6, 1.8, 3.0, 10])
    async def test_cluster_of_which_only_workers_are_left_is_created_again(self, world, seconds):
        async with world.running():
            world.add_owned()
            world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"recreatePolicy": "Always"}})
            await world.ready()
            world.add_machine()
            await asyncio.sleep(seconds)
            del world.engine.containers[world.node("dev-control-plane").container_id]
            await world.until(lambda: len(world.engine.called("create")) == 2)
            await world.ready()
            await world.joined()
            assert sorted(node.name for node in world.engine.of()) == ["dev-control-plane", "dev-w1"]

    async def test_workers_join_the_cluster_that_was_created_again(self, world):
        async with world.running():
            world.add_owned()
            world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"recreatePolicy": "Always"}})
            world.add_machine()
            await world.joined()
            world.engine.containers.clear()
            await world.until(lambda: len(world.engine.called("create")) == 2)
            await world.ready()
            await world.joined()
            assert sorted(node.name for node in world.engine.of()) == ["dev-control-plane", "dev-w1"]


class TestKill:
    @pytest.mark.parametrize("tenths", range(0, 40, 2))
    async def test_provider_that_is_killed_during_a_join_leaves_one_truth(self, world, tenths):
        async with world.killed():
            world.add_owned()
            await world.ready()
            world.add_machine()
            await asyncio.sleep(tenths / 10)
        if world.engine.called("kubeadm join"):
            # The client of `exec` is gone, but kubeadm goes on.
            world.engine.kubernetes_nodes.add("dev-w1")
        async with world.running():
            await world.joined()
            assert world.machine().joined_containers == {world.node().container_id}
            assert len(world.engine.of()) == 2
            assert world.engine.kubernetes_nodes == {"dev-w1"}
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.gone("dev-w1", resource=KIND_MACHINES)
            assert [node.name for node in world.engine.of()] == ["dev-control-plane"]

    @pytest.mark.parametrize("tenths", range(0, 10, 2))
    async def test_provider_that_is_killed_during_a_removal_completes_it(self, world, tenths):
        world.containers.remove_seconds = 0.4
        async with world.killed():
            await up(world)
            world.delete("dev-w1", resource=KIND_MACHINES)
            await asyncio.sleep(tenths / 10)
        async with world.running():
            await world.gone("dev-w1", resource=KIND_MACHINES)
            assert [node.name for node in world.engine.of()] == ["dev-control-plane"]

    async def test_late_container_of_a_killed_join_is_removed(self, world):
        """docker lists it seconds after the client of `run` is gone."""
        async with world.killed():
            world.add_owned()
            await world.ready()
            world.add_machine()
            await world.until(lambda: bool(world.engine.called("run")))
        late = world.node()
        del world.engine.containers[late.container_id]
        async with world.running():
            world.delete("dev-w1", resource=KIND_MACHINES)
            await asyncio.sleep(1)
            world.engine.containers[late.container_id] = replace(late, running=True)
            await world.gone("dev-w1", resource=KIND_MACHINES)
            assert [node.name for node in world.engine.of()] == ["dev-control-plane"]


class TestVanishedObject:
    async def test_join_of_an_object_that_vanished_leaves_nothing(self, world):
        world.containers.join_seconds = 60
        async with world.running() as app:
            world.add_owned()
            await world.ready()
            world.add_machine()
            await world.until(lambda: bool(world.engine.called("kubeadm join")))
            world.vanish("dev-w1", resource=KIND_MACHINES)
            await world.until(lambda: len(world.engine.of()) == 1)
            await asyncio.sleep(30)
            assert {record.key.kind for record in app.records._records.values()} == {"KINDCluster", "KINDControlPlane"}

    async def test_copied_machine_id_does_not_keep_the_remains(self, world):
        world.containers.join_seconds = 60
        async with world.running():
            world.add_owned()
            await world.ready()
            world.add_machine()
            await world.until(lambda: bool(world.engine.called("kubeadm join")))
            stored = {names.MACHINE_ID_ANNOTATION: world.machine().uid}
            world.kube.put(
                KIND_MACHINES, {"metadata": {"name": "copy", "namespace": "other", "annotations": stored}, "spec": {}}
            )
            world.containers.removes = [trouble("Error: device or resource busy", "docker", "rm")] * 2
            world.vanish("dev-w1", resource=KIND_MACHINES)
            await world.until(lambda: len(world.engine.of()) == 1)

    async def test_successor_of_the_same_name_keeps_its_node(self, world):
        world.containers.join_seconds = 5
        async with world.running():
            world.add_owned()
            await world.ready()
            world.add_machine()
            await world.until(lambda: bool(world.engine.called("kubeadm join")))
            world.vanish("dev-w1", resource=KIND_MACHINES)
            await asyncio.sleep(1)
            world.containers.join_seconds = 2
            world.add_machine()
            await world.joined()
            await asyncio.sleep(60)
            assert world.engine.kubernetes_nodes == {"dev-w1"}

    @pytest.mark.parametrize("seconds", [0.5, 2, 8])
    async def test_kindcluster_goes_while_the_join_of_an_object_that_vanished_is_cleaned_up(self, world, seconds):
        world.containers.join_seconds = 60
        async with world.running():
            world.add_owned()
            await world.ready()
            world.add_machine()
            await world.until(lambda: bool(world.engine.called("kubeadm join")))
            world.vanish("dev-w1", resource=KIND_MACHINES)
            await asyncio.sleep(seconds)
            world.delete()
            await world.until(lambda: world.get() is None, 100)
            await asyncio.sleep(30)
        assert world.engine.containers == {}

    async def test_failed_removal_of_an_object_that_vanished_is_tried_again(self, world):
        async with world.running():
            await up(world)
            world.containers.removes = [trouble("Error: device or resource busy", "docker", "rm") for _ in range(3)]
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.until(lambda: bool(world.engine.called("remove")))
            world.vanish("dev-w1", resource=KIND_MACHINES)
            await world.until(lambda: len(world.engine.of()) == 1)


class TestStandalone:
    @pytest.fixture
    def world(self, tmp_path):
        return World(tmp_path)

    async def test_machine_that_names_its_kindcluster_joins_and_is_drained(self, world):
        async with world.running():
            world.add()
            world.add_standalone_machine()
            await world.ready()
            await world.joined()
            assert await quiet(world, 500) == 0
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.gone("dev-w1", resource=KIND_MACHINES)
            assert world.engine.called("kubectl drain")
            assert world.engine.kubernetes_nodes == set()
            assert [node.name for node in world.engine.of()] == ["dev-control-plane"]

    async def test_drains_that_take_long_do_not_hold_up_the_deletion_of_another_cluster(self, world):
        """A PodDisruptionBudget, or root in a control plane, makes each of them take more than a minute."""
        run, workers = world.containers.run, [f"dev-w{number}" for number in range(10)]

        async def slow(node_name: str, command: Sequence[str], **options: Any) -> Output:
            await asyncio.sleep(80 if "drain" in command else 0)
            return await run(node_name, command, **options)

        world.containers.run = slow
        async with world.running():
            world.add()
            world.add("other")
            for worker in workers:
                world.add_standalone_machine(worker)
            await world.joined(*workers)
            for worker in workers:
                world.delete(worker, resource=KIND_MACHINES)
            await asyncio.sleep(5)
            world.delete("other")
            assert await world.gone("other") < 30

    async def test_machine_waits_for_its_kindcluster(self, world):
        async with world.running():
            world.add_standalone_machine()
            await world.until(lambda: world.reason("dev-w1", resource=KIND_MACHINES) == "WaitingForInfrastructure")
            world.add()
            await world.joined()

    async def test_label_of_a_cluster_that_goes_does_not_leave_the_container_behind(self, world):
        labels = {names.CORE_CLUSTER_NAME_LABEL: "other"}
        other = {"name": "other", "namespace": "default", "finalizers": ["x"], "deletionTimestamp": "2026-01-02"}
        async with world.running():
            world.add(spec={"standalone": True})
            world.kube.put(CLUSTERS, {"metadata": other, "spec": {"paused": True}})
            world.add_standalone_machine(labels=labels)
            await world.ready()
            await world.joined()
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.gone("dev-w1", resource=KIND_MACHINES)
            assert [node.name for node in world.engine.of()] == ["dev-control-plane"]

    async def test_machine_of_another_namespace_is_none_of_the_clusters(self, world):
        async with world.running():
            world.add()
            await world.ready()
            world.add_standalone_machine("dev-w1", namespace="other")
            await asyncio.sleep(30)
            assert world.reason("dev-w1", "other", resource=KIND_MACHINES) == "WaitingForInfrastructure"
            assert not world.engine.called("run")


async def up(world, *machines):
    """Create a Cluster with workers, and wait until all are Ready."""
    machines = machines or ("dev-w1",)
    world.add_owned()
    for name in machines:
        world.add_machine(name)
    await world.ready()
    await world.joined(*machines)


def _refused_provider_id(verb, body):
    names_it = verb == "patch" and any(one["path"].startswith("/spec") for one in body if one["op"] != "test")
    return Denied(verb, "kindmachines", 403, "not today") if names_it and "providerID" in str(body) else None


async def other_cluster(world):
    """Create another Cluster, named other, and wait until its KINDCluster is Ready."""
    references = {"infrastructureRef": {"kind": "KINDCluster", "name": "other"}}
    made = world.kube.put(CLUSTERS, {"metadata": {"name": "other", "namespace": "default"}, "spec": references})
    reference = {"apiVersion": CLUSTERS.api_version, "kind": "Cluster", "name": "other", "uid": made["metadata"]["uid"]}
    world.add("other", ownerReferences=[reference], spec={"kubernetesVersion": "v1.36.1"})
    await world.ready("other")
