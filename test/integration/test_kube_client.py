"""Our client, our patches, our events and our lease against a real API server."""

import asyncio
import base64
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from capk.api.names import CORE_GROUP, EVENTS, INFRASTRUCTURE_GROUP, KIND_CLUSTERS, SECRETS
from capk.errors import ApiError, Conflict, Forbidden, LostLease, NotFound
from capk.kindconfig.kubeconfig import read_kubeconfig
from capk.kube import credentials
from capk.kube.client import KubeClient
from capk.kube.credentials import Credentials
from capk.kube.jsonpatches import metadata_patch, secret_patch, status_patch
from capk.kube.lease import LEASES, LeaseTimes, hold_lease
from capk.kube.recorder import EventRecorder
from capk.kube.throttle import Throttle
from capk.kube.transport import Transport
from capk.runtime.store import Store
from capkdev.managementcluster.cluster import LocalManagementCluster

FINALIZER = "kindcluster.infrastructure.cluster.x-k8s.io"

LABELLED = [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]


@pytest.fixture
async def client(bare_management: LocalManagementCluster) -> AsyncIterator[KubeClient]:
    client = await KubeClient.connect(kubeconfig=str(bare_management.kubeconfig))
    yield client
    await client.close()


def cluster(namespace: str, name: str = "dev", **parts: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, **parts.pop("metadata", {})}, "spec": {}, **parts}


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def version(obj: dict[str, Any]) -> int:
    return int(obj["metadata"]["resourceVersion"])


async def test_object_lives_from_creation_to_deletion(client: KubeClient, bare_namespace: str) -> None:
    made = await client.create(KIND_CLUSTERS, cluster(bare_namespace))
    assert made["kind"] == "KINDCluster"
    assert await client.get(KIND_CLUSTERS, bare_namespace, "dev") == made
    assert [item["metadata"]["name"] for item in (await client.list(KIND_CLUSTERS, bare_namespace)).items] == ["dev"]
    with pytest.raises(Conflict):
        await client.create(KIND_CLUSTERS, cluster(bare_namespace))
    await client.delete(KIND_CLUSTERS, bare_namespace, "dev")
    with pytest.raises(NotFound):
        await client.get(KIND_CLUSTERS, bare_namespace, "dev")
    with pytest.raises(NotFound):
        await client.delete(KIND_CLUSTERS, bare_namespace, "dev")


@pytest.mark.rule("C8", "C29")
async def test_finalizer_holds_the_object_until_it_is_removed(client: KubeClient, bare_namespace: str) -> None:
    made = await client.create(KIND_CLUSTERS, cluster(bare_namespace, metadata={"finalizers": ["example.org/other"]}))
    patch = metadata_patch(made, add_finalizer=FINALIZER, annotations={"example.org/claim": "dev"})
    assert patch is not None
    held = await client.patch(KIND_CLUSTERS, bare_namespace, "dev", patch)
    assert held["metadata"]["finalizers"] == ["example.org/other", FINALIZER]
    assert metadata_patch(held, add_finalizer=FINALIZER, annotations={"example.org/claim": "dev"}) is None
    await client.delete(KIND_CLUSTERS, bare_namespace, "dev")
    for finalizer in (FINALIZER, "example.org/other"):
        seen = await client.get(KIND_CLUSTERS, bare_namespace, "dev")
        assert seen["metadata"]["deletionTimestamp"]
        patch = metadata_patch(seen, remove_finalizer=finalizer)
        assert patch is not None
        await client.patch(KIND_CLUSTERS, bare_namespace, "dev", patch)
    with pytest.raises(NotFound):
        await client.get(KIND_CLUSTERS, bare_namespace, "dev")


@pytest.mark.rule("K22", "C19")
async def test_status_becomes_exactly_what_is_wanted(client: KubeClient, bare_namespace: str) -> None:
    seen = await client.create(KIND_CLUSTERS, cluster(bare_namespace))
    first = {"ready": False, "kubernetesVersion": "v1.34.0", "initialization": {"provisioned": False}}
    for wanted in (first, {"ready": True, "initialization": {"provisioned": True}}):
        patch = status_patch(seen, wanted)
        assert patch is not None
        seen = await client.patch(KIND_CLUSTERS, bare_namespace, "dev", patch, subresource="status")
        assert seen["status"] == wanted
        assert status_patch(seen, wanted) is None


@pytest.mark.rule("K22")
async def test_stale_view_is_a_conflict_and_changes_nothing(client: KubeClient, bare_namespace: str) -> None:
    old = await client.create(KIND_CLUSTERS, cluster(bare_namespace))
    new = await client.patch(KIND_CLUSTERS, bare_namespace, "dev", LABELLED)
    for patch, subresource in (
        (status_patch(old, {"ready": True}), "status"),
        (metadata_patch(old, add_finalizer=FINALIZER), None),
    ):
        assert patch is not None
        with pytest.raises(Conflict) as raised:
            await client.patch(KIND_CLUSTERS, bare_namespace, "dev", patch, subresource=subresource)
        assert raised.value.status == 422
    assert await client.get(KIND_CLUSTERS, bare_namespace, "dev") == new


@pytest.mark.rule("K22")
async def test_view_of_another_object_of_that_name_is_a_conflict(client: KubeClient, bare_namespace: str) -> None:
    old = await client.create(KIND_CLUSTERS, cluster(bare_namespace))
    await client.delete(KIND_CLUSTERS, bare_namespace, "dev", uid=old["metadata"]["uid"])
    new = await client.create(KIND_CLUSTERS, cluster(bare_namespace))
    assert version(new) > version(old)
    with pytest.raises(Conflict):
        await client.delete(KIND_CLUSTERS, bare_namespace, "dev", uid=old["metadata"]["uid"])
    old["metadata"]["resourceVersion"] = new["metadata"]["resourceVersion"]
    foreign = metadata_patch(old, annotations={"a": "b"})
    assert foreign is not None
    with pytest.raises(Conflict) as raised:
        await client.patch(KIND_CLUSTERS, bare_namespace, "dev", foreign)
    assert raised.value.status == 422
    assert await client.get(KIND_CLUSTERS, bare_namespace, "dev") == new


async def test_json_patch_of_a_path_that_is_missing_is_a_conflict(client: KubeClient, bare_namespace: str) -> None:
    await client.create(KIND_CLUSTERS, cluster(bare_namespace))
    removal = [{"op": "remove", "path": "/metadata/annotations/gone"}]
    with pytest.raises(Conflict):
        await client.patch(KIND_CLUSTERS, bare_namespace, "dev", removal)


async def test_json_patch_with_an_invalid_result_is_no_conflict(client: KubeClient, bare_namespace: str) -> None:
    made = await client.create(KIND_CLUSTERS, cluster(bare_namespace))
    patch = metadata_patch(made, spec={"clusterName": 7})
    assert patch is not None
    with pytest.raises(ApiError, match="clusterName") as raised:
        await client.patch(KIND_CLUSTERS, bare_namespace, "dev", patch)
    assert not isinstance(raised.value, Conflict)


@pytest.mark.rule("C19")
async def test_patch_that_changes_nothing_keeps_the_version(client: KubeClient, bare_namespace: str) -> None:
    made = await client.create(KIND_CLUSTERS, cluster(bare_namespace, metadata={"labels": {"a": "b"}}))
    again = await client.patch(KIND_CLUSTERS, bare_namespace, "dev", LABELLED)
    assert version(again) == version(made)


async def test_refused_object_is_an_error_of_its_own(client: KubeClient, bare_namespace: str) -> None:
    with pytest.raises(ApiError) as raised:
        await client.create(KIND_CLUSTERS, cluster(bare_namespace, spec={"clusterName": 7}))
    assert type(raised.value) is ApiError
    assert raised.value.status == 422
    assert "clusterName" in str(raised.value)


@pytest.mark.rule("C29", "K23")
async def test_secret_patch_replaces_the_data_and_keeps_what_others_own(
    client: KubeClient, bare_namespace: str
) -> None:
    def secret(**data: str) -> dict[str, Any]:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        metadata = {
            "name": "s",
            "namespace": bare_namespace,
            "labels": {"ours": "1"},
            "annotations": {"digest": "d"},
            "ownerReferences": [],
        }
        return {"metadata": metadata, "type": "Opaque", "data": encoded}

    made = await client.create(SECRETS, secret(value="one", old="x"))
    assert {field["manager"] for field in made["metadata"]["managedFields"]} == {"capk"}
    theirs = [{"op": "add", "path": "/metadata/labels/theirs", "value": "2"}]
    edited = await client.patch(SECRETS, bare_namespace, "s", theirs)
    patch = secret_patch(edited["metadata"], secret(value="two"))
    changed = await client.patch(SECRETS, bare_namespace, "s", patch)
    assert changed["data"] == secret(value="two")["data"]
    assert changed["metadata"]["labels"] == {"ours": "1", "theirs": "2"}
    again = await client.patch(SECRETS, bare_namespace, "s", secret_patch(changed["metadata"], secret(value="two")))
    assert version(again) == version(changed)


async def test_list_selects_by_label_and_tells_the_kind(client: KubeClient, bare_namespace: str) -> None:
    secret = {
        "metadata": {"name": "s", "namespace": bare_namespace, "labels": {"a": "b"}},
        "data": {"value": "aHVzaA=="},
    }
    await client.create(SECRETS, secret)
    listing = await client.list(SECRETS, bare_namespace, label_selector="a=b")
    assert [item["metadata"]["name"] for item in listing.items] == ["s"]
    assert listing.items[0]["kind"] == "Secret"
    assert (await client.list(SECRETS, bare_namespace, label_selector="a=c")).items == []


async def test_groups_that_are_served_are_told_from_those_that_are_not(client: KubeClient) -> None:
    assert await client.serves(INFRASTRUCTURE_GROUP) == "v1alpha1"
    assert await client.serves("apps") == "v1"
    assert await client.serves(CORE_GROUP) is None


@pytest.mark.rule("K27")
async def test_store_and_list_agree_on_what_vanished(client: KubeClient, bare_namespace: str) -> None:
    store = Store()
    for name in ("gone", "stays", "made-again"):
        store.put(KIND_CLUSTERS, await client.create(KIND_CLUSTERS, cluster(bare_namespace, name)))
    for name in ("gone", "made-again"):
        await client.delete(KIND_CLUSTERS, bare_namespace, name)
    await client.create(KIND_CLUSTERS, cluster(bare_namespace, "made-again"))
    listing = await client.list(KIND_CLUSTERS, bare_namespace)
    late = await client.create(KIND_CLUSTERS, cluster(bare_namespace, "late"))
    store.put(KIND_CLUSTERS, late)
    drift = store.prune(KIND_CLUSTERS, listing.items, listing.resource_version, namespace=bare_namespace)
    assert sorted(key.name for key in drift.vanished) == ["gone", "made-again"]
    assert [key.name for key in drift.behind] == ["made-again"]
    assert sorted(key.name for key in store.keys(KIND_CLUSTERS)) == ["late", "stays"]


@pytest.mark.rule("K42")
async def test_events_are_accepted_and_counted(client: KubeClient, bare_namespace: str) -> None:
    made = await client.create(KIND_CLUSTERS, cluster(bare_namespace))
    for recorder in (EventRecorder(client, "capk"), EventRecorder(client, "capk")):
        for _ in range(2):
            await recorder.record(made, "Warning", "ImageNotFound", "there is no such image")
    (event,) = (await client.list(EVENTS, bare_namespace)).items
    assert event["count"] == 4
    assert event["involvedObject"]["uid"] == made["metadata"]["uid"]


@pytest.mark.rule("K41")
async def test_lease_goes_from_one_replica_to_the_next(client: KubeClient, bare_namespace: str) -> None:
    times = LeaseTimes(duration=3, renew_deadline=2, retry=0.2, shutdown=1)
    order: list[str] = []

    async def replica(identity: str) -> None:
        async with hold_lease(client, "capk", bare_namespace, identity, times=times):
            order.append(f"{identity} leads")
            await asyncio.sleep(0.5)
            order.append(f"{identity} stops")

    await asyncio.gather(replica("a"), replica("b"))
    first, second = ("a", "b") if order[0].startswith("a") else ("b", "a")
    assert order == [f"{first} leads", f"{first} stops", f"{second} leads", f"{second} stops"]
    lease = await client.get(LEASES, bare_namespace, "capk")
    assert lease["spec"]["leaseTransitions"] == 1
    assert not lease["spec"]["holderIdentity"]


@pytest.mark.rule("K41")
async def test_lease_that_another_one_takes_stops_the_leader(client: KubeClient, bare_namespace: str) -> None:
    times = LeaseTimes(duration=3, renew_deadline=2, retry=0.2, shutdown=1)

    async def lead() -> None:
        async with hold_lease(client, "capk", bare_namespace, "a", times=times):
            await client.patch(
                LEASES, bare_namespace, "capk", [{"op": "add", "path": "/spec/holderIdentity", "value": "thief"}]
            )
            await asyncio.sleep(60)

    with pytest.raises(LostLease, match="thief"):
        await lead()
    assert (await client.get(LEASES, bare_namespace, "capk"))["spec"]["holderIdentity"] == "thief"


async def test_login_leaves_no_key_behind(
    bare_management: LocalManagementCluster, bare_namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for _ in range(2):  # the loader caches files by content, even deleted ones
        client = await KubeClient.connect(kubeconfig=str(bare_management.kubeconfig))
        assert names_in(tmp_path) == []
        assert (await client.list(KIND_CLUSTERS, bare_namespace)).items == []
        async with await client.session() as session, session.get(f"{client.server}/version") as response:
            assert response.status == 200
        await client.close()


async def test_rotated_token_of_a_pod_is_picked_up(
    bare_management: LocalManagementCluster, bare_namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, authority = service_account(bare_management, bare_namespace)
    server = urlsplit(read_kubeconfig(bare_management.kubeconfig.read_text()).server)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(server.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    (tmp_path / "token").write_text("expired")
    (tmp_path / "ca.crt").write_text(authority)
    monkeypatch.setattr(credentials, "TOKEN_FILE", tmp_path / "token")
    codes: list[str] = []
    transport = Transport(Credentials(in_cluster=True), timeout_seconds=30, pool_size=4, reload_seconds=0)
    await transport.open()
    throttle = Throttle(max_in_flight=4)
    client = KubeClient(transport, throttle, lambda verb, resource, code: codes.append(code))
    with pytest.raises(Forbidden):
        await client.list(KIND_CLUSTERS, bare_namespace)
    assert codes == ["401", "401"]  # it read the credentials again in between
    (tmp_path / "token").write_text(f"{token}\n")
    assert (await client.list(KIND_CLUSTERS, bare_namespace)).items == []
    assert codes == ["401", "401", "200"]
    with pytest.raises(Forbidden):
        await client.list(SECRETS, bare_namespace)
    await client.close()


def service_account(management: LocalManagementCluster, namespace: str) -> tuple[str, str]:
    """Return a token that may only read KINDClusters, and the authority of the API server."""
    rest = management.rest()
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    account = {"metadata": {"name": "pod"}}
    rest.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
    rules = [{"apiGroups": [INFRASTRUCTURE_GROUP], "resources": ["kindclusters"], "verbs": ["list"]}]
    rest.request("POST", f"{rbac}/roles", {**account, "rules": rules})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pod"}
    subject = {"kind": "ServiceAccount", "name": "pod", "namespace": namespace}
    rest.request("POST", f"{rbac}/rolebindings", {**account, "roleRef": role, "subjects": [subject]})
    wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = rest.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/pod/token", wanted)
    rest.close()
    (entry,) = yaml.safe_load(management.kubeconfig.read_text())["clusters"]
    authority = base64.b64decode(entry["cluster"]["certificate-authority-data"]).decode()
    return answer["status"]["token"], authority
