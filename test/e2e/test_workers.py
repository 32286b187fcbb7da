"""Workers of a MachineDeployment on real kind clusters, with Cluster API's core."""

from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS, KIND_MACHINES, MACHINES, Resource
from test.e2e.conftest import NewName, StartPlace
from test.e2e.real_kind import RealKind
from test.e2e.terminal import Terminal
from test.integration.api import CLUSTERS, Object, condition, eventually
from test.integration.provider.journeys import Place, standalone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
TEMPLATE = Path(__file__).parents[2] / "templates" / "cluster-template.yaml"
DEPLOYMENTS = Resource("cluster.x-k8s.io", "v1beta2", "machinedeployments", "MachineDeployment")


def await_workers(place: Place, count: int) -> list[str]:
    """Wait until that many Machines exist and all are Ready; return the names of their nodes."""

    def seen() -> list[str] | None:
        found = place.api.list(MACHINES, place.namespace)
        assert len(found) == count, [one["metadata"]["name"] for one in found]
        assert all(condition(one, "Ready").get("status") == "True" for one in found), found
        return sorted(one["status"]["nodeRef"]["name"] for one in found)

    return eventually(seen, 300, 1)


@pytest.mark.rule("C48", "C49", "C53")
def test_workers_of_a_machine_deployment_come_and_go(
    place: Place, terminal: Terminal, kind: RealKind, new_name: NewName
) -> None:
    name, namespace = new_name("crew"), place.namespace
    terminal.apply(namespace, terminal.generate(name, namespace, TEMPLATE, kind.version, worker=2))
    place.await_condition(name, "Available", resource=CLUSTERS, seconds=400)
    former = await_workers(place, 2)
    workload = terminal.workload(name, namespace)
    assert workload.ready_nodes() == [f"{name}-control-plane", *former]
    terminal.assert_green(name, namespace)

    terminal.kubectl("scale", "machinedeployment", f"{name}-workers", "--replicas=3", "--namespace", namespace)
    more = await_workers(place, 3)
    assert {*former} < {*more}
    assert sorted(kind.containers(name)) == [f"{name}-control-plane", *more]

    terminal.kubectl("scale", "machinedeployment", f"{name}-workers", "--replicas=1", "--namespace", namespace)
    [last] = await_workers(place, 1)
    assert sorted(kind.containers(name)) == [f"{name}-control-plane", last]
    assert workload.ready_nodes() == [f"{name}-control-plane", last]

    terminal.kubectl("delete", "cluster", name, "--namespace", namespace)
    assert kind.containers(name) == {}
    assert place.api.list(KIND_MACHINES, namespace) == place.api.list(KIND_CLUSTERS, namespace) == []


@pytest.mark.rule("C52", "C53")
def test_provider_that_is_killed_during_a_join_joins_the_worker_all_the_same(
    place: Place, start_place: StartPlace, kind: RealKind, new_name: NewName
) -> None:
    name = new_name("lone")
    place.create(standalone(name), machine("helper", name))
    place.await_condition("helper", "WorkerJoined", "JoiningNode", resource=KIND_MACHINES, seconds=400)
    place.process.kill()
    again = start_place(namespace=place.namespace)
    again.await_condition("helper", resource=KIND_MACHINES, seconds=300)
    assert sorted(kind.containers(name)) == [f"{name}-control-plane", f"{name}-helper"]
    again.delete(KIND_MACHINES, "helper")
    again.await_gone("helper", KIND_MACHINES, seconds=120)
    assert sorted(kind.containers(name)) == [f"{name}-control-plane"]
    again.delete(KIND_CLUSTERS, name)
    again.await_gone(name)


def machine(name: str, cluster: str) -> Object:
    """Return a KINDMachine that names its KINDCluster itself."""
    return {
        "apiVersion": KIND_MACHINES.api_version,
        "kind": KIND_MACHINES.kind,
        "metadata": {"name": name},
        "spec": {"clusterName": cluster},
    }
