"""Complete Clusters, with Cluster API's core manager."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.results import Row
from bench.rig import KIND_CLUSTER_PATH, Object, Rig, kindcluster, wait_until
from bench.usage import cpu_of
from capk.api.conditions import find
from capk.api.names import KIND_CLUSTERS, KIND_CONTROL_PLANES
from capkdev import processes
from capkdev.managementcluster.options import CORE_MANAGER
from capkdev.rest import Rest

CLUSTER_PATH = "/apis/cluster.x-k8s.io/v1beta2/namespaces/default/clusters"
CONTROL_PLANE_PATH = f"/apis/{KIND_CONTROL_PLANES.api_version}/namespaces/default/{KIND_CONTROL_PLANES.plural}"


def core(size: int, creates: int) -> Iterator[Row]:
    """Yield one row: the time of Clusters from the apply to Available."""
    available: set[str] = set()

    def seen(type: str, obj: Object) -> None:
        condition = find((obj.get("status") or {}).get("conditions") or (), "Available")
        if condition is not None and condition["status"] == "True":
            available.add(obj["metadata"]["name"])

    names = [f"c{number}" for number in range(size)]
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, Rig(Path(directory), core=True) as rig:
        manager = processes.running_pid(rig.management.directory, CORE_MANAGER) or 0
        with rig.provider("--max-concurrent-creates", str(creates)) as provider:
            # The kubeconfigs of the instant engine point to the management cluster's API server, so it determines the
            # version.
            with rig.management.rest() as rest:
                version = rest.request("GET", "/version")["gitVersion"]
            before = cpu_of(manager).own
            with rig.watching(seen, CLUSTER_PATH), rig.measured(provider) as usage:
                rig.all_at_once(names, partial(_apply, version))
                wait_until(lambda: len(available) == size, f"{size} Clusters Available")
            row = usage.row(size, own_writes=2 * size)
            yield {"objects": size, **row, "core_cpu_s": round(cpu_of(manager).own - before, 2)}


def _apply(version: str, rest: Rest, name: str) -> None:
    control_plane = {
        "apiVersion": KIND_CONTROL_PLANES.api_version,
        "kind": KIND_CONTROL_PLANES.kind,
        "metadata": {"name": name},
        "spec": {"version": version},
    }
    references = {"infrastructureRef": KIND_CLUSTERS, "controlPlaneRef": KIND_CONTROL_PLANES}
    spec = {field: {"apiGroup": kind.group, "kind": kind.kind, "name": name} for field, kind in references.items()}
    cluster = {
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": spec,
    }
    rest.request("POST", KIND_CLUSTER_PATH, kindcluster(name))
    rest.request("POST", CONTROL_PLANE_PATH, control_plane)
    rest.request("POST", CLUSTER_PATH, cluster)
