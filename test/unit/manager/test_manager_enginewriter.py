"""What is created and deleted in the namespace of engines, and what is left alone there."""

from dataclasses import replace
from typing import Any, cast

import pytest

from capk.api import names
from capk.api.names import PODS, SECRETS, SERVICES, VOLUME_CLAIMS, Resource
from capk.errors import ApiError, Conflict
from capk.manager.enginewriter import EngineWriter
from capk.plan.plan import EngineObject, EngineRemoval
from test.unit.recording_kube import RecordingKube

NAMESPACE, NAME, UID = "capkind-engines", "kc-1", "uid-of-dev"
OURS = {names.MANAGED_BY_LABEL: names.MANAGED_BY, names.ENGINE_CLUSTER_LABEL: UID}
REMOVAL = EngineRemoval(NAMESPACE, NAME, UID)
KINDS = (PODS, VOLUME_CLAIMS, SECRETS, SERVICES)


class Keys:
    """Issues certificates by name only."""

    def server(self, name: str, hosts: tuple[str, ...]) -> dict[str, str]:
        return {"ca.crt": "authority", "tls.crt": f"of {name} for {','.join(hosts)}", "tls.key": "key"}


class Pods:
    """Notes what it is given."""

    keys = Keys()

    def __init__(self) -> None:
        self.taken: list[str] = []

    def put(self, resource: Resource, obj: Any) -> None:
        self.taken.append(resource.kind)


@pytest.fixture
def kube() -> RecordingKube:
    return RecordingKube()


@pytest.fixture
def pods() -> Pods:
    return Pods()


@pytest.fixture
def writer(kube: RecordingKube, pods: Pods) -> EngineWriter:
    return EngineWriter(kube, cast(Any, pods))


def body(labels: Any = None, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": NAME, "namespace": NAMESPACE, "labels": OURS if labels is None else labels}, **fields}


def left(kube: RecordingKube) -> list[str]:
    return [plural for plural, *_ in kube.objects]


async def test_secret_gets_its_certificate_and_is_not_kept_in_memory(kube, writer, pods) -> None:
    await writer.create(EngineObject(SECRETS, body(), ("host", "10.96.0.1")))
    stored = kube.objects["secrets", NAMESPACE, NAME]
    assert stored["data"] == {"ca.crt": "authority", "tls.crt": f"of {NAME} for host,10.96.0.1", "tls.key": "key"}
    assert pods.taken == []
    await writer.create(EngineObject(PODS, body()))
    assert pods.taken == ["Pod"]


async def test_object_that_is_there_already_is_used(kube, writer) -> None:
    stored = kube.put(PODS, body(spec={"a": 1}))
    assert await writer.create(EngineObject(PODS, body())) == stored


@pytest.mark.parametrize(
    "labels",
    [{}, {**OURS, names.ENGINE_CLUSTER_LABEL: "uid-of-another"}, {names.ENGINE_CLUSTER_LABEL: UID}],
    ids=["none", "of another object", "not managed"],
)
@pytest.mark.parametrize("resource", KINDS, ids=lambda resource: resource.kind)
async def test_object_of_someone_else_is_neither_used_nor_deleted(kube, writer, resource, labels) -> None:
    kube.put(resource, body(labels))
    with pytest.raises(ApiError, match="does not belong to this KINDCluster") as raised:
        await writer.create(EngineObject(resource, body(), ("host",) if resource is SECRETS else ()))
    assert raised.value.is_refusal
    assert await writer.remove(REMOVAL)
    assert left(kube) == [resource.plural]
    assert [verb for verb, *_ in kube.writes] == ["create"]


async def test_object_that_is_going_is_awaited(kube, writer) -> None:
    kube.put(VOLUME_CLAIMS, {**body(), "metadata": {**body()["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}})
    with pytest.raises(Conflict):
        await writer.create(EngineObject(VOLUME_CLAIMS, body()))


async def test_rest_is_deleted_only_when_the_pod_is_gone_and_the_service_comes_last(kube, writer) -> None:
    for resource in KINDS:
        kube.put(resource, body())
    kube.objects["pods", NAMESPACE, NAME]["metadata"]["finalizers"] = ["kubelet"]
    assert not await writer.remove(REMOVAL)
    assert not await writer.remove(REMOVAL)
    assert [(verb, plural) for verb, plural, *_ in kube.writes] == [("delete", "pods")]
    del kube.objects["pods", NAMESPACE, NAME]
    assert await writer.remove(REMOVAL)
    assert [plural for _, plural, *_ in kube.writes[1:]] == ["persistentvolumeclaims", "secrets", "services"]
    assert left(kube) == []


async def test_pod_alone_is_deleted_if_another_will_follow(kube, writer) -> None:
    for resource in KINDS:
        kube.put(resource, body())
    stop = EngineRemoval(NAMESPACE, NAME, UID, pod_only=True)
    assert not await writer.remove(stop)
    assert await writer.remove(stop)
    assert left(kube) == ["persistentvolumeclaims", "secrets", "services"]


async def test_object_that_took_the_name_meanwhile_stays(kube, writer, monkeypatch) -> None:
    kube.put(PODS, body())
    read = kube.get

    async def replaced(resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        found = await read(resource, namespace, name)
        kube.put(resource, body({}))
        return found

    monkeypatch.setattr(kube, "get", replaced)
    with pytest.raises(Conflict):
        await writer.remove(REMOVAL)
    assert left(kube) == ["pods"]


async def test_secret_of_a_former_authority_is_replaced(kube, writer) -> None:
    kube.put(SECRETS, body(data={"ca.crt": "former", "tls.crt": "former"}))
    answer = await writer.create(EngineObject(SECRETS, body(), ("host",)))
    assert answer["data"]["ca.crt"] == "authority"


async def test_pod_that_has_replaced_one_that_ended_stays(kube, writer) -> None:
    """The watch may be behind, or another provider may have been quicker."""
    pod = kube.put(PODS, body())
    removal = EngineRemoval(NAMESPACE, NAME, UID, pod_only=True, pod_uid="uid-of-the-one-before")
    await writer.remove(removal)
    assert left(kube) == ["pods"]
    assert await writer.remove(replace(removal, pod_uid=pod["metadata"]["uid"])) is False
    assert left(kube) == []
