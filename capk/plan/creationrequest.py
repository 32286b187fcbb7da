"""Compute the creation that the objects request: node image, kind's configuration, marks, files.

`capk.plan.creation` decides when it starts.
"""

from collections.abc import Mapping
from typing import Any

from capk.api.endpoint import EndpointMode
from capk.api.objects import KINDCluster
from capk.errors import InvalidSpec
from capk.kindconfig.advice import warnings_of
from capk.kindconfig.certificatenames import with_certificate_names
from capk.kindconfig.config import CONTROL_PLANE, check_cluster_name, kind_config, with_control_planes
from capk.kindconfig.images import image_version, node_image
from capk.kindconfig.registries import hosts_files
from capk.kindconfig.specchecks import check_published_address
from capk.plan.hostpaths import check_host_paths
from capk.plan.marks import Mark
from capk.plan.observed import Observed
from capk.plan.plan import Create
from capk.plan.power import check_power

MOST_ATTEMPTS = 999_999_999
"""Numbers in annotations and marks have at most nine digits."""


def creation_request(observed: Observed) -> Create:
    """Return the creation that the objects request.

    Raises InvalidSpec if they contradict each other or request what kind cannot do.
    """
    cluster = observed.object
    image, config = _image_and_config(observed)
    # Nodes never become Ready without a CNI, so kind must not wait for them.
    has_cni = not (cluster.spec.get("networking") or {}).get("disableDefaultCNI")
    mark = Mark(cluster.uid, _next_attempt(cluster))
    request = Create(
        name=observed.cluster_name,
        config=_marked(config, mark),
        image=image,
        wait_seconds=observed.policy.wait_seconds if has_cni else 0,
        mark=mark,
        generation=cluster.generation,
        files=hosts_files(cluster.spec, observed.authorities.texts),
        engine=observed.engine.id,
        ports=observed.policy.ports,
    )
    check_power(observed, request)
    return request


def is_outdated(observed: Observed, request: Create) -> bool:
    """Return whether the objects now request another kind cluster than the one that is being created."""
    if observed.control_plane_name and observed.control_plane is None:
        return False
    in_pod = observed.pod_engine
    if not observed.engine.was_listed or (in_pod and in_pod.offer is None):
        # Without its engine, the address and the ports that the engine's class gives are unknown. Without the class of
        # an engine in a Pod, the paths that nodes may mount are.
        return False
    try:
        image, config = _image_and_config(observed)
    except InvalidSpec:
        return True
    return (image, _marked(config, request.mark)) != (request.image, request.config)


def advice(observed: Observed) -> tuple[str, ...]:
    """Return warnings about the spec, as sentences that are the same on every reconcile (C18)."""
    cluster = observed.object
    try:
        image = _image(observed)
    except InvalidSpec:
        image = None
    images = {node.image for node in observed.engine.nodes or () if node.image and node.role == CONTROL_PLANE}
    image = image or cluster.status.get("image") or min(images, default="")
    return warnings_of(cluster.spec, image_version(image))


def _image(observed: Observed) -> str | None:
    """Return the image for nodes that set none; None for kind's own default. Raises InvalidSpec."""
    spec = observed.object.spec
    wanted = observed.control_plane.version if observed.control_plane else None
    return node_image(spec.get("kubernetesVersion") or wanted, spec.get("image"), observed.policy.default_image)


def _image_and_config(observed: Observed) -> tuple[str | None, dict[str, Any]]:
    """Return the node image and kind's configuration, without marks. Raises InvalidSpec."""
    cluster = observed.object
    version = cluster.spec.get("kubernetesVersion")
    wanted = observed.control_plane.version if observed.control_plane else None
    if version and wanted and _bare(version) != _bare(wanted):
        raise InvalidSpec(
            "spec.kubernetesVersion",
            f"is {version}, but the KINDControlPlane requests {wanted}; set only the KINDControlPlane's spec.version",
        )
    image = _image(observed)
    spec = _with_engine_address(observed, with_control_planes(cluster.spec, observed.wanted_control_planes))
    check_cluster_name(observed.cluster_name, spec)
    # The endpoint host of a class can be reached although the API servers listen on all addresses.
    is_published = observed.policy.endpoint is EndpointMode.EXTERNAL and not observed.policy.endpoint_host
    check_published_address(spec, owned=observed.owner is not None, external=is_published)
    config = kind_config(
        spec,
        cluster_name=observed.cluster_name,
        cluster_network=observed.owner.cluster_network if observed.owner else None,
        image=image,
        version=wanted,
    )
    check_host_paths(spec, observed.policy.allowed_host_paths)
    return image, _with_known_port(observed, _with_engine_names(observed, config))


def _with_engine_address(observed: Observed, spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the spec with the address that the KINDEngineClass gives to API servers. Raises InvalidSpec."""
    networking = spec.get("networking") or {}
    if not observed.policy.api_server_address:
        return spec
    if networking.get("apiServerAddress"):
        # The API server accepts that only without spec.engine, where the class is the default one.
        raise InvalidSpec(
            "spec.networking.apiServerAddress",
            f"cannot be set, because KINDEngineClass {observed.engine_class} gives the address; leave it out",
        )
    return {**spec, "networking": {**networking, "apiServerAddress": observed.policy.api_server_address}}


def _with_engine_names(observed: Observed, config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration with a certificate for the host under which clients reach the API server."""
    address, host = observed.policy.api_server_address, observed.policy.endpoint_host
    names_of_it = [address, host, *observed.policy.endpoint_names]
    return config if host in ("", address) else with_certificate_names(config, names_of_it)


def _next_attempt(cluster: KINDCluster) -> int:
    """Return the number of the next creation, which differs from the one that the status calls complete.

    The annotation can be lost, or edited.
    """
    known = (cluster.attempt, cluster.completed_attempt or 0)
    return max(number for number in (0, *known) if number < MOST_ATTEMPTS) + 1


def _marked(config: dict[str, Any], mark: Mark) -> dict[str, Any]:
    """Put the mark on every node, as a mount: kind cannot set container labels, and the engine lists mounts too."""
    nodes = config.get("nodes") or [{"role": "control-plane"}]
    marked = [{**node, "extraMounts": [*(node.get("extraMounts") or ()), mark.mount]} for node in nodes]
    return {**config, "nodes": marked}


def _with_known_port(observed: Observed, config: dict[str, Any]) -> dict[str, Any]:
    """Publish the API server on the port that its place gives.

    Elsewhere, a recreated cluster gets that of the stored endpoint, which never changes (C10).
    """
    endpoint, networking = observed.object.endpoint, config.get("networking") or {}
    if observed.policy.api_server_port:
        return {**config, "networking": {**networking, "apiServerPort": observed.policy.api_server_port}}
    if endpoint is None or observed.policy.endpoint is not EndpointMode.EXTERNAL:
        return config
    # For kind, 0 means any free port, like a missing value.
    return {**config, "networking": {**networking, "apiServerPort": networking.get("apiServerPort") or endpoint[1]}}


def _bare(version: str) -> str:
    return version.removeprefix("v")
