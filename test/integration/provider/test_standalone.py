"""A standalone KINDCluster: the original project's flow, with and without Cluster API."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS, KIND_CONTROL_PLANES, SECRETS, Resource
from capkdev.binaries import find_manifest
from capkdev.fakekind.create import MODE_VARIABLE
from capkdev.managementcluster import install, manifests
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.integration.api import CLUSTERS, Api, connected, eventually
from test.integration.provider.journeys import (
    FINALIZERS,
    SHORT_PERIODS,
    Place,
    SwitchableKind,
    control_plane,
    kindcluster,
    node_names,
    owner,
    standalone,
)
from test.integration.provider_process import StartProvider
from test.integration.service_account import audited, refused, requests

DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
SAMPLES = Path(__file__).parents[3] / "config" / "samples"


@pytest.mark.rule("C8", "C10", "C11", "C17", "C23", "C24", "C26")
def test_samples_need_no_cluster_api(
    bare_management: LocalManagementCluster, bare_api: Api, bare_namespace: str, provider: StartProvider, tmp_path: Path
) -> None:
    """One sample is applied before the provider starts, another one afterwards, and one without the flag."""
    bare_api.create(bare_namespace, (SAMPLES / "standalone.yaml").read_text())
    kind = SwitchableKind(tmp_path / "bin")
    process = provider(bare_management, bare_namespace, *SHORT_PERIODS, *kind.flags)
    place = Place(bare_management, bare_api, bare_namespace, process, kind)
    place.create((SAMPLES / "multi-node.yaml").read_text(), kindcluster("plain"))
    for name in ("dev", "multi-node", "plain"):
        place.await_condition(name)
    assert process.home.names() == ["dev", "multi-node", "plain"]

    _check_ready(place)
    secret = place.get(SECRETS, "multi-node-config")
    assert node_names(secret, tmp_path, key="config") == [
        "multi-node-control-plane",
        "multi-node-worker",
        "multi-node-worker2",
    ]
    assert place.find(SECRETS, "dev-kubeconfig") is None

    for name in ("dev", "multi-node", "plain"):
        place.delete(KIND_CLUSTERS, name)
    for name in ("dev", "multi-node", "plain"):
        place.await_gone(name)
    assert process.home.names() == []
    assert bare_api.list(SECRETS, bare_namespace) == []
    assert process.stop() == 0


def _check_ready(place: Place) -> None:
    """Check the visible state of a finished cluster: status, Events, history."""
    seen = place.get(KIND_CLUSTERS, "multi-node")
    assert seen["metadata"]["finalizers"] == FINALIZERS
    status = seen["status"]
    verdicts = {one["type"]: (one["status"], one.get("message", "")) for one in status["conditions"]}
    good = ("Ready", "ClusterCreated", "EngineAvailable", "NodesRunning", "KubeconfigAvailable")
    assert {kind: verdicts[kind] for kind in good} == dict.fromkeys(good, ("True", ""))
    assert {kind: verdicts[kind][0] for kind in ("Paused", "Deleting")} == {"Paused": "False", "Deleting": "False"}
    assert status["ready"] is True
    assert status["initialization"] == {"provisioned": True}
    assert status["observedGeneration"] == seen["metadata"]["generation"]
    assert status["kubernetesVersion"] == place.version
    assert [(node["name"], node["state"]) for node in status["nodes"]] == [
        ("multi-node-control-plane", "Running"),
        ("multi-node-worker", "Running"),
        ("multi-node-worker2", "Running"),
    ]
    endpoint = seen["spec"]["controlPlaneEndpoint"]
    assert status["endpoints"]["external"] == f"https://{endpoint['host']}:{endpoint['port']}"
    assert status["endpoints"]["internal"] == "https://multi-node-control-plane:6443"
    # Intermediate states ("NotProvisioned", "reading the kubeconfig") are reported only if a step takes long enough.
    done = [entry["reason"] for entry in status["history"] if entry["reason"] in ("Created", "Running", "Provisioned")]
    assert done == ["Created", "Running", "Provisioned"]
    assert eventually(lambda: place.events("multi-node")["Created"])["type"] == "Normal"


@pytest.mark.rule("C5", "C24", "C33")
def test_kindcluster_waits_for_its_cluster_where_cluster_api_is_installed(quick_place: Place) -> None:
    """A reference to a topology's Secret does not count; only the Cluster's reference starts the work."""
    shim = {"apiVersion": "v1", "kind": "Secret", "name": "shim", "uid": "5e7f0d2c-0000-4000-8000-000000000000"}
    waiting = kindcluster("waiting")
    waiting["metadata"]["ownerReferences"] = [shim]
    quick_place.create(waiting, kindcluster("never"))
    for name in ("waiting", "never"):
        quick_place.await_condition(name, reason="WaitingForCluster")
        assert "finalizers" not in quick_place.get(KIND_CLUSTERS, name)["metadata"]
        assert quick_place.process.home.find(name) is None

    quick_place.create(owner("waiting", with_control_plane=False))
    quick_place.await_condition("waiting")
    assert quick_place.process.home.find("waiting") is not None
    references = quick_place.get(KIND_CLUSTERS, "waiting")["metadata"]["ownerReferences"]
    assert {reference["kind"] for reference in references} == {"Secret", "Cluster"}

    quick_place.delete(KIND_CLUSTERS, "never")
    assert quick_place.find(KIND_CLUSTERS, "never") is None
    quick_place.delete(CLUSTERS, "waiting")
    quick_place.await_gone("waiting", CLUSTERS)
    assert quick_place.process.home.find("waiting") is None


@pytest.mark.rule("C5", "C24")
def test_standalone_flag_works_beside_cluster_api(quick_place: Place) -> None:
    quick_place.create(standalone("alone", clusterName="on-its-own"))
    quick_place.await_condition("alone")
    assert quick_place.kind_cluster("on-its-own").name == "on-its-own"
    assert quick_place.get(SECRETS, "on-its-own-config")["metadata"]["ownerReferences"][0]["name"] == "alone"
    quick_place.delete(KIND_CLUSTERS, "alone")
    quick_place.await_gone("alone")
    assert quick_place.process.home.find("on-its-own") is None
    assert quick_place.find(SECRETS, "on-its-own-config") is None


@pytest.mark.rule("C5", "C22")
def test_creation_waits_for_the_control_plane_that_the_cluster_names(quick_place: Place) -> None:
    """Its version decides the node image."""
    quick_place.create(owner("early"), kindcluster("early"))
    quick_place.await_condition("early", reason="WaitingForControlPlane")
    quick_place.create(control_plane("early", "v1.35.0"))
    quick_place.await_condition("early")
    (node,) = quick_place.kind.configuration("early")["nodes"]
    assert node["image"] == "kindest/node:v1.35.0"
    quick_place.delete(CLUSTERS, "early")
    quick_place.await_gone("early", CLUSTERS)
    assert quick_place.find(KIND_CONTROL_PLANES, "early") is None


@pytest.fixture(scope="module")
def growing_management(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalManagementCluster]:
    """An API server on which Cluster API is installed later."""
    with audited(tmp_path_factory.mktemp("growing"), core=False) as management:
        yield management
        assert refused(requests(management)) == []


@pytest.fixture
def growing_api(growing_management: LocalManagementCluster) -> Iterator[Api]:
    with connected(growing_management) as api:
        yield api


@pytest.fixture
def install_clusters(growing_api: Api) -> Iterator[Callable[[], None]]:
    """Installs Cluster API's definition of Clusters without its controllers; removed after the test."""
    documents = manifests.load(find_manifest("cluster-api-crds.yaml"))
    definition = next(one for one in documents if one["spec"]["names"]["kind"] == "Cluster")
    definition["spec"]["conversion"] = {"strategy": "None"}
    yield lambda: install.install_definitions(growing_api.rest, [definition])
    growing_api.delete(DEFINITIONS, "", definition["metadata"]["name"])
    eventually(lambda: growing_api.find(DEFINITIONS, "", definition["metadata"]["name"]) is None, 60)


@pytest.mark.rule("C5", "K49")
@pytest.mark.parametrize("told_by", ["a watch", "a resync"])
def test_cluster_api_may_come_after_the_provider(
    told_by: str,
    growing_management: LocalManagementCluster,
    growing_api: Api,
    provider: StartProvider,
    install_clusters: Callable[[], None],
    tmp_path: Path,
) -> None:
    namespace, kind = growing_api.new_namespace(), SwitchableKind(tmp_path / "bin")
    # Definitions are watched only with access to all namespaces, which the provider's own account does not have.
    flags = ["--sync-period", "1h", "--kubeconfig", str(growing_management.kubeconfig)] if told_by == "a watch" else []
    process = provider(growing_management, namespace, *SHORT_PERIODS, *kind.flags, *flags, **{MODE_VARIABLE: "instant"})
    place = Place(growing_management, growing_api, namespace, process, kind)
    place.create(kindcluster("before"))
    place.await_condition("before")

    install_clusters()
    uid = place.create(owner("late", with_control_plane=False))["metadata"]["uid"]
    late = kindcluster("late")
    reference = {"apiVersion": CLUSTERS.api_version, "kind": "Cluster", "name": "late", "uid": uid}
    late["metadata"]["ownerReferences"] = [reference]
    place.create(late)
    place.await_condition("late")
    # The provider may notice the Cluster after the standalone object is Ready.
    secret = eventually(lambda: place.find(SECRETS, "late-kubeconfig"))
    assert secret is not None
    assert secret["metadata"]["labels"]["cluster.x-k8s.io/cluster-name"] == "late"
    place.create(kindcluster("unowned"))
    place.await_condition("unowned", reason="WaitingForCluster")
    assert place.condition("before", "Ready")["status"] == "True"


@pytest.mark.rule("C19")
def test_life_to_ready_costs_six_writes_and_those_that_tell_of_progress(own_place: Callable[..., Place]) -> None:
    """Finalizer and claim, the identity, the Secret, the endpoint, the status, an Event."""
    place = own_place()
    place.create(standalone("thrifty"))
    place.await_condition("thrifty")
    created = eventually(lambda: place.events("thrifty").get("Created"))
    assert created is not None
    history = place.get(KIND_CLUSTERS, "thrifty")["status"]["history"]
    ends = {"Created", "Running", "Provisioned", "NotReachable"}
    steps = [entry for entry in history if entry["reason"] not in ends]
    started = [event for event in place.events("thrifty") if event != "Created"]
    assert _writes(place) == 6 + len(steps) + len(started)


def _writes(place: Place) -> int:
    """Return the number of the provider's writes, successful or not."""
    counted = re.findall(
        r'^capk_api_requests_total\{.*verb="(?:create|patch|apply|delete)"\} (\d+)', place.process.metrics(), re.M
    )
    return sum(int(number) for number in counted)
