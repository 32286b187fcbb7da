"""What a KINDCluster may ask of an engine in a Pod: resources, ports, networks. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Network, ip_address, ip_network
from typing import Any, Final

from capk.api.objects import KINDCluster
from capk.api.podengines import PodEngines
from capk.api.quantities import CPU, MEMORY, RESOURCES, STORAGE, Amounts, parse, text
from capk.errors import InvalidSpec
from capk.kindconfig.config import API_PORT

DOCKER_PORT: Final = 2376
"""Where Docker listens with TLS."""
POWER_STATE: Final = "spec.engine.powerState"
_SUBNETS: Final = {"podSubnet": ("pods", "10.244.0.0/16"), "serviceSubnet": ("services", "10.96.0.0/16")}
"""Field -> the same in clusterNetwork of a Cluster, and kind's default."""
_OWN_PORTS: Final = {DOCKER_PORT: "Docker", API_PORT: "the API server"}


def check_engine_spec(
    cluster: KINDCluster,
    engines: PodEngines,
    *,
    class_name: str,
    control_planes: int,
    workers: int,
    cluster_network: Mapping[str, Any] | None = None,
) -> None:
    """Raise InvalidSpec if a KINDCluster asks for what an engine in a Pod cannot give, or what its class forbids.

    control_planes, workers: the nodes that kind creates in it. cluster_network: of the owner Cluster.
    """
    engine_amounts(cluster, engines, class_name=class_name, control_planes=control_planes, workers=workers)
    _check_life(cluster, engines, class_name)
    _check_networking(cluster.spec.get("networking") or {})
    _check_subnets(cluster.spec.get("networking") or {}, cluster_network or {}, engines)
    for path, mapping in _port_mappings(cluster.spec):
        _check_mapping(path, mapping)


def engine_amounts(
    cluster: KINDCluster, engines: PodEngines, *, class_name: str, control_planes: int, workers: int
) -> Amounts:
    """Return what the Pod requests: what its nodes need, or more if the user wants more.

    Raises InvalidSpec if that is more than the class allows.
    """
    needed = needed_amounts(engines, control_planes, workers).by_name()
    nodes = nodes_need(control_planes, workers)
    wanted = {name: _wanted(cluster, name, needed[name], nodes) for name in RESOURCES}
    for name, most in engines.most.by_name().items():
        if wanted[name] > most:
            _refuse(name, wanted[name], most, nodes=nodes, class_name=class_name, is_given=wanted[name] > needed[name])
    return Amounts(wanted[CPU], wanted[MEMORY], wanted[STORAGE])


def needed_amounts(engines: PodEngines, control_planes: int, workers: int) -> Amounts:
    """Return what so many nodes need of a Pod. Their disk is that of the volume, if there is one."""
    needed = engines.control_plane * control_planes + engines.worker * workers
    return needed if engines.claim is None else replace(needed, storage=0)


def published_ports(spec: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return protocol and port of what the nodes publish in the Pod, each once, in order."""
    found = ((_protocol(mapping), mapping.get("hostPort")) for _, mapping in _port_mappings(spec))
    ports = ((protocol, port) for protocol, port in found if isinstance(port, int) and port > 0)
    return list(dict.fromkeys(ports))


def _wanted(cluster: KINDCluster, name: str, needed: int, nodes: str) -> int:
    value = cluster.engine_resources.get(name)
    if value is None:
        return needed
    path = f"spec.engine.resources.{name}"
    try:
        wanted = parse(name, value)
    except ValueError as error:
        raise InvalidSpec(path, str(error)) from None
    if wanted < needed:
        raise InvalidSpec(
            path,
            f"is {text(name, wanted)}, but {nodes} {text(name, needed)}; set at least that, or leave it out",
        )
    return wanted


def _refuse(name: str, wanted: int, most: int, *, nodes: str, class_name: str, is_given: bool) -> None:
    limit = f"but an engine of KINDEngineClass {class_name} may have at most {text(name, most)}"
    if is_given:
        raise InvalidSpec(
            f"spec.engine.resources.{name}",
            f"is {text(name, wanted)}, {limit}; ask for less, or ask the administrator for a higher maximum",
        )
    raise InvalidSpec(
        "spec.nodes",
        f"{nodes} {text(name, wanted)} of {name}, {limit}; use fewer nodes, or ask the administrator for a higher "
        "maximum",
    )


def nodes_need(control_planes: int, workers: int) -> str:
    """Return the beginning of a sentence about what so many nodes need."""
    nodes = f"{control_planes} control-plane node{'' if control_planes == 1 else 's'}"
    if workers:
        return f"{nodes} and {workers} worker{'' if workers == 1 else 's'} need"
    return f"{nodes} {'needs' if control_planes == 1 else 'need'}"


def _check_life(cluster: KINDCluster, engines: PodEngines, class_name: str) -> None:
    if cluster.retains:
        raise InvalidSpec(
            "spec.deletionPolicy",
            f"cannot be Retain, because the engine of KINDEngineClass {class_name} is a Pod of this object and goes "
            "with it; set Delete, or leave it out",
        )
    if cluster.is_to_be_stopped and not engines.can_stop:
        raise InvalidSpec(
            POWER_STATE,
            f"cannot be Stopped, because engines of KINDEngineClass {class_name} have no volume and would lose their "
            "data; set Running, or use a class with storage.claim",
        )


def _check_networking(networking: Mapping[str, Any]) -> None:
    if networking.get("ipFamily") == "ipv6":
        raise InvalidSpec(
            "spec.networking.ipFamily", "cannot be ipv6 with an engine in a Pod, whose API server listens on IPv4"
        )
    if networking.get("apiServerPort") not in (None, 0, API_PORT):
        raise InvalidSpec(
            "spec.networking.apiServerPort",
            f"must be {API_PORT} with an engine in a Pod, which has an address of its own; leave it out",
        )


def _check_subnets(networking: Mapping[str, Any], network: Mapping[str, Any], engines: PodEngines) -> None:
    for field, (name, default) in _SUBNETS.items():
        blocks = (network.get(name) or {}).get("cidrBlocks") or ()
        found = str(networking.get(field) or ",".join(map(str, blocks)) or default)
        for own in (engines.bridge, engines.nodes):
            if any(_overlaps(subnet, own) for subnet in found.split(",")):
                raise InvalidSpec(
                    f"spec.networking.{field}",
                    f"is {found}, which has addresses of the engine's own network {own}; choose others, here or in "
                    "clusterNetwork of the owner Cluster",
                )


def _overlaps(subnet: str, own: IPv4Network) -> bool:
    try:
        found = ip_network(subnet.strip(), strict=False)
    except ValueError:
        return False
    return isinstance(found, IPv4Network) and found.overlaps(own)


def _port_mappings(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, node in enumerate(spec.get("nodes") or ()):
        for place, mapping in enumerate(node.get("extraPortMappings") or ()):
            yield f"spec.nodes[{number}].extraPortMappings[{place}]", mapping


def _protocol(mapping: Mapping[str, Any]) -> str:
    return str(mapping.get("protocol") or "TCP").upper()


def _check_mapping(path: str, mapping: Mapping[str, Any]) -> None:
    """Raise InvalidSpec for a port that a Service cannot lead to."""
    port, listen = mapping.get("hostPort") or 0, mapping.get("listenAddress")
    if port <= 0:
        raise InvalidSpec(
            f"{path}.hostPort",
            "must be set to a port with an engine in a Pod, because its Service names each port before the kind "
            "cluster exists",
        )
    if port in _OWN_PORTS and _protocol(mapping) == "TCP":
        raise InvalidSpec(
            f"{path}.hostPort", f"cannot be {port}, where {_OWN_PORTS[port]} of the engine listens; choose another port"
        )
    if listen and not _is_any(str(listen)):
        raise InvalidSpec(
            f"{path}.listenAddress",
            f"cannot be {listen} with an engine in a Pod, because its Service would not reach it; leave it out",
        )


def _is_any(address: str) -> bool:
    try:
        return ip_address(address) == ip_address("0.0.0.0")
    except ValueError:
        return False
