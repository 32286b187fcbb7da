"""Workers as Machines, with the real core: they come and go with the replicas of a MachineDeployment."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS, KIND_MACHINES, MACHINES, SECRETS, Resource
from test.integration.api import CLUSTERS, Object, condition, eventually
from test.integration.provider.journeys import Place, clusterctl, generated, node_names

TEMPLATES = Path(__file__).parents[3] / "templates"
DEPLOYMENTS = Resource("cluster.x-k8s.io", "v1beta2", "machinedeployments", "MachineDeployment")
NAME = "crew"
WORKERS = f"{NAME}-workers"


@pytest.fixture(scope="module")
def crew(place: Place) -> Iterator[Place]:
    """A Cluster of the default template with two workers, Available."""
    counts = ("--control-plane-machine-count", "3", "--worker-machine-count", "2")
    place.create(generated(place, NAME, TEMPLATES / "cluster-template.yaml", *counts))
    place.await_condition(NAME, "Available", resource=CLUSTERS, seconds=180)
    yield place
    if place.find(CLUSTERS, NAME):
        place.delete(CLUSTERS, NAME)


def machines(place: Place) -> list[Object]:
    return place.api.list(KIND_MACHINES, place.namespace)


def await_workers(place: Place, count: int) -> list[str]:
    """Wait until that many Machines exist and all are Ready; return the names of their nodes."""

    def seen() -> list[str] | None:
        found = place.api.list(MACHINES, place.namespace)
        assert len(found) == len(machines(place)) == count, [one["metadata"]["name"] for one in found]
        assert all(condition(one, "Ready").get("status") == "True" for one in found), found
        return sorted(one["status"]["nodeRef"]["name"] for one in found)

    return eventually(seen, 120, 0.25)


def test_generated_cluster_is_available_with_its_counts(crew: Place, tmp_path: Path) -> None:
    names = await_workers(crew, 2)
    cluster = crew.get(CLUSTERS, NAME)
    assert cluster["status"]["controlPlane"]["replicas"] == 3
    assert cluster["status"]["workers"]["availableReplicas"] == 2
    nodes = crew.get(KIND_CLUSTERS, NAME)["status"]["nodes"]
    assert sorted(node["machine"] for node in nodes if "machine" in node) == names
    assert {*names} < {*node_names(crew.get(SECRETS, f"{NAME}-kubeconfig"), tmp_path)}
    described = clusterctl(crew, "describe", "cluster", NAME)
    rows = {line.split()[0].strip("│├└─ "): line.split() for line in described.splitlines()[1:]}
    print(described)
    assert rows


def test_scale_up_and_down(crew: Place, tmp_path: Path) -> None:
    for count in (4, 1):
        crew.patch(DEPLOYMENTS, WORKERS, {"spec": {"replicas": count}})
        names = await_workers(crew, count)
        found = node_names(crew.get(SECRETS, f"{NAME}-kubeconfig"), tmp_path)
        assert [name for name in found if "control-plane" not in name] == names
        listed = [node.name for node in crew.kind_cluster(NAME).nodes if node.role == "worker"]
        assert sorted(listed) == names
