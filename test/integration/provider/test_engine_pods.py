"""Engines in Pods against a real API server, with a pretended scheduler and kubelet.

The provider has the rights and the flag of config/pods: it has no engine of its own.
"""

from collections.abc import Iterator

import pytest

from capk.api.names import (
    BLOCK_MOVE_ANNOTATION,
    KIND_CLUSTERS,
    NAMESPACES,
    PODS,
    SERVICES,
    Resource,
)
from capkdev.fakekind.clusters import Home
from capkdev.fakekind.create import MODE_VARIABLE
from capkdev.fakekind.listing import HOSTS
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.integration.api import Object, connected, eventually
from test.integration.provider.conftest import NOTHING_ANSWERS
from test.integration.provider.enginepods import (
    ENGINES,
    NODE,
    Kubelet,
    create_node,
    engine_class,
    objects_of_engines,
    service_account,
)
from test.integration.provider.journeys import SHORT_PERIODS, Place, SwitchableKind, standalone
from test.integration.provider_process import ProviderProcess
from test.integration.service_account import (
    NAMESPACE as OWN_NAMESPACE,
)
from test.integration.service_account import (
    Asked,
    account_kubeconfig,
    allowed,
    asked,
    audited,
    bound_roles,
    refused,
    requests,
    shipped,
)

OVERLAY = "pods"
QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")
IN_POD = {"className": "pods"}
ALLOWED = {"kind-engines": "pods"}


@pytest.fixture(scope="module")
def management(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalManagementCluster]:
    """A separate management cluster: the provider manages all of it, and its requests are recorded."""
    with audited(tmp_path_factory.mktemp("engines")) as started:
        with connected(started) as api:
            create_node(api)
        yield started


@pytest.fixture(scope="module")
def place(management: LocalManagementCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A provider for all namespaces, and a class."""
    directory = tmp_path_factory.mktemp("place")
    with connected(management) as api:
        namespace, kind = api.new_namespace(), SwitchableKind(directory / "bin")
        account_kubeconfig(management, overlay=OVERLAY)
        flags = [*SHORT_PERIODS, *kind.flags, *NOTHING_ANSWERS, "--leader-election-namespace", OWN_NAMESPACE]
        flags += [flag for flag in own_container()["args"] if "engine" in flag]
        process = ProviderProcess(management, directory, flags, {MODE_VARIABLE: "instant"})
        process.start()
        api.patch(NAMESPACES, "", namespace, {"metadata": {"labels": ALLOWED}})
        api.create("", engine_class("pods", ALLOWED))
        api.create("", engine_class("kept", ALLOWED, storage={"claim": {"size": "1Gi"}}))
        yield Place(management, api, namespace, process, kind)
        process.kill()
        print(process.log_text())


@pytest.fixture(scope="module")
def kubelet(place: Place) -> Iterator[Kubelet]:
    thread = Kubelet(place.management, place.process.home.directory / HOSTS)
    thread.start()
    yield thread
    thread.stop()


def own_pod() -> Object:
    """Return the spec of the provider's own Pod."""
    [deployment] = shipped("Deployment", overlay=OVERLAY)
    return dict(deployment["spec"]["template"]["spec"])


def own_container() -> Object:
    [manager] = own_pod()["containers"]
    return dict(manager)


def namespace_of_engines() -> list[Object]:
    """Return the shipped manifests, and the account that a controller manager would create."""
    found = shipped("Namespace", "Role", "RoleBinding", "NetworkPolicy", overlay="engine-namespace")
    return sorted([*found, service_account(ENGINES)], key=lambda one: one["kind"] != "Namespace")


def left(place: Place) -> list[str]:
    """Return what is in the namespace of engines."""
    return objects_of_engines(place.api)


def engine_of(place: Place, name: str) -> Home:
    """Return the kind clusters on the engine of a KINDCluster."""
    pod = place.get(KIND_CLUSTERS, name)["status"]["engine"]["pod"].partition("/")[2]
    return Home(place.process.home.directory / HOSTS / f"{pod}.{ENGINES}.svc:2376")


def test_missing_rights_and_namespace_are_named_until_they_are_there(place: Place) -> None:
    place.create(standalone("first", engine=IN_POD))
    seen = place.await_condition("first", "EngineAvailable", "EngineRefused")
    assert "--engine-namespace" in seen["message"]
    for one in namespace_of_engines():
        place.api.apply(one["metadata"].get("namespace", ""), one)


def test_cluster_lives_in_a_pod_of_its_own(place: Place, kubelet: Kubelet) -> None:
    place.await_condition("first")
    assert engine_of(place, "first").names() == ["first"]
    assert place.process.home.names() == []
    seen = place.get(KIND_CLUSTERS, "first")
    pod = place.api.list(PODS, ENGINES)[0]
    assert seen["status"]["engine"] == {
        "className": "pods",
        "pod": f"{ENGINES}/{pod['metadata']['name']}",
        "node": NODE,
        "restarts": 0,
    }
    assert seen["spec"]["controlPlaneEndpoint"] == {"host": f"{pod['metadata']['name']}.{ENGINES}.svc", "port": 6443}
    assert seen["metadata"]["annotations"][BLOCK_MOVE_ANNOTATION] == "engine"
    assert len(left(place)) == 3

    kubelet.restart(pod["metadata"]["name"])
    eventually(lambda: place.get(KIND_CLUSTERS, "first")["status"]["engine"]["restarts"] == 1)
    place.await_condition("first")
    eventually(lambda: {"EngineScheduled", "EngineRestarted"} <= place.events("first").keys())

    place.delete(KIND_CLUSTERS, "first")
    place.await_gone("first")
    assert left(place) == []


def test_quota_and_scheduler_are_quoted(place: Place, kubelet: Kubelet) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    place.api.create(ENGINES, quota)
    place.api.patch(QUOTAS, ENGINES, "none", {"status": {"hard": {"pods": "0"}, "used": {"pods": "0"}}}, "status")
    kubelet.trouble = {
        "phase": "Pending",
        "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}
        ],
    }
    place.create(standalone("waiting", engine=IN_POD))
    assert "exceeded quota" in place.await_condition("waiting", "EngineAvailable", "EngineRefused")["message"]
    place.api.delete(QUOTAS, ENGINES, "none")
    unscheduled = place.await_condition("waiting", "EngineAvailable", "EngineUnschedulable")
    assert "0/1 nodes are available" in unscheduled["message"]
    place.delete(KIND_CLUSTERS, "waiting")
    place.await_gone("waiting")
    kubelet.trouble = None
    assert left(place) == []


def test_deleted_pod_is_missing_or_replaced(place: Place, kubelet: Kubelet) -> None:
    place.create(standalone("lost", engine=IN_POD), standalone("again", engine=IN_POD, recreatePolicy="Always"))
    for name in ("lost", "again"):
        place.await_condition(name)
        pod = place.get(KIND_CLUSTERS, name)["status"]["engine"]["pod"].partition("/")[2]
        place.api.delete(PODS, ENGINES, pod)
    place.await_condition("lost", "ClusterCreated", "Missing")
    eventually(lambda: len(place.api.list(PODS, ENGINES)) == 1)
    place.await_condition("again")
    for name in ("lost", "again"):
        place.delete(KIND_CLUSTERS, name)
        place.await_gone(name)
    assert left(place) == []


def test_engine_with_a_volume_stops_and_starts(place: Place, kubelet: Kubelet) -> None:
    place.create(standalone("kept", engine={"className": "kept"}))
    place.await_condition("kept")
    place.patch(KIND_CLUSTERS, "kept", {"spec": {"engine": {"powerState": "Stopped"}}})
    place.await_condition("kept", reason="Stopped")
    eventually(lambda: not place.api.list(PODS, ENGINES))
    assert engine_of(place, "kept").names() == ["kept"]
    place.patch(KIND_CLUSTERS, "kept", {"spec": {"engine": {"powerState": "Running"}}})
    place.await_condition("kept")
    place.delete(KIND_CLUSTERS, "kept")
    place.await_gone("kept")
    eventually(lambda: left(place) == [])


def test_killed_provider_leaves_nothing_behind(place: Place, kubelet: Kubelet) -> None:
    place.create(standalone("killed", engine=IN_POD))
    eventually(lambda: place.api.list(SERVICES, ENGINES), interval_seconds=0.01)
    place.process.kill()
    place.process.start()
    place.await_condition("killed")
    assert len(place.api.list(PODS, ENGINES)) == 1
    place.process.kill()
    place.patch(KIND_CLUSTERS, "killed", {"metadata": {"finalizers": None}})
    place.delete(KIND_CLUSTERS, "killed")
    place.process.start()
    eventually(lambda: left(place) == [])


def test_rights_there_are_those_that_it_uses(place: Place) -> None:
    events = requests(place.management)
    there = [one for one in events if (one.get("objectRef") or {}).get("namespace") == ENGINES]
    roles = [one for one in namespace_of_engines() if one["kind"] == "Role"]
    secrets = {Asked(verb, "/secrets") for verb in ("get", "create", "delete")}
    # It reads Events of a Pod that starts slowly only, which takes a minute.
    assert asked(there) - secrets == allowed(roles) - {Asked("list", "/events")}
    denied = [one for one in refused(events) if ENGINES not in one]
    assert denied == []


@pytest.mark.rule("C39")
def test_provider_needs_no_other_rights_than_those_of_its_overlay(place: Place) -> None:
    events = requests(place.management)
    there = [one for one in events if (one.get("objectRef") or {}).get("namespace") == ENGINES]
    elsewhere = [one for one in events if (one.get("objectRef") or {}).get("namespace") != ENGINES]
    everywhere = allowed(bound_roles(OVERLAY))
    assert asked(elsewhere) - everywhere == set()
    assert asked(there) - everywhere <= allowed(bound_roles("engine-namespace"))
    assert {one.resource for one in asked(elsewhere)}.isdisjoint({"/pods", "/services", "/persistentvolumeclaims"})


def test_provider_works_without_an_engine_of_its_own_or_power_over_its_node(place: Place) -> None:
    place.create(standalone("alone"))
    assert "spec.engine.className" in place.await_condition("alone", reason="EngineClassNotFound")["message"]
    place.delete(KIND_CLUSTERS, "alone")
    place.await_gone("alone")
    assert place.process.home.names() == []
    assert [volume for volume in own_pod()["volumes"] if "hostPath" in volume] == []
    assert not {"hostNetwork", "hostPID", "hostIPC"} & own_pod().keys()
    assert "privileged" not in own_container()["securityContext"]
    assert own_container()["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    [namespace] = shipped("Namespace", overlay=OVERLAY)
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
