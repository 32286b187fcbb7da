"""Which containers are stopped, by the listing of that moment, whatever the decision knew."""

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

from capk.engine.command import Output
from capk.engine.containers import Node
from capk.engine.enginecli import UnreadableAnswer
from capk.engine.nodescripts import ETCD_MOUNT
from capk.errors import CommandError, CommandFailed, PassingData
from capk.manager.operations.stopping import Stopping, stoppable
from capk.manager.outcome import Withdrawn
from capk.plan.plan import StopNodes

OWN = frozenset({"own"})


def node(name: str, mark: str | None = "own.1", *, role: str = "worker", running: bool = True) -> Node:
    return Node(name, "dev", role, running, f"id-{name}", "172.18.0.2", "", mark=mark)


def stopped(*nodes: Node, ids: frozenset[str] = frozenset()) -> list[str]:
    return [one.name for one in stoppable(nodes, StopNodes("dev", OWN, ids))]


def test_every_running_container_with_the_mark_is_stopped() -> None:
    assert stopped(node("a"), node("b", "own.2"), node("c", "own"), node("d", running=False)) == ["a", "b", "c"]


@pytest.mark.parametrize("mark", ["other.1", "ownx.1", "", None])
def test_container_of_someone_else_is_left_alone(mark: str | None) -> None:
    assert stopped(node("a"), node("b", mark)) == ["a"]


def test_load_balancer_is_stopped_by_its_id_beside_nodes_that_are_all_ours() -> None:
    balancer, own = node("lb", None, role="external-load-balancer"), node("a")
    ids = frozenset({"id-lb"})
    assert stopped(own, balancer, ids=ids) == ["a", "lb"]
    assert stopped(own, balancer) == ["a"]
    assert stopped(own, balancer, node("b", "other.1"), ids=ids) == ["a"]


def test_nodes_of_an_adopted_cluster_are_stopped_by_their_ids() -> None:
    ids = frozenset({"id-a", "id-b"})
    assert stopped(node("a", None), node("b", None), ids=ids) == ["a", "b"]
    assert stopped(node("a", None), node("c", None), ids=ids) == []


def where(point: str, kind: str = "ext2/ext3", root: str = "/data") -> str:
    """Return what a node answers whose etcd has its data on that mount."""
    return f"node\n{point}\n{kind}\n{root}\n"


class Engine:
    """An engine with these containers, and an inventory of it."""

    def __init__(self, *nodes: Node) -> None:
        self.there = list(nodes)
        self.calls: list[str] = []
        self.mount: str | CommandError = where("/var")

    async def nodes(self, cluster: str | None = None) -> list[Node]:
        return [node for node in self.there if cluster in (None, node.cluster)]

    async def halt(self, container_ids: Sequence[str]) -> None:
        self.calls += container_ids

    async def refresh(self) -> None:
        self.calls.append("refresh")

    async def run(self, node_name: str, command: Sequence[str], **_: Any) -> Output:
        self.calls.append("run")
        if isinstance(self.mount, CommandError):
            raise self.mount
        return Output(self.mount, "")


async def carry_out(engine: Engine, *, wanted: bool = True) -> list[str]:
    stopping = Stopping(cast(Any, engine), cast(Any, engine))
    await stopping.run(StopNodes("dev", OWN), lambda: wanted)
    return engine.calls


async def stop_where(mount: str | CommandError, mark: str | None) -> Engine:
    """Try to stop a kind cluster of one node; mount: of its etcd's folder, mark: None for an adopted one."""
    engine = Engine(node("a", mark, role="control-plane"))
    engine.mount = mount
    ids = frozenset({"id-a"})
    with suppress(PassingData, CommandError):
        await Stopping(cast(Any, engine), cast(Any, engine)).run(StopNodes("dev", OWN, ids, ids), lambda: True)
    return engine


@pytest.mark.parametrize("mark", [None, "own.1"])
@pytest.mark.parametrize(
    "mount", [where("/var"), where("/"), "", where("/tmp/etcd"), where("/var/lib/etcd", "tmpfs", "/etcd")]
)
async def test_etcd_on_a_disk_or_elsewhere_is_stopped(mount: str, mark: str | None) -> None:
    """A folder of the machine's memory is one of `extraMounts`, which stays."""
    assert (await stop_where(mount, mark)).calls == ["run", "id-a", "refresh"]


@pytest.mark.parametrize("mark", [None, "own.1"])
@pytest.mark.parametrize(
    "mount",
    [
        *(where(point, "tmpfs", "/") for point in ("/tmp", "/run", "/dev/shm", "/dev", "/var/lib/etcd")),
        where("/var/lib/etcd", "ramfs", "/"),
        where("/tmp"),
        "pod\n",
        CommandFailed(["docker"], "no such file", 1),
    ],
)
async def test_etcd_in_memory_or_in_an_unknown_place_is_not_stopped(
    mount: str | CommandError, mark: str | None
) -> None:
    assert (await stop_where(mount, mark)).calls == ["run"]


@pytest.mark.parametrize(
    "answer", ["node\n/tmp\n", "/tmp\n", "pod\nx\n", where("/tmp") + "x\n", where(f"/{'a' * 1_000_000}", "tmpfs", "/")]
)
async def test_answer_that_no_script_gives_stops_nothing_and_is_not_kept(answer: str) -> None:
    """Root in a node chooses what it answers, up to a megabyte."""
    engine = Engine(node("a", role="control-plane"))
    engine.mount = answer
    with pytest.raises(UnreadableAnswer, match="exec a: its output cannot be read") as raised:
        await carry_out(engine)
    assert len(str(raised.value)) < 1000
    assert engine.calls == ["run"]


async def test_lost_data_is_the_verdict_whatever_another_node_answers() -> None:
    engine = Engine(node("a", role="control-plane"), node("b", role="control-plane"))
    answers: dict[str, Any] = {"id-a": CommandFailed(["docker"], "a: no answer", 1), "id-b": Output("pod\n", "")}

    async def run(node_name: str, *_: Any, **__: Any) -> Output:
        if isinstance(answer := answers[node_name], Exception):
            raise answer
        return cast(Output, answer)

    engine.run = run  # type: ignore[method-assign]
    with pytest.raises(PassingData, match="etcd of b"):
        await carry_out(engine)


async def test_what_appeared_between_decision_and_stop_is_left_alone() -> None:
    """The request names no container with a mark: the listing of that very moment decides."""
    other_cluster = Node("b", "other", "worker", True, "id-b", "", "", mark="own.1")
    engine = Engine(node("a"), node("a2", "other.1"), node("a3", None), other_cluster)
    assert await carry_out(engine) == ["id-a", "refresh"]


async def test_stop_that_is_not_wanted_any_more_stops_nothing() -> None:
    engine = Engine(node("a"))
    with pytest.raises(Withdrawn):
        await carry_out(engine, wanted=False)
    assert engine.calls == []


def manifest(tmp_path: Path, folder: Path, volume: str = "hostPath", *, mounted: Path | None = None) -> str:
    """Write the Pod of etcd as kubeadm does; return where it is.

    folder: of the data. mounted: what the volume has, if that is another folder.
    """
    source = (
        f"hostPath:\n      path: {mounted or folder}\n" if volume == "hostPath" else "emptyDir:\n      medium: Memory\n"
    )
    text = (
        f"spec:\n  containers:\n  - command:\n    - --data-dir={folder}\n  volumes:\n  - {source}    name: etcd-data\n"
    )
    (tmp_path / "etcd.yaml").write_text(text)
    return str(tmp_path / "etcd.yaml")


def printed(path: str) -> list[str]:
    script = ["sh", "-c", ETCD_MOUNT, "etcd-mount", path]
    return subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()


def test_script_shows_the_mount_that_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "etcd").symlink_to("/dev/shm")
    answer, point, kind, root = printed(manifest(tmp_path, tmp_path / "etcd"))
    assert (answer, point, root) == ("node", "/dev/shm", "/")
    assert kind == "tmpfs"
    (tmp_path / "disk").mkdir()
    mount = next(parent for parent in (tmp_path, *tmp_path.parents) if parent.is_mount())
    assert printed(manifest(tmp_path, tmp_path / "disk"))[:2] == ["node", str(mount)]


def test_script_shows_that_the_data_is_in_a_volume_of_the_pod(tmp_path: Path) -> None:
    assert printed(manifest(tmp_path, tmp_path, "emptyDir")) == ["pod"]


def test_script_takes_a_folder_below_that_of_the_volume_for_one_of_the_node(tmp_path: Path) -> None:
    """The extraArgs of kubeadm may name it, and leave the volume as it is."""
    (tmp_path / "etcd" / "data").mkdir(parents=True)
    (tmp_path / "etcd-2").mkdir()
    assert printed(manifest(tmp_path, tmp_path / "etcd" / "data", mounted=tmp_path / "etcd"))[0] == "node"
    assert printed(manifest(tmp_path, tmp_path / "etcd-2", mounted=tmp_path / "etcd")) == ["pod"]


def test_script_prints_nothing_without_an_etcd_and_fails_without_its_folder(tmp_path: Path) -> None:
    assert printed(str(tmp_path / "etcd.yaml")) == []
    with pytest.raises(subprocess.CalledProcessError):
        printed(manifest(tmp_path, tmp_path / "absent"))
    (tmp_path / "etcd.yaml").write_text("spec: {}\n")
    with pytest.raises(subprocess.CalledProcessError):
        printed(str(tmp_path / "etcd.yaml"))
