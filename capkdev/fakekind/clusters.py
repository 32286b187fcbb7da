"""The clusters of the fake kind: one directory each, listed as long as it exists.

A single rename creates a complete directory, and another one removes it after its processes have stopped. So only one
creation can claim a name, and a creation or deletion that is killed at any instant leaves a cluster that `delete`
removes. Listing has to be quick, so imports that it does not need are local, and the classes here are written by hand:
the import of `dataclasses` is a third of the time of a call.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capkdev.fakekind import listing
from capkdev.fakekind.steps import KindError
from capkdev.files import remove_tree, write_private

if TYPE_CHECKING:
    from capkdev.controlplane import ControlPlane

CONTROL_PLANE = "control-plane"
WORKER = "worker"
LOAD_BALANCER = "external-load-balancer"
_STATE = "cluster.json"


class Node:
    """Represents a node container.

    running: whether it was started; a control plane runs only if its processes run too.
    started_at: RFC 3339, when it last started.
    ports: port mappings as in kind's configuration, including the API server's.
    mounts: mount points in the container from kind's configuration; only reported, because nothing runs in it.
    born: distinguishes a container from an earlier one of the same name; empty for those of the cluster's creation.
    container_labels: beside those of kind.
    """

    def __init__(
        self,
        name: str,
        role: str,
        image: str,
        running: bool = True,
        started_at: str = "",
        labels: Mapping[str, str] | None = None,
        ports: Sequence[Mapping[str, Any]] = (),
        mounts: Sequence[str] = (),
        born: str = "",
        container_labels: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.role = role
        self.image = image
        self.running = running
        self.started_at = started_at
        self.labels = labels or {}
        self.ports = ports
        self.mounts = mounts
        self.born = born
        self.container_labels = container_labels or {}


class Cluster:
    """A cluster and its state on disk.

    instant: has no processes, and is otherwise like other clusters.
    """

    def __init__(self, directory: Path, name: str, uid: str, instant: bool, nodes: list[Node]) -> None:
        self.directory = directory
        self.name = name
        self.uid = uid
        self.instant = instant
        self.nodes = nodes

    @property
    def home(self) -> Path:
        """Directory of all clusters."""
        return self.directory.parents[1]

    @property
    def control_plane(self) -> "ControlPlane":
        """Its etcd and kube-apiserver."""
        from capkdev.controlplane import ControlPlane

        return ControlPlane(self.directory)

    @property
    def first_control_plane(self) -> Node | None:
        """The control-plane node that represents the local processes; None if all were removed."""
        return next((node for node in self.nodes if node.role == CONTROL_PLANE), None)

    @property
    def primary(self) -> Node:
        """The first control plane; raises KindError with kind's message if there is none."""
        if first := self.first_control_plane:
            return first
        raise KindError(
            f"could not locate any control plane nodes for cluster named '{self.name}'. "
            "Use the --name option to select a different cluster"
        )

    @property
    def endpoint_node(self) -> Node | None:
        """The node through which clients reach the API server: the load balancer if there is one."""
        return next((node for node in self.nodes if node.role == LOAD_BALANCER), self.first_control_plane)

    @property
    def is_initialized(self) -> bool:
        """Whether the API server was ready once, so that a kubeconfig exists."""
        return (self.directory / "initialized").exists()

    def mark_initialized(self) -> None:
        """Note that the API server was ready once."""
        (self.directory / "initialized").touch()

    def is_node_running(self, node: Node) -> bool:
        """Whether a node container would be running."""
        has_processes = node is self.first_control_plane and not self.instant
        return node.running and (not has_processes or self.control_plane.is_running)

    def container_id(self, node: Node) -> str:
        """Return an id in the form of a container's, which differs for each creation."""
        import hashlib

        return hashlib.sha256(f"{self.uid}/{node.name}{node.born}".encode()).hexdigest()

    def address(self, node: Node) -> str:
        """Return a node's address on kind's network, empty while it is stopped; nothing listens there.

        Each container has its own. Unlike with a real engine, it stays the same after each start.
        """
        number = int(self.container_id(node)[:6], 16)
        return f"127.{number >> 16}.{number >> 8 & 255}.{number & 255}" if self.is_node_running(node) else ""

    def files(self, node: Node) -> Path:
        """Return the directory of the files written into a node; it need not exist."""
        return self.directory / "files" / node.name

    def save(self) -> None:
        """Write the state, and replace the old one atomically."""
        state = {"name": self.name, "uid": self.uid, "instant": self.instant, "nodes": [vars(n) for n in self.nodes]}
        write_private(self.directory / _STATE, json.dumps(state).encode())
        ids = (f"{self.container_id(node)}\n" for node in self.nodes)
        write_private(self.directory / listing.CONTAINERS, "".join(ids).encode())


class Home:
    """All clusters of one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._clusters = directory / listing.CLUSTERS

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Home":
        """Return the home in CAPK_LOCAL_KIND_HOME, otherwise the user's."""
        return cls(Path(listing.home(dict(environment))))

    def names(self) -> list[str]:
        """Return the names of all clusters, sorted, including unfinished ones."""
        return listing.cluster_names(str(self.directory))

    def clusters(self) -> Iterator[Cluster]:
        """Yield all clusters in the order of their names."""
        for name in self.names():
            if cluster := self.find(name):
                yield cluster

    def find(self, name: str) -> Cluster | None:
        """Return the cluster of that name, or None."""
        directory = self._clusters / name
        try:
            state = json.loads((directory / _STATE).read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None
        nodes = [Node(**node) for node in state["nodes"]]
        return Cluster(directory, state["name"], state["uid"], state["instant"], nodes)

    def claim(self, name: str, nodes: list[Node], *, instant: bool) -> Cluster | None:
        """Return a new cluster without processes; None if the name is taken."""
        uid = os.urandom(16).hex()
        fresh = self.directory / "fresh" / uid
        fresh.mkdir(mode=0o700, parents=True)
        self._clusters.mkdir(mode=0o700, exist_ok=True)
        for node in nodes:
            node.started_at = now()
        cluster = Cluster(fresh, name, uid, instant, nodes)
        cluster.save()
        try:
            cluster.directory = fresh.rename(self._clusters / name)
        except OSError:
            remove_tree(fresh)
            return None
        return cluster

    @contextmanager
    def changing(self, name: str) -> Iterator[Cluster]:
        """Yield the latest state of a cluster, locked against other changes, and save it if the body succeeds.

        Raises FileNotFoundError if there is no such cluster.
        """
        from capkdev import processes

        with processes.exclusive(self._clusters / name):
            cluster = self.find(name)
            if cluster is None:
                raise FileNotFoundError(name)
            yield cluster
            cluster.save()

    def remove_node(self, cluster: Cluster, node: Node) -> None:
        """Remove a node, and the processes if it represents them. Removing the last node removes the cluster.

        Raises FileNotFoundError if it is gone already.
        """
        container_id = cluster.container_id(node)
        with self.changing(cluster.name) as current:
            left = [other for other in current.nodes if current.container_id(other) != container_id]
            if len(left) == len(current.nodes):
                raise FileNotFoundError(node.name)
            first = current.first_control_plane
            if first and current.container_id(first) == container_id:
                current.control_plane.kill()
            # The last one stays listed until its cluster goes.
            current.nodes = left or current.nodes
        remove_tree(cluster.files(node))
        if not left:
            self.remove(cluster)

    def remove(self, cluster: Cluster) -> None:
        """Stop the processes of a cluster and remove all of it; it may be gone already."""
        from capkdev import processes

        trash = self.directory / "trash"
        trash.mkdir(mode=0o700, exist_ok=True)
        gone = trash / os.urandom(16).hex()
        try:
            with processes.exclusive(cluster.directory):
                current = self.find(cluster.name)
                if current is None or current.uid != cluster.uid:
                    return
                cluster.control_plane.kill()
                cluster.directory.rename(gone)
        except FileNotFoundError:
            return
        for left in trash.iterdir():
            remove_tree(left)


def now() -> str:
    """Return the current time in the format of container engines."""
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
