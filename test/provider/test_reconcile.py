"""Consecutive reconciles: rejections of the API server, concurrent changes by others, and the cost."""

import asyncio
import copy
from dataclasses import replace
from typing import Any

import pytest

from capk.api import names
from capk.api.names import CLUSTERS, KIND_CLUSTERS, KIND_CONTROL_PLANES, KIND_MACHINES, SECRETS
from capk.errors import ApiError, Conflict, Forbidden, Unreachable
from test.provider.world import World, authority, kubeconfig, quiet, trouble
from test.unit.recording_kube import asked_for

pytestmark = pytest.mark.virtual_time

IMAGE_MISSING = 'ERROR: failed to create cluster: failed to pull image "x": no such host'
KUBEADM_FAILED = "ERROR: failed to create cluster: failed to init node with kubeadm"
NODES = {"nodes": [{"role": "control-plane"}, {"role": "worker"}]}


def refusing(said: str, meant: Any) -> Any:
    """Reject the writes for which meant(resource, name, body) is true."""

    def refuse(verb: str, resource: Any, name: str, body: Any) -> ApiError | None:
        if verb in ("create", "patch") and meant(resource, name, asked_for(body)):
            return Forbidden(verb, f"{resource.plural} default/{name}", 403, said)
        return None

    return refuse


def _claims(resource: Any, name: str, body: Any) -> bool:
    return names.CLAIM_ANNOTATION in ((body.get("metadata") or {}).get("annotations") or {})


def _identifies(resource: Any, name: str, body: Any) -> bool:
    return bool(((body.get("metadata") or {}).get("annotations") or {}).get(names.IDENTITY_ANNOTATION))


def _sets_endpoint(resource: Any, name: str, body: Any) -> bool:
    return resource is KIND_CLUSTERS and "controlPlaneEndpoint" in (body.get("spec") or {})


async def waits_quietly_for_its_control_plane(world: World) -> None:
    """Check that the condition names the control plane, and that more than an hour passes without a write or a read."""
    await asyncio.sleep(120)
    assert world.condition("KubeconfigAvailable")[:2] == ("False", "WaitingForControlPlane")
    writes, reads = world.kube.written(KIND_CLUSTERS), len(world.engine.called("kubeconfig"))
    await asyncio.sleep(6 * 660)
    assert world.kube.written(KIND_CLUSTERS) == writes
    assert len(world.engine.called("kubeconfig")) == reads


class TestRefusals:
    async def test_refused_claim_starts_no_creation_and_is_told(self, tmp_path):
        world = World(tmp_path)
        world.kube.refuse = refusing("policy: no annotations today", _claims)
        async with world.running():
            world.add()
            await asyncio.sleep(600)
            assert world.engine.called("create") == []
            assert "no annotations today" in world.condition("ClusterCreated")[2]
            assert world.condition("ClusterCreated")[1] == "WriteRefused"
            world.kube.refuse = None
            await world.ready()

    async def test_refused_claim_is_tried_again_although_the_status_could_not_be_written(self, tmp_path):
        """The repeated round holds the claim back, so it writes nothing, and nothing counts as accepted."""
        world, refused = World(tmp_path), list[str]()

        def refuse(verb: str, resource: Any, name: str, body: Any) -> ApiError | None:
            if verb != "patch" or len(refused) == 2:
                return None
            refused.append("status" if "status" in asked_for(body) else "claim")
            return ApiError(verb, "kindclusters default/dev", 500, "internal error")

        world.kube.refuse = refuse
        async with world.running():
            world.add()
            await asyncio.sleep(60)
            assert refused == ["claim", "status"]
            assert len(world.engine.called("create")) == 1
            await world.ready()

    async def test_claim_that_is_stored_after_a_refusal_is_used(self, tmp_path):
        """Another attempt would need another write, which may be refused as well, and so on."""
        world, claims = World(tmp_path), list[bool]()

        def refuse(verb: str, resource: Any, name: str, body: Any) -> ApiError | None:
            annotations = (asked_for(body).get("metadata") or {}).get("annotations") or {}
            if verb != "patch" or not {names.CLAIM_ANNOTATION, names.ATTEMPT_ANNOTATION} & set(annotations):
                return None
            claims.append(len(claims) % 2 == 1)
            return None if claims[-1] else ApiError(verb, "kindclusters default/dev", 500, "internal error")

        world.kube.refuse = refuse
        async with world.running():
            world.add()
            await asyncio.sleep(600)
            assert len(world.engine.called("create")) == 1
            assert world.get()["metadata"]["annotations"][names.ATTEMPT_ANNOTATION] == "1"
            assert world.reason() == "Ready"

    async def test_refused_identity_is_told_and_all_else_is_written(self, tmp_path):
        world = World(tmp_path)
        world.kube.refuse = refusing("policy: no fingerprints", _identifies)
        async with world.running():
            world.add()
            await asyncio.sleep(300)
            assert "no fingerprints" in world.condition("ClusterCreated")[2]
            assert world.kube.find(SECRETS, "dev-config")
            assert world.get()["spec"]["controlPlaneEndpoint"]
            world.kube.refuse = None
            await world.ready()
            assert len(world.engine.called("create")) == 1

    async def test_refused_secret_is_told_and_costs_no_cluster(self, tmp_path):
        world = World(tmp_path)
        world.kube.refuse = refusing("exceeded quota: secrets=10", lambda resource, *_: resource is SECRETS)
        async with world.running():
            world.add()
            await asyncio.sleep(900)
            status, reason, message = world.condition("KubeconfigAvailable")
            assert (status, reason) == ("False", "WriteRefused")
            assert "exceeded quota: secrets=10" in message
            assert "dev-config" in message
            assert world.condition("Ready")[1:] == (reason, message)
            assert world.condition("ClusterCreated")[0] == "True"
            assert world.get()["spec"]["controlPlaneEndpoint"]
            tries = world.kube.written(SECRETS)
            assert tries < 15
        nodes = set(world.engine.containers)
        async with world.running():
            await asyncio.sleep(60)
            assert set(world.engine.containers) == nodes
            world.kube.refuse = None
            await world.ready()
        assert len(world.engine.called("create")) == 1
        assert world.engine.called("remove") == []

    @pytest.mark.parametrize("said", ["data: Forbidden: field is immutable", "type: Invalid value: field is immutable"])
    async def test_secret_that_can_no_longer_be_changed_is_told_and_costs_no_cluster(self, tmp_path, said):
        world = World(tmp_path)

        def refuse(verb: str, resource: Any, name: str, body: Any) -> ApiError | None:
            is_ours = resource is SECRETS and verb == "patch"
            return ApiError(verb, "secrets default/dev-config", 422, said) if is_ours else None

        async with world.running():
            world.add()
            await world.ready()
            world.kube.refuse = refuse
            world.kube.edit(SECRETS, "dev-config", {"immutable": True, "type": "other", "data": {"config": "eA=="}})
            await world.until(lambda: world.reason() == "WriteRefused", 120)
            assert said in world.condition("KubeconfigAvailable")[2]
        async with world.running():
            await asyncio.sleep(900)
            assert world.reason() == "WriteRefused"
            del world.kube.objects["secrets", "default", "dev-config"]
            await world.ready()
        assert len(world.engine.called("create")) == 1
        assert world.engine.called("remove") == []

    async def test_refused_endpoint_is_told_and_all_else_is_written(self, tmp_path):
        world = World(tmp_path)
        world.kube.refuse = refusing("cannot change once set", _sets_endpoint)
        async with world.running():
            world.add(spec={"controlPlaneEndpoint": {"host": "dev.example"}})
            await asyncio.sleep(300)
            assert world.condition("KubeconfigAvailable")[:2] == ("False", "WriteRefused")
            assert "cannot change once set" in world.condition("Ready")[2]
            assert world.kube.find(SECRETS, "dev-config")
            assert not (world.get()["status"].get("initialization") or {}).get("provisioned")
            world.kube.refuse = None
            await world.ready()
            assert world.get()["status"]["initialization"]["provisioned"]

    async def test_control_plane_says_what_is_refused(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")
        world.kube.refuse = refusing("exceeded quota", lambda resource, name, _: name == "dev-kubeconfig")
        async with world.running():
            world.add_owned()
            await asyncio.sleep(300)
            status, reason, message = world.condition("Available", resource=KIND_CONTROL_PLANES)
            assert (status, reason) == ("False", "WriteRefused")
            assert "exceeded quota" in message
            world.kube.refuse = None
            await world.until(lambda: world.condition("Available", resource=KIND_CONTROL_PLANES)[0] == "True")
            assert world.reason() == "Ready"

    async def test_refused_part_is_tried_ever_less_often(self, tmp_path):
        world = World(tmp_path)
        world.kube.refuse = refusing("no", lambda resource, *_: resource is SECRETS)
        async with world.running():
            world.add()
            await asyncio.sleep(3600)
            assert 5 < world.kube.written(SECRETS) < 25
            assert await quiet(world, 3600) < 100

    async def test_finalizer_that_may_not_be_removed_is_told_and_tried_ever_less_often(self, tmp_path):
        world = World(tmp_path)

        def refuse(verb: str, resource: Any, name: str, body: Any) -> ApiError | None:
            if verb == "patch" and resource is KIND_CLUSTERS and "/metadata/finalizers" in str(body):
                return Forbidden(verb, "kindclusters dev", 403, "webhook: it stays")
            return None

        async with world.running():
            world.add()
            await world.ready()
            world.kube.refuse = refuse
            before = world.kube.written(KIND_CLUSTERS)
            world.delete()
            await asyncio.sleep(3600)
            status, reason, message = world.condition("Deleting")
            assert (status, reason) == ("True", "WriteRefused")
            assert "webhook: it stays" in message
            assert names.KIND_CLUSTER_FINALIZER in message
            assert "webhook: it stays" in world.condition("Ready")[2]
            assert world.engine.containers == {}
            assert 5 < world.kube.written(KIND_CLUSTERS) - before < 30
            world.kube.refuse = None
            await world.until(lambda: not world.kube.find(KIND_CLUSTERS, "dev"))

    async def test_finalizer_that_a_webhook_puts_back_is_told_and_tried_ever_less_often(self, tmp_path):
        world = World(tmp_path)

        def admit(resource: Any, obj: dict[str, Any]) -> dict[str, Any]:
            if resource is KIND_CLUSTERS and not obj["metadata"].get("finalizers"):
                obj["metadata"]["finalizers"] = [names.KIND_CLUSTER_FINALIZER]
            return obj

        async with world.running():
            world.add()
            await world.ready()
            world.kube.admit = admit
            before = world.kube.written(KIND_CLUSTERS)
            world.delete()
            await asyncio.sleep(3600)
            assert world.condition("Deleting")[:2] == ("True", "WriteRefused")
            assert "kept the finalizer" in world.condition("Deleting")[2]
            assert world.kube.written(KIND_CLUSTERS) - before < 30

    async def test_secret_that_may_not_be_deleted_keeps_the_object_and_is_told(self, tmp_path):
        world = World(tmp_path)

        def refuse(verb: str, resource: Any, name: str, body: Any) -> ApiError | None:
            return Forbidden(verb, f"secrets {name}", 403, "policy: it stays") if verb == "delete" else None

        async with world.running():
            world.add()
            await world.ready()
            world.kube.refuse = refuse
            world.delete()
            await asyncio.sleep(3600)
            assert world.condition("Deleting")[:2] == ("True", "WriteRefused")
            assert "policy: it stays" in world.condition("Deleting")[2]
            assert "dev-config" in world.condition("Deleting")[2]
            assert 5 < world.kube.written(SECRETS) < 30
            world.kube.refuse = None
            await world.until(lambda: not world.kube.find(KIND_CLUSTERS, "dev"))
            assert not world.kube.find(SECRETS, "dev-config")

    async def test_secret_whose_deletion_conflicts_for_the_moment_does_not_stay(self, tmp_path):
        world, conflicts = World(tmp_path), [False, True, True]

        def refuse(verb: str, resource: Any, name: str, body: Any) -> ApiError | None:
            return Conflict(verb, f"secrets {name}", 409, "try again") if verb == "delete" and conflicts.pop() else None

        async with world.running():
            world.add()
            await world.ready()
            world.kube.refuse = refuse
            world.delete()
            await world.until(lambda: not world.kube.find(KIND_CLUSTERS, "dev"))
            assert not world.kube.find(SECRETS, "dev-config")
            assert conflicts == []


class TestForeignSecrets:
    async def test_kubeconfig_secret_of_someone_else_is_told_on_both_objects(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")
        theirs = {"metadata": {"name": "dev-kubeconfig", "namespace": "default"}, "data": {"value": "eA=="}}
        world.kube.put(SECRETS, theirs)
        async with world.running():
            world.add_owned()
            await asyncio.sleep(120)
            for told in (
                world.condition("KubeconfigAvailable"),
                world.condition("Available", resource=KIND_CONTROL_PLANES),
            ):
                assert told[:2] == ("False", "NameConflict")
                assert "dev-kubeconfig" in told[2]
            assert world.kube.find(SECRETS, "dev-kubeconfig")["data"] == {"value": "eA=="}
            await asyncio.sleep(1200)
            del world.kube.objects["secrets", "default", "dev-kubeconfig"]
            took = await world.until(lambda: world.reason() == "Ready")
            assert took < 300
            await asyncio.sleep(1)
            assert world.condition("Available", resource=KIND_CONTROL_PLANES)[0] == "True"

    async def test_config_secret_of_someone_else_is_told_and_noticed_when_it_goes(self, tmp_path):
        world = World(tmp_path)
        world.kube.put(SECRETS, {"metadata": {"name": "dev-config", "namespace": "default"}, "data": {"a": "eA=="}})
        async with world.running():
            world.add()
            await asyncio.sleep(600)
            assert world.condition("KubeconfigAvailable")[:2] == ("False", "NameConflict")
            del world.kube.objects["secrets", "default", "dev-config"]
            assert await world.until(lambda: world.reason() == "Ready") < 300

    @pytest.mark.parametrize("policy", ["Delete", "Retain"])
    async def test_copy_that_a_user_made_of_our_secret_outlives_the_object(self, tmp_path, policy):
        world = World(tmp_path)
        async with world.running():
            world.add(spec={"deletionPolicy": policy})
            await world.ready()
            backup = copy.deepcopy(world.kube.find(SECRETS, "dev-config"))
            labels = backup["metadata"]["labels"]
            backup["metadata"] = {"name": "my-backup", "namespace": "default", "labels": labels}
            world.kube.put(SECRETS, backup)
            world.delete()
            await world.gone()
            await asyncio.sleep(1)
            assert world.kube.find(SECRETS, "my-backup")
            assert world.kube.find(SECRETS, "dev-config") is None


class TestSecretsThatChange:
    async def test_label_that_was_stripped_is_put_back_once(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            await asyncio.sleep(120)
            before = world.kube.requests
            world.kube.edit(SECRETS, "dev-config", {"metadata": {"labels": {names.SECRET_CLUSTER_LABEL: None}}})
            await asyncio.sleep(5)
            assert names.SECRET_CLUSTER_LABEL in world.kube.find(SECRETS, "dev-config")["metadata"]["labels"]
            await asyncio.sleep(300)
            assert world.kube.requests - before < 20
            assert world.reason() == "Ready"
            assert await quiet(world, 200) == 0

    @pytest.mark.parametrize("owned", [False, True])
    @pytest.mark.parametrize("changes", ["always", "the same"])
    async def test_webhook_that_edits_our_secrets_makes_no_hot_loop(self, tmp_path, owned, changes):
        world = World(tmp_path, capi="v1beta2" if owned else None)
        number = 0

        def admit(resource, obj):
            nonlocal number
            number += 1
            if resource is not SECRETS:
                return obj
            value = str(number) if changes == "always" else "value"
            return {**obj, "data": {**(obj.get("data") or {}), "added": value}}

        world.kube.admit = admit
        async with world.running():
            world.add_owned() if owned else world.add()
            await asyncio.sleep(60)
            assert world.kube.requests < 150
            assert await quiet(world, 3600) < 200

    async def test_secret_that_was_deleted_or_edited_comes_back(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            wanted = world.read("dev-config")
            await asyncio.sleep(120)
            del world.kube.objects["secrets", "default", "dev-config"]
            await world.until(lambda: world.kube.find(SECRETS, "dev-config") is not None, 30)
            await asyncio.sleep(120)
            world.kube.edit(SECRETS, "dev-config", {"data": {"config": "eA=="}})
            await asyncio.sleep(30)
            assert world.read("dev-config") == wanted

    async def test_secret_that_was_deleted_while_its_watch_was_broken_is_back_with_the_next_write(self, tmp_path):
        world = World(tmp_path)
        async with world.running() as app:
            world.add()
            await world.ready()
            await asyncio.sleep(60)
            seen = world.kube.objects.pop(("secrets", "default", "dev-config"))  # without an event
            metadata = {**seen["metadata"], "annotations": {}, "resourceVersion": "100000"}
            app.cache.on_event(SECRETS, "MODIFIED", {**seen, "metadata": metadata})
            await world.until(lambda: world.kube.find(SECRETS, "dev-config") is not None, 5)
            assert world.kube.find(SECRETS, "dev-config")["data"] == seen["data"]
            assert world.condition("KubeconfigAvailable")[0] == "True"


class TestControlPlane:
    @pytest.mark.rule("C18")
    async def test_missing_control_plane_is_named_once_and_nothing_flaps(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")
        async with world.running():
            world.add_owned()
            await world.ready()
            del world.kube.objects["kindcontrolplanes", "default", "dev"]
            del world.kube.objects["secrets", "default", "dev-kubeconfig"]
            await waits_quietly_for_its_control_plane(world)

    async def test_control_plane_that_is_paused_from_the_start_is_named_once_and_nothing_flaps(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")
        async with world.running():
            world.add_owned(control_plane=False)
            reference = {"controlPlaneRef": {"kind": "KINDControlPlane", "name": "dev"}}
            world.kube.edit(CLUSTERS, "dev", {"spec": reference})
            world.add_control_plane(annotations={names.PAUSED_ANNOTATION: ""})
            await waits_quietly_for_its_control_plane(world)
            world.kube.edit(KIND_CONTROL_PLANES, "dev", {"metadata": {"annotations": {names.PAUSED_ANNOTATION: None}}})
            await world.ready()

    @pytest.mark.rule("C18", "C46")
    async def test_number_of_control_planes_is_written_once_and_nothing_follows(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")
        async with world.running():
            world.add_owned()
            await world.until(lambda: world.condition("Available", resource=KIND_CONTROL_PLANES)[0] == "True")
            control_plane = world.get(resource=KIND_CONTROL_PLANES)
            assert control_plane["spec"]["replicas"] == control_plane["status"]["replicas"] == 1
            assert control_plane["status"]["observedGeneration"] == control_plane["metadata"]["generation"]
            assert await quiet(world, 600) == 0

    async def test_number_that_may_not_be_written_holds_nothing_up_and_is_tried_ever_less_often(self, tmp_path):
        world, tries = World(tmp_path, capi="v1beta2"), []

        def refuse(verb: str, resource: Any, name: str, body: Any) -> ApiError | None:
            if verb != "patch" or "/spec/replicas" not in str(body):
                return None
            tries.append(name)
            return Forbidden(verb, "kindcontrolplanes dev", 403, "no such right")

        world.kube.refuse = refuse
        async with world.running():
            world.add_owned()
            await world.ready()
            await asyncio.sleep(3600)
            assert world.condition("Available", resource=KIND_CONTROL_PLANES)[0] == "True"
            assert world.reason() == "Ready"
            assert 5 < len(tries) < 25
            world.kube.refuse = None
            await world.until(lambda: "replicas" in world.get(resource=KIND_CONTROL_PLANES)["spec"])

    async def test_control_plane_that_is_added_later_takes_the_secret_over(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")
        async with world.running():
            world.add_owned(control_plane=False)
            await world.ready()
            assert world.kube.find(SECRETS, "dev-kubeconfig")
            await asyncio.sleep(120)
            world.add_control_plane()
            reference = {"controlPlaneRef": {"kind": "KINDControlPlane", "name": "dev"}}
            world.kube.edit(CLUSTERS, "dev", {"spec": reference})
            await world.until(lambda: world.condition("Available", resource=KIND_CONTROL_PLANES)[0] == "True")
            owners = world.kube.find(SECRETS, "dev-kubeconfig")["metadata"]["ownerReferences"]
            assert [owner["kind"] for owner in owners if owner.get("controller")] == ["KINDControlPlane"]
            await asyncio.sleep(600)
            assert world.reason() == "Ready"


class TestNames:
    @pytest.mark.parametrize("namespace", ["default", "other"])
    async def test_finalizer_of_someone_else_keeps_no_name(self, tmp_path, namespace):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            world.kube.edit(
                KIND_CLUSTERS, "dev", {"metadata": {"finalizers": [names.KIND_CLUSTER_FINALIZER, "example.com/mine"]}}
            )
            world.delete()
            world.add("second", namespace, spec={"clusterName": "dev"})
            await world.ready("second", namespace)
            assert world.get()["metadata"]["finalizers"] == ["example.com/mine"]

    async def test_waiting_object_does_not_get_the_name_of_a_missing_cluster_by_a_restart(self, tmp_path):
        world = World(tmp_path)
        shared = {"clusterName": "shared"}
        async with world.running():
            world.add("dev", "z-first", spec=shared, creationTimestamp="2025-01-01T00:00:00Z")
            await world.ready("dev", "z-first")
            world.add("dev", "a-second", spec=shared)
            await asyncio.sleep(20)
            assert world.reason("dev", "a-second") == "NameConflict"
            world.engine.containers.clear()
            await asyncio.sleep(30)
        dict.update(world.kube.objects, (listed := sorted(world.kube.objects.items(), key=lambda item: str(item[0]))))
        dict.clear(world.kube.objects)
        dict.update(world.kube.objects, listed)
        async with world.running():
            await asyncio.sleep(120)
            assert world.reason("dev", "z-first") == "Missing"
            assert world.reason("dev", "a-second") == "NameConflict"
            assert world.engine.containers == {}
            world.delete("dev", "z-first")
            await world.ready("dev", "a-second")
            world.delete("dev", "a-second")
            await world.until(lambda: world.get("dev", "a-second") is None)
            assert world.engine.containers == {}

    async def test_object_that_may_never_act_holds_no_name(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")
        elder = {"creationTimestamp": "2025-01-01T00:00:00Z"}
        async with world.running():
            world.add("dev", "a", annotations={names.MANAGED_BY_ANNOTATION: "terraform"}, **elder)
            world.add("x", "a", spec={"clusterName": "n2"}, **elder)
            await asyncio.sleep(10)
            world.add("dev", "b", spec={"standalone": True})
            world.add("y", "b", spec={"clusterName": "n2", "standalone": True})
            await world.ready("dev", "b")
            await world.ready("y", "b")
            assert world.reason("x", "a") == "WaitingForCluster"

    async def test_forged_claim_keeps_no_cluster_from_its_owner(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            spec = {"clusterName": "dev"}
            world.add("forged", "tenant", spec=spec, annotations={names.CLAIM_ANNOTATION: "dev"})
            await asyncio.sleep(30)
            assert (world.reason(), world.reason("forged", "tenant")) == ("Ready", "NameConflict")
            marks = {node.mark for node in world.engine.of("dev")}
            world.delete()
            await world.gone()
            assert not marks & {node.mark for node in world.engine.of("dev")}
            assert len(world.engine.called("remove")) >= 1

    @pytest.mark.rule("C21", "C23")
    @pytest.mark.parametrize(
        "edit",
        [
            {names.CLAIM_ANNOTATION: "other"},
            {names.CLAIM_ANNOTATION: None, names.CLAIM_ID_ANNOTATION: None},
            {names.IDENTITY_ANNOTATION: ""},
            {names.IDENTITY_ANNOTATION: "sha256:0000"},
            {names.ATTEMPT_ANNOTATION: "77"},
            {names.CLAIM_ID_ANNOTATION: "another"},
        ],
    )
    async def test_edited_annotations_cost_no_complete_cluster_and_hide_none(self, tmp_path, edit):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            before = world.engine.of("dev")
            world.kube.edit(names.KIND_CLUSTERS, "dev", {"metadata": {"annotations": edit}})
            await asyncio.sleep(120)
            assert world.engine.of("dev") == before
            assert world.reason() == "Ready"
            assert len(world.engine.called("create")) == 1
            world.delete()
            await world.gone()
            assert world.engine.containers == {}

    async def test_object_restored_from_its_own_manifest_is_created_again(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            saved = copy.deepcopy(world.get())
            world.delete()
            await world.gone()
            await asyncio.sleep(20)
            kept = {key: saved["metadata"][key] for key in ("annotations", "finalizers")}
            world.add(spec=saved["spec"], **kept)
            await world.ready()
            assert len(world.engine.called("create")) == 2

    async def test_copy_with_another_name_gets_a_cluster_of_its_own(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            saved = copy.deepcopy(world.get())
            world.kind.text = kubeconfig("https://127.0.0.1:40002")
            world.add("dev2", spec={"clusterName": "dev2"}, annotations=saved["metadata"]["annotations"])
            await world.ready("dev2")
            assert {node.cluster for node in world.engine.containers.values()} == {"dev", "dev2"}
            world.delete("dev2")
            await world.until(lambda: world.get("dev2") is None)
            assert {node.cluster for node in world.engine.containers.values()} == {"dev"}


class TestClusterAPI:
    async def test_cluster_api_that_came_after_the_provider_is_noticed_before_a_creation(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            await asyncio.sleep(60)
            world.kube.capi = ["v1beta2"]
            await asyncio.sleep(60)
            world.add()
            await asyncio.sleep(0.2)
            network = {"pods": {"cidrBlocks": ["10.9.0.0/16"]}}
            references = {
                "infrastructureRef": {"kind": "KINDCluster", "name": "dev"},
                "controlPlaneRef": {"kind": "KINDControlPlane", "name": "dev"},
            }
            owner = {"name": "dev", "namespace": "default", "uid": "uid-of-owner"}
            reference = {
                "apiVersion": "cluster.x-k8s.io/v1beta2",
                **{"kind": "Cluster", "name": "dev", "uid": "uid-of-owner"},
            }
            configs = []
            create = world.kind.create_cluster

            async def creating(name, config, **options):
                configs.append(config)
                return await create(name, config, **options)

            world.kind.create_cluster = creating
            world.kube.put(CLUSTERS, {"metadata": owner, "spec": {"clusterNetwork": network, **references}})
            world.add_control_plane("v1.33.12")
            world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"ownerReferences": [reference]}})
            await world.ready()
            assert [config["networking"]["podSubnet"] for config in configs] == ["10.9.0.0/16"]
            assert "v1.33" in configs[0]["nodes"][0]["image"]

    async def test_one_answer_without_cluster_api_creates_nothing(self, tmp_path):
        world = World(tmp_path, capi="v1beta2", sync_period_seconds=60)
        async with world.running():
            world.add()
            await asyncio.sleep(20)
            assert world.reason() == "WaitingForCluster"
            world.kube.capi = [None, "v1beta2"]
            await asyncio.sleep(600)
            assert world.reason() == "WaitingForCluster"
        assert world.engine.called("create") == []

    async def test_cluster_api_that_is_uninstalled_is_waited_for_no_more(self, tmp_path):
        world = World(tmp_path, capi="v1beta2", sync_period_seconds=60)
        async with world.running() as app:
            world.add()
            await asyncio.sleep(20)
            assert world.reason() == "WaitingForCluster"
            world.kube.capi = [None]
            await world.ready()
            assert app.relations.core_version is None

    async def test_one_answer_without_cluster_api_at_the_start_creates_nothing(self, tmp_path):
        world = World(tmp_path)
        world.kube.capi = [None, "v1beta2"]
        async with world.running():
            world.add()
            await asyncio.sleep(60)
            assert world.reason() == "WaitingForCluster"
        assert world.engine.called("create") == []


class TestVanished:
    async def test_running_creation_ends_and_what_it_made_goes(self, tmp_path):
        world = World(tmp_path, max_concurrent_creates=1)
        world.kind.create_seconds = 60.0
        async with world.running() as app:
            world.add()
            await world.creating()
            world.add("waits")
            await asyncio.sleep(10)
            assert world.engine.of("dev")
            world.vanish()
            world.vanish("waits")
            await asyncio.sleep(60)
            assert world.engine.containers == {}
            assert world.engine.called("create", "waits") == []
            assert len(app.records) == 0
            assert not app.lanes._operations

    @pytest.mark.parametrize("what", ["cluster", "worker"])
    async def test_of_the_objects_beside_one_that_vanished_no_second_copy_is_kept(self, tmp_path, monkeypatch, what):
        """Its namespace may have hundreds, of a megabyte each."""
        world = World(tmp_path, max_concurrent_creates=1)
        world.kind.create_seconds = 60.0
        kept, list_ = [], world.kube.list

        async def noted(resource, namespace=None, **options):
            listing = await list_(resource, namespace, **options)
            kept.extend(listing.items if namespace and resource is KIND_CLUSTERS else ())
            return listing

        async with world.running():
            world.add()
            await world.creating()
            world.add("other", annotations={"large": "x" * 10**6})
            world.add_standalone_machine("gone-w1", cluster="gone", finalizers=[names.KIND_MACHINE_FINALIZER])
            await asyncio.sleep(5)
            monkeypatch.setattr(world.kube, "list", noted)
            world.vanish() if what == "cluster" else world.delete("gone-w1", resource=KIND_MACHINES)
            await asyncio.sleep(60)
        assert kept
        assert len(str(kept)) < 2000

    async def test_cluster_that_is_complete_stays_when_its_finalizer_was_removed_by_force(self, tmp_path):
        """A person who removes a finalizer wants to delete the object, regardless of the cluster."""
        world = World(tmp_path)
        async with world.running() as app:
            world.add()
            await world.ready()
            world.vanish()
            await asyncio.sleep(60)
            assert len(world.engine.containers) == 1
            assert len(app.records) == 0
            assert not app.health._watched

    async def test_removal_for_a_vanished_object_is_tried_again(self, tmp_path):
        world = World(tmp_path)
        async with world.running() as app:
            world.add()
            await world.creating()
            world.containers.removes = [trouble("busy", "docker", "rm") for _ in range(3)]
            world.vanish()
            await asyncio.sleep(120)
            assert world.engine.containers == {}
            assert len(app.records) == 0

    @pytest.mark.parametrize("is_late", [False, True])
    async def test_load_balancer_of_a_vanished_object_goes_too(self, tmp_path, is_late):
        """It has no mark, and no object is left that could claim it: the name would be taken for good."""
        world = World(tmp_path)
        world.kind.create_seconds = 60.0
        async with world.running():
            world.add(spec={"nodes": [{"role": "control-plane"}] * 3})
            await world.creating()
            balancer = next(node for node in world.engine.of() if node.role == "external-load-balancer")
            if is_late:
                del world.engine.containers[balancer.container_id]
            world.vanish()
            await world.until(lambda: not world.engine.of() or not is_late)
            if is_late:
                world.engine.containers[balancer.container_id] = balancer
            await asyncio.sleep(60)
            assert world.engine.containers == {}

    async def test_load_balancer_of_someone_who_took_the_name_of_a_vanished_object_stays(self, tmp_path):
        world = World(tmp_path)
        world.kind.create_seconds = 60.0
        async with world.running():
            world.add(spec={"nodes": [{"role": "control-plane"}] * 3})
            await world.creating()
            world.engine.containers.clear()
            world.vanish()
            await asyncio.sleep(1)
            theirs = [world.engine.run_node("dev-external-load-balancer")]
            await asyncio.sleep(5)
            theirs += [world.engine.run_node("dev-control-plane"), world.engine.run_node("dev-control-plane2")]
            await asyncio.sleep(120)
            assert list(world.engine.containers) == theirs

    async def test_removal_for_a_vanished_object_waits_for_the_engine_of_its_creation(self, tmp_path):
        world = World(tmp_path)
        world.kind.create_seconds = 60.0
        async with world.running() as app:
            world.add()
            await world.creating()
            with world.engine.switched():
                world.vanish()
                await asyncio.sleep(300)
                assert len(app.records) == 1
            assert world.engine.containers != {}
            await asyncio.sleep(600)
            assert world.engine.containers == {}
            assert len(app.records) == 0

    @pytest.mark.rule("C23")
    async def test_deletion_ends_though_another_engine_answers_since_the_removal(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            world.kube.refuse = lambda verb, resource, name, body: (
                Forbidden(verb, resource.plural, 403, "denied by policy") if resource is KIND_CLUSTERS else None
            )
            world.delete()
            await world.until(lambda: world.engine.containers == {})
            await asyncio.sleep(600)
            with world.engine.switched():
                await asyncio.sleep(60)
                world.kube.refuse = None
                await world.gone()

    async def test_removal_for_a_vanished_object_is_tried_again_while_a_namesake_rests(self, tmp_path):
        world = World(tmp_path, sync_period_seconds=36000)
        async with world.running() as app:
            world.add()
            await world.creating()
            world.containers.removes = [trouble("busy", "docker", "rm") for _ in range(3)]
            world.vanish()
            world.add(annotations={names.PAUSED_ANNOTATION: ""})
            await asyncio.sleep(300)
            assert world.engine.containers == {}
            assert len(app.records) == 1

    async def test_object_that_only_left_the_watch_filter_keeps_what_is_being_made(self, tmp_path):
        world = World(tmp_path, watch_filter="blue")
        label = {"metadata": {"labels": {names.WATCH_FILTER_LABEL: None}}}
        async with world.running() as app:
            world.add(labels={names.WATCH_FILTER_LABEL: "blue"})
            await world.creating()
            world.kube.edit(KIND_CLUSTERS, "dev", label)
            await asyncio.sleep(60)
            assert world.engine.called("remove") == []
            assert len(app.records) == 0

    async def test_object_that_was_out_of_the_watch_filter_for_a_moment_is_looked_after_again(self, tmp_path):
        world = World(tmp_path, watch_filter="blue")
        async with world.running():
            world.add(labels={names.WATCH_FILTER_LABEL: "blue"})
            await world.ready()
            for value in (None, "blue"):
                world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"labels": {names.WATCH_FILTER_LABEL: value}}})
                await asyncio.sleep(5)
            world.delete()
            assert await world.gone() < 20

    async def test_deletion_goes_on_after_a_moment_out_of_the_watch_filter(self, tmp_path):
        """If its removal counted as that of an object which is gone, each attempt would end before it began."""
        world = World(tmp_path, watch_filter="blue")
        async with world.running():
            world.add(labels={names.WATCH_FILTER_LABEL: "blue"})
            await world.ready()
            world.containers.remove_seconds = 5.0
            world.containers.removes = [trouble("Error: device or resource busy", "docker", "rm")]
            world.delete()
            await world.until(lambda: bool(world.engine.called("remove")))
            for label in (None, "blue"):
                world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"labels": {names.WATCH_FILTER_LABEL: label}}})
                await asyncio.sleep(1)
            await world.gone()
            assert world.engine.of("dev") == []
            assert len(world.engine.called("remove")) == 2

    @pytest.mark.parametrize("comes_back", [True, False])
    async def test_complete_cluster_that_could_not_be_noted_survives_a_time_out_of_the_watch_filter(
        self, tmp_path, comes_back
    ):
        world = World(tmp_path, watch_filter="blue")
        async with world.running() as app:
            world.add(labels={names.WATCH_FILTER_LABEL: "blue"})
            await world.creating()
            world.kube.refuse = lambda verb, *_: Unreachable(verb, "kindclusters default/dev", 0, "no route to host")
            await asyncio.sleep(60)
            world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"labels": {names.WATCH_FILTER_LABEL: None}}})
            await asyncio.sleep(700)
            world.kube.refuse = None
            if comes_back:
                world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"labels": {names.WATCH_FILTER_LABEL: "blue"}}})
                await world.ready()
                assert len(world.engine.called("create")) == 1
            else:
                world.vanish()
                await asyncio.sleep(700)
                assert len(app.records) == 0
            assert world.engine.called("remove") == []

    async def test_recreated_object_does_not_inherit_what_ran_for_its_namesake(self, tmp_path):
        world = World(tmp_path)
        async with world.running() as app:
            world.add()
            await world.creating()
            world.vanish()
            world.add()
            await world.ready()
            uid = world.get()["metadata"]["uid"]
            assert {node.mark.partition(".")[0] for node in world.engine.of()} == {uid}
            await asyncio.sleep(60)
            assert len(app.records) == 1


class TestPause:
    @pytest.mark.rule("C7")
    async def test_queued_creation_and_queued_deletion_are_taken_back_by_a_pause(self, tmp_path):
        world = World(tmp_path, max_concurrent_creates=1)
        world.kind.create_seconds = 60.0
        async with world.running():
            world.add("first")
            await world.creating("first")
            world.add("second")
            await asyncio.sleep(5)
            assert world.condition("ClusterCreated", "second")[1] == "Queued"
            world.annotate("second", PAUSED="")
            await asyncio.sleep(300)
            assert world.engine.called("create", "second") == []
            assert world.condition("Paused", "second")[0] == "True"
            world.annotate("second", PAUSED=None)
            await world.ready("second")

    @pytest.mark.rule("C7")
    async def test_removal_that_got_its_turn_after_a_pause_removes_nothing(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            for number in range(9):
                world.add(f"c{number}")
            for number in range(9):
                await world.ready(f"c{number}")
            world.containers.remove_seconds = 60.0
            for number in range(9):
                world.delete(f"c{number}")
            await asyncio.sleep(5)
            last = next(
                name
                for name in (f"c{n}" for n in range(9))
                if not any(
                    world.engine.of(name)[0].container_id in called
                    for what, called, _ in world.engine.calls
                    if what == "remove"
                )
            )
            world.annotate(last, PAUSED="")
            await asyncio.sleep(300)
            assert len(world.engine.of(last)) == 1
            assert world.get(last) is not None
            world.annotate(last, PAUSED=None)
            await world.until(lambda: world.get(last) is None)

    async def test_object_whose_owner_goes_away_is_not_paused_any_more(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")
        async with world.running():
            world.add_owned()
            world.annotate(PAUSED="")
            await asyncio.sleep(10)
            assert world.condition("Paused")[0] == "True"
            world.kube.edit(CLUSTERS, "dev", {"metadata": {"deletionTimestamp": "2026-01-02", "finalizers": ["x"]}})
            world.annotate(PAUSED=None)
            await asyncio.sleep(10)
            assert world.condition("Paused")[0] != "True"


class TestCreation:
    async def test_failed_clean_up_is_tried_ever_less_often_and_told(self, tmp_path):
        world = World(tmp_path)
        stuck = "Error response from daemon: tried to kill container, but did not receive an exit event"
        world.containers.removes = [trouble(stuck, "docker", "rm") for _ in range(1000)]
        world.kind.creates = [trouble(KUBEADM_FAILED)]
        async with world.running():
            world.add()
            await asyncio.sleep(600)
            assert len(world.engine.called("remove")) < 15
            assert "restart the container engine" in world.condition("ClusterCreated")[2]
            world.containers.removes = []
            await world.ready()

    async def test_failed_creation_is_tried_ever_less_often_and_told(self, tmp_path):
        world = World(tmp_path)
        world.kind.creates = [trouble(IMAGE_MISSING) for _ in range(1000)]
        async with world.running():
            world.add()
            await asyncio.sleep(600)
            assert 5 <= len(world.engine.called("create")) <= 10
            assert world.condition("ClusterCreated")[1] == "ImageNotFound"
            assert world.engine.containers == {}

    async def test_edit_of_the_spec_is_tried_without_waiting(self, tmp_path):
        world = World(tmp_path)
        world.kind.creates = [trouble(IMAGE_MISSING) for _ in range(6)]
        async with world.running():
            world.add()
            await world.until(lambda: not world.kind.creates and world.engine.containers == {}, 900)
            await asyncio.sleep(5)
            world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"kubernetesVersion": "v1.36.1"}})
            assert await world.until(lambda: world.reason() == "Ready") < 20

    async def test_kubeconfig_that_cannot_be_read_costs_no_cluster_and_is_told(self, tmp_path, caplog):
        world = World(tmp_path)
        world.kind.text = kubeconfig().replace("certificate-authority-data", "x")
        async with world.running():
            world.add()
            await asyncio.sleep(600)
            assert len(world.engine.called("create")) == 1
            assert len(world.engine.called("kubeconfig")) < 15
            assert world.condition("KubeconfigAvailable")[1] == "KubeconfigUnavailable"
            world.kind.text = kubeconfig()
            await world.ready()
        assert len(world.engine.called("create")) == 1
        assert [record for record in caplog.records if record.exc_info] == []

    async def test_nodes_that_are_listed_before_their_marks_are_no_conflict(self, tmp_path):
        """An engine may list a container before its mounts, and stop one in between."""
        world = World(tmp_path, inventory_period_seconds=1.0)
        world.kind.create_seconds = 60.0
        nodes = world.containers.nodes

        async def unmarked(cluster=None):
            return [replace(node, mark=None, running=False) for node in await nodes(cluster)]

        async with world.running():
            world.add(spec={"nodes": [{"role": "control-plane"}] * 3})
            await world.creating()
            world.containers.nodes = unmarked
            for _ in range(40):
                await asyncio.sleep(1)
                world.annotate(ADOPT=None)
                assert world.reason() == "Creating"
            world.containers.nodes = nodes
            await world.ready()
        assert "NameConflict" not in world.history()
        assert len(world.engine.called("create")) == 1

    async def test_restart_in_the_middle_of_a_creation_begins_it_again(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.creating()
        async with world.running():
            await world.ready()
            marks = {node.mark.rpartition(".")[2] for node in world.engine.of()}
            assert marks == {"2"}

    async def test_one_failed_question_after_a_creation_costs_nothing(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.creating()
            world.kind.kubeconfigs = [trouble("ERROR: docker is busy", "kind", "get", "kubeconfig")]
            await world.ready()
        assert len(world.engine.called("create")) == 1


class TestStrangers:
    @pytest.mark.rule("C21")
    async def test_loser_of_a_race_removes_its_own_worker_only(self, tmp_path):
        world = World(tmp_path)
        conflict = (
            'ERROR: failed to create cluster: command "docker run --name dev-control-plane ..." failed with error: '
            "exit status 125\nCommand Output: docker: Error response from daemon: Conflict. The container name "
            '"/dev-control-plane" is already in use by container "abc".'
        )

        async def create(name, config, **_):
            mark = config["nodes"][0]["extraMounts"][-1]["containerPath"].rpartition("/")[2]
            await asyncio.sleep(20)
            world.engine.run_node("dev-worker", mark=mark)
            raise trouble(conflict)

        world.kind.create_cluster = create
        async with world.running():
            world.add(spec=NODES)
            await asyncio.sleep(5)
            theirs = world.engine.run_node("dev-control-plane")
            await asyncio.sleep(120)
            assert list(world.engine.containers) == [theirs]
            world.delete()
            await world.gone()
            assert list(world.engine.containers) == [theirs]

    @pytest.mark.rule("C21")
    async def test_name_that_kind_lists_before_the_engine_shows_a_container_is_not_deleted(self, tmp_path):
        world = World(tmp_path)
        world.kind.creates = [trouble(IMAGE_MISSING) for _ in range(50)]
        async with world.running():
            world.add()
            await asyncio.sleep(215)
            nodes, theirs = world.containers.nodes, []

            async def nodes_and_then(cluster=None):
                seen = await nodes(cluster)
                if not theirs:
                    theirs.append(world.engine.run_node("dev-control-plane"))
                return seen

            world.containers.nodes = nodes_and_then
            world.engine.calls.clear()
            await asyncio.sleep(400)
            assert list(world.engine.containers) == theirs
            assert world.engine.called("delete") == world.engine.called("remove") == []
            assert world.condition("ClusterCreated")[1] == "NameConflict"

    @pytest.mark.rule("C21")
    async def test_deletion_reads_the_proof_to_its_end(self, tmp_path):
        world = World(tmp_path, engine_lists=False)
        async with world.running():
            world.add()
            await world.ready()
            await asyncio.sleep(120)
            world.engine.containers.clear()
            theirs = world.engine.run_node("dev-control-plane")

            async def slow(name, *, internal):
                await asyncio.sleep(4)
                return kubeconfig(ca="another")

            assert authority("another") != authority()
            world.kind.kubeconfig = slow
            world.delete()
            for number in range(6):
                await asyncio.sleep(0.5)
                world.annotate(KUBE_SYSTEM=str(number))
            await world.gone()
            assert list(world.engine.containers) == [theirs]

    @pytest.mark.rule("C21")
    @pytest.mark.parametrize("when", ["while it is made", "when it is ready"])
    async def test_annotation_never_becomes_a_path(self, tmp_path, when):
        victim = tmp_path / "home" / "someone"
        victim.mkdir(parents=True)
        (victim / "thesis.txt").write_text("x")
        world = World(tmp_path / "work")
        async with world.running():
            world.add()
            await (world.ready() if when == "when it is ready" else world.creating())
            world.annotate(CLAIM=str(victim))
            world.delete()
            await world.gone()
        assert (victim / "thesis.txt").exists()
        assert world.engine.containers == {}

    async def test_adoption_that_fails_says_why(self, tmp_path):
        world = World(tmp_path)
        node = world.engine.run_node("dev-control-plane")
        world.engine.stop_nodes(node)
        failed = "ERROR: failed to get cluster internal kubeconfig: container is not running"
        world.kind.kubeconfigs = [trouble(failed, "kind", "get", "kubeconfig") for _ in range(100)]
        async with world.running():
            world.add(annotations={names.ADOPT_ANNOTATION: "true"})
            await asyncio.sleep(60)
            assert world.condition("ClusterCreated")[2].startswith("Adopting the kind cluster: ")
            assert len(world.engine.called("kubeconfig")) < 8
            world.kind.kubeconfigs = []
            await world.ready()
            world.delete()
            await world.gone()
        assert world.engine.containers == {}

    async def test_cluster_that_bears_the_mark_of_another_object_is_adopted_only_by_naming_it(self, tmp_path):
        world = World(tmp_path)
        world.engine.run_node("dev-control-plane", mark="uid-of-another.3")
        async with world.running():
            world.add(annotations={names.ADOPT_ANNOTATION: "true"})
            await asyncio.sleep(30)
            assert world.reason() == "NameConflict"
            world.annotate(ADOPT="uid-of-another.3")
            await world.ready()
            writes = len(world.kube.writes)
            await asyncio.sleep(3600)
            assert len(world.kube.writes) == writes


class TestDeletion:
    async def test_deletion_ends_a_running_creation_and_leaves_nothing(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.creating()
            world.delete()
            assert await world.gone() < 30
        assert world.engine.containers == {}

    async def test_claim_that_was_stripped_makes_no_deletion_leak(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
        world.annotate(CLAIM=None, CLAIM_ID=None, IDENTITY=None)
        world.delete()
        async with world.running():
            await world.gone()
        assert world.engine.containers == {}

    async def test_ruins_of_an_interrupted_creation_are_not_retained(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add(spec={"deletionPolicy": "Retain"})
            await world.creating()
            world.delete()
            await world.gone()
        assert world.engine.containers == {}

    async def test_container_that_comes_to_light_after_a_crash_is_removed(self, tmp_path):
        """The engine may still be creating a container of an interrupted creation."""
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.creating()
        mark = world.engine.of()[0].mark
        world.engine.containers.clear()
        world.delete()
        async with world.running():
            asyncio.get_running_loop().call_later(3, lambda: world.engine.run_node("dev-worker", mark=mark))
            await world.gone()
        assert world.engine.containers == {}

    async def test_deletions_on_an_engine_that_hangs_hold_nobody_up(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            for number in range(20):
                world.add(f"c{number:02}")
            for number in range(20):
                await world.ready(f"c{number:02}")

            async def hangs(*_):
                await asyncio.sleep(120)
                return []

            world.containers.nodes = world.kind.clusters = world.containers.remove = hangs
            for number in range(20):
                world.delete(f"c{number:02}")
            await asyncio.sleep(1)
            world.add("other", annotations={names.PAUSED_ANNOTATION: ""})
            took = await world.until(lambda: world.condition("Paused", "other")[0] == "True", 60)
            assert took < 15

    async def test_failed_deletion_is_tried_ever_less_often_and_told(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            world.containers.removes = [trouble("Error: something new", "docker", "rm") for _ in range(1000)]
            world.delete()
            await asyncio.sleep(600)
            assert len(world.engine.called("remove")) < 15
            assert "something new" in world.condition("Deleting")[2]
            world.containers.removes = []
            await world.gone()
