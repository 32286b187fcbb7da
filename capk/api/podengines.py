"""Read-only view of the engines in Pods that a KINDEngineClass describes.

The API server has checked the object by the schema of the CRD. Here only known fields are read, so that nothing else
reaches a Pod.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any, Final

from capk.api.names import MANAGED_BY_LABEL, PREFIX
from capk.api.quantities import Amounts, amounts

_MI: Final = 1024**2
_GI: Final = 1024**3
CONTROL_PLANE_NEEDS: Final = Amounts(500, _GI, 3 * _GI)
"""Measured: 0.75 to 0.8 GiB in use and 1.3 GB of disk. With 640 MiB, kubeadm runs into its time limit."""
WORKER_NEEDS: Final = Amounts(250, 512 * _MI, 2 * _GI)
MOST: Final = Amounts(8000, 16 * _GI, 50 * _GI)
"""What one engine may request if the class gives no maximum."""
DEFAULT_BRIDGE: Final = IPv4Network("10.202.0.0/24")
DEFAULT_NODES: Final = IPv4Network("10.201.0.0/16")
"""Docker's own addresses are also those of many networks of machines."""
POD_FIELDS: Final = (
    "hostUsers",
    "imagePullSecrets",
    "nodeSelector",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "tolerations",
)
"""The fields of a Pod's spec that a class may set: they decide where and in which runtime it runs, not what it does."""


@dataclass(frozen=True)
class VolumeClaim:
    """The volume of an engine. storage_class: empty for the management cluster's default one."""

    size: str
    storage_class: str = ""


@dataclass(frozen=True)
class PodEngines:
    """Engines in Pods, one for each kind cluster.

    bridge, nodes: addresses inside the Pod, of Docker's default network and of those of kind clusters.
    mtu: of these networks; None for that of the Pod.
    control_plane, worker: what a node adds to the Pod's resources. most: what one Pod may have.
    claim: None if the data is on the disk of the machine, and goes with the Pod.
    mirrors: URLs of registries that dockerd asks for images of docker.io.
    annotations, labels, pod: of the Pod, as the class gives them. pod: fields in POD_FIELDS.
    privileged: of the Pod's container. host_modules: whether it gets /lib/modules of its machine.
    host_paths: paths of the Pod that nodes may mount, and all below them.
    """

    image: str
    bridge: IPv4Network = DEFAULT_BRIDGE
    nodes: IPv4Network = DEFAULT_NODES
    mtu: int | None = None
    control_plane: Amounts = CONTROL_PLANE_NEEDS
    worker: Amounts = WORKER_NEEDS
    most: Amounts = MOST
    claim: VolumeClaim | None = None
    mirrors: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    pod: Mapping[str, Any] = field(default_factory=dict)
    privileged: bool = True
    host_modules: bool = False
    host_paths: tuple[str, ...] = ()

    @property
    def can_stop(self) -> bool:
        """Whether a kind cluster survives the deletion of its Pod."""
        return self.claim is not None


def pod_engines(given: Mapping[str, Any]) -> PodEngines | None:
    """Return the view of `spec.pods`; None if it is not complete, as no object is that the API server has accepted."""
    try:
        found = PodEngines(
            str(given.get("image") or ""),
            **_network(given),
            **_resources(given),
            **_template(given),
            claim=_claim(given),
            mirrors=_texts((given.get("images") or {}).get("mirrors")),
            privileged=(given.get("securityContext") or {}).get("privileged") is not False,
            host_modules=given.get("hostModules") is True,
            host_paths=_texts(given.get("allowedHostPaths")),
        )
    except (ValueError, TypeError):
        return None
    return None if not found.image or found.bridge.overlaps(found.nodes) else found


def _network(given: Mapping[str, Any]) -> dict[str, Any]:
    network = given.get("network") or {}
    bridge, nodes = network.get("bridge") or DEFAULT_BRIDGE, network.get("nodes") or DEFAULT_NODES
    return {"bridge": IPv4Network(bridge), "nodes": IPv4Network(nodes), "mtu": network.get("mtu")}


def _resources(given: Mapping[str, Any]) -> dict[str, Any]:
    resources = given.get("resources") or {}
    return {
        "control_plane": amounts(resources.get("controlPlane"), CONTROL_PLANE_NEEDS),
        "worker": amounts(resources.get("worker"), WORKER_NEEDS),
        "most": amounts(resources.get("max"), MOST),
    }


def _template(given: Mapping[str, Any]) -> dict[str, Any]:
    template = given.get("podTemplate") or {}
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    return {
        "annotations": metadata.get("annotations") or {},
        "labels": {key: value for key, value in (metadata.get("labels") or {}).items() if not _is_ours(key)},
        "pod": {name: spec[name] for name in POD_FIELDS if spec.get(name) is not None},
    }


def _texts(values: Iterable[object] | None) -> tuple[str, ...]:
    return tuple(str(value) for value in values or ())


def _claim(given: Mapping[str, Any]) -> VolumeClaim | None:
    claim = (given.get("storage") or {}).get("claim") or {}
    return VolumeClaim(str(claim["size"]), str(claim.get("storageClassName") or "")) if claim.get("size") else None


def _is_ours(key: str) -> bool:
    return key == MANAGED_BY_LABEL or key.partition("/")[0] == PREFIX
