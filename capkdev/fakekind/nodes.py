"""kind's node names, and the Node objects that represent node containers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from capk.errors import Conflict, NotFound
from capkdev.fakekind.clusters import CONTROL_PLANE, LOAD_BALANCER, Cluster, Node, now

if TYPE_CHECKING:
    from capkdev.fakekind.kindconfig import Config
    from capkdev.rest import Rest

API_SERVER_PORT = 6443
_ARCHITECTURES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}


def planned_nodes(config: "Config") -> list[Node]:
    """Return the nodes of a configuration, and kind's load balancer in front of several control planes.

    Source: kind pkg/cluster/internal/providers/common/namer.go, providers/docker/provision.go.
    """
    name, networking = config["name"], config["networking"]
    endpoint = {
        "listenAddress": networking["apiServerAddress"],
        "hostPort": networking["apiServerPort"],
        "containerPort": API_SERVER_PORT,
    }
    seen: dict[str, int] = {}
    nodes = []
    for entry in config["nodes"]:
        role = entry["role"]
        seen[role] = seen.get(role, 0) + 1
        suffix = str(seen[role]) if seen[role] > 1 else ""
        ports = list(entry.get("extraPortMappings") or [])
        mounts = [mount.get("containerPath") or "" for mount in entry.get("extraMounts") or ()]
        node = Node(f"{name}-{role}{suffix}", role, entry["image"], ports=ports, mounts=mounts)
        node.labels = entry.get("labels") or {}
        nodes.append(node)
    if seen[CONTROL_PLANE] > 1:
        nodes.append(Node(f"{name}-{LOAD_BALANCER}", LOAD_BALANCER, "envoyproxy/envoy", ports=[endpoint]))
    else:
        first = next(node for node in nodes if node.role == CONTROL_PLANE)
        first.ports = [*first.ports, endpoint]
    return nodes


def register(
    rest: "Rest",
    cluster: Cluster,
    nodes: Sequence[Node],
    version: str,
    *,
    provider_id: str = "",
    taints: Sequence[Mapping[str, str]] = (),
) -> None:
    """Create the Node objects of these nodes, in place of their kubelets.

    provider_id: of all these nodes; empty for one of ours. taints: in addition to those of kind.
    """
    for node in nodes:
        document = _node_object(cluster, node, version)
        document["spec"]["providerID"] = provider_id or document["spec"]["providerID"]
        document["spec"]["taints"] += taints
        try:
            rest.request("POST", "/api/v1/nodes", document)
        except Conflict:
            # A kubelet takes over a Node that is not Ready.
            mark_ready(rest, node, ready=True)


def is_ready(rest: "Rest", name: str) -> bool:
    """Return whether a Node exists and is Ready."""
    try:
        conditions = rest.request("GET", f"/api/v1/nodes/{name}")["status"].get("conditions") or ()
    except NotFound:
        return False
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def mark_ready(rest: "Rest", node: Node, *, ready: bool) -> None:
    """Set the Ready condition, in place of the kubelet or the node controller."""
    patch = {"status": {"conditions": _conditions(ready)}}
    rest.request("PATCH", f"/api/v1/nodes/{node.name}/status", patch, "application/merge-patch+json")


def install_storage_class(rest: "Rest") -> None:
    """Create kind's default StorageClass. It has no provisioner here."""
    document = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "rancher.io/local-path",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    rest.request("POST", "/apis/storage.k8s.io/v1/storageclasses", document)


def _node_object(cluster: Cluster, node: Node, version: str) -> dict[str, Any]:
    import platform

    machine = platform.machine()
    architecture = _ARCHITECTURES.get(machine, machine)
    labels = {
        "kubernetes.io/arch": architecture,
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        **node.labels,
    }
    taints = []
    if node.role == CONTROL_PLANE:
        labels["node-role.kubernetes.io/control-plane"] = ""
        labels["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
        if len(cluster.nodes) > 1:
            taints.append({"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"})
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "spec": {"providerID": f"kind://local/{cluster.name}/{node.name}", "taints": taints},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": "127.0.0.1"},
                {"type": "Hostname", "address": node.name},
            ],
            "capacity": {"cpu": "0", "memory": "0", "pods": "0"},
            "allocatable": {"cpu": "0", "memory": "0", "pods": "0"},
            "conditions": _conditions(True),
            "nodeInfo": {
                "kubeletVersion": version,
                "kubeProxyVersion": "",
                "osImage": "capkdev-fake-kind: a local process, not a container",
                "containerRuntimeVersion": "none://0",
                "kernelVersion": platform.release(),
                "operatingSystem": "linux",
                "architecture": architecture,
                "machineID": cluster.container_id(node)[:32],
                "systemUUID": cluster.uid,
                "bootID": cluster.uid,
            },
        },
    }


_PRESSURES: Final = {
    "MemoryPressure": "KubeletHasSufficientMemory",
    "DiskPressure": "KubeletHasNoDiskPressure",
    "PIDPressure": "KubeletHasSufficientPID",
}
"""What a kubelet reports besides Ready: Cluster API calls a Node without one of them not healthy."""


def _conditions(ready: bool) -> list[Mapping[str, Any]]:
    moment, message = now(), "no kubelet runs in this fake kind" if ready else "the node was stopped"

    def condition(type: str, status: str, reason: str) -> Mapping[str, Any]:
        if not ready:
            status, reason = "Unknown", "NodeStatusUnknown"
        times = {"lastHeartbeatTime": moment, "lastTransitionTime": moment}
        return {"type": type, "status": status, "reason": reason, "message": message, **times}

    pressures = [condition(type, "False", reason) for type, reason in _PRESSURES.items()]
    return [*pressures, condition("Ready", "True", "KubeletReady")]
