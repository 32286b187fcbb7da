"""Creates and deletes clusters in kind's order of steps.

Source: kind pkg/cluster/internal/create/create.go and its actions, pkg/cluster/internal/delete/delete.go.
"""

import json
import shlex
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capk.errors import ApiError, CapkError
from capkdev.controlplane import ControlPlaneFailed, Settings
from capkdev.fakekind import kubeconfig, nodes
from capkdev.fakekind.clusters import CONTROL_PLANE, LOAD_BALANCER, WORKER, Cluster, Home, Node
from capkdev.fakekind.images import check_image
from capkdev.fakekind.kindconfig import Config, validate
from capkdev.fakekind.steps import Console, KindError
from capkdev.ports import free_port, is_free

if TYPE_CHECKING:
    from capkdev.rest import Rest

MODE_VARIABLE = "CAPK_LOCAL_KIND_MODE"
"""`instant`: no processes, only a directory and a well-formed kubeconfig without a server. For scale runs.

All such clusters share one certificate authority, because creating certificates takes longer than everything else."""
SECONDS_VARIABLE = "CAPK_LOCAL_KIND_CREATE_SECONDS"
"""Minimum time of a creation in seconds."""
NAME_LENGTH = 50
"""kind warns about longer names."""
NOTICE = (
    "NOTE: capkdev-fake-kind is not kind: it starts no containers and runs no pods, "
    "and always has its own Kubernetes version, for any node image."
)


@dataclass(frozen=True)
class Creation:
    """One `create cluster` call.

    wait_seconds: 0 for kind's default, which is not to wait.
    kubeconfig: the file to write to; empty for the user's.
    """

    config: Config
    wait_seconds: int = 0
    kubeconfig: str = ""
    retain: bool = False


def create_cluster(home: Home, console: Console, creation: Creation, environment: Mapping[str, str]) -> None:
    """Create a cluster; raises KindError or another CapkError with kind's message."""
    config = creation.config
    name = config["name"]
    if home.find(name):
        raise _already_exists(name)
    if len(name) > NAME_LENGTH:
        console.print(f'cluster name "{name}" is probably too long, this might not work properly on some systems')
    validate(config)
    console.print(NOTICE)
    console.print(f'Creating cluster "{name}" ...')
    for image in sorted({node["image"] for node in config["nodes"]}):
        with console.step(f"Ensuring node image ({image.partition('@sha256:')[0]}) 🖼️"):
            check_image(image, environment)
    instant = environment.get(MODE_VARIABLE) == "instant"
    cluster = home.claim(name, nodes.planned_nodes(config), instant=instant)
    if cluster is None:
        raise _already_exists(name)
    try:
        with console.step(f"Preparing nodes {'📦 ' * len(config['nodes'])}"):
            _check_ports(home, cluster)
        _set_up(cluster, console, creation, float(environment.get(SECONDS_VARIABLE) or 0))
    except (CapkError, FileNotFoundError) as failure:
        if not creation.retain:
            _delete(home, console, cluster)
        raise _as_kind_says(cluster, failure) from failure
    kubeconfig.write_merged(render_kubeconfig(cluster, internal=False), creation.kubeconfig)
    _say_how_to_use(console, name, creation.kubeconfig)


def delete_cluster(home: Home, console: Console, name: str, kubeconfig_file: str) -> None:
    """Delete a cluster, if it exists. Nodes are removed even if the kubeconfig cannot be changed."""
    console.print(f'Deleting cluster "{name}" ...')
    locked = None
    try:
        kubeconfig.remove(name, kubeconfig_file)
    except kubeconfig.KubeconfigLocked as failure:
        locked = failure
        console.print(f"failed to update kubeconfig: {failure}")
    if cluster := home.find(name):
        _delete(home, console, cluster)
    if locked:
        raise KindError(f'failed to delete cluster "{name}": {locked}')


def render_kubeconfig(cluster: Cluster, *, internal: bool) -> str:
    """Return the kubeconfig of a cluster.

    internal: with the address on the containers' network, which does not exist here and cannot be reached.
    Raises KindError while the control plane does not run or has not been set up.
    """
    cause = ""
    if not cluster.is_node_running(cluster.primary):
        cause = f"Error response from daemon: Container {cluster.container_id(cluster.primary)} is not running"
    elif not cluster.is_initialized:
        cause = "cat: /etc/kubernetes/admin.conf: No such file or directory"
    if cause:
        command = f"docker exec --privileged {cluster.primary.name} cat /etc/kubernetes/admin.conf"
        message = f'failed to get cluster internal kubeconfig: command "{command}" failed with error: exit status 1'
        raise KindError(message, cause)
    server = cluster.control_plane.server
    if internal:
        endpoint = cluster.endpoint_node or cluster.primary
        server = f"https://{endpoint.name}:{nodes.API_SERVER_PORT}"
    return kubeconfig.render(f"kind-{cluster.name}", server, cluster.control_plane.credentials())


def _check_ports(home: Home, cluster: Cluster) -> None:
    """Fail if kind's engine would. No container holds a port here, so the ports of other clusters count as taken."""
    mapped = {
        (mapping["hostPort"], mapping.get("protocol") or "TCP")
        for other in home.clusters()
        for node in other.nodes
        for mapping in node.ports
        if mapping.get("hostPort") and other.uid != cluster.uid
    }
    for node in cluster.nodes:
        for mapping in node.ports:
            _check_port(node, mapping, mapped)


def _check_port(node: Node, mapping: Mapping[str, object], mapped: set[tuple[int, str]]) -> None:
    port = int(str(mapping.get("hostPort") or 0))
    protocol = str(mapping.get("protocol") or "TCP")
    if port <= 0:
        return
    address = str(mapping.get("listenAddress") or "0.0.0.0")
    kind = socket.SOCK_DGRAM if protocol == "UDP" else socket.SOCK_STREAM
    if (port, protocol) in mapped or not is_free(address, port, kind):
        raise KindError(
            f'command "docker run --name {node.name} ..." failed with error: exit status 125',
            "docker: Error response from daemon: driver failed programming external connectivity on endpoint "
            f"{node.name}: Error starting userland proxy: listen {protocol.lower()}4 {address}:{port}: "
            "bind: address already in use\n\nRun 'docker run --help' for more information",
        )


def _set_up(cluster: Cluster, console: Console, creation: Creation, least_seconds: float) -> None:
    config, began = creation.config, time.monotonic()
    by_role = {role: [node for node in cluster.nodes if node.role == role] for role in (CONTROL_PLANE, WORKER)}
    if any(node.role == LOAD_BALANCER for node in cluster.nodes):
        with console.step("Configuring the external load balancer ⚖️"):
            pass
    with console.step("Writing configuration 📜"):
        share = cluster.home / "instant-pki" if cluster.instant else None
        cluster.control_plane.prepare(_settings(cluster, config), share=share)
    with console.step("Starting control-plane 🕹️"):
        rest = None if cluster.instant else _start(cluster)
        version = str(rest.request("GET", "/version")["gitVersion"]) if rest else ""
        _register(rest, cluster, by_role[CONTROL_PLANE][:1], version)
        time.sleep(max(0, least_seconds - (time.monotonic() - began)))
        cluster.mark_initialized()
    if not config["networking"].get("disableDefaultCNI"):
        with console.step("Installing CNI 🔌"):
            pass
    with console.step("Installing StorageClass 💾"):
        if rest:
            nodes.install_storage_class(rest)
    for title, joining in (
        ("more control-plane nodes 🎮", by_role[CONTROL_PLANE][1:]),
        ("worker nodes 🚜", by_role[WORKER]),
    ):
        if joining:
            with console.step(f"Joining {title}"):
                _register(rest, cluster, joining, version)
    if creation.wait_seconds:
        with console.step(f"Waiting ≤ {go_duration(creation.wait_seconds)} for control-plane = Ready ⏳"):
            pass
        console.print(" • Ready after 0s 💚")


def _settings(cluster: Cluster, config: Config) -> Settings:
    networking = config["networking"]
    port = max(0, networking["apiServerPort"])
    if cluster.instant and not port:
        port = free_port()
    return Settings(
        address=networking["apiServerAddress"],
        port=port,
        hosts=[node.name for node in cluster.nodes],
        service_subnet=networking["serviceSubnet"],
        feature_gates=config.get("featureGates") or {},
        runtime_config=config.get("runtimeConfig") or {},
    )


def _start(cluster: Cluster) -> "Rest":
    control_plane = cluster.control_plane
    control_plane.start()
    return control_plane.rest()


def _register(rest: "Rest | None", cluster: Cluster, joining: list[Node], version: str) -> None:
    if rest:
        nodes.register(rest, cluster, joining, version)


def _delete(home: Home, console: Console, cluster: Cluster) -> None:
    home.remove(cluster)
    names = " ".join(json.dumps(node.name) for node in cluster.nodes)
    console.print(f"Deleted nodes: [{names}]")


def _already_exists(name: str) -> KindError:
    return KindError(f'node(s) already exist for a cluster with the name "{name}"')


def _as_kind_says(cluster: Cluster, failure: Exception) -> Exception:
    """Translate the failure of the local processes, or a concurrent deletion, into kind's words."""
    if not isinstance(failure, ControlPlaneFailed | ApiError | FileNotFoundError):
        return failure
    kubeadm = "kubeadm init --config=/kind/kubeadm.conf --skip-token-print --v=6"
    command = f"docker exec --privileged {cluster.primary.name} {kubeadm}"
    output = failure.output if isinstance(failure, ControlPlaneFailed) else ""
    return KindError(
        f'failed to init node with kubeadm: command "{command}" failed with error: exit status 1',
        f"{failure}\n{output}",
    )


def _say_how_to_use(console: Console, name: str, kubeconfig_file: str) -> None:
    command = f"kubectl cluster-info --context kind-{name}"
    if kubeconfig_file:
        command += f" --kubeconfig {shlex.quote(kubeconfig_file)}"
    console.print(f'Set kubectl context to "kind-{name}"')
    console.print(f"You can now use your cluster with:\n\n{command}")
    console.print("\nHave a nice day! 👋")


def go_duration(seconds: int) -> str:
    """Format whole seconds as Go does, as in `2m0s`."""
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if hours or minutes else ""
    return f"{text}{rest}s"
