"""Answers the few calls that the provider makes to the container engine behind kind, in docker's shape.

`ps`, `inspect`, `run`, `start`, `stop`, `rm`, `exec`, `cp`, `logs`, `image inspect`, `pull`, `info`. `run` only adds a
node to a cluster. Stopping a control plane stops its local processes, starting it runs them again on the same port and
data, removing it stops them for good. Removing the last node removes the cluster.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from capk.errors import ApiError
from capkdev.fakekind.clusters import LOAD_BALANCER, Cluster, Home, Node, now
from capkdev.fakekind.listing import CLUSTER_LABEL, ROLE_LABEL, info
from capkdev.fakekind.steps import KindError

NETWORK = "kind"
BOOTED = "[  OK  ] Reached target Multi-User System."
"""What a node prints when commands can run in it."""


def add_commands(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add docker's subcommands that this engine supports."""
    listing = commands.add_parser("ps", help="list node containers")
    listing.add_argument("-a", "--all", action="store_true")
    listing.add_argument("-q", "--quiet", action="store_true", dest="ids_only")
    listing.add_argument("--no-trunc", action="store_true")
    listing.add_argument("--filter", action="append", default=[])
    inspect = commands.add_parser("inspect", help="describe node containers")
    inspect.add_argument("--type", default="container", choices=["container"])
    inspect.add_argument("names", nargs="+")
    commands.add_parser("start", help="start node containers").add_argument("names", nargs="+")
    stop = commands.add_parser("stop", help="stop node containers")
    stop.add_argument("-t", "--time", "--timeout", help="accepted without effect")
    stop.add_argument("names", nargs="+")
    remove = commands.add_parser("rm", help="remove node containers")
    remove.add_argument("-f", "--force", action="store_true")
    remove.add_argument("-v", "--volumes", action="store_true", help="accepted without effect")
    remove.add_argument("names", nargs="+")
    execute = commands.add_parser("exec", help="run a command in a node container")
    execute.add_argument("-i", "--interactive", action="store_true")
    execute.add_argument("names", nargs=1, metavar="name")
    execute.add_argument("command", nargs=argparse.REMAINDER)
    copy = commands.add_parser("cp", help="print a folder of a node container as an archive")
    copy.add_argument("names", nargs=1, metavar="name:folder")
    copy.add_argument("target", choices=["-"])
    logs = commands.add_parser("logs", help="print the output of a node container, which is one line")
    logs.add_argument("-n", "--tail", help="accepted without effect")
    logs.add_argument("names", nargs=1, metavar="name")
    _add_run(commands)
    image = commands.add_parser("image", help="look for a node image")
    image.add_argument("what", choices=["inspect"])
    image.add_argument("names", nargs=1, metavar="image")
    commands.add_parser("pull", help="pull a node image").add_argument("names", nargs=1, metavar="image")
    about = commands.add_parser("info", help="describe the engine")
    about.add_argument("-f", "--format", choices=["json", "{{json .}}"])


def _add_run(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the engine's `run` with the flags that kind gives it for a node."""
    run = commands.add_parser("run", help="add a node container to a running cluster")
    for flag in ("--privileged", "--detach", "--tty"):
        run.add_argument(flag, action="store_true", help="accepted without effect")
    for flag in ("--hostname", "--restart", "--init", "--cgroupns", "--userns", "--net"):
        run.add_argument(flag, help="accepted without effect")
    for flag in ("--security-opt", "--tmpfs", "--sysctl", "--device", "-e"):
        run.add_argument(flag, action="append", default=[], help="accepted without effect")
    run.add_argument("--name", required=True)
    run.add_argument("--label", action="append", default=[])
    run.add_argument("--volume", action="append", default=[])
    run.add_argument("image")


def run(home: Home, arguments: argparse.Namespace) -> Iterator[str]:
    """Carry out one call and yield the lines to print.

    Raises KindError with docker's message, after the lines for existing containers.
    """
    match arguments.verb:
        case "ps":
            for cluster, node in _filtered(home, arguments.filter, everything=arguments.all):
                yield _listed(cluster, node, arguments)
        case "inspect":
            yield from _inspect(home, arguments.names)
        case "info":
            yield info(str(home.directory))
        case "exec":
            from capkdev.fakekind.execution import execute

            execute(*_found(home, arguments.names[0]), arguments.command)
        case "cp":
            from capkdev.fakekind.execution import copy

            name, _, folder = arguments.names[0].partition(":")
            copy(*_found(home, name), folder)
        case "logs":
            _found(home, arguments.names[0])
            yield BOOTED
        case "run":
            from capkdev.fakekind.workers import run_container

            yield from run_container(home, arguments)
        case "image" | "pull":
            from capkdev.fakekind.images import check_image

            check_image(arguments.names[0], os.environ)
        case "rm":
            yield from _remove(home, arguments.names, force=arguments.force)
        case verb:
            for name in arguments.names:
                found = _found(home, name, f"\nError: failed to {verb} containers: {name}")
                _switch(home, *found, on=verb == "start")
                yield name


def document(cluster: Cluster, node: Node) -> dict[str, Any]:
    """Return the fields of `inspect` for a node container that callers use."""
    running = cluster.is_node_running(node)
    network = {"IPAddress": cluster.address(node), "GlobalIPv6Address": ""}
    return {
        "Id": cluster.container_id(node),
        "Name": f"/{node.name}",
        "Image": f"sha256:{hashlib.sha256(node.image.encode()).hexdigest()}",
        "Created": node.started_at,
        "Config": {"Image": node.image, "Labels": _labels(cluster, node)},
        "State": {
            "Running": running,
            "Status": "running" if running else "exited",
            "StartedAt": node.started_at,
        },
        "Mounts": [{"Destination": path} for path in node.mounts],
        "NetworkSettings": {"Networks": {NETWORK: network}, "Ports": _ports(cluster, node) if running else {}},
    }


def _labels(cluster: Cluster, node: Node) -> dict[str, str]:
    return {**node.container_labels, CLUSTER_LABEL: cluster.name, ROLE_LABEL: node.role}


def _ports(cluster: Cluster, node: Node) -> dict[str, list[dict[str, str]]]:
    bound: dict[str, list[dict[str, str]]] = {}
    for mapping in node.ports:
        port = mapping.get("hostPort")
        if node is cluster.endpoint_node and mapping is node.ports[-1]:
            if not cluster.is_initialized:
                continue  # kind knows the port before it creates the container; here the server has to answer first
            port = cluster.control_plane.settings.port
        end = {"HostIp": mapping.get("listenAddress") or "0.0.0.0", "HostPort": str(port)}
        protocol = (mapping.get("protocol") or "TCP").lower()
        bound.setdefault(f"{mapping['containerPort']}/{protocol}", []).append(end)
    return bound


def _filtered(home: Home, filters: Sequence[str], *, everything: bool) -> Iterator[tuple[Cluster, Node]]:
    for cluster in home.clusters():
        for node in cluster.nodes:
            labels = _labels(cluster, node)
            if all(_matches(labels, text) for text in filters) and (everything or cluster.is_node_running(node)):
                yield cluster, node


def _matches(labels: Mapping[str, str], text: str) -> bool:
    kind, _, wanted = text.partition("=")
    if kind == "network":
        return wanted == NETWORK
    key, has_value, value = wanted.partition("=")
    return kind == "label" and key in labels and (not has_value or labels[key] == value)


def _listed(cluster: Cluster, node: Node, arguments: argparse.Namespace) -> str:
    container_id = cluster.container_id(node)
    shown = container_id if arguments.no_trunc else container_id[:12]
    if arguments.ids_only:
        return shown
    return f"{shown}  {node.image}  {'Up' if cluster.is_node_running(node) else 'Exited'}  {node.name}"


def _inspect(home: Home, names: Sequence[str]) -> Iterator[str]:
    known = _by_name_and_id(home)
    found = []
    for name in names:
        try:
            found.append(document(*known[name]))
        except FileNotFoundError:
            # Its cluster was deleted meanwhile, so it counts as missing.
            del known[name]
        except KeyError:
            continue
    yield json.dumps(found, indent=4)
    if missing := [name for name in names if name not in known]:
        raise KindError("\n" + "\n".join(_unknown(name) for name in missing))


def _by_name_and_id(home: Home) -> dict[str, tuple[Cluster, Node]]:
    known = {}
    for cluster in home.clusters():
        for node in cluster.nodes:
            known[node.name] = known[cluster.container_id(node)] = (cluster, node)
    return known


def _found(home: Home, name: str, more: str = "") -> tuple[Cluster, Node]:
    """Return a container by its name or id; raises KindError. more: text that docker adds to its message."""
    try:
        return _by_name_and_id(home)[name]
    except KeyError:
        raise KindError(f"{_unknown(name)}{more}") from None


def _unknown(name: str) -> str:
    return f"Error response from daemon: No such container: {name}"


def _remove(home: Home, names: Sequence[str], *, force: bool) -> Iterator[str]:
    failures = []
    for name in names:
        try:
            cluster, node = _found(home, name)
            if cluster.is_node_running(node) and not force:
                raise KindError(
                    f"Error response from daemon: cannot remove container {name!r}: container is running: "
                    "stop the container before removing or force remove"
                )
            home.remove_node(cluster, node)
            yield name
        except FileNotFoundError:
            failures.append(_unknown(name))
        except KindError as failure:
            failures.append(str(failure))
    if failures:
        raise KindError("\n".join(failures))


def _switch(home: Home, cluster: Cluster, node: Node, *, on: bool) -> None:
    from capkdev.fakekind import nodes

    if cluster.is_node_running(node) == on:
        return
    with home.changing(cluster.name) as current:
        for other in current.nodes:
            if current.container_id(other) == cluster.container_id(node):
                other.running = on
                other.started_at = now() if on else other.started_at
    if cluster.instant or node.role == LOAD_BALANCER:
        return
    if node is cluster.first_control_plane:
        _switch_processes(cluster, on=on)
    elif cluster.control_plane.is_running:
        with cluster.control_plane.rest() as rest:
            nodes.mark_ready(rest, node, ready=on)


def _switch_processes(cluster: Cluster, *, on: bool) -> None:
    if not on:
        cluster.control_plane.stop()
    elif cluster.is_initialized:
        try:
            cluster.control_plane.start()
        except ApiError as failure:
            raise KindError(f"Error response from daemon: {failure}") from failure
