"""Workers as Machines, with the real core: they come and go with the replicas of a MachineDeployment."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from capk.api.names import KIND_CLUSTERS, KIND_MACHINE_TEMPLATES, KIND_MACHINES, MACHINES, SECRETS, Resource
from test.integration.api import CLUSTERS, Object, condition, eventually
from test.integration.provider.journeys import Place, clusterctl, generated, kubectl, node_names, standalone, unchanged

TEMPLATES = Path(__file__).parents[3] / "templates"
DEPLOYMENTS = Resource("cluster.x-k8s.io", "v1beta2", "machinedeployments", "MachineDeployment")
MACHINE_SETS = Resource("cluster.x-k8s.io", "v1beta2", "machinesets", "MachineSet")
HEALTH_CHECKS = Resource("cluster.x-k8s.io", "v1beta2", "machinehealthchecks", "MachineHealthCheck")
NAME = "crew"
WORKERS = f"{NAME}-workers"


@pytest.fixture(scope="module")
def crew(place: Place) -> Iterator[Place]:
    """A Cluster of the default template with two workers, Available."""
    asked_for = ("--control-plane-machine-count", "3", "--worker-machine-count", "2")
    place.create(generated(place, NAME, TEMPLATES / "cluster-template.yaml", *asked_for))
    place.await_condition(NAME, "Available", resource=CLUSTERS, seconds=180)
    yield place
    if place.find(CLUSTERS, NAME):
        place.delete(CLUSTERS, NAME)


def machines(place: Place) -> list[Object]:
    return place.api.list(KIND_MACHINES, place.namespace)


def counts(place: Place) -> tuple[int, int]:
    """Return how many control-plane nodes and workers the Cluster has that are available."""
    status = place.get(CLUSTERS, NAME)["status"]
    return status["controlPlane"]["availableReplicas"], status["workers"]["availableReplicas"]


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
    eventually(lambda: counts(crew) == (3, 2), 30)
    nodes = crew.get(KIND_CLUSTERS, NAME)["status"]["nodes"]
    assert sorted(node["machine"] for node in nodes if "machine" in node) == names
    assert {*names} < {*node_names(crew.get(SECRETS, f"{NAME}-kubeconfig"), tmp_path)}


def test_clusterctl_describes_the_counts(crew: Place) -> None:
    def seen() -> str:
        tree = clusterctl(crew, "describe", "cluster", NAME)
        wanted = {"Cluster": "5/5", "KINDControlPlane": "3/3", "MachineDeployment": "2/2"}
        for kind, count in wanted.items():
            assert re.search(rf"\b{kind} {crew.namespace}/{NAME}.* {count} ", tree), tree
        assert not {"False", "Unknown"} & set(tree.split()), tree
        return tree

    eventually(seen, 30, 0.5)


def test_autoscaler_finds_the_machine_of_each_node(crew: Place, tmp_path: Path) -> None:
    """By what follows the last slash of their provider ids; other nodes have no Machine, and are left alone."""
    names = await_workers(crew, 2)
    secret = crew.get(SECRETS, f"{NAME}-kubeconfig")
    listed = kubectl(secret, tmp_path, "get", "nodes", "-o", "jsonpath={.items[*].spec.providerID}").split()
    found = sorted(one["spec"]["providerID"] for one in crew.api.list(MACHINES, crew.namespace))
    assert sorted(one["spec"]["providerID"] for one in machines(crew)) == found
    assert [one.rpartition("/")[2] for one in found] == names
    assert set(found) < set(listed)
    assert len(listed) == len({one.rpartition("/")[2] for one in listed}) == 5


@pytest.mark.rule("C58")
def test_node_gets_the_role_label_of_its_machine(crew: Place, tmp_path: Path) -> None:
    names = await_workers(crew, 2)
    look = ("get", "nodes", "--selector=node-role.kubernetes.io/worker", "--output=name")
    secret = crew.get(SECRETS, f"{NAME}-kubeconfig")
    eventually(lambda: kubectl(secret, tmp_path, *look).split() == [f"node/{name}" for name in names], 60, 0.5)


def test_nothing_is_written_while_nothing_changes(crew: Place) -> None:
    unchanged(lambda: crew.resource_versions(NAME), 9)


def test_machines_come_and_go_with_the_replicas_as_far_as_a_budget_allows(crew: Place, tmp_path: Path) -> None:
    def workload(*arguments: str) -> str:
        return kubectl(crew.get(SECRETS, f"{NAME}-kubeconfig"), tmp_path, *arguments)

    def is_complete(names: list[str]) -> bool:
        listed = [node.name for node in crew.kind_cluster(NAME).nodes if node.role == "worker"]
        found = workload("get", "nodes", "--output=name").split()
        return sorted(listed) == names == [name for one in found if "control-plane" not in (name := one[5:])]

    # On a busy machine, a drain must not end by its time limit. Core passes a new one on to Machines that exist.
    patient = {"spec": {"deletion": {"nodeDrainTimeoutSeconds": 600}}}
    crew.patch(DEPLOYMENTS, WORKERS, {"spec": {"replicas": 4, "template": patient}})
    names = await_workers(crew, 4)
    assert is_complete(names)
    (tmp_path / "guarded.yaml").write_text(yaml.safe_dump_all([budget(), *map(guarded, names)]))
    workload("create", f"--filename={tmp_path / 'guarded.yaml'}")
    for name in names:
        workload("patch", "pod", name, "--subresource=status", f"--patch={json.dumps({'status': RUNNING})}")

    def allow(count: int) -> None:
        status = {"observedGeneration": 1, "currentHealthy": 4, "desiredHealthy": 4, "expectedPods": 4}
        patch = json.dumps({"status": status | {"disruptionsAllowed": count}})
        workload("patch", "poddisruptionbudget", NAME, "--subresource=status", "--type=merge", f"--patch={patch}")

    def draining() -> bool:
        seen = [condition(one, "Deleting") for one in crew.api.list(MACHINES, crew.namespace)]
        held = [one for one in seen if one.get("reason") == "DrainingNode" and "disruption budget" in one["message"]]
        assert len(held) == 3, seen
        return True

    allow(0)
    crew.patch(DEPLOYMENTS, WORKERS, {"spec": {"replicas": 1}})
    eventually(draining, 40, 0.5)
    assert is_complete(names)
    allow(3)
    left = await_workers(crew, 1)
    assert is_complete(left)
    # They were evicted: nothing else here would delete them.
    assert workload("get", "pods", "--output=name").split() == [f"pod/{name}" for name in left]
    workload("delete", "pods,poddisruptionbudgets", "--all", "--grace-period=0", "--force")


def test_change_of_the_template_replaces_the_machines(crew: Place) -> None:
    former = await_workers(crew, 1)
    labels = {"tier": "gold"}
    crew.create(
        {
            "apiVersion": KIND_MACHINE_TEMPLATES.api_version,
            "kind": KIND_MACHINE_TEMPLATES.kind,
            "metadata": {"name": "gold"},
            "spec": {"template": {"spec": {"labels": labels}}},
        }
    )
    reference = {"apiGroup": KIND_MACHINE_TEMPLATES.group, "kind": KIND_MACHINE_TEMPLATES.kind, "name": "gold"}
    crew.patch(DEPLOYMENTS, WORKERS, {"spec": {"template": {"spec": {"infrastructureRef": reference}}}})
    eventually(lambda: await_workers(crew, 1) != former, 120)
    [machine] = machines(crew)
    assert machine["spec"]["labels"] == labels
    assert [node.name for node in crew.kind_cluster(NAME).nodes if node.role == "worker"] == await_workers(crew, 1)


@pytest.mark.rule("C57")
def test_machine_of_a_version_above_the_control_planes_is_not_created(crew: Place) -> None:
    """Core compares with the version in the status of the KINDControlPlane."""
    former = await_workers(crew, 1)
    later = f"v1.{int(crew.version.split('.')[1]) + 1}.0"
    crew.patch(DEPLOYMENTS, WORKERS, {"spec": {"template": {"spec": {"version": later}}}})

    def refused() -> bool:
        found = [condition(one, "ScalingUp") for one in crew.api.list(MACHINE_SETS, crew.namespace)]
        words = f"ControlPlane version ({crew.version.removeprefix('v')})"
        return any(words in str(one.get("message")) and "preflight check failed" in one["message"] for one in found)

    eventually(refused, 60, 0.25)
    assert await_workers(crew, 1) == former
    crew.patch(DEPLOYMENTS, WORKERS, {"spec": {"template": {"spec": {"version": crew.version}}}})
    assert await_workers(crew, 1) == former


def test_failed_worker_is_replaced_by_a_health_check(crew: Place) -> None:
    """Its container is removed by hand."""
    [former] = await_workers(crew, 1)
    crew.stop_node(former, "rm --force")
    crew.await_condition(former, "WorkerJoined", "Missing", resource=KIND_MACHINES)
    crew.create(health_check())
    crew.await_gone(former, MACHINES)
    # Its timeout is shorter than a join.
    crew.delete(HEALTH_CHECKS, NAME)
    assert await_workers(crew, 1) != [former]


def test_health_check_replaces_no_worker_while_the_engine_does_not_answer(crew: Place) -> None:
    """The API server of the kind cluster goes on, so that core acts on what our objects show."""
    [former] = await_workers(crew, 1)
    crew.kind.answer(False)
    try:
        crew.await_condition(former, "Ready", "EngineUnreachable", "Unknown", resource=KIND_MACHINES)
        crew.await_condition(former, "InfrastructureReady", status="Unknown", resource=MACHINES)
        crew.create(health_check())
        crew.await_condition(former, "HealthCheckSucceeded", status="True", resource=MACHINES)
        unchanged(lambda: crew.get(MACHINES, former)["metadata"].get("deletionTimestamp"), 4)
        crew.delete(HEALTH_CHECKS, NAME)
    finally:
        crew.kind.answer(True)
    assert await_workers(crew, 1) == [former]


def test_deletion_of_the_cluster_takes_everything_along(crew: Place) -> None:
    crew.delete(CLUSTERS, NAME)
    crew.await_gone(NAME, CLUSTERS, seconds=180)
    assert crew.process.home.find(NAME) is None
    assert machines(crew) == crew.api.list(MACHINES, crew.namespace) == []


def test_standalone_machine_joins_and_leaves(place: Place) -> None:
    place.create(standalone("lone"), standalone_machine("helper", "lone"))
    place.await_condition("helper", resource=KIND_MACHINES, seconds=180)
    assert [node.name for node in place.kind_cluster("lone").nodes] == ["lone-control-plane", "lone-helper"]
    place.delete(KIND_MACHINES, "helper")
    place.await_gone("helper", KIND_MACHINES)
    assert [node.name for node in place.kind_cluster("lone").nodes] == ["lone-control-plane"]
    place.delete(KIND_CLUSTERS, "lone")


RUNNING = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
"""What a kubelet reports of a Pod; a budget protects no other one."""


def budget() -> Object:
    """Return a budget for the guarded Pods; its status decides, because no controller counts them here."""
    spec = {"minAvailable": 4, "selector": {"matchLabels": {"app": NAME}}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": NAME}, "spec": spec}


def guarded(node: str) -> Object:
    """Return a Pod on a node, with its name, that goes without a kubelet when it is evicted."""
    containers = [{"name": "pause", "image": "pause"}]
    spec = {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": containers}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": node, "labels": {"app": NAME}}, "spec": spec}


def health_check() -> Object:
    """Return a MachineHealthCheck that replaces a worker as soon as its infrastructure is not ready."""
    return {
        "apiVersion": HEALTH_CHECKS.api_version,
        "kind": HEALTH_CHECKS.kind,
        "metadata": {"name": NAME},
        "spec": {
            "clusterName": NAME,
            "selector": {"matchLabels": {"cluster.x-k8s.io/deployment-name": WORKERS}},
            "checks": {
                "unhealthyMachineConditions": [{"type": "InfrastructureReady", "status": "False", "timeoutSeconds": 1}]
            },
        },
    }


def standalone_machine(name: str, cluster: str) -> Object:
    """Return a KINDMachine that names its KINDCluster itself."""
    return {
        "apiVersion": KIND_MACHINES.api_version,
        "kind": KIND_MACHINES.kind,
        "metadata": {"name": name},
        "spec": {"clusterName": cluster},
    }
