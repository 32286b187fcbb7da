"""Parses the output of a container engine's `inspect` into small, checked, bounded values. Pure.

docker, podman, nerdctl and finch print the same fields, except for the differences noted in the functions.
Sources: moby api/types/container, podman libpod/define/container_inspect.go, nerdctl pkg/inspecttypes/dockercompat.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import islice
from typing import Any, Final

from capk.api.names import CLAIM_MOUNT_FOLDER, CLUSTER_NAME, INFRASTRUCTURE_GROUP, MACHINE_CONTAINER_LABEL

KIND_CLUSTER_LABEL: Final = "io.x-k8s.kind.cluster"
ROLE_LABEL: Final = "io.x-k8s.kind.role"
HOLD_LABEL: Final = f"{INFRASTRUCTURE_GROUP}/holds-address-for"
"""On a placeholder, which occupies an address: the name of the kind cluster that it helps to start."""
API_PORT: Final = "6443/tcp"
"""The port of the API server, and of the load balancer, in the container."""
CONTAINER_ID: Final = re.compile(r"[0-9a-f]{64}")
NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")
"""Names of containers and volumes, which cannot be mistaken for an option."""
MAX_LABEL: Final = 255
MAX_IMAGE: Final = 1024
MAX_MARK: Final = 253
MAX_TIME: Final = 64
MAX_VARIABLE: Final = 16 * 1024

SNAPSHOTTER: Final = "KIND_EXPERIMENTAL_CONTAINERD_SNAPSHOTTER"
"""Variable that kind asks the engine to pass on from its own environment, set or not."""
PASSED_ON: Final = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("KIND_DNS_SEARCH", SNAPSHOTTER),
)
"""Variables that kind sets in every node of a cluster, from its own environment and from the cluster's configuration.

Source: kind pkg/cluster/internal/providers/*/provision.go and common/proxy.go.
"""

_STOPPING: Final = "stopping"
"""podman's word for a container that has been asked to end."""
_ROLE: Final = re.compile(r"[a-z][a-z-]{0,62}")
_DESKTOP_LABEL: Final = f"desktop.docker.io/ports/{API_PORT}"
"""For kind, this label overrides the published port (GetAPIServerEndpoint of its providers)."""
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]")
"""A host in that label."""
_VAR: Final = "/var"
"""Where kind puts a volume into each node."""
_UNKNOWN_NETWORK: Final = "unknown-"
"""nerdctl does not report network names; it invents them from the interfaces, such as unknown-eth0."""
_LOAD_BALANCER: Final = "external-load-balancer"
_API_ROLES: Final = ("control-plane", _LOAD_BALANCER)
_ROUTES: Final = "/home/envoy/lds.yaml"
_WRITES_ROUTES: Final = f"> {_ROUTES}"
_KEEPS_ROUTES: Final = f"[ ! -f {_ROUTES} ]"
"""In the command of a load balancer: it writes a file without routes, or only if there is none."""
_DOCUMENTS: Final = json.JSONDecoder()
MOST_PORTS: Final = 256
"""Of one container, whose user may publish thousands."""
MOST_ARRAYS: Final = 10_000
"""In one output, which may have one array for each container."""
_SPACE: Final = re.compile(r"\s*")

Document = Mapping[str, Any]

_READ_LABELS: Final = (KIND_CLUSTER_LABEL, ROLE_LABEL, MACHINE_CONTAINER_LABEL, HOLD_LABEL, _DESKTOP_LABEL)
_BRIEF_LABELS: Final = "".join(
    rf'{{{{with index .Config.Labels "{label}"}}}}"{label}": {{{{json (printf "%.300s" .)}}}}, {{{{end}}}}'
    for label in _READ_LABELS
)
_BRIEF_MOUNT: Final = '{"Type": {{json .Type}}, "Name": {{json .Name}}, "Destination": {{json .Destination}} }, '
_BRIEF_MOUNTS: Final = (
    f'{{{{range .Mounts}}}}{{{{if eq .Destination "{_VAR}"}}}}{_BRIEF_MOUNT}'
    f"{{{{else if gt (len .Destination) {len(CLAIM_MOUNT_FOLDER)}}}}}"
    f'{{{{if eq (slice .Destination 0 {len(CLAIM_MOUNT_FOLDER)}) "{CLAIM_MOUNT_FOLDER}"}}}}{_BRIEF_MOUNT}'
    "{{end}}{{end}}{{end}}"
)
_BRIEF_NETWORKS: Final = (
    '{{range $name, $end := .NetworkSettings.Networks}}{{json $name}}: {"IPAddress": {{json $end.IPAddress}}, '
    '"GlobalIPv6Address": {{json $end.GlobalIPv6Address}} }, {{end}}'
)
_BRIEF_PORTS: Final = (
    "{{range $port, $bindings := .NetworkSettings.Ports}}"
    f'{{{{if eq (print $port) "{API_PORT}"}}}}{{{{json $port}}}}: {{{{json $bindings}}}}, {{{{end}}}}{{{{end}}}}'
)
BRIEF: Final = (
    '[ {"Id": {{json .ID}}, "Name": {{json .Name}}, '
    '"State": {"Running": {{json .State.Running}}, "Status": {{json .State.Status}}, '
    '"StartedAt": {{json .State.StartedAt}} }, '
    f'"Config": {{"Image": {{{{json .Config.Image}}}}, "Labels": {{ {_BRIEF_LABELS}"": "" }} }}, '
    f'"Mounts": [ {_BRIEF_MOUNTS}{{"Destination": ""}} ], '
    f'"NetworkSettings": {{"Networks": {{ {_BRIEF_NETWORKS}"": null }}, "Ports": {{ {_BRIEF_PORTS}"": null }} }} }} ]'
)
"""A Go template for `inspect` that prints what is read of a node, however much there is of the rest.

docker and podman know its fields. Its functions are those of Go 1.13. An empty entry ends each list, because a template
cannot leave out the last comma.
Sources: docker cli templates/templates.go, podman cmd/podman/inspect/inspect.go.
"""


class Unreadable(Exception):
    """The text is not the output of `inspect`.

    The message does not quote the text, which may hold secrets.
    """


@dataclass(frozen=True)
class Node:
    """One node container, or the load balancer in front of several control planes.

    role: control-plane, worker or external-load-balancer; empty for a label that is not a word.
    address: the first of `addresses`; empty while it is stopped.
    started_at: when the container last started, in the engine's format, only for comparison; empty if the engine does
    not report it (nerdctl before 2.0).
    image: as specified when the container was created.
    mark: set by its creator with a mount below CLAIM_MOUNT_FOLDER; the alphabetically first if there are several,
    because docker lists mounts in any order.
    api_port: host address and port on which a running control plane or load balancer publishes the API server.
    addresses: on kind's network, IPv4 before IPv6.
    machine: id of the KINDMachine that the container was created for, by its label; empty for the others.
    forgets: whether it is a load balancer that loses its configuration when it stops.
    host_ports: those of the engine's machine that it publishes while it runs, without those that the engine picks; none
    if the description was too much to read whole.
    """

    name: str
    cluster: str
    role: str
    running: bool
    container_id: str
    address: str
    started_at: str
    image: str = ""
    mark: str | None = None
    api_port: tuple[str, int] | None = None
    addresses: tuple[str, ...] = ()
    machine: str = ""
    forgets: bool = False
    host_ports: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Sibling:
    """What the container of a control plane has in common with all nodes of its kind cluster.

    image: as specified when the container was created. image_id: the image itself.
    network: the one that its nodes share; empty if it has none. addresses: its own there.
    environment: those of PASSED_ON that are set. They may hold the password of a proxy.
    """

    image: str
    image_id: str
    network: str
    addresses: tuple[str, ...] = ()
    shares_user_namespace: bool = False
    has_device_mapper: bool = False
    has_fuse: bool = False
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def documents(printed: str) -> dict[str, Document]:
    """Return the containers in the output of `inspect`, by id.

    The output is one JSON array, or a sequence of arrays: nerdctl before 2.1 prints one per container. `null` is an
    empty array. Raises Unreadable.
    """
    found: dict[str, Document] = {}
    for number, array in enumerate(_arrays(printed)):
        if number >= MOST_ARRAYS:
            raise Unreadable(f"it consists of more than {MOST_ARRAYS} arrays")
        for document in _list(array, "the answer"):
            whole = _mapping(document, "a container")
            found[identity(whole)] = whole
    return found


def identity(document: Document) -> str:
    """Return a container's whole id. Raises Unreadable."""
    return _matching(CONTAINER_ID, _text(document.get("Id", document.get("ID")), "Id", 64), "Id")


def node(document: Document, network: str) -> Node | None:
    """Return the node of a container; None if it belongs to no kind cluster, or to one with a name that no object has.

    Anyone can run a container with any labels. One of them must not hide all nodes.
    network: the name of kind's network. Raises Unreadable.
    """
    config, state = _mapping(document.get("Config"), "Config"), _mapping(document.get("State"), "State")
    labels = _mapping(config.get("Labels"), "Labels")
    cluster = _text(labels.get(KIND_CLUSTER_LABEL), KIND_CLUSTER_LABEL, sys.maxsize)
    if not CLUSTER_NAME.fullmatch(cluster):
        return None
    running = _runs(state)
    role = _text(labels.get(ROLE_LABEL), ROLE_LABEL, sys.maxsize)
    addresses = _node_addresses(document, network)
    return Node(
        name=name(document),
        cluster=cluster,
        role=role if _ROLE.fullmatch(role) else "",
        running=running,
        container_id=_text(document.get("Id", document.get("ID")), "Id", MAX_LABEL),
        address=next(iter(addresses), ""),
        started_at=_text(state.get("StartedAt"), "StartedAt", MAX_TIME),
        image=_image(document, config),
        mark=_mark(document),
        api_port=_api_port(document, labels) if running and role in _API_ROLES else None,
        addresses=addresses,
        machine=str(labels.get(MACHINE_CONTAINER_LABEL) or "")[:MAX_LABEL],
        forgets=role == _LOAD_BALANCER and _forgets(config),
        host_ports=_host_ports(_mapping(document.get("HostConfig"), "HostConfig")),
    )


def _runs(state: Document) -> bool:
    """Return whether processes of a container run.

    While podman stops a container, which takes up to 10 s, it reports it as not running.
    Source: podman libpod/container_inspect.go, State.Running.
    """
    if not isinstance(running := state.get("Running"), bool):
        raise Unreadable("State.Running is missing or not a boolean")
    return running or state.get("Status") == _STOPPING


def sibling(document: Document, network: str) -> Sibling:
    """Return what a new node has to have in common with this one.

    network: the name of kind's network, which is preferred if there are several. Raises Unreadable.
    """
    config, host = _mapping(document.get("Config"), "Config"), _mapping(document.get("HostConfig"), "HostConfig")
    networks = sorted(_ends(document), key=lambda other: (other != network, other))
    return Sibling(
        image=_image(document, config),
        image_id=_text(document.get("Image"), "Image", MAX_IMAGE).removeprefix("sha256:"),
        network=_matching(NAME, networks[0], "the name of a network") if networks else "",
        addresses=_node_addresses(document, network),
        shares_user_namespace=_text(host.get("UsernsMode"), "UsernsMode", MAX_LABEL) == "host",
        has_device_mapper=any(_path(mount.get("Destination")) == "/dev/mapper" for mount in _mounts(document)),
        has_fuse=any(device.get("PathInContainer") == "/dev/fuse" for device in _devices(host)),
        environment=_environment(config),
    )


def name(document: Document) -> str:
    """Return a container's name, without docker's leading slash; its id if the name is too long. Raises Unreadable.

    docker sets no limit to the names that anyone may give, and engines take ids in place of names.
    """
    found = _text(document.get("Name"), "Name", sys.maxsize).removeprefix("/")
    return _matching(NAME, found, "Name") if len(found) <= MAX_LABEL else identity(document)


def holds_address_for(document: Document) -> str:
    """Return the kind cluster of a placeholder; empty for any other container. Raises Unreadable."""
    labels = _mapping(_mapping(document.get("Config"), "Config").get("Labels"), "Labels")
    return "" if KIND_CLUSTER_LABEL in labels else _text(labels.get(HOLD_LABEL), HOLD_LABEL, MAX_LABEL)


def addresses_on(document: Document, network: str) -> tuple[str, ...]:
    """Return a container's addresses on a network, IPv4 before IPv6; with nerdctl, on all networks.

    Raises Unreadable.
    """
    ends = _ends(document)
    on_it = [end for other, end in ends.items() if other == network or other.startswith(_UNKNOWN_NETWORK)]
    return tuple(address for end in on_it for address in _addresses(end))


def var_volume(document: Document) -> str | None:
    """Return the volume at /var, which kind creates for each node; None if there is none. Raises Unreadable."""
    for mount in _mounts(document):
        if mount.get("Type") == "volume" and mount.get("Destination") == _VAR:
            return _matching(NAME, _text(mount.get("Name"), "the name of a volume", MAX_LABEL), "the name of a volume")
    return None


def _arrays(printed: str) -> Iterator[Any]:
    at = _skip_space(printed, 0)
    while at < len(printed):
        try:
            array, at = _DOCUMENTS.raw_decode(printed, at)
        except (ValueError, RecursionError) as error:
            raise Unreadable("it is not complete JSON") from error
        yield array
        at = _skip_space(printed, at)


def _skip_space(printed: str, at: int) -> int:
    found = _SPACE.match(printed, at)
    return found.end() if found else at


def _image(document: Document, config: Document) -> str:
    """Return the image's name: docker's Config.Image, podman's ImageName; nerdctl before 2.1 only sets Image.

    It is shown as it is, so one that would control a terminal counts as none.
    """
    for value in (config.get("Image"), document.get("ImageName"), document.get("Image")):
        if (found := _text(value, "Image", MAX_IMAGE)).isprintable() and found and not found.startswith("sha256:"):
            return found
    return ""


def _forgets(config: Document) -> bool:
    """Return whether the command of a load balancer writes empty configurations at each start, not only at the first.

    Source: kind pkg/cluster/internal/loadbalancer/config.go, GenerateBootstrapCommand, in v0.32 and v0.33.
    """
    words = config.get("Cmd")
    command = " ".join(word for word in words if isinstance(word, str)) if isinstance(words, list) else ""
    return _WRITES_ROUTES in command and _KEEPS_ROUTES not in command


def _mark(document: Document) -> str | None:
    # An image can declare a volume below the folder, but only the creator of the container can bind a mount there.
    bound = (mount for mount in _mounts(document) if mount.get("Type") != "volume")
    paths = [_path(mount.get("Destination")) for mount in bound]
    marks = (path.removeprefix(CLAIM_MOUNT_FOLDER) for path in paths if path.startswith(CLAIM_MOUNT_FOLDER))
    return min((mark for mark in marks if 0 < len(mark) <= MAX_MARK), default=None)


def _path(value: Any) -> str:
    """Return the path of a mount; users choose it, so its length has no limit that could hide all nodes."""
    if not isinstance(value, str):
        raise Unreadable("the path of a mount is not a string")
    return value


def _mounts(document: Document) -> list[Document]:
    return [_mapping(mount, "a mount") for mount in _list(document.get("Mounts"), "Mounts")]


def _devices(host: Document) -> list[Document]:
    return [_mapping(device, "a device") for device in _list(host.get("Devices"), "Devices")]


def _environment(config: Document) -> dict[str, str]:
    """Return the variables to pass on. docker lists a variable without a value if kind's environment lacks it."""
    found = {}
    for entry in _list(config.get("Env"), "Env"):
        name, has_value, value = _text(entry, "a variable", 8 * MAX_VARIABLE).partition("=")
        if name in PASSED_ON and has_value:
            if len(value) > MAX_VARIABLE or "\n" in value or "\0" in value:
                raise Unreadable(f"the variable {name} is too long or has more than one line")
            found[name] = value
    return found


def _settings(document: Document) -> Document:
    return _mapping(document.get("NetworkSettings"), "NetworkSettings")


def _ends(document: Document) -> dict[str, Document]:
    networks = _mapping(_settings(document).get("Networks"), "Networks")
    return {other: _mapping(end, "a network") for other, end in networks.items()}


def _node_addresses(document: Document, network: str) -> tuple[str, ...]:
    """Prefer kind's network to others, and those to addresses outside all networks."""
    ends = _ends(document)
    for other in sorted(ends, key=lambda other: other != network):
        if found := _addresses(ends[other]):
            return found
    return _addresses(_settings(document))


def _addresses(end: Document) -> tuple[str, ...]:
    texts = (_text(end.get(field), field, MAX_LABEL) for field in ("IPAddress", "GlobalIPv6Address"))
    try:
        return tuple(str(ip_address(text)) for text in texts if text)
    except ValueError as error:
        raise Unreadable("an IP address is invalid") from error


def _api_port(document: Document, labels: Document) -> tuple[str, int] | None:
    # An image can set this label, so an invalid one must not hide all nodes.
    label = labels.get(_DESKTOP_LABEL)
    host, _, port = (label if isinstance(label, str) and len(label) <= MAX_LABEL else "").rpartition(":")
    if _HOST.fullmatch(host) and _is_port(port):
        return host.strip("[]"), int(port)
    ports = _mapping(_settings(document).get("Ports"), "Ports")
    for binding in _list(ports.get(API_PORT), "a port"):
        end = _mapping(binding, "a port")
        # podman before 5 leaves it empty for all addresses.
        host = _text(end.get("HostIp"), "HostIp", MAX_LABEL) or "0.0.0.0"
        port = _text(end.get("HostPort"), "HostPort", MAX_LABEL)
        if _is_port(port):
            return host, int(port)
        if port not in ("", "0"):
            raise Unreadable("HostPort is not a valid port")
    return None


def _host_ports(host: Document) -> frozenset[int]:
    """Return the ports that were asked for; other than those in use, they are there while the container is stopped."""
    bindings = _mapping(host.get("PortBindings"), "PortBindings").values()
    ends = (_mapping(end, "a port") for binding in bindings for end in _list(binding, "a port"))
    texts = (end.get("HostPort") for end in islice(ends, MOST_PORTS))
    return frozenset(int(text) for text in texts if isinstance(text, str) and _is_port(text))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536


def _mapping(value: Any, what: str) -> Document:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unreadable(f"{what} is not an object")
    return value


def _list(value: Any, what: str) -> Sequence[Any]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise Unreadable(f"{what} is not a list")
    return value


def _text(value: Any, what: str, limit: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unreadable(f"{what} is not a string")
    if len(value) > limit:
        raise Unreadable(f"{what} is longer than {limit} characters")
    return value


def _matching(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise Unreadable(f"{what} is missing or malformed")
    return text


def resolves_names(text: str) -> bool | None:
    """Return whether a network of podman resolves the names of containers; None if its description lacks that.

    text: output of `network inspect`. podman 4 has a field for it; earlier releases list the CNI plugin dnsname.
    Source: containers/common libnetwork/types/network.go; podman 3 docs/source/markdown/podman-network-inspect.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    network = found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else {}
    if isinstance(network.get("dns_enabled"), bool):
        return bool(network["dns_enabled"])
    plugins = network.get("plugins")
    if not isinstance(plugins, list) or not plugins:
        return None
    return any(isinstance(plugin, dict) and plugin.get("type") == "dnsname" for plugin in plugins)


def lacks_dns_server(text: str) -> bool:
    """Return whether podman reports that the DNS server of its networks, aardvark-dns, is not installed.

    text: output of `info` as JSON. netavark starts containers without the server, although the network's description
    promises names. CNI lists its plugin in the description only if it is installed.
    Source: containers/common libnetwork/netavark/{exec,network}.go and libnetwork/cni/cni_conversion.go.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    host = found.get("host") if isinstance(found, dict) else None
    backend = host.get("networkBackendInfo") if isinstance(host, dict) else None
    if not isinstance(backend, dict) or backend.get("backend") != "netavark":
        return False
    server = backend.get("dns")
    return isinstance(server, dict) and not server.get("path")
