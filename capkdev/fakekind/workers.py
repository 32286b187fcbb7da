"""A node that joins a running cluster or leaves it: the engine's `run`, and kubeadm and kubectl in a node.

The container of a node is only an entry of its cluster. `kubeadm join` creates the Node object from the configuration
in the node's files, as the kubelet would. Tokens are files, which expire with their cluster.
"""

import argparse
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from capk.engine.nodescripts import JOIN_FILE
from capk.errors import ApiError, NotFound
from capkdev.fakekind import nodes
from capkdev.fakekind.clusters import Cluster, Home, Node, now
from capkdev.fakekind.listing import CLUSTER_LABEL, ROLE_LABEL
from capkdev.fakekind.steps import KindError

JOIN_SECONDS_VARIABLE: Final = "CAPK_LOCAL_KIND_JOIN_SECONDS"
"""Minimum time of a `kubeadm join` in seconds."""
_OWN_LABELS: Final = (CLUSTER_LABEL, ROLE_LABEL)
_TOKENS: Final = "tokens"
_TOKEN: Final = re.compile(r"(?P<id>[a-z0-9]{6})\.(?P<secret>[a-z0-9]{16})")
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_NOT_OF_A_SPEC: Final = ("/var", "/lib/modules", "/dev/mapper")


def run_container(home: Home, arguments: argparse.Namespace) -> Iterator[str]:
    """Add a node container to its cluster and yield its id. Raises KindError with docker's messages."""
    from capkdev.fakekind.images import check_image

    labels = dict(label.partition("=")[::2] for label in arguments.label)
    name = labels.get(CLUSTER_LABEL, "")
    _check_unused(home, arguments.name)
    check_image(arguments.image, os.environ)
    node = Node(arguments.name, labels.get(ROLE_LABEL, ""), arguments.image, started_at=now())
    node.born = secrets.token_hex(8)
    node.mounts = [path for path in map(_mount_point, arguments.volume) if path not in _NOT_OF_A_SPEC]
    node.container_labels = {key: value for key, value in labels.items() if key not in _OWN_LABELS}
    try:
        with home.changing(name) as cluster:
            cluster.nodes.append(node)
    except FileNotFoundError:
        raise KindError(f"there is no kind cluster {name!r}: this engine runs nodes only", exit_status=125) from None
    yield cluster.container_id(node)


def kube_version(node: Node) -> str:
    """Return the Kubernetes version in a node's image, by its tag; that of the default image without a version."""
    from capk.kindconfig.images import default_image, image_version

    return image_version(node.image) or image_version(default_image()) or ""


def configuration(cluster: Cluster, node: Node) -> str:
    """Return the part of kind's kubeadm configuration of a control plane that a worker needs."""
    endpoint = cluster.endpoint_node or node
    return f"""apiVersion: kubeadm.k8s.io/v1beta4
discovery:
  bootstrapToken:
    apiServerEndpoint: {endpoint.name}:{nodes.API_SERVER_PORT}
    token: abcdef.0123456789abcdef
    unsafeSkipCAVerification: true
kind: JoinConfiguration
nodeRegistration:
  criSocket: unix:///run/containerd/containerd.sock
  kubeletExtraArgs:
  - name: node-ip
    value: {cluster.address(node) or "127.0.0.1"}
  - name: provider-id
    value: kind://docker/{cluster.name}/{node.name}
  - name: node-labels
    value: ""
skipPhases:
- preflight
"""


def kubeadm(cluster: Cluster, node: Node, arguments: Sequence[str]) -> None:
    """Run one of the calls of kubeadm that join a worker. Raises KindError with kubeadm's messages."""
    match list(arguments):
        case ["token", "create", *_]:
            token = f"{_random(6)}.{_random(16)}"
            (folder := _tokens(cluster)).mkdir(mode=0o700, exist_ok=True)
            (folder / token).touch(mode=0o600)
            print(token)
        case ["token", "delete", identity, *_] if re.fullmatch("[a-z0-9]{6}", identity):
            for file in _tokens(cluster).glob(f"{identity}.*"):
                file.unlink(missing_ok=True)
            print(f'bootstrap token "{identity}" deleted')
        case ["join", "--config", path, *_] if path == JOIN_FILE:
            _join(cluster, node)
        case _:
            raise KindError(f"error: unknown command {' '.join(arguments[:2])!r}")


def kubectl(cluster: Cluster, arguments: Sequence[str]) -> None:
    """Run one of the calls of kubectl that precede a join or take a Node away.

    Raises KindError with kubectl's messages.
    """
    match [word for word in arguments if not word.startswith("--")]:
        case ["get"] if "--raw=/readyz" in arguments:
            _ask_readiness(cluster)
        case ["delete", "node", name]:
            _delete_node(cluster, name)
        case ["drain", name]:
            _cordon(cluster, name)
        case [*words]:
            raise KindError(f"error: unknown command {' '.join(words[:2])!r}")


def _check_unused(home: Home, name: str) -> None:
    for cluster in home.clusters():
        for node in cluster.nodes:
            if node.name == name:
                raise KindError(
                    f'docker: Error response from daemon: Conflict. The container name "/{name}" is already in use by '
                    f'container "{cluster.container_id(node)}". You have to remove (or rename) that container to be '
                    "able to reuse that name.",
                    exit_status=125,
                )


def _mount_point(volume: str) -> str:
    parts = volume.split(":")
    return parts[1] if len(parts) > 1 else parts[0]


def _tokens(cluster: Cluster) -> Path:
    return cluster.directory / _TOKENS


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def _join(cluster: Cluster, node: Node) -> None:
    import yaml

    time.sleep(float(os.environ.get(JOIN_SECONDS_VARIABLE) or 0))
    try:
        text = cluster.files(node).joinpath(JOIN_FILE.lstrip("/")).read_text()
    except FileNotFoundError:
        raise KindError(f"error: unable to read config from {JOIN_FILE!r}: no such file or directory") from None
    config = yaml.safe_load(text)
    token = _TOKEN.fullmatch(str(config["discovery"]["bootstrapToken"]["token"]))
    if not token or not (_tokens(cluster) / token[0]).exists():
        identity = token["id"] if token else ""
        raise KindError(
            "error: error execution phase preflight: couldn't validate the identity of the API Server: could not find "
            f'a JWS signature in the cluster-info ConfigMap for token ID "{identity}"'
        )
    registration = config["nodeRegistration"]
    arguments = {entry["name"]: entry["value"] for entry in registration["kubeletExtraArgs"]}
    node.labels = dict(label.partition("=")[::2] for label in arguments.get("node-labels", "").split(",") if label)
    if not cluster.instant:
        _register(cluster, node, arguments.get("provider-id", ""), registration.get("taints") or ())
    print("This node has joined the cluster", file=sys.stderr)


def _register(cluster: Cluster, node: Node, provider_id: str, taints: Sequence[Mapping[str, str]]) -> None:
    try:
        with cluster.control_plane.rest() as rest:
            if nodes.is_ready(rest, node.name):
                raise KindError(
                    f'error: error execution phase kubelet-start: a Node with name "{node.name}" and status "Ready" '
                    "already exists in the cluster. You must delete the existing Node or change the name of this new "
                    "joining Node"
                )
            version = str(rest.request("GET", "/version")["gitVersion"])
            nodes.register(rest, cluster, [node], version, provider_id=provider_id, taints=taints)
    except ApiError as failure:
        raise KindError(f"error: error execution phase kubelet-start: {failure}") from failure


def _ask_readiness(cluster: Cluster) -> None:
    if not cluster.instant:
        try:
            with cluster.control_plane.rest() as rest:
                rest.request("GET", "/version")
        except ApiError as failure:
            raise KindError(f"error: {failure}") from failure
    print("ok")


def _delete_node(cluster: Cluster, name: str) -> None:
    if cluster.instant:
        return
    try:
        with cluster.control_plane.rest() as rest:
            rest.request("DELETE", f"/api/v1/nodes/{name}")
        print(f'node "{name}" deleted')
    except NotFound:
        return
    except ApiError as failure:
        raise KindError(f"error: {failure}") from failure


def _cordon(cluster: Cluster, name: str) -> None:
    """Mark a Node as unschedulable. No pods run here, so none is evicted."""
    if cluster.instant:
        return
    try:
        with cluster.control_plane.rest() as rest:
            patch = {"spec": {"unschedulable": True}}
            rest.request("PATCH", f"/api/v1/nodes/{name}", patch, "application/merge-patch+json")
        print(f"node/{name} drained")
    except NotFound:
        raise KindError(f'error: nodes "{name}" not found') from None
    except ApiError as failure:
        raise KindError(f"error: {failure}") from failure
