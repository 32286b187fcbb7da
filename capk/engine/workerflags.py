"""The flags with which kind runs a worker, for one that joins later. Pure; no other module knows them.

kind has no command that adds a node. Its own flags are fixed, except for what a control plane's `inspect` shows. A
contract test compares them with what each supported release of kind asks of the engine.
Source: kind v0.32 and v0.33, pkg/cluster/internal/providers/{docker,podman}/provision.go and images.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from capk.api.names import MACHINE_CONTAINER_LABEL
from capk.engine.inspection import KIND_CLUSTER_LABEL, ROLE_LABEL, SNAPSHOTTER, Sibling

WORKER: Final = "worker"
SUPPORTED: Final = ("docker", "podman")
"""Engines whose flags have been compared with kind's."""

_IPV6: Final = ("--sysctl=net.ipv6.conf.all.disable_ipv6=0", "--sysctl=net.ipv6.conf.all.forwarding=1")
_PROPAGATION: Final = {"HostToContainer": "rslave", "Bidirectional": "rshared"}
_REGISTRY: Final = "docker.io/"


@dataclass(frozen=True)
class Container:
    """What the container of one worker has for itself.

    machine: value of its label. mounts: entries of `extraMounts`, the mark's included.
    volume: for /var; empty for an anonymous one.
    """

    name: str
    cluster: str
    machine: str
    image: str
    mounts: Sequence[Mapping[str, Any]]
    volume: str = ""


def run_arguments(engine: str, container: Container, sibling: Sibling, *, has_ipv6: bool) -> list[str]:
    """Return the arguments of the engine's `run`.

    engine: docker or podman. sibling: a control plane of the same kind cluster.
    """
    own = ["--label", f"{MACHINE_CONTAINER_LABEL}={container.machine}"]
    mounts = [f"--volume={_bind(mount)}" for mount in container.mounts]
    common = (_podman if engine == "podman" else _docker)(container, sibling)
    varying = _varying(engine, sibling, has_ipv6=has_ipv6)
    image = full_name(container.image) if engine == "podman" else container.image
    return [*_of_node(engine, container), *common, *varying, *own, *mounts, image]


def _of_node(engine: str, container: Container) -> list[str]:
    unconfined = ["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"]
    return [
        *("--name", container.name, "--hostname", container.name),
        *("--label", f"{ROLE_LABEL}={WORKER}", "--privileged"),
        *(unconfined if engine == "docker" else ()),
        *("--tmpfs", "/tmp", "--tmpfs", "/run"),
        *("--volume", f"{container.volume}:/var:suid,exec,dev" if container.volume else "/var"),
        *("--volume", "/lib/modules:/lib/modules:ro", "-e", SNAPSHOTTER),
    ]


def _docker(container: Container, sibling: Sibling) -> list[str]:
    return [
        *("--detach", "--tty", "--label", f"{KIND_CLUSTER_LABEL}={container.cluster}", "--net", sibling.network),
        *("--restart=on-failure:1", "--init=false", "--cgroupns=private"),
    ]


def _podman(container: Container, sibling: Sibling) -> list[str]:
    return [
        *("--detach", "--tty", "--net", sibling.network, "--label", f"{KIND_CLUSTER_LABEL}={container.cluster}"),
        *("-e", "container=podman", "--cgroupns=private"),
    ]


def _varying(engine: str, sibling: Sibling, *, has_ipv6: bool) -> list[str]:
    """Return what depends on the kind cluster and on the engine's machine."""
    flags = list(_IPV6) if has_ipv6 else []
    for name in sibling.environment:
        flags += ["-e", name] if name != SNAPSHOTTER else []
    if sibling.shares_user_namespace and engine == "docker":
        flags.append("--userns=host")
    if sibling.has_device_mapper:
        flags += ["--volume", "/dev/mapper:/dev/mapper"]
    if sibling.has_fuse:
        flags += ["--device", "/dev/fuse"]
    return flags


def _bind(mount: Mapping[str, Any]) -> str:
    """Return an entry of `extraMounts` as the engine's option."""
    attributes = ["ro"] if mount.get("readOnly") else []
    attributes += ["Z"] if mount.get("selinuxRelabel") else []
    propagation = _PROPAGATION.get(str(mount.get("propagation") or ""))
    attributes += [propagation] if propagation else []
    bind = f"{mount['hostPath']}:{mount['containerPath']}"
    return f"{bind}:{','.join(attributes)}" if attributes else bind


def full_name(image: str) -> str:
    """Return an image's name as podman needs it: with its registry, and without a tag before a digest."""
    name, at, digest = image.partition("@sha256:")
    first, slash, _ = name.partition("/")
    has_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    if at:
        folder, last_slash, last = name.rpartition("/")
        name = f"{folder}{last_slash}{last.partition(':')[0]}"
    whole = f"{name}{at}{digest}"
    if has_registry:
        return whole
    return f"{_REGISTRY}{whole}" if slash else f"{_REGISTRY}library/{whole}"
