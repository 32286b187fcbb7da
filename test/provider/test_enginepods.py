"""A KINDCluster whose engine is a Pod of its own: its whole life, with a pretended kubelet."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from capk.api import names
from capk.api.names import (
    BLOCK_MOVE_ANNOTATION,
    EVENTS,
    KIND_CLUSTERS,
    KIND_ENGINE_CLASSES,
    KIND_MACHINES,
    NAMESPACES,
    PODS,
    SECRETS,
    SERVICES,
    VOLUME_CLAIMS,
)
from capk.api.objects import KINDCluster
from capk.engine.place import PODS as POOL
from capk.errors import Forbidden
from capk.manager import engines
from capk.manager.enginekeys import AUTHORITY_SECRET
from capk.manager.observe import Observer
from test.provider.podworld import IN_POD, NAMESPACE, UID, UNREACHABLE, PodWorld, pending, running
from test.provider.world import NO_ANSWER, now, quiet

pytestmark = pytest.mark.virtual_time

ENGINE = "kc-0a1b2c3d4e5f4a6b"
HOST = f"{ENGINE}.{NAMESPACE}.svc"
ALL = [f"Pod {ENGINE}", f"Service {ENGINE}", f"Secret {ENGINE}"]
OTHER_UID = "0a1b2c3d-4e5f-4a6b-8c7d-000000000002"
"""Its first 16 digits are those of UID."""
ANOTHER_UID = "ffffffff-4e5f-4a6b-8c7d-000000000003"


@pytest.fixture
def world(tmp_path: Path) -> PodWorld:
    world = PodWorld(tmp_path)
    world.add_class()
    return world


async def reasons(world: PodWorld, seconds: int) -> set[str]:
    """Return the reasons of Ready in the next seconds."""
    found = set()
    for _ in range(10 * seconds):
        found.add(world.reason())
        await asyncio.sleep(0.1)
    return found


def engine_state(world: PodWorld, **of: Any) -> tuple[str, str]:
    """Return status and reason of EngineAvailable."""
    status, reason, _ = world.condition("EngineAvailable", **of)
    return status, reason


def engine_message(world: PodWorld) -> str:
    return world.condition("EngineAvailable")[2]


def private_files(directory: Path) -> dict[str, bool]:
    """Return whether nobody else can read the files of a directory; none if it does not exist."""
    return {file.name: file.stat().st_mode & 0o077 == 0 for file in directory.glob("*")}


def remove(file: Path) -> None:
    file.unlink()


def posted(world: PodWorld) -> list[str]:
    """Return the kinds of what was created in the namespace of engines, in order."""
    return [plural for verb, plural, where, *_ in world.kube.writes if verb == "create" and where == NAMESPACE]


class TestFirstCreation:
    async def test_engine_comes_first_and_the_kind_cluster_is_ready_in_it(self, world):
        async with world.running():
            world.add()
            await world.ready()
            assert world.left() == ALL
            assert [node.cluster for node in world.inner().containers.values()] == ["dev"]
            assert not [call for call in world.engine.calls if call[0] == "create"]
            found = world.get()
            assert found["spec"]["controlPlaneEndpoint"] == {"host": HOST, "port": 6443}
            assert found["status"]["engine"] == {
                "className": "pods",
                "pod": f"{NAMESPACE}/{ENGINE}",
                "node": "node-1",
                "restarts": 0,
            }
            assert world.read("dev-config")["clusters"][0]["cluster"]["server"] == f"https://{HOST}:6443"

    async def test_finalizer_is_stored_before_the_first_object_and_the_service_before_the_rest(self, world):
        async with world.running():
            world.add()
            await world.ready()
            names_of_writes = [
                (verb, plural) for verb, plural, where, *_ in world.kube.writes if plural != "kindengineclasses"
            ]
            first = names_of_writes.index(("create", "services"))
            assert ("patch", "kindclusters") in names_of_writes[:first]
            assert posted(world) == ["services", "secrets", "pods"]

    async def test_kind_gets_address_port_and_names_for_the_certificate(self, world):
        async with world.running():
            world.add()
            await world.ready()
            networking = world.configs[0]["networking"]
            assert (networking["apiServerAddress"], networking["apiServerPort"]) == ("0.0.0.0", 6443)
            patch = yaml.safe_load(world.configs[0]["kubeadmConfigPatches"][-1])
            assert {HOST, "10.96.0.77", "localhost", "127.0.0.1"} <= set(patch["apiServer"]["certSANs"])

    async def test_commands_get_the_client_certificate_and_nothing_of_the_own_engine(self, world):
        async with world.running():
            world.add()
            await world.ready()
            place = world.places[0]
            assert (place.pool, place.environment["DOCKER_HOST"]) == (POOL, f"tcp://{HOST}:2376")
            assert place.environment["DOCKER_TLS_VERIFY"] == "1"
            files = private_files(Path(place.environment["DOCKER_CERT_PATH"]))
            assert files == {"ca.pem": True, "cert.pem": True, "key.pem": True}
        assert private_files(Path(place.environment["DOCKER_CERT_PATH"])) == {}

    async def test_provider_reads_its_authority_again_after_a_restart(self, world):
        async with world.running():
            world.add()
            await world.ready()
        authority = world.kube.objects[SECRETS.plural, "default", AUTHORITY_SECRET]
        async with world.running() as app:
            await world.until(lambda: app.pods.are_known)
            assert world.kube.objects[SECRETS.plural, "default", AUTHORITY_SECRET] == authority
            assert app.pods.keys.authority

    async def test_private_files_that_were_removed_come_back_and_a_full_disk_ends_nothing(self, world, monkeypatch):
        async with world.running() as app:
            world.add()
            await world.ready()
            directory = Path(world.places[0].environment["DOCKER_CERT_PATH"])
            remove(directory / "key.pem")
            await asyncio.sleep(1300)
            assert private_files(directory)["key.pem"]

            def full() -> None:
                raise OSError(28, "No space left on device")

            monkeypatch.setattr(app.pods.keys, "keep", full)
            await asyncio.sleep(1300)
            assert world.reason() == "Ready"

    async def test_nothing_is_written_at_rest(self, world):
        async with world.running():
            world.add()
            await world.ready()
            await asyncio.sleep(60)
            before = len(world.kube.writes)
            await asyncio.sleep(3600)
            assert len(world.kube.writes) == before

    async def test_inventory_of_an_engine_is_rare(self, world):
        async with world.running():
            world.add()
            await world.ready()
            inventories: list[float] = []
            place = world.places[-1].key
            engine = world.app.engines._engines[place]
            refresh = engine.inventory.refresh

            async def noted() -> Any:
                inventories.append(asyncio.get_running_loop().time())
                return await refresh()

            engine.inventory.refresh = noted  # type: ignore[method-assign]
            await asyncio.sleep(3000)
            assert 9 <= len(inventories) <= 12

    async def test_without_a_class_of_pods_nothing_is_asked(self, tmp_path):
        world = PodWorld(tmp_path)
        async with world.running() as app:
            world.add(spec={})
            await world.ready()
            assert not app.pods.are_known
            assert not world.kube.find(SECRETS, AUTHORITY_SECRET)
            assert not [one for one in world.kube.asked if one[1] in ("pods", "services", "persistentvolumeclaims")]

    async def test_two_clusters_of_one_name_are_in_two_engines(self, world):
        world.kube.put(NAMESPACES, {"metadata": {"name": "others", "labels": {"kind": "allowed"}}})
        async with world.running():
            world.add()
            world.add(namespace="others", uid=ANOTHER_UID)
            await world.ready()
            await world.ready("dev", "others")
            assert [len(world.inner(uid).of("dev")) for uid in (UID, ANOTHER_UID)] == [1, 1]
            world.delete("dev", "others")
            await world.until(lambda: world.get("dev", "others") is None)
            assert world.left() == ALL
            assert world.reason() == "Ready"

    async def test_second_cluster_of_a_name_in_one_namespace_gets_no_engine(self, world):
        async with world.running():
            world.add()
            await world.ready()
            world.add("second", spec={"clusterName": "dev", **IN_POD}, uid=ANOTHER_UID)
            await world.until(lambda: world.reason("second") == "NameConflict")
            assert world.left() == ALL

    async def test_default_class_gives_an_engine_that_stays(self, tmp_path):
        world = PodWorld(tmp_path)
        world.add_class(default=True)
        async with world.running():
            world.add(spec={})
            await world.ready()
            world.remove_class()
            world.add_class("other", default=True)
            await asyncio.sleep(700)
            assert (world.reason(), world.get()["status"]["engine"]["className"]) == ("Ready", "pods")
            assert world.left() == ALL

    @pytest.mark.parametrize("shared_engine", [True, False])
    async def test_object_that_comes_before_its_namespace_waits_for_the_default_class(self, tmp_path, shared_engine):
        """No order is certain between two watches, and a tenant may create both at the same moment."""
        world = PodWorld(tmp_path, shared_engine=shared_engine)
        world.add_class(default=True)
        async with world.running():
            await asyncio.sleep(1)
            world.add(namespace="fresh", spec={"standalone": True})
            await asyncio.sleep(5)
            assert world.history(namespace="fresh") == []
            world.kube.put(NAMESPACES, {"metadata": {"name": "fresh", "labels": {"kind": "allowed"}}})
            await world.ready(namespace="fresh")
            assert world.engine.called("create") == []
            assert world.left() == ALL

    async def test_namespace_that_is_not_allowed_gets_no_engine(self, world):
        world.kube.put(NAMESPACES, {"metadata": {"name": "others", "labels": {}}})
        async with world.running():
            world.add(namespace="others")
            await world.until(lambda: world.reason("dev", "others") == "EngineNotAllowed")
            assert world.left() == []
            assert not world.get("dev", "others")["metadata"].get("finalizers")

    async def test_limit_of_the_class_counts_all_its_engines(self, world):
        world.remove_class()
        world.add_class(limits={"clustersPerNamespace": 1})
        async with world.running():
            world.add()
            await world.ready()
            world.add("second", uid=ANOTHER_UID)
            await world.until(lambda: world.reason("second") == "EngineNotAllowed")
            assert world.left() == ALL

    async def test_limit_counts_an_engine_whose_object_has_lost_its_finalizer(self, world):
        world.kube.edit(KIND_ENGINE_CLASSES, "pods", {"spec": {"limits": {"clustersPerNamespace": 1}}}, None)
        async with world.running():
            world.add()
            await world.ready()
            world.annotate(PAUSED="")
            for finalizers in ([names.KIND_CLUSTER_FINALIZER, "example.com/mine"], ["example.com/mine"]):
                world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"finalizers": finalizers}})
                world.delete()
        async with world.running():
            world.add("second", uid=ANOTHER_UID)
            await world.until(lambda: world.reason("second") == "EngineNotAllowed")
            await asyncio.sleep(60)
            assert len(world.pods()) == 1

    async def test_spec_that_the_engine_cannot_give_is_refused_before_anything_is_created(self, world):
        async with world.running():
            world.add(spec={**IN_POD, "deletionPolicy": "Retain"})
            await world.until(lambda: world.reason() == "InvalidConfig")
            assert world.left() == []

    async def test_workers_join_in_the_engine(self, world):
        async with world.running():
            world.add()
            await world.ready()
            world.add_standalone_machine()
            await world.joined()
            assert sorted(node.name for node in world.inner().containers.values()) == ["dev-control-plane", "dev-w1"]
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.gone("dev-w1", resource=KIND_MACHINES)
            assert [node.name for node in world.inner().containers.values()] == ["dev-control-plane"]


class TestOwnedCluster:
    @pytest.fixture
    def world(self, tmp_path: Path) -> PodWorld:
        world = PodWorld(tmp_path, capi="v1beta2")
        world.add_class()
        return world

    async def test_cluster_gets_the_address_of_the_service(self, world):
        async with world.running():
            world.add_owned()
            await world.ready()
            await world.until(lambda: world.kube.find(SECRETS, "dev-kubeconfig") is not None)
            assert world.read("dev-kubeconfig")["clusters"][0]["cluster"]["server"] == f"https://{HOST}:6443"
            assert world.get()["spec"]["controlPlaneEndpoint"] == {"host": HOST, "port": 6443}

    async def test_no_engine_is_created_before_the_control_plane_is_known(self, world):
        async with world.running():
            world.add_owned(control_plane=True)
            del world.kube.objects["kindcontrolplanes", "default", "dev"]
            await world.until(lambda: world.reason() == "WaitingForControlPlane")
            await asyncio.sleep(100)
            assert world.left() == []
            world.add_control_plane()
            await world.ready()

    async def test_no_engine_is_created_without_an_owner(self, world):
        async with world.running():
            world.add()
            await world.until(lambda: world.reason() == "WaitingForCluster")
            assert world.left() == []

    async def test_workers_of_a_deployment_are_gone_with_the_engine(self, world):
        async with world.running():
            world.add_owned()
            await world.ready()
            world.add_machine()
            await world.joined()
            world.delete_pod()
            await world.until(lambda: world.reason() == "Missing")
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.gone("dev-w1", resource=KIND_MACHINES)


class TestTroubleAtTheStart:
    @pytest.mark.parametrize(
        ("status", "reason", "said"),
        [
            (
                pending(
                    conditions=[
                        {
                            "type": "PodScheduled",
                            "status": "False",
                            "reason": "Unschedulable",
                            "message": "0/3 nodes are available: 2 Insufficient memory.",
                        }
                    ]
                ),
                "EngineUnschedulable",
                "2 Insufficient memory",
            ),
            (
                pending(
                    on=True,
                    containerStatuses=[
                        {
                            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image docker:x"}},
                            "restartCount": 0,
                        }
                    ],
                ),
                "EngineImageNotFound",
                "no such image docker:x",
            ),
            (
                {
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "False"}],
                    "containerStatuses": [
                        {
                            "containerID": "containerd://a",
                            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                            "lastState": {"terminated": {"reason": "Error", "exitCode": 1}},
                            "restartCount": 4,
                        }
                    ],
                },
                "EngineCrashing",
                "crashed 4 times: Error, exit code 1",
            ),
            (
                {
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "False"}],
                    "containerStatuses": [
                        {
                            "containerID": "containerd://a",
                            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                            "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
                            "restartCount": 4,
                        }
                    ],
                },
                "OutOfMemory",
                "more than its limit of 1Gi of memory",
            ),
            (running("x", ready=False), "StartingEngine", "starts on node node-1"),
        ],
        ids=["unschedulable", "image", "crash loop", "out of memory", "not ready"],
    )
    async def test_cause_is_shown_and_the_creation_goes_on_when_it_is_over(self, world, status, reason, said):
        world.kubelet.trouble = status
        async with world.running():
            world.add()
            await world.until(lambda: engine_state(world) == ("False", reason) and said in engine_message(world))
            before = len(world.kube.writes)
            await asyncio.sleep(1200)
            assert len(world.kube.writes) - before <= 2
            world.kubelet.trouble = None
            await world.ready()

    @pytest.mark.parametrize("resource", [SERVICES, SECRETS, PODS], ids=lambda resource: resource.kind)
    async def test_refusal_of_an_object_is_shown_and_tried_again(self, world, resource):
        words = "exceeded quota: engines"

        def refuse(verb: str, kind: Any, name: str, body: Any) -> Forbidden | None:
            is_it = verb == "create" and kind == resource and name == ENGINE
            return Forbidden(verb, kind.plural, 403, words) if is_it else None

        world.kube.refuse = refuse
        async with world.running():
            world.add()
            await world.until(lambda: engine_state(world) == ("False", "EngineRefused"))
            assert words in engine_message(world)
            await asyncio.sleep(600)
            assert len([one for one in posted(world) if one == resource.plural]) < 14
            world.kube.refuse = None
            await world.ready()

    async def test_without_the_finalizer_nothing_is_created(self, world):
        world.kube.refuse = lambda verb, kind, name, body: (
            Forbidden(verb, kind.plural, 403, "no") if (verb, kind) == ("patch", KIND_CLUSTERS) else None
        )
        async with world.running():
            world.add()
            await asyncio.sleep(600)
            assert world.left() == []
            world.kube.refuse = None
            await world.ready()

    async def test_missing_namespace_is_named_until_it_is_there(self, world):
        world.kube.missing = {NAMESPACE}
        async with world.running():
            world.add()
            await world.until(lambda: engine_state(world) == ("False", "EngineRefused"))
            assert f"Namespace {NAMESPACE} does not exist" in engine_message(world)
            world.kube.missing = set()
            await world.ready()

    @pytest.mark.parametrize("resource", [SERVICES, SECRETS, PODS], ids=lambda resource: resource.kind)
    @pytest.mark.parametrize(
        "labels",
        [
            {},
            {
                names.MANAGED_BY_LABEL: names.MANAGED_BY,
                names.ENGINE_CLUSTER_LABEL: OTHER_UID,
                names.ENGINE_LABEL: ENGINE,
            },
        ],
        ids=["of a stranger", "of another object"],
    )
    async def test_object_of_the_same_name_is_neither_used_nor_deleted(self, world, resource, labels):
        foreign = {"metadata": {"name": ENGINE, "namespace": NAMESPACE, "labels": labels}, "spec": {"volumes": []}}
        stored = world.kube.put(resource, foreign)
        if labels:
            # Its owner exists, so that it is no orphan.
            world.add("owner", uid=OTHER_UID, spec={"standalone": True})
        world.kubelet.start_seconds = 1e9
        async with world.running():
            world.add()
            await world.until(lambda: engine_state(world) == ("False", "EngineRefused"))
            assert "exists, but does not belong to this KINDCluster" in engine_message(world)
            await asyncio.sleep(100)
            world.delete()
            await world.gone()
            found = world.kube.objects[resource.plural, NAMESPACE, ENGINE]
            assert found["metadata"]["uid"] == stored["metadata"]["uid"]
            assert "deletionTimestamp" not in found["metadata"]
            assert world.left() == [f"{resource.kind} {ENGINE}"]

    async def test_late_start_shows_the_newest_warning_about_the_pod(self, world):
        world.kubelet.trouble = pending(on=True)
        async with world.running():
            world.add()
            await world.until(lambda: "starts on node node-1" in engine_message(world))
            uid = world.pod()["metadata"]["uid"]
            for number, (of, kind) in enumerate(
                [(uid, "Warning"), (uid, "Warning"), (uid, "Normal"), ("x", "Warning")]
            ):
                world.kube.put(
                    EVENTS,
                    {
                        "metadata": {"name": f"event-{number}", "namespace": NAMESPACE},
                        "involvedObject": {"uid": of},
                        "type": kind,
                        "message": f"message {number}",
                        "lastTimestamp": f"2026-01-01T00:00:0{number}Z",
                    },
                )
            await world.until(lambda: "message 1" in engine_message(world))
            asked = len([one for one in world.kube.asked if one == ("list", "events")])
            await asyncio.sleep(600)
            assert len([one for one in world.kube.asked if one == ("list", "events")]) - asked <= 10
            world.kubelet.trouble = None
            await world.ready()

    async def test_no_more_of_an_event_is_kept_than_is_shown(self, world, monkeypatch):
        """Root on the node of an engine can write Events as large as objects may be, and any number of them."""
        world.kubelet.trouble = pending(on=True)
        kept, list_ = [], world.kube.list

        async def noted(resource, namespace=None, **options):
            listing = await list_(resource, namespace, **options)
            kept.extend(listing.items if resource is EVENTS else ())
            return listing

        monkeypatch.setattr(world.kube, "list", noted)
        async with world.running():
            world.add()
            await world.until(lambda: "starts on node node-1" in engine_message(world))
            about = {"uid": world.pod()["metadata"]["uid"]}
            metadata = {"name": "large", "namespace": NAMESPACE, "annotations": {"x": "y" * 10**6}}
            event = {"metadata": metadata, "involvedObject": about, "type": "Warning", "message": "m" * 10**6}
            world.kube.put(EVENTS, event)
            await world.until(lambda: "mmm" in engine_message(world))
        assert len(str(kept)) < 2000

    async def test_class_that_appears_later_is_used(self, world):
        world.remove_class()
        async with world.running():
            world.add()
            await world.until(lambda: engine_state(world) == ("False", "EngineClassNotFound"))
            assert world.left() == []
            world.add_class()
            await world.ready()

    async def test_denied_watch_is_shown_with_the_remedy(self, world):
        world.kube.denied = {PODS}
        async with world.running():
            world.add()
            await world.until(lambda: engine_state(world) == ("False", "EngineRefused"))
            assert "--engine-namespace" in engine_message(world)
            assert world.left() == []
            world.kube.denied = set()
            await world.ready()


class TestLoss:
    @pytest.mark.parametrize("how", ["deleted", "evicted"])
    async def test_lost_pod_is_missing_and_stays_so(self, world, how):
        async with world.running():
            world.add()
            await world.ready()
            world.delete_pod() if how == "deleted" else world.evict()
            await world.until(lambda: world.reason() == "Missing")
            status, reason, message = world.condition("ClusterCreated")
            assert (status, reason) == ("False", "Missing")
            assert f"Pod {NAMESPACE}/{ENGINE} of the engine" in message
            assert ("low on resource" in message) == (how == "evicted")
            await asyncio.sleep(1200)
            assert posted(world).count("pods") == 1
            world.delete()
            await world.gone()
            assert world.left() == []

    @pytest.mark.parametrize("how", ["deleted", "evicted"])
    async def test_lost_pod_is_replaced_if_the_object_asks_for_that(self, world, how):
        async with world.running():
            world.add(spec={**IN_POD, "recreatePolicy": "Always"})
            await world.ready()
            first = world.pod()["metadata"]["uid"]
            world.delete_pod() if how == "deleted" else world.evict()
            await world.until(lambda: world.reason() != "Ready")
            await world.ready()
            assert world.pod()["metadata"]["uid"] != first
            assert len(world.inner().of("dev")) == 1
            assert (posted(world).count("services"), posted(world).count("pods")) == (1, 2)
            assert world.get()["spec"]["controlPlaneEndpoint"] == {"host": HOST, "port": 6443}

    async def test_pod_that_is_being_deleted_is_not_used(self, world):
        world.kubelet.end_seconds = 500
        async with world.running():
            world.add()
            await world.ready()
            world.delete_pod()
            await world.until(lambda: engine_state(world) == ("False", "EngineUnreachable"))
            assert "is being deleted" in engine_message(world)
            assert world.reason() == "EngineUnreachable"

    async def test_pod_lost_during_a_creation_is_replaced(self, world):
        async with world.running():
            world.add()
            await world.until(lambda: world.engines != {} and any(one.of("dev") for one in world.engines.values()))
            world.delete_pod()
            await world.ready()
            assert posted(world).count("pods") == 2
            assert len(world.inner().of("dev")) == 1

    async def test_refusal_that_is_over_by_hand_delays_nothing(self, world):
        async with world.running():
            world.add()
            await world.until(lambda: any(one.of("dev") for one in world.engines.values()))
            world.kube.refuse = lambda verb, kind, name, body: (
                Forbidden(verb, kind.plural, 403, "no") if (verb, kind) == ("delete", PODS) else None
            )
            world.evict()
            await asyncio.sleep(100)
            del world.kube.objects[PODS.plural, NAMESPACE, ENGINE]
            await world.ready()
            assert world.get()["status"]["initialization"] == {"provisioned": True}

    async def test_container_that_restarts_keeps_the_kind_cluster(self, world):
        async with world.running():
            world.add()
            await world.ready()
            uid, engine = world.pod()["metadata"]["uid"], world.inner()
            engine.stop_nodes()
            world.kubelet.trouble = running(uid, 0, ready=False)
            await world.until(lambda: engine_state(world) == ("False", "StartingEngine"))
            world.kubelet.restart(uid)
            world.kubelet.trouble = None
            await world.ready()
            assert engine.called("start") != []
            assert len(engine.called("create")) == 1
            assert world.get()["status"]["engine"]["restarts"] == 1

    async def test_cluster_of_a_docker_that_was_killed_is_ready_only_when_it_answers(self, world):
        async with world.running():
            world.add()
            await world.ready()
            uid = world.pod()["metadata"]["uid"]
            answer, world.answer = world.answer, NO_ANSWER
            world.kubelet.restart(uid)
            # The next container is reported before its Docker answers.
            world.kubelet.trouble = running(uid, 1, ready=False)
            await world.until(lambda: engine_state(world) == ("False", "StartingEngine"))
            world.inner().restart_nodes()
            world.inner().list_seconds = 1.0
            world.kubelet.trouble = None
            assert "Ready" not in await reasons(world, seconds=200)
            world.answer = answer
            await world.ready()

    async def test_nothing_is_concluded_until_all_engines_are_known(self, world):
        async with world.running():
            world.add(spec={**IN_POD, "recreatePolicy": "Always"})
            await world.ready()
        world.kube.denied = {PODS}
        async with world.running():
            await world.until(lambda: engine_state(world) == ("False", "EngineRefused"))
            world.add("other", uid=ANOTHER_UID)
            await asyncio.sleep(300)
            world.delete("dev")
            await asyncio.sleep(300)
            assert (world.left(), world.get() is None) == (ALL, False)
            assert "Missing" not in world.history()
            world.kube.denied = set()
            await world.gone()
            await world.ready("other")

    async def test_service_that_was_deleted_comes_back(self, world):
        async with world.running():
            world.add()
            await world.ready()
            del world.kube.objects[SERVICES.plural, NAMESPACE, ENGINE]
            await world.until(lambda: f"Service {ENGINE}" in world.left())
            await world.ready()
            assert world.inner().called("remove") == []

    async def test_class_that_is_gone_changes_nothing_for_a_living_engine(self, world):
        async with world.running():
            world.add()
            await world.ready()
            world.remove_class()
            await asyncio.sleep(700)
            assert world.reason() == "Ready"
        async with world.running():
            await asyncio.sleep(100)
            assert world.reason() == "Ready"
            world.delete()
            await world.gone()
            assert world.left() == []

    async def test_lost_pod_without_a_class_is_not_replaced(self, world):
        async with world.running():
            world.add(spec={**IN_POD, "recreatePolicy": "Always"})
            await world.ready()
            world.remove_class()
            world.delete_pod()
            await world.until(lambda: world.reason() == "EngineClassNotFound")
            world.add_class()
            await world.ready()

    async def test_changed_class_counts_for_new_pods_only(self, world):
        async with world.running():
            world.add(spec={**IN_POD, "recreatePolicy": "Always"})
            await world.ready()
            world.kube.edit(KIND_ENGINE_CLASSES, "pods", {"spec": {"pods": {"image": "docker:30-dind"}}}, None)
            await asyncio.sleep(700)
            assert world.reason() == "Ready"
            assert world.pod()["spec"]["containers"][0]["image"] == "docker:29-dind"
            world.delete_pod()
            await world.until(lambda: world.reason() != "Ready")
            await world.ready()
            assert world.pod()["spec"]["containers"][0]["image"] == "docker:30-dind"


class TestHangingEngine:
    async def test_engine_that_hangs_keeps_no_other_one_waiting(self, world):
        """Its tenant is root there and can have it accept every connection and answer none."""
        async with world.running() as app:
            uids = [f"{number:08x}-4e5f-4a6b-8c7d-000000000001" for number in range(1, 11)]
            for number, uid in enumerate(uids):
                world.add(f"hangs-{number}", uid=uid)
            for number in range(10):
                await world.ready(f"hangs-{number}")
            # The provider then no longer has the kubeconfigs in memory.
            await asyncio.sleep(100)

            async def never(*_: Any, **__: Any) -> Any:
                await asyncio.Event().wait()

            for place in [place for place in app.engines._engines if place.startswith("pod-")]:
                app.engines._engines[place].kind.kubeconfig = never  # type: ignore[method-assign]
            for number in range(10):
                del world.kube.objects[SECRETS.plural, "default", f"hangs-{number}-config"]
            await asyncio.sleep(10)
            world.add()
            assert await world.until(lambda: world.reason() == "Ready") < 20
            del world.kube.objects[SECRETS.plural, "default", "dev-config"]
            assert await world.until(lambda: world.get(resource=SECRETS, name="dev-config") is not None) < 20

    async def test_engines_that_are_known_to_hang_keep_no_other_one_waiting(self, world, monkeypatch):
        """Also after they have answered again: a tenant may let an engine hang whenever it likes."""
        monkeypatch.setattr(engines, "PODS_IN_PARALLEL", 2)
        monkeypatch.setattr(engines, "LATE_IN_PARALLEL", 1)
        uids = [f"{number:08x}-4e5f-4a6b-8c7d-000000000001" for number in range(1, 4)]
        async with world.running():
            for uid in uids:
                world.add(f"hangs-{uid[:8]}", uid=uid)
            for uid in uids:
                await world.ready(f"hangs-{uid[:8]}")
            for seconds in (3600.0, 0.02, 3600.0):
                for uid in uids:
                    world.inner(uid).list_seconds = seconds
                    world.kubelet.restart(world.pod(uid)["metadata"]["uid"])
                await asyncio.sleep(250)
            world.kubelet.restart(world.pod(uids[0])["metadata"]["uid"])
            world.add()
            assert await world.until(lambda: world.reason() == "Ready") < 20


class TestFirstInventory:
    async def test_object_waits_for_it_without_looking_each_second(self, world, monkeypatch):
        """Looks at 1,000 objects would leave no time for the inventories that they wait for."""
        looks, observe = [], Observer.kindcluster

        async def noted(observer, key):
            looks.append(now())
            return await observe(observer, key)

        monkeypatch.setattr(Observer, "kindcluster", noted)
        async with world.running():
            world.add()
            await world.ready()
        world.inner().list_seconds = 45
        writes = len(world.kube.writes)
        async with world.running():
            await asyncio.sleep(5)
            looks.clear()
            await asyncio.sleep(30)
            assert len(looks) <= 4
            listed = now() + 20
            await world.until(lambda: world.app.engines.of_cluster(KINDCluster(world.get())).inventory.latest)
            assert now() < listed
            await asyncio.sleep(0.5)
            assert now() - looks[-1] < 1
        assert len(world.kube.writes) == writes

    async def test_object_continues_as_soon_as_its_restarted_engine_was_listed(self, world):
        async with world.running():
            world.add()
            await world.ready()
            engine = world.app.engines.of_cluster(KINDCluster(world.get()))
            world.inner().list_seconds = 3
            world.kubelet.restart(world.pod()["metadata"]["uid"])
            await world.until(lambda: engine.inventory.latest is None, 5)
            await world.until(lambda: engine.inventory.latest is not None, 10)
            await asyncio.sleep(0.5)
            assert world.reason() == "Ready"
            assert world.get()["status"]["engine"]["restarts"] == 1


class TestDeletion:
    async def test_nothing_is_left_and_kind_is_not_asked(self, world):
        async with world.running():
            world.add()
            await world.ready()
            engine = world.inner()
            world.delete()
            await world.gone()
            assert world.left() == []
            assert engine.called("delete") == engine.called("remove") == []
            assert world.kube.find(SECRETS, "dev-config") is None

    async def test_object_stays_until_its_pod_is_gone(self, world):
        world.kubelet.end_seconds = 300
        async with world.running():
            world.add()
            await world.ready()
            world.delete()
            await asyncio.sleep(250)
            assert world.get() is not None
            assert "Waiting for node node-1" in world.condition("Deleting")[2]
            assert f"Service {ENGINE}" in world.left()
            await world.gone()
            assert world.left() == []

    async def test_object_goes_as_soon_as_its_pod_is_gone(self, world):
        world.kubelet.end_seconds = 8
        async with world.running():
            world.add()
            await world.ready()
            world.delete()
            assert await world.until(lambda: not world.pods()) > 7
            assert await world.until(lambda: world.get() is None) < 1

    @pytest.mark.parametrize("seconds", [0.0, 0.02, 0.05, 0.1, 0.3, 1.0, 2.5, 4.0, 8.0, 12.0])
    async def test_it_works_at_each_moment(self, world, seconds):
        async with world.running():
            world.add()
            await asyncio.sleep(seconds)
            world.delete()
            await world.gone()
            await asyncio.sleep(10)
            assert world.left() == []

    async def test_pod_that_cannot_be_scheduled_is_deleted_all_the_same(self, world):
        world.kubelet.trouble = pending(conditions=[{"type": "PodScheduled", "status": "False", "message": "no room"}])
        async with world.running():
            world.add()
            await world.until(lambda: engine_state(world) == ("False", "EngineUnschedulable"))
            world.delete()
            await world.gone()
            assert world.left() == []

    async def test_refused_deletion_is_shown_and_tried_again(self, world):
        async with world.running():
            world.add()
            await world.ready()
            world.kube.refuse = lambda verb, kind, name, body: (
                Forbidden(verb, kind.plural, 403, "not now") if (verb, kind) == ("delete", PODS) else None
            )
            world.delete()
            await world.until(lambda: "not now" in world.condition("Deleting")[2])
            world.kube.refuse = None
            await world.gone()
            assert world.left() == []

    async def test_retained_kind_cluster_keeps_its_object(self, world):
        async with world.running():
            world.add()
            await world.ready()
            world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"deletionPolicy": "Retain"}})
            world.delete()
            await world.until(lambda: "goes with this object" in world.condition("Deleting")[2])
            await asyncio.sleep(600)
            assert world.left() == ALL
            world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"deletionPolicy": "Delete"}})
            await world.gone()
            assert world.left() == []

    async def test_annotations_lead_to_no_other_engine(self, world):
        async with world.running():
            world.add()
            await world.ready()
            annotations = dict(world.get()["metadata"]["annotations"])
            world.kube.put(NAMESPACES, {"metadata": {"name": "evil", "labels": {"kind": "allowed"}}})
            world.add("dev", "evil", uid=ANOTHER_UID, annotations={**annotations, names.ADOPT_ANNOTATION: "true"})
            await asyncio.sleep(60)
            world.delete("dev", "evil")
            await world.until(lambda: world.get("dev", "evil") is None)
            await asyncio.sleep(60)
            assert world.left() == ALL
            assert world.reason() == "Ready"
            assert len(world.inner().of("dev")) == 1


class TestOrphans:
    async def test_engine_of_an_object_that_vanished_is_deleted(self, world):
        async with world.running():
            world.add()
            await world.ready()
            world.vanish()
            await world.until(lambda: world.left() == [])

    async def test_engine_of_an_object_that_vanished_while_no_provider_ran_is_deleted(self, world):
        async with world.running():
            world.add()
            await world.ready()
        world.vanish()
        async with world.running():
            await world.until(lambda: world.left() == [])

    async def test_engine_of_an_object_that_vanished_during_its_creation_is_deleted(self, world):
        async with world.running():
            world.add()
            await world.until(lambda: any(one.of("dev") for one in world.engines.values()))
            world.vanish()
            await world.until(lambda: world.left() == [])

    async def test_other_engines_and_other_objects_stay(self, world):
        stranger = {"metadata": {"name": "kc-other", "namespace": NAMESPACE, "labels": {}}, "spec": {"volumes": []}}
        world.kube.put(PODS, stranger)
        async with world.running():
            world.add()
            world.add("other", uid=ANOTHER_UID)
            await world.ready()
            await world.ready("other")
            world.vanish("other")
            await world.until(lambda: len(world.left()) == 4)
            await asyncio.sleep(700)
            assert sorted(world.left()) == sorted([*ALL, "Pod kc-other"])

    async def test_provider_with_a_watch_filter_deletes_none(self, tmp_path):
        world = PodWorld(tmp_path, watch_filter="mine")
        world.add_class(labels={names.WATCH_FILTER_LABEL: "mine"})
        async with world.running():
            world.add(labels={names.WATCH_FILTER_LABEL: "mine"})
            await world.ready()
            world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"labels": {names.WATCH_FILTER_LABEL: "other"}}})
            await asyncio.sleep(1300)
            world.vanish()
            await asyncio.sleep(1300)
            assert world.left() == ALL

    async def test_lost_event_is_no_proof_that_an_object_is_gone(self, world):
        async with world.running() as app:
            world.add()
            await world.ready()
            obj = world.get()
            gone = {**obj, "metadata": {**obj["metadata"], "resourceVersion": "100000"}}
            app.cache.on_event(KIND_CLUSTERS, "DELETED", gone)
            await asyncio.sleep(1300)
            assert world.left() == ALL


class TestInterruption:
    @pytest.mark.parametrize("seconds", [0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 2.6, 3.0, 4.0, 7.0, 9.0])
    async def test_next_provider_goes_on(self, world, seconds):
        world.add()
        async with world.killed():
            await asyncio.sleep(seconds)
        async with world.running():
            await world.ready()
            assert world.left() == ALL
            assert len(world.inner().of("dev")) == 1

    @pytest.mark.parametrize("seconds", [0.01, 0.05, 0.2, 1.0, 2.0, 2.2, 2.5, 3.0])
    async def test_next_provider_finishes_the_deletion(self, world, seconds):
        async with world.running():
            world.add()
            await world.ready()
        async with world.killed():
            await asyncio.sleep(1)
            world.delete()
            await asyncio.sleep(seconds)
        async with world.running():
            if world.get():
                await world.gone()
            await asyncio.sleep(10)
            assert world.left() == []

    async def test_secret_of_another_authority_is_replaced_before_the_pod(self, world):
        words = "not yet"
        world.kube.refuse = lambda verb, kind, name, body: (
            Forbidden(verb, kind.plural, 403, words) if (verb, kind) == ("create", PODS) else None
        )
        async with world.running():
            world.add()
            await world.until(lambda: engine_state(world) == ("False", "EngineRefused"))
        before = world.kube.objects[SECRETS.plural, NAMESPACE, ENGINE]["data"]["ca.crt"]
        del world.kube.objects[SECRETS.plural, "default", AUTHORITY_SECRET]
        world.kube.refuse = None
        async with world.running():
            await world.ready()
            now = world.kube.objects[SECRETS.plural, NAMESPACE, ENGINE]["data"]["ca.crt"]
            assert now != before
            assert now == world.kube.objects[SECRETS.plural, "default", AUTHORITY_SECRET]["data"]["tls.crt"]


class TestVolume:
    @pytest.fixture
    def world(self, tmp_path: Path) -> PodWorld:
        world = PodWorld(tmp_path)
        world.add_class(claim=True)
        return world

    def power(self, world: PodWorld, state: str) -> None:
        world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"engine": {"className": "pods", "powerState": state}}})

    async def test_kind_cluster_survives_the_deletion_of_its_pod(self, world):
        async with world.running():
            world.add()
            await world.ready()
            first = world.pod()["metadata"]["uid"]
            assert posted(world) == ["services", "secrets", "persistentvolumeclaims", "pods"]
            world.delete_pod()
            await world.until(lambda: world.reason() != "Ready")
            await world.ready()
            assert world.pod()["metadata"]["uid"] != first
            assert len(world.inner().called("create")) == 1
            assert "Missing" not in world.history()

    async def test_evicted_pod_is_replaced(self, world):
        async with world.running():
            world.add()
            await world.ready()
            world.evict()
            await world.until(lambda: world.reason() != "Ready")
            await world.ready()
            assert len(world.inner().called("create")) == 1

    def delete_volume(self, world):
        """Delete the claim as a user does; Kubernetes keeps it as long as a Pod exists that was scheduled with it."""
        (claim,) = world.of_engines(VOLUME_CLAIMS)
        metadata = {**claim["metadata"], "deletionTimestamp": "2026-01-02T00:00:00Z", "finalizers": ["in-use"]}
        world.kube.put(VOLUME_CLAIMS, {**claim, "metadata": metadata})

    async def test_pod_that_has_ended_does_not_keep_a_volume_that_is_being_deleted(self, world):
        async with world.running():
            world.add()
            await world.ready()
            self.delete_volume(world)
            world.evict()
            await world.until(lambda: world.pods() == [], 60)
            await world.until(lambda: "volume is being deleted" in engine_message(world), 60)
            del world.kube.objects[VOLUME_CLAIMS.plural, NAMESPACE, ENGINE]
            await world.until(lambda: world.reason() == "Missing", 60)

    async def test_engine_whose_volume_is_being_deleted_is_not_stopped(self, world):
        """Its data stays for as long as its Pod."""
        async with world.running():
            world.add()
            await world.ready()
            self.delete_volume(world)
            self.power(world, "Stopped")
            await world.until(lambda: "has no effect" in engine_message(world), 60)
            assert "is being deleted" in engine_message(world)
            await asyncio.sleep(300)
            assert (len(world.pods()), world.reason()) == (1, "Ready")

    async def test_stopped_engine_has_no_pod_and_comes_back_with_its_kind_cluster(self, world):
        async with world.running():
            world.add()
            await world.ready()
            engine = world.inner()
            self.power(world, "Stopped")
            await world.until(lambda: world.pods() == [])
            await world.until(lambda: world.reason() == "Stopped")
            assert f"PersistentVolumeClaim {ENGINE}" in world.left()
            before = len(world.kube.writes)
            await asyncio.sleep(1300)
            assert (world.pods(), len(world.kube.writes) - before) == ([], 0)
            self.power(world, "Running")
            await world.ready()
            assert (len(engine.called("create")), engine.called("remove")) == (1, [])
            assert len(world.inner().of("dev")) == 1

    async def test_cluster_that_is_started_again_is_ready_only_when_it_answers(self, world):
        async with world.running():
            world.add()
            await world.ready()
            self.power(world, "Stopped")
            await world.until(lambda: world.pods() == [])
            answer, world.answer = world.answer, NO_ANSWER
            world.engines[next(iter(world.engines))].restart_nodes()
            self.power(world, "Running")
            assert "Ready" not in await reasons(world, seconds=200)
            world.answer = answer
            await world.ready()

    async def test_stopped_engine_stays_so_after_a_restart_of_the_provider(self, world):
        async with world.running():
            world.add()
            await world.ready()
            self.power(world, "Stopped")
            await world.until(lambda: world.pods() == [])
        async with world.running():
            await asyncio.sleep(700)
            assert (world.pods(), world.reason()) == ([], "Stopped")
            self.power(world, "Running")
            await world.ready()

    async def test_kind_cluster_that_was_never_made_is_made_first(self, world):
        async with world.running():
            world.add(spec={"engine": {"className": "pods", "powerState": "Stopped"}})
            await world.until(lambda: world.reason() == "Stopped")
            assert "Created" in world.history()
            await world.until(lambda: world.pods() == [])

    async def test_etcd_in_memory_would_be_lost_whatever_the_volume_keeps(self, world):
        in_memory = "kind: ClusterConfiguration\netcd: {local: {dataDir: /tmp/etcd}}"
        async with world.running():
            world.add(spec={"engine": {"className": "pods"}, "kubeadmConfigPatches": [in_memory]})
            await world.ready()
            self.power(world, "Stopped")
            await world.until(lambda: "is in memory" in world.condition("EngineAvailable")[2], 60)
            await asyncio.sleep(300)
            assert (len(world.pods()), world.reason()) == (1, "Ready")

    @pytest.mark.parametrize("mount", ["/tmp", "/var/lib/etcd"])
    async def test_engine_whose_pod_has_the_data_of_etcd_keeps_running(self, world, mount):
        """The spec may have been edited since; a mount of the Pod is not on its volume."""
        async with world.running():
            world.add()
            await world.ready()
            world.inner().etcd_mount = mount
            self.power(world, "Stopped")
            await world.until(lambda: f"has its data in {mount}, which" in engine_message(world), 60)
            await asyncio.sleep(300)
            assert (len(world.pods()), world.reason()) == (1, "Ready")
            assert world.inner().called("halt") == []

    async def test_engine_that_does_not_answer_is_stopped_when_it_does(self, world):
        async with world.running():
            world.add()
            await world.ready()
            world.kubelet.distrust = UNREACHABLE
            await asyncio.sleep(2)
            self.power(world, "Stopped")
            await world.until(lambda: "Stopped takes effect when" in engine_message(world), 900)
            assert len(world.pods()) == 1
            world.kubelet.distrust = None
            await world.until(lambda: world.pods() == [], 900)

    async def test_pod_that_goes_while_its_nodes_stop_leaves_none_that_is_stopping(self, world):
        async with world.running():
            world.add()
            await world.ready()
            self.power(world, "Stopped")
            await world.until(lambda: world.condition("NodesRunning")[1] == "StoppingNodes")
            world.evict()
            await world.until(lambda: world.pods() == [], 60)
            await world.until(lambda: world.condition("NodesRunning")[1] == "Stopped", 60)

    async def test_stopped_engine_is_deleted_with_its_volume(self, world):
        async with world.running():
            world.add()
            await world.ready()
            self.power(world, "Stopped")
            await world.until(lambda: world.pods() == [])
            world.delete()
            await world.gone()
            assert world.left() == []

    async def test_engine_without_a_volume_is_not_stopped(self, tmp_path):
        world = PodWorld(tmp_path)
        world.add_class()
        async with world.running():
            world.add()
            await world.ready()
            self.power(world, "Stopped")
            await world.until(lambda: "has no effect" in engine_message(world))
            await asyncio.sleep(100)
            assert (len(world.pods()), world.reason()) == (1, "Ready")

    @pytest.mark.parametrize("seconds", [0.05, 0.5, 1.5, 2.2, 3.0])
    async def test_next_provider_finishes_the_stop(self, world, seconds):
        async with world.running():
            world.add()
            await world.ready()
        async with world.killed():
            await asyncio.sleep(1)
            self.power(world, "Stopped")
            await asyncio.sleep(seconds)
        async with world.running():
            await world.until(lambda: world.pods() == [])
            self.power(world, "Running")
            await world.until(lambda: world.pods() != [])
            await world.ready()
            assert len(world.inner().called("create")) == 1


class TestMove:
    async def test_move_is_blocked_as_long_as_the_engine_lives(self, world):
        async with world.running():
            world.add()
            await world.ready()
            assert world.get()["metadata"]["annotations"][BLOCK_MOVE_ANNOTATION] == "engine"
            assert "clusterctl move" in engine_message(world)
            world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"annotations": {BLOCK_MOVE_ANNOTATION: None}}})
            await world.until(lambda: world.get()["metadata"]["annotations"].get(BLOCK_MOVE_ANNOTATION) == "engine")

    async def test_annotation_of_a_copied_manifest_is_removed_from_an_object_without_such_an_engine(self, world):
        async with world.running():
            world.add(spec={}, annotations={BLOCK_MOVE_ANNOTATION: "engine"})
            await world.ready()
            assert BLOCK_MOVE_ANNOTATION not in world.get()["metadata"]["annotations"]


class TestStatusOfTheClass:
    async def test_class_counts_its_objects(self, world):
        async with world.running():
            world.add()
            await world.ready()
            status: Mapping[str, Any] = world.kube.objects[KIND_ENGINE_CLASSES.plural, None, "pods"]["status"]
            assert status["clusters"] == 1
            assert [(one["type"], one["status"]) for one in status["conditions"]] == [("Ready", "True")]


class TestWithoutASharedEngine:
    async def test_object_without_a_class_reports_that_there_is_no_engine(self, tmp_path):
        world = PodWorld(tmp_path, shared_engine=False)
        world.add_class()
        async with world.running() as app:
            world.add("bare", spec={}, uid=ANOTHER_UID)
            world.add()
            await world.ready()
            assert engine_state(world, name="bare") == ("False", "EngineClassNotFound")
            assert "--no-shared-engine" in world.condition("EngineAvailable", "bare")[2]
            assert world.engine.calls == []
            await asyncio.sleep(2000)
            assert app.engine_heartbeat() is None
            world.delete("bare")
            await world.gone("bare")


class TestOneNamespaceOnly:
    async def test_object_with_an_engine_in_a_pod_reports_that_its_class_is_not_read(self, world):
        async with world.running():
            world.add()
            await world.ready()
        world.settings = replace(world.settings, namespace="default")
        async with world.running():
            await world.until(lambda: engine_state(world) == ("False", "EngineClassNotFound"))
            assert "--namespace" in engine_message(world)
            assert world.left() == ALL


async def test_provider_is_quiet_beside_living_engines(world):
    async with world.running():
        world.add()
        await world.ready()
        await asyncio.sleep(100)
        assert await quiet(world, 300) <= 4
    assert VOLUME_CLAIMS.plural not in posted(world)
