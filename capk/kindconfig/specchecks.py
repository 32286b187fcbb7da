"""Rejects settings that kind accepts but that cannot work, before kind starts. Pure.

The schema of the CRD rejects what it can express.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from capk.errors import InvalidSpec
from capk.kindconfig.images import Version, image_version, parse_version, same_version

_KUBELET_SKEW, _KUBELET_SKEW_BEFORE_28 = 3, 2


def check_published_port(spec: Mapping[str, Any], *, owned: bool) -> None:
    """Raise InvalidSpec if a Cluster owns the object and the API server's port would change at each start."""
    if owned and (spec.get("networking") or {}).get("apiServerPort") == -1:
        raise InvalidSpec(
            "spec.networking.apiServerPort",
            "is -1, which changes the port at each start, but the endpoint of the owner Cluster cannot change; "
            "set 0, or omit it, for a free port that stays the same",
        )


def check_published_address(spec: Mapping[str, Any], *, owned: bool, external: bool) -> None:
    """Raise InvalidSpec if a Cluster would publish an address that no client can connect to.

    external: whether the Cluster's endpoint is the address on the machine of the container engine.
    """
    address = (spec.get("networking") or {}).get("apiServerAddress")
    if owned and external and address and _is_unspecified(str(address)):
        raise InvalidSpec(
            "spec.networking.apiServerAddress",
            f"is {address}, which the owner Cluster would publish as its endpoint, but clients cannot connect to it; "
            "set an address of the container engine's machine, or omit it if all clients run on that machine",
        )


def check_node_versions(spec: Mapping[str, Any], *, image: str | None, version: str | None) -> None:
    """Raise InvalidSpec if the nodes' images have Kubernetes versions that do not work in one cluster.

    image: for the nodes that name none. version: the one that the KINDControlPlane requests; None without one.
    Images without a version in their tag are skipped.
    Source: https://kubernetes.io/releases/version-skew-policy.
    """
    nodes = spec.get("nodes") or [{}]
    images = [(f"spec.nodes[{n}].image" if node.get("image") else "spec.image", node) for n, node in enumerate(nodes)]
    known = [
        (path, node.get("role") == "worker", found)
        for path, node in images
        if (found := _version_of(node.get("image") or image or "")) is not None
    ]
    control_planes = [(path, found) for path, is_worker, found in known if not is_worker]
    if version:
        _check_asked_for(control_planes, version)
    for path, found in control_planes:
        if found.minor != control_planes[0][1].minor:
            raise InvalidSpec(
                path,
                f"has Kubernetes {found}, but another control-plane node has {control_planes[0][1]}; use one minor "
                "version for all control-plane nodes",
            )
    if control_planes:
        _check_skew([(path, found) for path, is_worker, found in known if is_worker], control_planes[0][1])


def _check_asked_for(control_planes: Sequence[tuple[str, Version]], version: str) -> None:
    for path, found in control_planes:
        if not same_version(version, str(found)):
            raise InvalidSpec(
                path,
                f"has Kubernetes {found}, but the KINDControlPlane requests {version}; omit the image, choose "
                f"one of that version, or set the KINDControlPlane's spec.version to {found}",
            )


def _check_skew(workers: Sequence[tuple[str, Version]], control_plane: Version) -> None:
    allowed = _KUBELET_SKEW if control_plane.minor >= 28 else _KUBELET_SKEW_BEFORE_28
    for path, found in workers:
        if not 0 <= control_plane.minor - found.minor <= allowed:
            raise InvalidSpec(
                path,
                f"has Kubernetes {found}, and the control plane has {control_plane}; use an image that is at most "
                f"{allowed} minor versions older than the control plane, and not newer",
            )


def _version_of(image: str) -> Version | None:
    try:
        return parse_version(image_version(image) or "")
    except InvalidSpec:
        return None


def _is_unspecified(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False
