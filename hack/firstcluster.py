"""The objects that the quickstart applies, made from the samples, and what it prints about its worker."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from capk.api import names

ROOT: Final = Path(__file__).resolve().parent.parent
NAME: Final = "quickstart"
NAMESPACE: Final = "default"
WORKERS: Final = f"{NAME}-workers"
"""Name of the MachineDeployment and of its KINDMachineTemplate."""
MACHINE_DEPLOYMENTS: Final = names.Resource(
    names.CLUSTERS.group, names.CLUSTERS.version, "machinedeployments", "MachineDeployment"
)
CLUSTER_RESOURCES: Final = (names.CLUSTERS, names.KIND_CLUSTERS, names.KIND_CONTROL_PLANES)
WORKER_RESOURCES: Final = (names.KIND_MACHINE_TEMPLATES, MACHINE_DEPLOYMENTS)
SAMPLES: Final = ("cluster.yaml", "machine-deployment.yaml")


def sample_files() -> Iterator[Path]:
    """Yield the samples that the quickstart applies."""
    yield from (ROOT / "config" / "samples" / name for name in SAMPLES)


def documents(version: str | None, workers: int) -> list[dict[str, Any]]:
    """Return the objects of the samples under the quickstart's name.

    version: of Kubernetes; None lets the provider choose. workers: replicas of the MachineDeployment.
    """
    found = [one for file in sample_files() for one in yaml.safe_load_all(file.read_text()) if one]
    for document in found:
        kind, spec = document["kind"], document["spec"]
        is_worker = kind in {resource.kind for resource in WORKER_RESOURCES}
        document["metadata"] = {"name": WORKERS if is_worker else NAME, "namespace": NAMESPACE}
        if kind == names.CLUSTERS.kind:
            for reference in ("infrastructureRef", "controlPlaneRef"):
                spec[reference]["name"] = NAME
        elif kind == names.KIND_CLUSTERS.kind:
            # All workers come from the MachineDeployment.
            spec["nodes"] = [node for node in spec["nodes"] if node["role"] == "control-plane"]
        elif kind == names.KIND_CONTROL_PLANES.kind:
            document["spec"] = {"version": version} if version else {}
        elif kind == MACHINE_DEPLOYMENTS.kind:
            _fill_deployment(spec, version, workers)
    return found


def _fill_deployment(spec: dict[str, Any], version: str | None, workers: int) -> None:
    machine = spec["template"]["spec"]
    spec.update(clusterName=NAME, replicas=workers)
    machine.update(clusterName=NAME, version=version)
    machine["infrastructureRef"]["name"] = WORKERS
    if not version:
        del machine["version"]


def joining(machines: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Return the reason and message of each KINDMachine's condition WorkerJoined, by the object's name."""
    return {
        machine["metadata"]["name"]: (condition["reason"], condition.get("message", ""))
        for machine in machines
        for condition in (machine.get("status") or {}).get("conditions") or []
        if condition["type"] == names.Condition.WORKER_JOINED
    }


def available_replicas(deployment: Mapping[str, Any]) -> int:
    """Return how many Machines of a MachineDeployment are available."""
    return int((deployment.get("status") or {}).get("availableReplicas") or 0)


def wanted_replicas(deployment: Mapping[str, Any]) -> int:
    """Return how many Machines a MachineDeployment asks for."""
    return int((deployment.get("spec") or {}).get("replicas") or 0)
