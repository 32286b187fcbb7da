"""KINDCluster spec and the owner Cluster's network → the `kind.x-k8s.io/v1alpha4` document that kind reads. Pure.

The schema of the CRD makes further checks, which are not repeated here.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import yaml

from capk.api.names import CLUSTER_NAME
from capk.errors import InvalidSpec
from capk.kindconfig import registries, specchecks
from capk.kindconfig.patches import PatchReader

API_VERSION = "kind.x-k8s.io/v1alpha4"
CONTROL_PLANE, WORKER, LOAD_BALANCER = "control-plane", "worker", "external-load-balancer"
API_PORT = 6443
"""Port of the API server in a node, and of the load balancer in front of several."""
DEFAULT_SERVICE_DOMAIN = "cluster.local"

_CLUSTER_WIDE = (
    "featureGates",
    "runtimeConfig",
    "kubeadmConfigPatches",
    "kubeadmConfigPatchesJSON6902",
    "containerdConfigPatches",
    "containerdConfigPatchesJSON6902",
)
_HOST_NAME_LIMIT = 63
MOST_CONTROL_PLANES = 9
"""How many a KINDControlPlane may ask for: with every further member, etcd takes longer to agree."""


def kind_config(
    spec: Mapping[str, Any],
    *,
    cluster_name: str,
    cluster_network: Mapping[str, Any] | None = None,
    image: str | None = None,
    version: str | None = None,
) -> dict[str, Any]:
    """Return the kind configuration of a KINDCluster.

    cluster_network: the owner Cluster's `spec.clusterNetwork`, which supplies what the spec omits; None without an
    owner.
    image: for the nodes that name none. kind's own `--image` would replace the image of every node.
    version: the one that the KINDControlPlane requests, None without one; no control-plane node may have another.
    Raises InvalidSpec if the spec contradicts itself, the owner Cluster or the KINDControlPlane.
    """
    specchecks.check_published_port(spec, owned=cluster_network is not None)
    specchecks.check_node_versions(spec, image=image, version=version)
    registries.check_containerd_patches(spec)
    network = cluster_network or {}
    config: dict[str, Any] = {"kind": "Cluster", "apiVersion": API_VERSION, "name": cluster_name}
    nodes = _with_image(spec.get("nodes") or [], image)
    networking = _networking(spec.get("networking") or {}, network)
    config |= {"nodes": nodes} if nodes else {}
    config |= {"networking": networking} if networking else {}
    config |= {field: deepcopy(spec[field]) for field in _CLUSTER_WIDE if spec.get(field)}
    if folder := registries.containerd_patches(spec):
        config["containerdConfigPatches"] = [*config.get("containerdConfigPatches", []), *folder]
    domain = network.get("serviceDomain") or DEFAULT_SERVICE_DOMAIN
    if domain != DEFAULT_SERVICE_DOMAIN:
        patches = config.get("kubeadmConfigPatches", [])
        _check_service_domain(patches, domain)
        config["kubeadmConfigPatches"] = [_service_domain_patch(domain), *patches]
    return config


def check_cluster_name(cluster_name: str, spec: Mapping[str, Any]) -> None:
    """Raise InvalidSpec if kind, the container engine or Kubernetes would reject the name for the cluster or a node.

    kind itself only warns, above 50 characters. The host name of a node has at most 63.
    """
    if not CLUSTER_NAME.fullmatch(cluster_name):
        raise InvalidSpec(
            "spec.clusterName",
            f"the kind cluster cannot be named {cluster_name!r}: a name consists of lower-case letters, digits, '-' "
            "and '.', and begins and ends with a letter or digit, also around each '.'",
        )
    limit = name_limit(spec)
    if len(cluster_name) > limit:
        raise InvalidSpec(
            "spec.clusterName",
            f"the kind cluster's name {cluster_name!r} has {len(cluster_name)} characters; with "
            f"{control_plane_count(spec)} control-plane node(s) at most {limit} are allowed, so that the nodes' host "
            "names fit into 63; set a shorter spec.clusterName",
        )


def name_limit(spec: Mapping[str, Any]) -> int:
    """Return the maximum number of characters of the kind cluster's name."""
    longest = LOAD_BALANCER if control_plane_count(spec) > 1 else CONTROL_PLANE
    return _HOST_NAME_LIMIT - len(f"-{longest}")


def control_plane_count(spec: Mapping[str, Any]) -> int:
    """Return the number of control-plane nodes that kind creates for the spec."""
    return _roles(spec).count(CONTROL_PLANE)


def with_control_planes(spec: Mapping[str, Any], wanted: int | None) -> Mapping[str, Any]:
    """Return the spec with as many control-plane nodes as wanted: plain ones are added where it lists fewer.

    They come last, so that a listed node keeps its place in messages; kind numbers the nodes of each role by itself.
    wanted: what the KINDControlPlane asks for; None where it leaves that to the spec.
    Raises InvalidSpec where the spec lists more, or so many cannot be made.
    """
    listed = control_plane_count(spec)
    if wanted is None or wanted == listed:
        return spec
    if wanted < listed:
        raise InvalidSpec(
            "spec.nodes",
            f"lists {listed} control-plane nodes, but the KINDControlPlane's spec.replicas is {wanted}; set that to "
            f"{listed} or leave it out, or list fewer",
        )
    if wanted > MOST_CONTROL_PLANES:
        raise InvalidSpec(
            "spec.nodes",
            f"cannot get {wanted} control-plane nodes, as the KINDControlPlane's spec.replicas asks for; at most "
            f"{MOST_CONTROL_PLANES} are possible",
        )
    plain = {"role": CONTROL_PLANE}
    return {**spec, "nodes": [*(spec.get("nodes") or [plain]), *[plain] * (wanted - listed)]}


def node_names(spec: Mapping[str, Any], cluster_name: str) -> list[str]:
    """Return the names of the nodes that kind creates for the spec, in order, without the load balancer.

    Source: kind pkg/cluster/internal/providers/common/namer.go.
    """
    roles = _roles(spec)
    numbers = [roles[: index + 1].count(role) for index, role in enumerate(roles)]
    return [f"{cluster_name}-{role}{number if number > 1 else ''}" for role, number in zip(roles, numbers, strict=True)]


def role_of(node_name: str, cluster_name: str) -> str:
    """Return the role of a container that kind has named; empty where the name is not one of kind's."""
    role = node_name.removeprefix(f"{cluster_name}-").rstrip("0123456789")
    return role if role in (CONTROL_PLANE, WORKER, LOAD_BALANCER) else ""


def _roles(spec: Mapping[str, Any]) -> list[str]:
    return [node.get("role") or CONTROL_PLANE for node in spec.get("nodes") or [{}]]


def _with_image(nodes: Sequence[Mapping[str, Any]], image: str | None) -> list[dict[str, Any]]:
    if image is None:
        return [deepcopy(dict(node)) for node in nodes]
    return [deepcopy(dict(node)) | {"image": node.get("image") or image} for node in nodes or [{"role": CONTROL_PLANE}]]


def ip_versions(spec: Mapping[str, Any], cluster_network: Mapping[str, Any] | None = None) -> tuple[int, ...]:
    """Return the IP versions of the addresses that nodes have in the kind cluster of a spec, the primary one first.

    cluster_network: as for `kind_config`. If it contradicts the spec, which kind has used, it does not count.
    Source: kind pkg/cluster/internal/create/actions/config/config.go (the primary service subnet decides the order).
    """
    own = spec.get("networking") or {}
    try:
        networking = _networking(own, cluster_network or {})
    except InvalidSpec:
        networking = dict(own)
    family = networking.get("ipFamily") or "ipv4"
    if family != "dual":
        return (6,) if family == "ipv6" else (4,)
    primary = _subnets((networking.get("serviceSubnet") or "").partition(",")[0])
    return (6, 4) if primary and primary[0].version == 6 else (4, 6)


def _networking(own: Mapping[str, Any], network: Mapping[str, Any]) -> dict[str, Any]:
    """Return kind's networking: the spec's, completed by the owner Cluster's network.

    `clusterNetwork.apiServerPort` is the published port: inside a kind node the API server always listens on 6443.
    """
    pods, services = _blocks(network, "pods"), _blocks(network, "services")
    wanted = {
        "podSubnet": ",".join(pods),
        "serviceSubnet": ",".join(services),
        "apiServerPort": network.get("apiServerPort") or 0,
        "ipFamily": _family(pods, services),
    }
    # kind treats 0 as no port, so the owner Cluster's port may replace it.
    merged = {field: deepcopy(value) for field, value in own.items() if (field, value) != ("apiServerPort", 0)}
    for field, value in wanted.items():
        if value and not _agree(merged.setdefault(field, value), value):
            raise InvalidSpec(
                f"spec.networking.{field}",
                f"is {merged[field]}, but the clusterNetwork of the owner Cluster requests {value}; "
                "set it in only one of the two, or to the same value in both",
            )
    return merged


def _blocks(network: Mapping[str, Any], field: str) -> list[str]:
    blocks = list((network.get(field) or {}).get("cidrBlocks") or ())
    if len(blocks) > 2:
        raise InvalidSpec(
            "spec.networking",
            f"clusterNetwork.{field} of the owner Cluster has {len(blocks)} CIDR blocks; use one, or one of each "
            "IP family, because kind accepts no more",
        )
    return blocks


def _family(pods: Sequence[str], services: Sequence[str]) -> str:
    """Return the ipFamily that the owner Cluster's subnets need; empty if kind's default suffices."""
    versions = [{_version(block) for block in blocks} for blocks in (pods, services) if blocks]
    if any(len(blocks) == 2 for blocks in (pods, services)):
        return "dual"
    if len(versions) == 2 and versions[0] != versions[1]:
        raise InvalidSpec(
            "spec.networking",
            f"clusterNetwork of the owner Cluster mixes IP families: pods {','.join(pods)}, "
            f"services {','.join(services)}; use the same family for both, or one block of each family for both",
        )
    return "ipv6" if {6} in versions else ""


def _version(block: str) -> int:
    try:
        return ipaddress.ip_interface(block).version
    except ValueError:
        raise InvalidSpec(
            "spec.networking", f"clusterNetwork of the owner Cluster has {block!r}, which is not a CIDR"
        ) from None


def _agree(one: Any, other: Any) -> bool:
    """Whether two values mean the same; the notation of subnets may differ."""
    return one == other or _subnets(one) == _subnets(other) is not None


def _subnets(value: Any) -> list[Any] | None:
    try:
        return [ipaddress.ip_network(block, strict=False) for block in str(value).split(",")]
    except ValueError:
        return None


def _service_domain_patch(domain: str) -> str:
    """Return the patch for the service domain; without apiVersion it fits every kubeadm version."""
    patch = {"kind": "ClusterConfiguration", "networking": {"dnsDomain": domain}}
    return yaml.safe_dump(patch, sort_keys=False)


def _check_service_domain(patches: Sequence[str], domain: str) -> None:
    reader = PatchReader()
    for index, patch in enumerate(patches):
        for document in reader.documents(patch):
            networking = document.get("networking") if document.get("kind") == "ClusterConfiguration" else None
            own = networking.get("dnsDomain") if isinstance(networking, Mapping) else None
            if own and own != domain:
                raise InvalidSpec(
                    f"spec.kubeadmConfigPatches[{index}]",
                    f"sets networking.dnsDomain to {own}, but clusterNetwork.serviceDomain of the owner Cluster is "
                    f"{domain}; remove one of them",
                )
