"""A KINDCluster of a Cluster, with the real core manager: the views of core, kubectl and clusterctl."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from capk.api.names import FIELD_MANAGER, KIND_CLUSTERS, KIND_CONTROL_PLANES, SECRETS
from capkdev.binaries import find_binary
from capkdev.controlplane import free_port
from test.integration.api import CLUSTERS, Object, condition, eventually
from test.integration.provider.journeys import (
    FINALIZERS,
    Place,
    clusterctl,
    control_plane,
    kindcluster,
    kubectl,
    node_names,
    owner,
    unchanged,
)

NAME = "owned"
ALONE = "infra-only"
PORT = free_port()
NETWORK = {
    "pods": {"cidrBlocks": ["10.50.0.0/16"]},
    "services": {"cidrBlocks": ["10.60.0.0/16"]},
    "serviceDomain": "example.internal",
    "apiServerPort": PORT,
}
ADDONS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: greeting}
data:
  greeting.yaml: |
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: greeting, namespace: default}
    data: {hello: world}
---
apiVersion: addons.cluster.x-k8s.io/v1beta2
kind: ClusterResourceSet
metadata: {name: greeting}
spec:
  clusterSelector: {matchLabels: {greeting: wanted}}
  resources: [{kind: ConfigMap, name: greeting}]
"""


@pytest.fixture(scope="module")
def owned(place: Place) -> Iterator[Place]:
    """A Cluster with a KINDCluster and a KINDControlPlane, and one with only a KINDCluster, for the whole module."""
    labelled = kindcluster(NAME, labels={"team": "blue"}, nodes=[{"role": "control-plane"}, {"role": "worker"}])
    place.create(
        ADDONS,
        owner(NAME, labels={"greeting": "wanted"}, clusterNetwork=NETWORK),
        labelled,
        control_plane(NAME, place.version),
    )
    place.create(owner(ALONE, with_control_plane=False), kindcluster(ALONE))
    _watch_order(place)
    place.await_condition(NAME, "Available", resource=CLUSTERS, seconds=120)
    place.await_condition(ALONE, "RemoteConnectionProbe", resource=CLUSTERS, seconds=120)
    eventually(lambda: place.get(CLUSTERS, ALONE)["status"].get("phase") == "Provisioned", 60)
    yield place
    for name in (NAME, ALONE):
        place.delete(CLUSTERS, name)


def _watch_order(place: Place) -> None:
    """Poll until provisioned: there is never an endpoint without its Secret, nor provisioned without both."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        seen = place.get(KIND_CLUSTERS, NAME)
        secret = place.find(SECRETS, f"{NAME}-kubeconfig")
        endpoint = seen["spec"].get("controlPlaneEndpoint")
        provisioned = (seen.get("status") or {}).get("initialization", {}).get("provisioned")
        assert endpoint or not provisioned
        assert secret or not provisioned
        if provisioned:
            return
        time.sleep(0.02)
    raise AssertionError("never provisioned")


def conditions(seen: Object) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in seen["status"]["conditions"]}


@pytest.mark.rule("C10", "C11", "C13", "C17", "C41", "C42")
def test_cluster_with_a_control_plane_becomes_available(owned: Place) -> None:
    cluster = owned.get(CLUSTERS, NAME)
    expected = {
        "Available": ("True", "Available"),
        "InfrastructureReady": ("True", "Ready"),
        "ControlPlaneInitialized": ("True", "Initialized"),
        "ControlPlaneAvailable": ("True", "Available"),
        "RemoteConnectionProbe": ("True", "ProbeSucceeded"),
        "WorkersAvailable": ("True", "NoWorkers"),
        "Deleting": ("False", "NotDeleting"),
        "Paused": ("False", "NotPaused"),
    }
    seen = conditions(cluster)
    assert {kind: seen.get(kind) for kind in expected} == expected
    for kind in ("Available", "InfrastructureReady", "ControlPlaneAvailable"):
        assert condition(cluster, kind).get("message", "") == ""
    assert cluster["status"]["phase"] == "Provisioned"
    assert cluster["status"]["initialization"] == {
        "infrastructureProvisioned": True,
        "controlPlaneInitialized": True,
    }
    endpoint = owned.get(KIND_CLUSTERS, NAME)["spec"]["controlPlaneEndpoint"]
    assert cluster["spec"]["controlPlaneEndpoint"] == endpoint
    assert endpoint["host"]
    assert endpoint["port"]


@pytest.mark.rule("C10", "C11", "C14", "C17")
def test_cluster_with_infrastructure_alone_is_provisioned_and_connected(owned: Place, tmp_path: Path) -> None:
    """It cannot become Available, in any release of core: its ControlPlaneAvailable stays Unknown."""
    cluster = owned.get(CLUSTERS, ALONE)
    seen = conditions(cluster)
    assert seen["InfrastructureReady"] == ("True", "Ready")
    assert seen["RemoteConnectionProbe"] == ("True", "ProbeSucceeded")
    assert seen["ControlPlaneInitialized"][0] == "False"
    assert seen["ControlPlaneAvailable"][0] == seen["Available"][0] == "Unknown"
    secret = owned.get(SECRETS, f"{ALONE}-kubeconfig")
    assert [reference["kind"] for reference in secret["metadata"]["ownerReferences"]] == ["KINDCluster"]
    assert node_names(secret, tmp_path) == [f"{ALONE}-control-plane"]


@pytest.mark.rule("C14", "C26")
def test_kubeconfig_secret_is_as_cluster_api_wants_it(owned: Place, tmp_path: Path) -> None:
    secret = owned.get(SECRETS, f"{NAME}-kubeconfig")
    assert secret["type"] == "cluster.x-k8s.io/secret"
    assert secret["metadata"]["labels"]["cluster.x-k8s.io/cluster-name"] == NAME
    assert list(secret["data"]) == ["value"]
    (reference,) = secret["metadata"]["ownerReferences"]
    keeper = owned.get(KIND_CONTROL_PLANES, NAME)
    assert (reference["kind"], reference["uid"]) == ("KINDControlPlane", keeper["metadata"]["uid"])
    assert reference["controller"] is True
    assert node_names(secret, tmp_path) == [f"{NAME}-control-plane", f"{NAME}-worker"]
    config = owned.get(SECRETS, f"{NAME}-config")
    assert [reference["kind"] for reference in config["metadata"]["ownerReferences"]] == ["KINDCluster"]
    assert node_names(config, tmp_path, key="config") == [f"{NAME}-control-plane", f"{NAME}-worker"]


@pytest.mark.rule("C8", "C28", "C29", "K13", "K18")
def test_objects_keep_what_others_wrote_and_get_nothing_foreign(owned: Place) -> None:
    cluster = owned.get(CLUSTERS, NAME)
    assert FIELD_MANAGER not in {field["manager"] for field in cluster["metadata"]["managedFields"]}
    for resource, finalizers in ((KIND_CLUSTERS, FINALIZERS), (KIND_CONTROL_PLANES, None)):
        metadata = owned.get(resource, NAME)["metadata"]
        assert metadata.get("finalizers") == finalizers
        assert metadata["labels"]["cluster.x-k8s.io/cluster-name"] == NAME
        assert [one["uid"] for one in metadata["ownerReferences"]] == [cluster["metadata"]["uid"]]
        assert not [key for key in metadata.get("annotations") or {} if "kopf" in key]
        assert not [one["manager"] for one in metadata["managedFields"] if "kopf" in one["manager"].lower()]
    assert owned.get(KIND_CLUSTERS, NAME)["metadata"]["labels"]["team"] == "blue"


@pytest.mark.rule("C22")
def test_network_of_the_cluster_reaches_kind(owned: Place) -> None:
    configuration = owned.kind.configuration(NAME)
    assert configuration["networking"] == {
        "podSubnet": "10.50.0.0/16",
        "serviceSubnet": "10.60.0.0/16",
        "apiServerPort": PORT,
    }
    (patch,) = configuration["kubeadmConfigPatches"]
    assert yaml.safe_load(patch)["networking"] == {"dnsDomain": "example.internal"}
    assert owned.kind_cluster(NAME).control_plane.settings.service_subnet == "10.60.0.0/16"
    assert owned.get(CLUSTERS, NAME)["spec"]["controlPlaneEndpoint"]["port"] == PORT


@pytest.mark.rule("C12", "C41", "C43")
def test_control_plane_tells_its_version_and_its_nodes(owned: Place) -> None:
    status = owned.get(KIND_CONTROL_PLANES, NAME)["status"]
    assert status["initialization"] == {"controlPlaneInitialized": True}
    assert (status["initialized"], status["ready"], status["externalManagedControlPlane"]) == (True, True, True)
    assert status["version"] == owned.version
    assert status["versions"] == [{"version": owned.version, "replicas": 1}]
    assert (status["replicas"], status["readyReplicas"], status["upToDateReplicas"]) == (1, 1, 1)
    assert owned.get(CLUSTERS, NAME)["status"]["controlPlane"]["versions"][0]["version"] == owned.version
    assert {node["image"] for node in owned.kind.configuration(NAME)["nodes"]} == {f"kindest/node:{owned.version}"}


@pytest.mark.rule("C12", "C16", "C20")
def test_status_has_the_older_contract_s_field_and_none_of_its_leftovers(owned: Place) -> None:
    status = owned.get(KIND_CLUSTERS, NAME)["status"]
    assert status["ready"] is True
    assert not {"failureDomains", "failureReason", "failureMessage"} & status.keys()
    assert owned.get(CLUSTERS, NAME)["status"].get("failureDomains", []) == []


@pytest.mark.rule("C14")
def test_core_applies_a_cluster_resource_set_through_the_kubeconfig_secret(owned: Place, tmp_path: Path) -> None:
    secret = owned.get(SECRETS, f"{NAME}-kubeconfig")

    def applied() -> str:
        return kubectl(secret, tmp_path, "get", "configmap", "greeting", "-o", "jsonpath={.data.hello}")

    assert eventually(applied, 60) == "world"


@pytest.mark.rule("C14", "C17", "C42")
def test_clusterctl_finds_nothing_amiss_and_gives_a_kubeconfig_that_works(owned: Place, tmp_path: Path) -> None:
    shown = clusterctl(owned, "describe", "cluster", NAME)
    for kind in ("Cluster", "KINDCluster", "KINDControlPlane"):
        assert any(f"{kind} {owned.namespace}/{NAME}" in line and "True" in line for line in shown.splitlines()), shown
    assert not {"False", "Unknown"} & set(shown.split()), shown
    kubeconfig = tmp_path / "owned.kubeconfig"
    kubeconfig.write_text(clusterctl(owned, "get", "kubeconfig", NAME))
    command = [find_binary("kubectl"), "--kubeconfig", kubeconfig, "get", "nodes", "-o", "name"]
    nodes = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.split()
    assert nodes == [f"node/{NAME}-control-plane", f"node/{NAME}-worker"]


@pytest.mark.rule("C18", "C19")
def test_nothing_is_written_while_nothing_changes(owned: Place) -> None:
    """During several resyncs and inventories; see SHORT_PERIODS."""
    unchanged(lambda: owned.resource_versions(NAME) | owned.resource_versions(ALONE), 9)
