"""Workers join real kind clusters and leave them, without a provider: their containers and Nodes are those of kind."""

import asyncio
import json
import re
import time
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from capk.api.names import MACHINE_CONTAINER_LABEL
from capk.engine.containers import Containers, Node
from capk.engine.failurelogs import FailureLogs
from capk.engine.inventory import Inventory
from capk.engine.kind import Kind
from capk.engine.workdir import WorkDir
from capk.errors import InvalidSpec
from capk.kindconfig import yamlio
from capk.manager.operations.workers import Joined, Workers
from capk.plan.marks import Mark
from capk.plan.plan import AddWorker, RemoveWorker
from test.e2e.conftest import NewName
from test.e2e.real_kind import RealKind, run
from test.e2e.test_highly_available import actual, take_lowest_addresses
from test.integration.api import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
UID = "5d6a6d3e-6f0b-4c1c-9d50-2f3c5b1d7c11"
OWN = {
    *(".Id", ".Created", ".Name", ".LogPath", ".HostnamePath", ".HostsPath", ".ResolvConfPath", ".Config.Hostname"),
    *(".State.Pid", ".State.StartedAt", ".State.ConmonPid", ".GraphDriver.Data", ".NetworkSettings", ".Mounts"),
    f".Config.Labels.{MACHINE_CONTAINER_LABEL}",
    *(".Config.CreateCommand", ".Config.Annotations.io.kubernetes.cri-o.Created", ".OCIConfigPath", ".StaticDir"),
    *(
        ".HostConfig.LogConfig.Path",
        ".ConmonPidFile",
        ".PidFile",
        ".State.ConmonPidFile",
        ".State.PidFile",
        ".State.CgroupPath",
    ),
}
"""What two containers of one configuration do not share."""


class Place:
    """One kind cluster with our mark, and the operations on its workers."""

    def __init__(self, kind: RealKind, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.engine = Path(kind.engine_command[0]).name
        self.name = ""

    def create(self, name: str, *roles: str, **more: Any) -> None:
        mount = Mark(UID, 1).mount
        nodes = [{"role": role, "extraMounts": [mount]} for role in roles]
        self.kind.create(
            name, yamlio.dump({"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": nodes, **more})
        )
        self.name = name

    def add(self, *nodes: str, **more: Any) -> float:
        """Add workers concurrently, and return the seconds that it took."""
        began = time.monotonic()

        async def whole() -> list[Joined]:
            requests = [self._request(node, await self._nodes(), **more) for node in nodes]
            return await asyncio.gather(*(self._workers().add(request, lambda step: None) for request in requests))

        joined = asyncio.run(whole())
        assert [one.container_id for one in joined] == [self.kind.containers(self.name)[node] for node in nodes]
        return time.monotonic() - began

    def remove(self, node: str, *, drain: bool = False) -> float:
        began = time.monotonic()
        request = RemoveWorker(self.name, node, f"machine-{node}", frozenset({UID}), drain=drain)
        asyncio.run(self._workers().remove(request))
        return time.monotonic() - began

    def kubectl(self, *arguments: str, node: str = "control-plane") -> str:
        admin = "--kubeconfig=/etc/kubernetes/admin.conf"
        return self.kind.engine("exec", f"{self.name}-{node}", "kubectl", admin, *arguments)

    def node(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.kubectl("get", "node", name, "--output=json")))

    def addresses(self, name: str) -> list[str]:
        """Return the internal addresses of a Node."""
        return [one["address"] for one in self.node(name)["status"]["addresses"] if one["type"] == "InternalIP"]

    def names(self) -> list[str]:
        return [line.partition("/")[2] for line in self.kubectl("get", "nodes", "--output=name").split()]

    def is_ready(self, name: str) -> bool:
        conditions = self.node(name)["status"]["conditions"]
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def _workers(self) -> Workers:
        containers = Containers(self.kind.engine_command)
        inventory = Inventory(Kind(self.kind.command, work_dir=WorkDir(self.folder / "work")), containers)
        return Workers(containers, inventory, FailureLogs(self.folder / "logs"))

    async def _nodes(self) -> list[Node]:
        found = await Containers(self.kind.engine_command).nodes() or []
        return [one for one in found if one.cluster == self.name and one.role == "control-plane"]

    def _request(self, node: str, control_planes: list[Node], **more: Any) -> AddWorker:
        fields: dict[str, Any] = {"image": None, "labels": {}, "taints": (), "mounts": (), "patches": ()}
        return AddWorker(
            name=self.name,
            node=node,
            mark=Mark(UID, 1),
            machine=f"machine-{node}",
            generation=1,
            control_planes=tuple(one.name for one in control_planes),
            container_ids=frozenset(one.container_id for one in control_planes),
            provider_id=f"kind://{self.engine}/{self.name}/{node}",
            **{**fields, **more},
        )


@pytest.fixture
def cluster(kind: RealKind, tmp_path: Path) -> Place:
    return Place(kind, tmp_path)


def test_worker_is_like_one_of_kind_and_goes_without_a_trace(
    cluster: Place, kind: RealKind, new_name: NewName, tmp_path: Path
) -> None:
    name = new_name("join")
    cluster.create(
        name,
        "control-plane",
        "worker",
        containerdConfigPatches=[
            '[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/etc/containerd/certs.d"\n'
        ],
        kubeadmConfigPatches=["kind: KubeletConfiguration\nmaxPods: 42\n"],
    )
    hosts = "/etc/containerd/certs.d/docker.io/hosts.toml"
    control_plane = f"{name}-control-plane"
    kind.engine("exec", control_plane, "sh", "-c", f"mkdir -p $(dirname {hosts}); echo '# ours' >{hosts}")
    volumes, first, second = set(kind.all_volumes()), f"{name}-w1", f"{name}-w2"

    cluster.add(first, labels={"tier": "front"}, taints=("dedicated=gpu:NoSchedule",))
    eventually(lambda: cluster.is_ready(first), 60, 1)
    assert sorted(differences(kind.inspect(first), kind.inspect(f"{name}-worker")) - OWN) == []
    node, theirs = cluster.node(first), cluster.node(f"{name}-worker")
    assert node["spec"]["providerID"] == theirs["spec"]["providerID"].replace(f"{name}-worker", first)
    assert node["metadata"]["labels"] == {
        **theirs["metadata"]["labels"],
        "kubernetes.io/hostname": first,
        "tier": "front",
    }
    assert {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"} in node["spec"]["taints"]
    assert node["status"]["capacity"]["pods"] == "42"
    for file in ("/etc/containerd/config.toml", hosts):
        assert kind.engine("exec", first, "cat", file) == kind.engine("exec", control_plane, "cat", file)
    assert first in kind.containers(name)
    assert not [secret for secret in tokens(cluster) if "abcdef" not in secret]

    # A Node that was left behind, and a container that is gone.
    kind.engine("rm", "--force", "--volumes", first)
    cluster.add(first, second)
    eventually(lambda: cluster.is_ready(first) and cluster.is_ready(second), 60, 1)
    assert {first, second} < set(run([*kind.command, "get", "nodes", "--name", name]).split())
    run([*kind.command, "export", "logs", "--name", name, str(tmp_path / "logs")])
    assert (tmp_path / "logs" / first).is_dir()

    # The engine starts them in another order: docker gives each the address of the other.
    before = actual(kind, {first: "", second: ""})
    kind.engine("stop", "-t", "1", first, second)
    kind.engine("start", *sorted(before, key=lambda node: ip_address(before[node]), reverse=True))

    def back() -> bool:
        found = {one: cluster.addresses(one) for one in before if cluster.is_ready(one)}
        assert found == {one: [address] for one, address in actual(kind, before).items()}, found
        return True

    eventually(back, 120, 1)

    with pytest.raises(InvalidSpec):
        cluster.add(f"{name}-w3", patches=("kind: JoinConfiguration\ncontrolPlane: {}",))
    cluster.remove(first)
    cluster.remove(second, drain=True)
    assert cluster.names() == [control_plane, f"{name}-worker"]
    assert set(kind.containers(name)) == {control_plane, f"{name}-worker"}
    assert set(kind.all_volumes()) <= volumes


@pytest.mark.long
def test_worker_joins_several_control_planes_by_their_load_balancer(
    cluster: Place, kind: RealKind, new_name: NewName
) -> None:
    name = new_name("hajoin")
    cluster.create(name, *["control-plane"] * 3, networking={"ipFamily": "dual"})
    node = f"{name}-w1"
    cluster.add(node)
    eventually(lambda: cluster.is_ready(node), 60, 1)
    assert "load-balancer:6443" in kind.engine("exec", node, "cat", "/etc/kubernetes/kubelet.conf")
    assert sorted(":" in address for address in cluster.addresses(node)) == [False, True]

    # The load balancer comes back at another address.
    balancer, squatters = f"{name}-external-load-balancer", list[str]()
    former = actual(kind, {balancer: ""})
    kind.engine("stop", "-t", "1", balancer)
    try:
        take_lowest_addresses(kind, squatters, f"{name}-squatter", former, "")
        kind.engine("start", balancer)
        assert actual(kind, {balancer: ""}) != former
        cluster.add(f"{name}-w2")
        eventually(lambda: cluster.is_ready(node) and cluster.is_ready(f"{name}-w2"), 120, 1)
    finally:
        for squatter in squatters:
            kind.engine("rm", "--force", "--volumes", squatter)

    # The first control plane is not needed.
    kind.engine("stop", "-t", "1", f"{name}-control-plane")
    cluster.add(f"{name}-w3")
    cluster.remove(node)
    kind.engine("start", f"{name}-control-plane")
    eventually(lambda: node not in cluster.names(), 120, 1)
    assert set(kind.containers(name)) >= {f"{name}-w2", f"{name}-w3"}
    kind.delete(name)
    assert kind.containers(name) == {}


def tokens(cluster: Place) -> list[str]:
    secrets = cluster.kubectl("get", "secrets", "--namespace=kube-system", "--output=name").split()
    return [name for name in secrets if "bootstrap-token" in name]


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    """Return the paths of two documents whose values differ, without what is below the paths of OWN."""
    left, right = dict(flat(one)), dict(flat(other))
    paths = {path for path in left.keys() | right.keys() if left.get(path) != right.get(path)}
    return {next((own for own in OWN if path == own or path.startswith(f"{own}.")), path) for path in paths}


NAMED = re.compile("^[0-9a-f]{64}:|(?<=^HOSTNAME=).*")
"""In lists of podman: the volume at the beginning of a mount, and the name of the host."""


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}")
    else:
        yield path, sorted(NAMED.sub("", str(one)) for one in value) if isinstance(value, list) else value
