"""ClusterClass with the real topology controller: a Cluster of a few lines becomes Available, and stays quiet."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capk.api.names import (
    KIND_CLUSTER_TEMPLATES,
    KIND_CLUSTERS,
    KIND_CONFIGS,
    KIND_CONTROL_PLANE_TEMPLATES,
    KIND_CONTROL_PLANES,
    KIND_MACHINES,
)
from capk.errors import ApiError
from test.integration.api import CLUSTERS, Object, condition, eventually
from test.integration.provider.journeys import Place, unchanged

CLASS = Path(__file__).parents[3] / "templates" / "clusterclass-kind.yaml"
NAME = "classy"
QUIET_SECONDS = float(os.environ.get("CAPK_TEST_QUIET_SECONDS", "4"))
"""Seconds without a write after each topology reconcile; 150 means five minutes for two of them."""


def topology(name: str, version: str) -> Object:
    return {
        "apiVersion": CLUSTERS.api_version,
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": {
            "clusterNetwork": {"pods": {"cidrBlocks": ["10.70.0.0/16"]}},
            "topology": {
                "classRef": {"name": "kind"},
                "version": version,
                "variables": [
                    {"name": "workerCount", "value": 1},
                    {"name": "featureGates", "value": {"AllAlpha": False}},
                    {"name": "portMappings", "value": [{"containerPort": 80}]},
                    {
                        "name": "registryMirrors",
                        "value": [{"registry": "docker.io", "endpoints": ["http://mirror.example:5000"], "only": True}],
                    },
                ],
            },
        },
    }


@pytest.fixture(scope="module")
def classy(place: Place) -> Iterator[Place]:
    """A Cluster of the class, Available."""
    place.create(CLASS.read_text())
    place.create(topology(NAME, place.version))
    place.await_condition(NAME, "Available", resource=CLUSTERS, seconds=120)
    yield place
    place.delete(CLUSTERS, NAME)


@pytest.mark.rule("C29", "C31", "C33", "C43", "C44")
def test_cluster_of_the_class_is_available(classy: Place) -> None:
    assert condition(classy.get(CLUSTERS, NAME), "Available").get("message", "") == ""
    assert condition(classy.get(CLUSTERS, NAME), "TopologyReconciled")["status"] == "True"
    cluster = classy.get(KIND_CLUSTERS, NAME)
    control_plane = classy.get(KIND_CONTROL_PLANES, NAME)
    for seen, template in ((cluster, "kind-cluster"), (control_plane, "kind-control-plane")):
        metadata = seen["metadata"]
        assert metadata["labels"]["topology.cluster.x-k8s.io/owned"] == ""
        assert metadata["labels"]["cluster.x-k8s.io/cluster-name"] == NAME
        assert metadata["annotations"]["cluster.x-k8s.io/cloned-from-name"] == template
        # The Secret that owned it at first is gone; only a garbage collector would remove the reference.
        assert "Cluster" in {one["kind"] for one in metadata["ownerReferences"]}
    assert control_plane["spec"]["version"] == classy.version
    assert [node["role"] for node in cluster["spec"]["nodes"]] == ["control-plane", "worker"]
    # The topology leaves the number open. The provider fills it in after the status, and that is no drift for core.
    eventually(lambda: classy.get(KIND_CONTROL_PLANES, NAME)["spec"]["replicas"] == 1)
    configuration = classy.kind.configuration(NAME)
    assert configuration["networking"]["podSubnet"] == "10.70.0.0/16"
    assert configuration["featureGates"] == {"AllAlpha": False}
    mirrors = [{"host": "docker.io", "endpoints": ["http://mirror.example:5000"], "only": True}]
    assert cluster["spec"]["registries"] == {"mirrors": mirrors}
    assert "config_path" in configuration["containerdConfigPatches"][-1]
    for resource, template in (
        (KIND_CLUSTER_TEMPLATES, "kind-cluster"),
        (KIND_CONTROL_PLANE_TEMPLATES, "kind-control-plane"),
    ):
        owners = classy.get(resource, template)["metadata"]["ownerReferences"]
        assert [one["kind"] for one in owners] == ["ClusterClass"]


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("workerCount", 80, "should be less than or equal to 55"),
        ("nodeImage", "Kindest Node", "must be an image reference"),
        ("portMappings", [{"containerPort": 80, "listenAddress": "localhost"}], "listenAddress.* should match"),
        ("registryMirrors", [{"registry": "../etc", "endpoints": ["http://a"]}], "registry.* should match"),
        ("registryMirrors", [{"registry": "a", "endpoints": ["a"]}], "endpoints.* should match"),
        ("registryMirrors", [{"registry": "a", "endpoints": ["http://b"]}] * 17, "Too many"),
    ],
)
def test_variable_that_the_kindcluster_could_not_take_is_refused_with_the_cluster(
    classy: Place, variable: str, value: Any, says: str
) -> None:
    cluster = topology("refused", classy.version)
    cluster["spec"]["topology"]["variables"] = [{"name": variable, "value": value}]
    with pytest.raises(ApiError, match=says):
        classy.create(cluster)


@pytest.mark.rule("C19", "C32")
def test_topology_reconciles_change_nothing(classy: Place) -> None:
    """Two topology reconciles leave our objects and Secrets unchanged."""
    unchanged(lambda: ours(classy), QUIET_SECONDS)
    before = ours(classy)
    for turn in ("first", "second"):
        classy.patch(CLUSTERS, NAME, {"metadata": {"annotations": {"example.org/turn": turn}}})
        unchanged(lambda: ours(classy), QUIET_SECONDS)
    assert ours(classy) == before


def ours(place: Place) -> dict[str, str]:
    """Return the resourceVersions of everything except the Cluster, which core writes."""
    versions = place.resource_versions(NAME)
    return {key: version for key, version in versions.items() if not key.startswith("Cluster ")}


@pytest.mark.rule("C18", "C43")
def test_new_version_is_refused_in_plain_words_and_without_a_hot_loop(classy: Place) -> None:
    major, minor, patch = classy.version.split(".")
    wanted = f"{major}.{minor}.{int(patch) + 1}"
    classy.patch(CLUSTERS, NAME, {"spec": {"topology": {"version": wanted}}})

    def refused() -> Object:
        seen = condition(classy.get(CLUSTERS, NAME), "TopologyReconciled")
        assert seen["status"] == "False"
        return dict(seen)

    assert "kind cannot upgrade a running cluster" in eventually(refused, 60)["message"]
    assert classy.get(KIND_CONTROL_PLANES, NAME)["spec"]["version"] == classy.version
    unchanged(lambda: ours(classy), QUIET_SECONDS)

    # As in the message: core accepts a lower version only with this annotation.
    way_back = {"unsafe.topology.cluster.x-k8s.io/disable-update-version-check": ""}
    former = {"metadata": {"annotations": way_back}, "spec": {"topology": {"version": classy.version}}}
    classy.patch(CLUSTERS, NAME, former)
    classy.await_condition(NAME, "Available", resource=CLUSTERS)


@pytest.mark.rule("C43", "C46")
def test_replicas_of_the_topology_are_made_and_a_change_is_refused_until_it_is_taken_back(classy: Place) -> None:
    name = "many"
    wanted = topology(name, classy.version)
    wanted["spec"]["topology"]["controlPlane"] = {"replicas": 3}
    classy.create(wanted)
    classy.await_condition(name, "Available", resource=CLUSTERS, seconds=120)
    nodes = [node["role"] for node in classy.get(KIND_CLUSTERS, name)["status"]["nodes"]]
    assert sorted(nodes) == ["control-plane"] * 3 + ["external-load-balancer", "worker"]
    assert classy.get(KIND_CONTROL_PLANES, name)["status"]["replicas"] == 3

    def scale(replicas: int) -> None:
        classy.patch(CLUSTERS, name, {"spec": {"topology": {"controlPlane": {"replicas": replicas}}}})

    def refused() -> Object:
        seen = condition(classy.get(CLUSTERS, name), "TopologyReconciled")
        assert seen["status"] == "False"
        return dict(seen)

    scale(5)
    assert "kind creates the control-plane nodes of a cluster once" in eventually(refused, 60)["message"]
    scale(3)
    classy.await_condition(name, "TopologyReconciled", resource=CLUSTERS)
    classy.await_condition(name, "Available", resource=CLUSTERS)
    classy.delete(CLUSTERS, name)


@pytest.mark.rule("C46")
def test_deprecated_count_above_the_replicas_is_refused_until_they_agree(classy: Place) -> None:
    """Fewer of the variable than replicas are completed, as where the variable is not set."""
    name = "counted"
    wanted = topology(name, classy.version)
    wanted["spec"]["topology"]["variables"] = [{"name": "controlPlaneCount", "value": 3}]
    wanted["spec"]["topology"]["controlPlane"] = {"replicas": 1}
    classy.create(wanted)
    said = classy.await_condition(name, reason="InvalidConfig", status="False")["message"]
    assert "lists 3 control-plane nodes, but the KINDControlPlane's spec.replicas is 1" in said
    assert classy.process.home.find(name) is None
    classy.patch(CLUSTERS, name, {"spec": {"topology": {"controlPlane": {"replicas": 5}}}})
    classy.await_condition(name, "Available", resource=CLUSTERS, seconds=120)
    roles = [node["role"] for node in classy.get(KIND_CLUSTERS, name)["status"]["nodes"]]
    assert roles.count("control-plane") == 5
    classy.delete(CLUSTERS, name)


@pytest.mark.rule("C55")
def test_workers_of_the_topology_are_machines_beside_those_of_the_deprecated_count(classy: Place) -> None:
    name = "staffed"
    wanted = topology(name, classy.version)
    wanted["spec"]["topology"]["variables"] = [{"name": "workerCount", "value": 1}]
    workers = {"machineDeployments": [{"class": "worker", "name": "workers", "replicas": 1}]}
    wanted["spec"]["topology"]["workers"] = workers
    classy.create(wanted)
    classy.await_condition(name, "Available", resource=CLUSTERS, seconds=180)
    [machine] = classy.api.list(KIND_MACHINES, classy.namespace)
    assert machine["status"]["initialization"]["provisioned"]
    assert len(classy.api.list(KIND_CONFIGS, classy.namespace)) == 1
    nodes = classy.get(KIND_CLUSTERS, name)["status"]["nodes"]
    assert [node["machine"] for node in nodes if "machine" in node] == [machine["metadata"]["name"]]
    assert sorted(node["role"] for node in nodes) == ["control-plane", "worker", "worker"]
    classy.delete(CLUSTERS, name)
    classy.await_gone(name, CLUSTERS, seconds=180)
    assert classy.api.list(KIND_MACHINES, classy.namespace) == classy.api.list(KIND_CONFIGS, classy.namespace) == []
