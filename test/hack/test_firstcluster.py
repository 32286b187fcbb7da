"""The objects of the quickstart, and what it reads of its worker."""

from typing import Any

import pytest

from capk.api.names import KIND_CLUSTERS, KIND_CONTROL_PLANES
from hack.firstcluster import (
    CLUSTER_RESOURCES,
    MACHINE_DEPLOYMENTS,
    NAME,
    WORKER_RESOURCES,
    WORKERS,
    available_replicas,
    documents,
    joining,
    wanted_replicas,
)


def by_kind(version: str | None, workers: int = 0) -> dict[str, dict[str, Any]]:
    """Return the objects of the quickstart by their kinds."""
    return {one["kind"]: one for one in documents(version, workers)}


def test_objects_refer_to_each_other_by_the_names_of_the_quickstart() -> None:
    found = by_kind("v1.37.0")
    assert set(found) == {resource.kind for resource in (*CLUSTER_RESOURCES, *WORKER_RESOURCES)}
    cluster, deployment = found["Cluster"]["spec"], found["MachineDeployment"]["spec"]
    assert cluster["infrastructureRef"]["name"] == cluster["controlPlaneRef"]["name"] == NAME
    machine = deployment["template"]["spec"]
    assert deployment["clusterName"] == machine["clusterName"] == NAME
    assert machine["infrastructureRef"]["name"] == found["KINDMachineTemplate"]["metadata"]["name"] == WORKERS


@pytest.mark.parametrize("version", ["v1.37.0", None])
def test_machines_have_the_version_of_the_control_plane(version: str | None) -> None:
    """Otherwise Cluster API counts them as not up to date."""
    found = by_kind(version)
    machine = found["MachineDeployment"]["spec"]["template"]["spec"]
    assert machine.get("version") == found[KIND_CONTROL_PLANES.kind]["spec"].get("version") == version
    assert ("version" in machine) == (version is not None)


def test_all_workers_come_from_the_deployment() -> None:
    found = by_kind(None, workers=1)
    assert found[KIND_CLUSTERS.kind]["spec"]["nodes"] == [{"role": "control-plane"}]
    assert wanted_replicas(found[MACHINE_DEPLOYMENTS.kind]) == 1
    assert wanted_replicas({}) == 0


def test_progress_of_a_worker_is_its_condition() -> None:
    conditions = [{"type": "Ready", "reason": "NotReady"}, {"type": "WorkerJoined", "reason": "JoiningNode"}]
    machines = [{"metadata": {"name": "a"}, "status": {"conditions": conditions}}, {"metadata": {"name": "b"}}]
    assert joining(machines) == {"a": ("JoiningNode", "")}
    assert available_replicas({"status": {"availableReplicas": 1}}) == 1
    assert available_replicas({}) == 0
