"""Workers as Machines on the real kind: scaling with a budget in the way, healing, replacement, a move."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from capk.api.names import KIND_CLUSTERS, KIND_MACHINES, MACHINES
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.e2e.conftest import NewName, StartPlace
from test.e2e.real_kind import RealKind
from test.e2e.terminal import Terminal
from test.integration.api import CLUSTERS, Object, condition, connected, eventually
from test.integration.provider.journeys import Place, standalone
from test.integration.provider_process import StartProvider

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
TEMPLATE = Path(__file__).parents[2] / "templates" / "cluster-template.yaml"
CREATE_SECONDS = 500


@pytest.fixture
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalManagementCluster]:
    """A second management cluster."""
    with LocalManagementCluster(tmp_path_factory.mktemp("target")) as started:
        yield started


def workers(kind: RealKind, name: str) -> list[str]:
    """Return the names of the worker containers, sorted."""
    return sorted(container for container in kind.containers(name) if container.startswith(f"{name}-workers"))


def await_counts(place: Place, terminal: Terminal, name: str, **wanted: str) -> None:
    """Wait until `clusterctl describe` shows no problem, and the wanted counts, as in MachineDeployment="2/2"."""

    def seen() -> str:
        tree = terminal.clusterctl("describe", "cluster", name, "--namespace", place.namespace)
        for resource, count in wanted.items():
            assert re.search(rf"(?m)^\W*{resource} {place.namespace}/{name}\S*.* {count} ", tree), tree
        assert not {"False", "Unknown"} & set(tree.split()), tree
        return tree

    eventually(seen, CREATE_SECONDS, 2)


def scale(terminal: Terminal, place: Place, name: str, replicas: int) -> None:
    """Scale the MachineDeployment as a person does."""
    words = ("machinedeployment", f"{name}-workers", f"--replicas={replicas}", "--namespace", place.namespace)
    terminal.kubectl("scale", *words)


def guarded(image: str, replicas: int) -> str:
    """Return Pods of which each needs a worker of its own, and a budget that lets none of them go."""
    labels = {"app": "guarded"}
    spec: dict[str, Any] = {
        "nodeSelector": {"node-role.kubernetes.io/worker": ""},
        "terminationGracePeriodSeconds": 1,
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
                ]
            }
        },
        "containers": [{"name": "pause", "image": image, "imagePullPolicy": "IfNotPresent"}],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "guarded"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "guarded"},
        "spec": {"minAvailable": replicas, "selector": {"matchLabels": labels}},
    }
    return yaml.safe_dump_all([deployment, budget])


def pause_image(workload: Terminal) -> str:
    """Return the image of the pause container, which every node has."""
    nodes = json.loads(workload.kubectl("get", "nodes", "--output", "json"))["items"]
    names = [name for image in nodes[0]["status"]["images"] for name in image["names"]]
    return next(name for name in names if "/pause:" in name)


@pytest.mark.rule("C47", "C48", "C50", "C53")
def test_worker_leaves_when_its_pods_may_and_another_one_joins(
    place: Place, terminal: Terminal, kind: RealKind, new_name: NewName
) -> None:
    name, namespace = new_name("crew"), place.namespace
    terminal.apply(namespace, terminal.generate(name, namespace, TEMPLATE, kind.version, worker=2))
    place.await_condition(name, "Available", resource=CLUSTERS, seconds=CREATE_SECONDS)
    await_counts(place, terminal, name, Cluster="3/3", KINDControlPlane="1/1", MachineDeployment="2/2")
    both = workers(kind, name)
    workload = terminal.workload(name, namespace)
    assert workload.ready_nodes() == sorted([f"{name}-control-plane", *both])

    workload.apply("default", guarded(pause_image(workload), 2))
    workload.kubectl("rollout", "status", "deployment/guarded", "--timeout=120s")
    scale(terminal, place, name, 1)

    def draining() -> str | None:
        going = [one for one in place.api.list(MACHINES, namespace) if one["metadata"].get("deletionTimestamp")]
        told = [condition(one, "Deleting") for one in going]
        return next((one["message"] for one in told if one.get("reason") == "DrainingNode"), None)

    assert "guarded" in eventually(lambda: (text := draining()) and "disruption budget" in text and text, 120, 1)
    assert workers(kind, name) == both
    workload.kubectl("patch", "poddisruptionbudget", "guarded", "--patch", '{"spec": {"minAvailable": 1}}')
    (kept,) = eventually(lambda: len(left := workers(kind, name)) == 1 and left, 180, 1)
    eventually(lambda: workload.ready_nodes() == sorted([f"{name}-control-plane", kept]), 60, 1)

    scale(terminal, place, name, 2)
    await_counts(place, terminal, name, MachineDeployment="2/2")
    assert kept in workers(kind, name)
    assert not set(workers(kind, name)) & (set(both) - {kept})
    # Its Pod was waiting for a node of its own.
    workload.kubectl("rollout", "status", "deployment/guarded", "--timeout=120s")

    terminal.kubectl("delete", "cluster", name, "--namespace", namespace)
    assert kind.containers(name) == {}
    for resource in (KIND_CLUSTERS, KIND_MACHINES, MACHINES):
        assert place.api.list(resource, namespace) == []


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


@pytest.mark.long
@pytest.mark.rule("C46", "C49", "C53", "C54")
def test_three_and_two_are_scaled_healed_replaced_and_moved(
    place: Place,
    terminal: Terminal,
    kind: RealKind,
    new_name: NewName,
    target: LocalManagementCluster,
    provider: StartProvider,
) -> None:
    name, namespace = new_name("fleet"), place.namespace
    counts = {"control-plane": 3, "worker": 2}
    terminal.apply(namespace, terminal.generate(name, namespace, TEMPLATE, kind.version, **counts))
    place.await_condition(name, "Available", resource=CLUSTERS, seconds=CREATE_SECONDS)
    await_counts(place, terminal, name, Cluster="5/5", KINDControlPlane="3/3", MachineDeployment="2/2")
    for replicas in (4, 1):
        scale(terminal, place, name, replicas)
        await_counts(place, terminal, name, MachineDeployment=f"{replicas}/{replicas}")
        eventually(lambda replicas=replicas: len(workers(kind, name)) == replicas, 120, 1)

    (former,) = workers(kind, name)
    terminal.apply(namespace, yaml.safe_dump(health_check(name)))
    kind.engine("rm", "--force", "--volumes", former)
    (healed,) = eventually(lambda: (left := workers(kind, name)) and former not in left and left, 300, 1)
    await_counts(place, terminal, name, MachineDeployment="1/1")

    template = {
        "apiVersion": KIND_MACHINES.api_version,
        "kind": "KINDMachineTemplate",
        "metadata": {"name": "gold"},
        "spec": {"template": {"spec": {"labels": {"tier": "gold"}}}},
    }
    terminal.apply(namespace, yaml.safe_dump(template))
    words = ("machinedeployment", f"{name}-workers", "--namespace", namespace, "--type=merge")
    patch = {"spec": {"template": {"spec": {"infrastructureRef": {"name": "gold"}}}}}
    terminal.kubectl("patch", *words, "--patch", json.dumps(patch))
    eventually(lambda: (left := workers(kind, name)) and healed not in left and len(left) == 1, 300, 1)
    await_counts(place, terminal, name, MachineDeployment="1/1")
    workload = terminal.workload(name, namespace)
    (gold,) = json.loads(workload.kubectl("get", "nodes", "--selector=tier=gold", "--output=json"))["items"]
    assert [gold["metadata"]["name"]] == workers(kind, name)

    containers = kind.containers(name)
    moved = Terminal(target.kubeconfig)
    moved.kubectl("create", "namespace", namespace)
    with connected(target) as api:
        there = Place(target, api, namespace, provider(target, namespace), kind)
        terminal.clusterctl("move", "--namespace", namespace, "--to-kubeconfig", str(target.kubeconfig))
        there.await_condition(name, "Available", resource=CLUSTERS, seconds=180)
        await_counts(there, moved, name, Cluster="4/4", MachineDeployment="1/1")
        assert kind.containers(name) == containers
        scale(moved, there, name, 2)
        await_counts(there, moved, name, MachineDeployment="2/2")
        moved.kubectl("delete", "cluster", name, "--namespace", namespace)
        assert kind.containers(name) == {}
        assert there.api.list(KIND_MACHINES, namespace) == []


def health_check(name: str) -> dict[str, Any]:
    """Return a MachineHealthCheck that replaces a worker whose container is missing.

    A new worker has time to join: until then, its infrastructure is not ready either.
    """
    return {
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "MachineHealthCheck",
        "metadata": {"name": name},
        "spec": {
            "clusterName": name,
            "selector": {"matchLabels": {"cluster.x-k8s.io/deployment-name": f"{name}-workers"}},
            "checks": {
                "unhealthyMachineConditions": [
                    {"type": "InfrastructureReady", "status": "False", "timeoutSeconds": 90},
                ]
            },
        },
    }


def machine(name: str, cluster: str) -> Object:
    """Return a KINDMachine that names its KINDCluster itself."""
    return {
        "apiVersion": KIND_MACHINES.api_version,
        "kind": KIND_MACHINES.kind,
        "metadata": {"name": name},
        "spec": {"clusterName": cluster},
    }
