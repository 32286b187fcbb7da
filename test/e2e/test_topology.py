"""A Cluster of the ClusterClass, and its move to another management cluster."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS, KIND_CONTROL_PLANES, SECRETS, Resource
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.e2e.conftest import NewName
from test.e2e.real_kind import RealKind
from test.e2e.terminal import Terminal
from test.integration.api import CLUSTERS, connected, eventually
from test.integration.provider.journeys import Place
from test.integration.provider_process import StartProvider

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
TEMPLATES = Path(__file__).parents[2] / "templates"
CREATE_SECONDS = 400


@pytest.fixture
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalManagementCluster]:
    """A second management cluster."""
    with LocalManagementCluster(tmp_path_factory.mktemp("target")) as started:
        yield started


@pytest.mark.rule("C21", "C25", "C27", "C31", "C44")
def test_topology_becomes_available_and_moves_without_a_new_container(
    place: Place,
    terminal: Terminal,
    kind: RealKind,
    new_name: NewName,
    target: LocalManagementCluster,
    provider: StartProvider,
) -> None:
    name, namespace = new_name("class"), place.namespace
    terminal.apply(namespace, (TEMPLATES / "clusterclass-kind.yaml").read_text())
    template = TEMPLATES / "cluster-template-topology.yaml"
    terminal.apply(namespace, terminal.generate(name, namespace, template, kind.version, worker=1))
    available = place.await_condition(name, "Available", resource=CLUSTERS, seconds=CREATE_SECONDS)
    assert available["message"] == ""
    assert place.condition(name, "TopologyReconciled", CLUSTERS)["status"] == "True"
    containers = kind.containers(name)
    nodes = sorted(containers)
    assert [node for node in nodes if not node.startswith(f"{name}-workers-")] == [f"{name}-control-plane"]
    assert len(nodes) == 2
    eventually(lambda: terminal.workload(name, namespace).ready_nodes() == nodes, 120, 2)
    terminal.assert_green(name, namespace)

    for resource in (KIND_CLUSTERS, KIND_CONTROL_PLANES):
        drop_dangling_owners(place, resource, name)

    moved = Terminal(target.kubeconfig)
    moved.kubectl("create", "namespace", namespace)
    with connected(target) as api:
        there = Place(target, api, namespace, provider(target, namespace), kind)
        terminal.clusterctl("move", "--namespace", namespace, "--to-kubeconfig", str(target.kubeconfig))
        for resource in (CLUSTERS, KIND_CLUSTERS, KIND_CONTROL_PLANES, SECRETS):
            assert place.api.list(resource, namespace) == []
        there.await_condition(name, "Available", resource=CLUSTERS, seconds=120)
        there.await_condition(name, "Ready", seconds=60)
        moved.assert_green(name, namespace)
        assert kind.containers(name) == containers
        status = there.get(KIND_CLUSTERS, name)["status"]
        assert [node["name"] for node in status["nodes"]] == nodes
        assert status["kubernetesVersion"] == kind.version
        eventually(lambda: moved.workload(name, namespace).ready_nodes() == nodes, 60, 2)

        moved.kubectl("delete", "cluster", name, "--namespace", namespace)
        assert kind.containers(name) == {}
        assert there.api.list(SECRETS, namespace) == []


def drop_dangling_owners(place: Place, resource: Resource, name: str) -> None:
    """Act as the garbage collector, which the local management cluster does not have.

    The topology controller makes a Secret the first owner of what it creates, for a moment only. clusterctl moves no
    object that still names it.
    """
    references = place.get(resource, name)["metadata"]["ownerReferences"]
    kept = [reference for reference in references if reference["kind"] == "Cluster"]
    assert len(kept) == 1
    place.patch(resource, name, {"metadata": {"ownerReferences": kept}})
