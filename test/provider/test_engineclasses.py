"""One provider, its own engine, and that of a KINDEngineClass."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from capk.api import names
from capk.api.names import KIND_ENGINE_CLASSES, KIND_MACHINES, NAMESPACES, SECRETS
from capk.api.objects import KINDCluster
from capk.errors import Forbidden
from test.provider.classworld import ADDRESS, ON_LAB, ClassWorld
from test.provider.world import quiet, trouble
from test.unit.engine.test_remotekeys import ssh_data, tls_data

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def world(tmp_path: Path) -> ClassWorld:
    return ClassWorld(tmp_path)


def keys(folder: Path) -> dict[Path, str]:
    """Return the private keys below a folder."""
    return {file: file.read_text() for file in folder.rglob("key.pem")}


def finish(world: ClassWorld) -> None:
    """Delete an object, and remove the provider's finalizer from it; one of someone else keeps it."""
    for finalizers in ([names.KIND_CLUSTER_FINALIZER, "example.com/mine"], ["example.com/mine"]):
        world.kube.edit(names.KIND_CLUSTERS, "dev", {"metadata": {"finalizers": finalizers}})
        world.delete()


class TestOnTheEngineOfAClass:
    async def test_cluster_lives_there_from_creation_to_deletion(self, world: ClassWorld) -> None:
        async with world.running():
            world.offer()
            world.add(spec=ON_LAB)
            world.add("own")
            await world.ready()
            await world.ready("own")
            assert [len(engine.containers) for engine in (world.engine, world.lab)] == [1, 1]
            assert (world.get() or {})["status"]["engine"] == {"className": "lab"}
            assert "engine" not in (world.get("own") or {})["status"]
            world.delete()
            await world.until(lambda: world.get() is None)
            assert [len(engine.containers) for engine in (world.engine, world.lab)] == [1, 0]
            assert world.reason("own") == "Ready"

    async def test_class_gives_address_and_port(self, world: ClassWorld) -> None:
        async with world.running():
            world.offer(docker={"ports": {"first": 30000, "last": 30001}})
            world.add(spec=ON_LAB)
            await world.ready()
        networking = world.configs[0]["networking"]
        assert networking["apiServerAddress"] == ADDRESS
        assert networking["apiServerPort"] in (30000, 30001)
        status = (world.get() or {})["status"]
        assert status["endpoints"]["external"] == f"https://{ADDRESS}:20001"
        assert world.read("dev-config")["clusters"][0]["cluster"]["server"] == f"https://{ADDRESS}:20001"

    async def test_ports_of_a_stopped_kind_cluster_are_given_to_no_other(self, world: ClassWorld) -> None:
        """It could not start again."""
        container = world.lab.run_node("other-control-plane", "other")
        stopped = replace(world.lab.containers[container], running=False, api_port=None)
        world.lab.containers[container] = replace(stopped, host_ports=frozenset(range(30000, 30009)))
        async with world.running():
            world.offer(docker={"ports": {"first": 30000, "last": 30009}})
            world.add(spec=ON_LAB)
            await world.ready()
        assert world.configs[0]["networking"]["apiServerPort"] == 30009

    async def test_attempt_after_a_conflict_tries_another_port(self, world: ClassWorld) -> None:
        taken = "docker: Error response from daemon: Bind for 10.0.0.7:20001 failed: port is already allocated"
        world.lab_kind.creates = [trouble(taken)]
        async with world.running():
            world.offer()
            world.add(spec=ON_LAB)
            await world.ready()
        first, second = (config["networking"]["apiServerPort"] for config in world.configs)
        assert first != second
        assert "PortConflict" in world.history()

    async def test_clients_get_the_endpoint_host_of_the_class(self, world: ClassWorld) -> None:
        world.lab_kind.text = world.lab_kind.text.replace(ADDRESS, "0.0.0.0")
        async with world.running():
            world.offer(docker={"apiServerAddress": "0.0.0.0", "endpointHost": "lab.example"})
            world.add(spec=ON_LAB)
            await world.ready()
        assert world.read("dev-config")["clusters"][0]["cluster"]["server"] == "https://lab.example:20001"
        spec = (world.get() or {})["spec"]
        assert spec["controlPlaneEndpoint"] == {"host": "lab.example", "port": 20001}
        assert "lab.example" in world.configs[0]["kubeadmConfigPatches"][-1]

    async def test_stopped_nodes_are_started_there(self, world: ClassWorld) -> None:
        async with world.running():
            world.offer()
            world.add(spec=ON_LAB)
            await world.ready()
            world.lab.stop_nodes()
            await world.until(lambda: world.lab.called("start") != [])
            await world.ready()
            assert world.engine.called("start") == []

    async def test_worker_joins_and_leaves_there(self, world: ClassWorld) -> None:
        async with world.running():
            world.offer()
            world.add(spec=ON_LAB)
            await world.ready()
            world.add_standalone_machine()
            await world.joined()
            assert [len(engine.containers) for engine in (world.engine, world.lab)] == [0, 2]
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.until(lambda: world.get("dev-w1", resource=KIND_MACHINES) is None)
            assert len(world.lab.containers) == 1

    async def test_paths_of_the_machine_are_those_of_the_class(self, world: ClassWorld) -> None:
        mounts = [{"extraMounts": [{"hostPath": "/srv/cache/a", "containerPath": "/a"}], "role": "control-plane"}]
        async with world.running():
            world.offer()
            world.add(spec={**ON_LAB, "nodes": mounts})
            await world.until(lambda: world.reason() == "InvalidConfig")
            assert "outside the paths" in world.condition("ClusterCreated")[2]
            world.delete()
            world.edit_class({"spec": {"docker": {"allowedHostPaths": ["/srv/cache"]}}})
            await asyncio.sleep(1)
            world.add(spec={**ON_LAB, "nodes": mounts})
            await world.ready()

    async def test_nothing_is_written_at_rest(self, world: ClassWorld) -> None:
        async with world.running():
            world.offer()
            world.add(spec=ON_LAB)
            await world.ready()
            await asyncio.sleep(60)
            before = len(world.kube.writes)
            await asyncio.sleep(3600)
            assert len(world.kube.writes) == before

    async def test_restarted_provider_finds_it_again(self, world: ClassWorld) -> None:
        async with world.running():
            world.offer()
            world.add(spec=ON_LAB)
            await world.ready()
        async with world.running():
            await asyncio.sleep(60)
            assert world.reason() == "Ready"
            assert len(world.lab.called("create")) == 1

    async def test_provider_that_is_killed_during_a_creation_starts_over_there(self, world: ClassWorld) -> None:
        async with world.killed():
            world.offer()
            world.add(spec=ON_LAB)
            await world.until(lambda: world.lab.of() != [])
            await asyncio.sleep(1)
        async with world.running():
            await world.ready()
        assert len(world.lab.containers) == 1
        assert world.engine.calls == []


class TestDefaultClass:
    async def test_object_without_an_engine_gets_it_and_keeps_it(self, world: ClassWorld) -> None:
        async with world.running():
            world.offer(default=True)
            await asyncio.sleep(1)
            world.add()
            await world.ready()
            assert len(world.lab.containers) == 1
            annotations = (world.get() or {})["metadata"]["annotations"]
            assert annotations[names.ENGINE_CLASS_ANNOTATION] == "lab"
            world.edit_class({"metadata": {"annotations": {names.DEFAULT_CLASS_ANNOTATION: "false"}}})
            world.add("later")
            await world.ready("later")
            assert [len(engine.containers) for engine in (world.engine, world.lab)] == [1, 1]
        async with world.running():
            await asyncio.sleep(60)
            assert world.reason() == "Ready"

    async def test_existing_cluster_stays_where_it_is_when_a_class_becomes_the_default(self, world: ClassWorld) -> None:
        async with world.running():
            world.add()
            await world.ready()
            world.offer(default=True)
            await asyncio.sleep(120)
            assert world.reason() == "Ready"
            assert world.lab.calls == []

    async def test_edited_annotation_does_not_move_a_cluster(self, world: ClassWorld) -> None:
        async with world.running():
            world.offer()
            world.add()
            await world.ready()
            world.annotate(ENGINE_CLASS="lab")
            await asyncio.sleep(60)
            assert world.reason() == "Ready"
            assert world.lab.calls == []
        async with world.running():
            await asyncio.sleep(60)
            assert world.reason() == "Ready"
            assert world.lab.calls == []

    async def test_annotation_that_is_edited_during_a_creation_leads_to_nothing(self, world: ClassWorld) -> None:
        async with world.running():
            world.offer()
            world.add()
            await world.creating()
            world.annotate(ENGINE_CLASS="lab")
            await world.ready()
            assert world.lab.calls == []


class TestWhoMay:
    async def test_namespace_without_the_label_waits_for_it(self, world: ClassWorld) -> None:
        world.add_namespace("others")
        async with world.running():
            world.offer()
            world.add(namespace="others", spec=ON_LAB)
            await world.until(lambda: world.reason(namespace="others") == "EngineNotAllowed")
            assert world.lab.calls == []
            world.kube.edit(NAMESPACES, "others", {"metadata": {"labels": {"kind": "allowed"}}}, None)  # type: ignore[arg-type]
            await world.ready(namespace="others")

    async def test_class_that_is_opened_lets_waiting_objects_in(self, world: ClassWorld) -> None:
        world.add_namespace("others")
        async with world.running():
            world.offer()
            world.add(namespace="others", spec=ON_LAB)
            await world.until(lambda: world.reason(namespace="others") == "EngineNotAllowed")
            world.edit_class({"spec": {"namespaceSelector": {"matchLabels": None}}})
            await world.ready(namespace="others")

    @pytest.mark.parametrize("is_recreated", [False, True])
    async def test_class_that_is_opened_together_with_another_host_opens_only_that_one(
        self, world: ClassWorld, is_recreated: bool
    ) -> None:
        world.add_namespace("others")
        async with world.running():
            world.offer()
            await world.until(lambda: world.class_ready()[0] == "True")
            world.add(namespace="others", spec=ON_LAB)
            await world.until(lambda: world.reason(namespace="others") == "EngineNotAllowed")
            get, may_read = world.kube.get, asyncio.Event()

            async def late(resource: Any, namespace: str | None, name: str) -> dict[str, Any]:
                if resource is SECRETS and name == "lab":
                    await may_read.wait()
                return await get(resource, namespace, name)

            world.kube.get = late  # type: ignore[method-assign]
            other = {"host": "tcp://10.0.0.8:2376"}
            if is_recreated:
                world.remove_class()
                world.add_class(docker=other, selector={})
            else:
                world.edit_class({"spec": {"docker": other, "namespaceSelector": {"matchLabels": None}}})
            await asyncio.sleep(60)
            assert world.lab.called("create") == []
            may_read.set()
            await world.ready(namespace="others")
            assert world.lab_places[-1].environment["DOCKER_HOST"] == "tcp://10.0.0.8:2376"

    async def test_class_that_is_closed_stops_a_creation_that_waits_for_its_turn(self, tmp_path: Path) -> None:
        world = ClassWorld(tmp_path, max_concurrent_creates=1)
        world.add_namespace("others", kind="allowed")
        world.lab_kind.create_seconds = 120.0
        async with world.running():
            world.offer()
            world.add("first", spec=ON_LAB)
            await world.until(lambda: world.lab.called("create") != [])
            world.add(namespace="others", spec=ON_LAB)
            await world.until(lambda: world.reason(namespace="others") == "Queued")
            world.kube.edit(NAMESPACES, "others", {"metadata": {"labels": {"kind": None}}}, None)  # type: ignore[arg-type]
            await world.ready("first")
            await world.until(lambda: world.reason(namespace="others") == "EngineNotAllowed")
            await asyncio.sleep(60)
            assert len(world.lab.called("create")) == 1
            world.delete(namespace="others")
            await world.until(lambda: world.get(namespace="others") is None)

    @pytest.mark.parametrize("annotation", [names.MANAGED_BY_ANNOTATION, names.DELETE_FOR_MOVE_ANNOTATION])
    async def test_cluster_that_is_said_to_be_left_to_others_still_counts(
        self, world: ClassWorld, annotation: str
    ) -> None:
        async with world.running():
            world.offer(limits={"clustersPerNamespace": 1})
            world.add(spec=ON_LAB)
            await world.ready()
            world.kube.edit(names.KIND_CLUSTERS, "dev", {"metadata": {"annotations": {annotation: "me"}}})
            world.add("second", spec=ON_LAB)
            await world.until(lambda: world.reason("second") == "EngineNotAllowed")
            await asyncio.sleep(60)
            assert len(world.lab.called("create")) == 1

    async def test_creation_counts_though_its_claim_was_removed(self, world: ClassWorld) -> None:
        """A paused object without a claim may not act, so that it would not count for its name."""
        world.lab_kind.create_seconds = 60.0
        async with world.running():
            world.offer(limits={"clustersPerNamespace": 1})
            world.add(spec=ON_LAB)
            await world.until(lambda: world.lab.of("dev") != [])
            world.annotate(CLAIM=None, CLAIM_ID=None, PAUSED="")
            world.add("second", spec=ON_LAB)
            await world.until(lambda: world.reason("second") == "EngineNotAllowed")
            await asyncio.sleep(120)
            assert len(world.lab.called("create")) == 1
        async with world.running():
            await asyncio.sleep(60)
            assert len(world.lab.called("create")) == 1
            world.annotate(PAUSED=None)
            await world.ready()

    async def test_object_that_only_a_finalizer_of_someone_else_keeps_does_not_count(self, world: ClassWorld) -> None:
        async with world.running():
            world.offer(limits={"clustersPerNamespace": 1})
            world.add(spec=ON_LAB)
            await world.ready()
            finalizers = [names.KIND_CLUSTER_FINALIZER, "example.com/mine"]
            world.kube.edit(names.KIND_CLUSTERS, "dev", {"metadata": {"finalizers": finalizers}})
            world.delete()
            await world.until(lambda: (world.get() or {})["metadata"]["finalizers"] == ["example.com/mine"])
            world.add("second", spec=ON_LAB)
            await world.ready("second")

    @pytest.mark.parametrize("is_restarted", [False, True])
    async def test_cluster_counts_though_its_finalizer_was_removed(self, world: ClassWorld, is_restarted: bool) -> None:
        """While the object is paused, nothing is deleted, and its user may remove any finalizer."""
        async with world.running():
            world.offer(limits={"clustersPerNamespace": 1})
            world.add(spec=ON_LAB)
            await world.ready()
            world.annotate(PAUSED="")
            finish(world)
            world.add("second", spec=ON_LAB)
            await world.until(lambda: world.reason("second") == "EngineNotAllowed")
            if is_restarted:
                world.delete("second")
        async with world.running():
            if is_restarted:
                world.add("third", spec=ON_LAB)
            await asyncio.sleep(60)
            assert len(world.lab.called("create")) == 1

    async def test_next_object_takes_the_place_of_one_that_goes(self, world: ClassWorld) -> None:
        async with world.running():
            world.offer(limits={"clustersPerNamespace": 1})
            world.add(spec=ON_LAB)
            await world.ready()
            world.add("second", spec=ON_LAB)
            await world.until(lambda: world.reason("second") == "EngineNotAllowed")
            world.delete()
            await world.gone()
            assert await world.until(lambda: world.reason("second") == "Ready") < 20

    @pytest.mark.parametrize(
        "annotations",
        [
            {names.CLAIM_ANNOTATION: "dev", names.ATTEMPT_ANNOTATION: "3"},
            {names.ATTEMPT_ANNOTATION: "3"},
            {names.CLAIM_ANNOTATION: "dev", names.CLAIM_ID_ANNOTATION: "gone", names.IDENTITY_ANNOTATION: "sha256:old"},
        ],
    )
    async def test_annotations_do_not_lead_from_the_default_class_to_the_providers_own_engine(
        self, world: ClassWorld, annotations: dict[str, str]
    ) -> None:
        async with world.running():
            world.offer(default=True)
            world.add(annotations=annotations)
            await world.ready()
            assert world.engine.called("create") == []
            assert len(world.lab.containers) == 1

    async def test_cluster_on_the_providers_own_engine_stays_there_whatever_becomes_the_default_class(
        self, world: ClassWorld
    ) -> None:
        async with world.running():
            world.add(spec={"recreatePolicy": "Always"})
            await world.ready()
            world.offer(default=True)
            await asyncio.sleep(5)
            world.engine.containers.clear()
            await world.until(lambda: len(world.engine.called("create")) == 2)
            await world.ready()
            assert world.lab.containers == {}

    async def test_adopted_cluster_is_not_adopted_again_by_a_class_that_leads_to_the_same_engine(
        self, world: ClassWorld
    ) -> None:
        world.add_namespace("tenant", kind="allowed")
        world.lab_kind.engine = world.lab_containers.host = world.engine
        world.engine.run_node("dev-control-plane")
        async with world.running():
            world.offer()
            world.add()
            world.annotate(ADOPT="true")
            await world.ready()
            world.add("thief", "tenant", spec={**ON_LAB, "clusterName": "dev"})
            world.annotate("thief", "tenant", ADOPT="true")
            await world.until(lambda: world.reason("thief", "tenant") == "NameConflict", 60)
            writes = len(world.kube.writes)
            await asyncio.sleep(300)
            assert len(world.kube.writes) == writes
            assert names.CLAIM_ANNOTATION not in (world.get("thief", "tenant") or {})["metadata"]["annotations"]
            world.delete("thief", "tenant")
            await world.until(lambda: world.get("thief", "tenant") is None)
            assert world.engine.called("remove") == []

    async def test_limit_holds_for_objects_of_the_same_moment(self, world: ClassWorld) -> None:
        async with world.running():
            world.offer(limits={"clustersPerNamespace": 2})
            await asyncio.sleep(1)
            for name in ("a", "b", "c", "d"):
                world.add(name, spec=ON_LAB)
            await world.until(lambda: [world.reason(name) for name in "abcd"].count("Ready") == 2)
            await asyncio.sleep(60)
            assert sorted(world.reason(name) for name in "abcd") == ["EngineNotAllowed"] * 2 + ["Ready"] * 2
            assert len(world.lab.called("create")) == 2
            ready = next(name for name in "abcd" if world.reason(name) == "Ready")
            world.delete(ready)
            left = [name for name in "abcd" if name != ready]
            await world.until(lambda: [world.reason(name) for name in left].count("Ready") == 2)

    async def test_objects_within_the_limit_are_not_compared_with_each_other(
        self, world: ClassWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Otherwise each reconcile would look at all of them."""
        compared: list[str] = []

        def noted(cluster: KINDCluster, *_: object, **__: object) -> bool:
            compared.append(cluster.name)
            return False

        monkeypatch.setattr("capk.manager.relations.comes_first", noted)
        world.add_namespace("others", kind="allowed")
        async with world.running():
            world.offer(limits={"clustersPerNamespace": 2})
            await asyncio.sleep(1)
            for name in ("a", "b"):
                world.add(name, spec=ON_LAB)
                world.add(name, "others", spec={**ON_LAB, "clusterName": f"other-{name}"})
            for namespace in ("default", "others"):
                for name in ("a", "b"):
                    await world.ready(name, namespace)
            assert compared == []
            world.add("c", spec=ON_LAB)
            await world.ready("c")
            assert "c" in compared

    async def test_cluster_of_a_namespace_that_is_no_longer_allowed_runs_on_and_can_be_deleted(
        self, world: ClassWorld
    ) -> None:
        async with world.running():
            world.offer()
            world.add(spec=ON_LAB)
            await world.ready()
            world.kube.edit(NAMESPACES, "default", {"metadata": {"labels": {"kind": None}}}, None)  # type: ignore[arg-type]
            world.lab.stop_nodes()
            await world.until(lambda: world.lab.called("start") != [])
            await world.ready()
            world.delete()
            await world.until(lambda: world.get() is None)
            assert world.lab.containers == {}


class TestMissingClass:
    async def test_object_waits_for_its_class(self, world: ClassWorld) -> None:
        async with world.running():
            world.add(spec=ON_LAB)
            await world.until(lambda: world.reason() == "EngineClassNotFound")
            assert "KINDEngineClass lab does not exist" in world.condition("EngineAvailable")[2]
            assert await quiet(world, 300) == 0
            world.offer()
            await world.ready()

    async def test_object_that_was_never_created_can_be_deleted_without_its_class(self, world: ClassWorld) -> None:
        async with world.running():
            world.add(spec=ON_LAB)
            await world.until(lambda: world.reason() == "EngineClassNotFound")
            world.delete()
            await world.until(lambda: world.get() is None)

    async def test_cluster_waits_for_a_class_that_was_deleted_and_is_deleted_when_it_is_back(
        self, world: ClassWorld
    ) -> None:
        async with world.running():
            world.offer()
            world.add(spec=ON_LAB)
            await world.ready()
            world.remove_class()
            await world.until(lambda: world.reason() == "EngineClassNotFound")
            world.delete()
            await asyncio.sleep(600)
            assert "continues when the class is there again" in world.condition("Deleting")[2]
            assert len(world.lab.containers) == 1
            world.add_class()
            await world.until(lambda: world.get() is None)
            assert world.lab.containers == {}

    async def test_retained_cluster_does_not_need_its_class(self, world: ClassWorld) -> None:
        async with world.running():
            world.offer()
            world.add(spec={**ON_LAB, "deletionPolicy": "Retain"})
            await world.ready()
            world.remove_class()
            world.delete()
            await world.until(lambda: world.get() is None)
            assert len(world.lab.containers) == 1

    async def test_deleted_class_leaves_no_files(self, world: ClassWorld, tmp_path: Path) -> None:
        async with world.running():
            world.offer()
            await world.until(lambda: world.class_ready()[0] == "True")
            directory = Path(world.lab_places[-1].environment["DOCKER_CERT_PATH"])
            assert list(keys(tmp_path)) == [directory / "key.pem"]
            world.remove_class()
            await world.until(lambda: keys(tmp_path) == {})

    async def test_two_providers_with_different_filters_never_write_to_one_class(self, tmp_path: Path) -> None:
        world = ClassWorld(tmp_path, watch_filter="blue")
        label = {"labels": {names.WATCH_FILTER_LABEL: "blue"}}
        async with world.running():
            world.offer()
            world.add(spec=ON_LAB, **label)
            await world.until(lambda: world.reason() == "EngineClassNotFound")
            assert "watch-filter=blue" in world.condition("EngineAvailable")[2]
            await asyncio.sleep(2 * world.settings.sync_period_seconds)
            assert world.class_status() == {}
            world.edit_class({"metadata": label})
            await world.ready()

    async def test_provider_of_one_namespace_reads_no_classes(self, tmp_path: Path) -> None:
        world = ClassWorld(tmp_path, namespace="default")
        world.offer()
        async with world.running():
            world.add(spec=ON_LAB)
            await world.until(lambda: world.reason() == "EngineClassNotFound")
            assert "manages only namespace default" in world.condition("EngineAvailable")[2]
            world.add("own")
            await world.ready("own")
            assert world.class_status() == {}


class TestClass:
    async def test_class_reports_its_engine_and_counts_its_clusters(self, world: ClassWorld) -> None:
        async with world.running():
            world.offer()
            world.add(spec=ON_LAB)
            await world.ready()
            assert world.class_ready() == ("True", "EngineAnswers", "")
            assert world.class_status()["clusters"] == 1
            world.delete()
            await world.until(lambda: world.get() is None)
            await world.until(lambda: world.class_status()["clusters"] == 0, 5)

    async def test_engine_that_does_not_answer_concerns_only_its_own_clusters(self, world: ClassWorld) -> None:
        async with world.running():
            world.offer()
            world.add(spec=ON_LAB)
            world.add("own")
            await world.ready()
            await world.ready("own")
            world.lab.down = trouble("Cannot connect to the Docker daemon at tcp://10.0.0.7:2376.", "docker", "ps")
            await world.until(lambda: world.reason() == "EngineUnreachable")
            await world.until(lambda: world.class_ready()[1] == "EngineUnreachable")
            assert world.reason("own") == "Ready"
            world.lab.down = None
            await world.ready()
            await world.until(lambda: world.class_ready()[0] == "True")

    async def test_creation_that_hangs_holds_up_no_other_class(self, tmp_path: Path) -> None:
        world = ClassWorld(tmp_path, max_concurrent_creates=1)
        world.lab_kind.create_seconds = 900.0
        async with world.running():
            world.offer()
            world.offer("second", docker={"host": "tcp://10.0.0.9:2376"})
            world.add("hangs", spec=ON_LAB)
            await world.until(lambda: world.lab.called("create") != [])
            world.add("next", spec={"engine": {"className": "second"}})
            await world.until(lambda: world.reason("next") == "Ready", 60)
            assert world.reason("hangs") == "Creating"

    async def test_missing_secret_is_named_and_noticed_when_it_is_there(self, world: ClassWorld) -> None:
        async with world.running():
            world.add_class()
            world.add(spec=ON_LAB)
            await world.until(lambda: world.reason() == "EngineUnreachable")
            message = world.class_ready()[2]
            assert "Secret default/lab of KINDEngineClass lab does not exist. Create it with ca.crt, tls" in message
            assert world.condition("EngineAvailable")[2] == message
            world.add_secret()
            await world.until(lambda: world.reason() == "Ready", 60)

    async def test_wrong_secret_is_named_without_its_content(self, world: ClassWorld) -> None:
        async with world.running():
            world.add_secret(data={**tls_data(), "tls.key": "c2VjcmV0"})
            world.add_class()
            await world.until(lambda: world.class_ready()[0] == "False")
            message = world.class_ready()[2]
            assert "Secret default/lab of KINDEngineClass lab cannot be used: tls.key is not" in message
            assert "secret" not in message.replace("Secret", "")

    async def test_keys_are_replaced_without_a_restart(self, world: ClassWorld, tmp_path: Path) -> None:
        async with world.running():
            world.offer()
            world.add(spec=ON_LAB)
            await world.ready()
            before = keys(tmp_path)
            world.add_secret()
            await world.until(lambda: keys(tmp_path) != before, 120)
            assert keys(tmp_path).keys() == before.keys()
            assert world.reason() == "Ready"
            assert len(world.lab_places) == 1

    async def test_creation_goes_on_while_the_keys_of_its_engine_are_missing(self, world: ClassWorld) -> None:
        world.lab_kind.create_seconds = 120.0
        async with world.running():
            world.offer()
            world.add(spec=ON_LAB)
            await world.until(lambda: world.lab.called("create") != [])
            await asyncio.sleep(5)
            world.edit_class({"spec": {"docker": {"secretRef": {"name": "missing"}}}})
            await world.until(lambda: world.class_ready()[0] == "False")
            await asyncio.sleep(60)
            world.add_secret("missing")
            await world.ready()
            assert len(world.lab.called("create")) == 1
            assert len(world.lab.containers) == 1

    async def test_class_with_another_host_drives_another_engine(self, world: ClassWorld) -> None:
        async with world.running():
            world.offer()
            world.add(spec=ON_LAB)
            await world.ready()
            with world.lab.switched():
                world.edit_class({"spec": {"docker": {"host": "tcp://10.0.0.8:2376"}}})
                await world.until(lambda: world.reason() == "EngineChanged")
                assert world.lab_places[-1].environment["DOCKER_HOST"] == "tcp://10.0.0.8:2376"
                assert world.lab.containers == {}
            world.edit_class({"spec": {"docker": {"host": "tcp://10.0.0.7:2376"}}})
            await world.ready()

    @pytest.mark.parametrize("is_deleted", [False, True])
    async def test_creation_that_only_waited_binds_nothing_to_the_former_engine(
        self, tmp_path: Path, is_deleted: bool
    ) -> None:
        world = ClassWorld(tmp_path, max_concurrent_creates=1)
        world.lab_kind.create_seconds = 120.0
        async with world.running():
            world.offer()
            world.add("first", spec=ON_LAB)
            await world.until(lambda: world.lab.called("create") != [])
            world.add(spec=ON_LAB)
            await world.until(lambda: world.reason() == "Queued")
            with world.lab.switched():
                world.edit_class({"spec": {"docker": {"host": "tcp://10.0.0.8:2376"}}})
                await world.until(lambda: world.reason("first") == "EngineChanged")
                if is_deleted:
                    world.delete()
                    await world.gone()
                else:
                    await world.ready()

    async def test_class_over_ssh_asks_for_its_keys(self, world: ClassWorld) -> None:
        async with world.running():
            world.add_class(docker={"host": f"ssh://kind@{ADDRESS}"})
            await world.until(lambda: world.class_ready()[0] == "False")
            assert "Create it with ssh-privatekey and known_hosts." in world.class_ready()[2]
            world.add_secret(data=ssh_data())
            await world.until(lambda: world.class_ready()[0] == "True")
            assert world.lab_places[-1].environment["DOCKER_HOST"] == f"ssh://kind@{ADDRESS}"

    async def test_provider_without_the_right_to_the_secret_says_so(self, world: ClassWorld) -> None:
        get = world.kube.get

        async def forbidden(resource: Any, namespace: str | None, name: str) -> dict[str, Any]:
            if resource is SECRETS and name == "lab":
                raise Forbidden("get", "secrets default/lab", 403, 'secrets "lab" is forbidden')
            return await get(resource, namespace, name)

        world.kube.get = forbidden  # type: ignore[method-assign]
        async with world.running():
            world.add_class()
            await world.until(lambda: world.class_ready()[0] == "False")
            assert 'cannot be read: secrets "lab" is forbidden' in world.class_ready()[2]

    async def test_class_without_an_engine_is_reported(self, world: ClassWorld) -> None:
        async with world.running():
            world.kube.put(KIND_ENGINE_CLASSES, {"metadata": {"name": "lab"}, "spec": {"namespaceSelector": {}}})
            world.add(spec=ON_LAB)
            await world.until(lambda: world.reason() == "EngineClassNotFound")
            assert "has no engine that this release" in world.condition("EngineAvailable")[2]
