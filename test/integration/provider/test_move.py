"""`clusterctl move` between two management clusters that share one container engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS, KIND_CONTROL_PLANES, KIND_MACHINES, MACHINE_ID_ANNOTATION, SECRETS
from capkdev.fakekind.listing import HOME_VARIABLE
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.integration.api import CLUSTERS, connected
from test.integration.provider.journeys import (
    SHORT_PERIODS,
    Place,
    clusterctl,
    generated,
    node_names,
)
from test.integration.provider_process import StartProvider

NAME = "nomad"
TEMPLATE = Path(__file__).parents[3] / "templates" / "cluster-template.yaml"


@pytest.fixture
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalManagementCluster]:
    """Another management cluster."""
    with LocalManagementCluster(tmp_path_factory.mktemp("target")) as started:
        yield started


@pytest.mark.rule("C7", "C21", "C25", "C26", "C27", "C29")
def test_moved_cluster_is_the_same_one_and_belongs_to_the_target(
    place: Place, target: LocalManagementCluster, provider: StartProvider, tmp_path: Path
) -> None:
    place.create(generated(place, NAME, TEMPLATE, "--worker-machine-count", "1"))
    place.await_condition(NAME, "Available", resource=CLUSTERS, seconds=180)
    former, before = containers(place), place.get(KIND_CLUSTERS, NAME)
    with connected(target) as api:
        api.create("", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place.namespace}})
        home = {HOME_VARIABLE: str(place.process.home.directory)}
        process = provider(target, place.namespace, *SHORT_PERIODS, *place.kind.flags, **home)
        process.home = place.process.home
        moved = Place(target, api, place.namespace, process, place.kind)

        clusterctl(place, "move", "--to-kubeconfig", str(target.kubeconfig))
        assert place.resource_versions(NAME) == {}
        moved.await_condition(NAME, "Available", resource=CLUSTERS, seconds=120)

        assert containers(moved) == former
        assert moved.kind.creations(NAME) == 1
        assert not moved.kind.removals(moved.kind_cluster(NAME))
        [machine] = moved.api.list(KIND_MACHINES, moved.namespace)
        moved.await_condition(machine["metadata"]["name"], resource=KIND_MACHINES)
        assert machine["metadata"]["annotations"][MACHINE_ID_ANNOTATION] != machine["metadata"]["uid"]
        _check_rebuilt(moved, before, tmp_path)

        moved.delete(CLUSTERS, NAME)
        moved.await_gone(NAME, CLUSTERS)
        assert moved.process.home.find(NAME) is None
        assert moved.resource_versions(NAME) == {}


def containers(place: Place) -> dict[str, str]:
    """Return the ids of the containers of the kind cluster by their names."""
    cluster = place.kind_cluster(NAME)
    return {node.name: cluster.container_id(node) for node in cluster.nodes}


def _check_rebuilt(moved: Place, before: dict, directory: Path) -> None:
    after = moved.get(KIND_CLUSTERS, NAME)
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["spec"] == before["spec"]
    for field in ("ready", "initialization", "kubernetesVersion", "nodes", "endpoints"):
        assert after["status"][field] == before["status"][field], field
    for name, resource in ((f"{NAME}-config", KIND_CLUSTERS), (f"{NAME}-kubeconfig", KIND_CONTROL_PLANES)):
        (reference,) = moved.get(SECRETS, name)["metadata"]["ownerReferences"]
        assert reference["uid"] == moved.get(resource, NAME)["metadata"]["uid"]
    names = node_names(moved.get(SECRETS, f"{NAME}-kubeconfig"), directory)
    assert names == sorted(node["name"] for node in before["status"]["nodes"])
