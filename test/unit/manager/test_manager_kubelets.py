"""New certificates for kubelets: only where the old one has expired, and in the node's own container."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from capk.engine.command import Output
from capk.engine.inventory import Inventory
from capk.engine.nodescripts import INSTALL_KUBELET, KUBELET_FILE, READ_KUBELET
from capk.errors import CommandFailed
from capk.kindconfig.kubelet import issue_command
from capk.manager.operations.kubelets import Kubelets
from capk.manager.outcome import Withdrawn
from capk.plan.plan import RenewKubelets
from test.provider.world import kubeconfig
from test.unit.kindconfig.test_kubelet import certificate
from test.unit.manager.test_manager_executor import Engine, container

NOW = datetime(2031, 5, 6, tzinfo=UTC)
OVER, VALID = certificate(NOW - timedelta(days=1)), certificate(NOW + timedelta(days=1))
NODES = ("dev-control-plane", "dev-worker")
REQUEST = RenewKubelets("dev", NODES, "dev-control-plane", frozenset({"id-1", "id-2"}))


class Nodes(Engine):
    """Nodes that hold the certificate of their kubelet; a broken one refuses kubeadm and files."""

    def __init__(self, *held: str, broken: str = "") -> None:
        super().__init__()
        self.there = [container(name, id=f"id-{number}") for number, name in enumerate(NODES, 1)]
        self.held = {f"id-{number}": text for number, text in enumerate(held, 1)}
        self.broken = broken
        self.files: dict[tuple[str, str], tuple[str, str]] = {}

    async def run(self, node: str, command: Sequence[str], **_: Any) -> Output:
        if READ_KUBELET in command:
            return Output(self.held[node], "")
        self.calls.append((node, tuple(command)))
        return Output("", "")

    async def read(self, node: str, command: Sequence[str], **_: Any) -> Output:
        self.calls.append((node, tuple(command)))
        return Output(kubeconfig(), "")

    async def write_file(self, node: str, path: str, content: str, *, mode: str = "0644") -> None:
        if node == self.broken:
            raise CommandFailed(["docker", "exec", node], "no space left on device", 1)
        self.files[node, path] = (content, mode)


def kubelets(engine: Nodes) -> Kubelets:
    return Kubelets(engine, Inventory(engine, engine), lambda: NOW)  # type: ignore[arg-type]


async def test_each_expired_certificate_is_replaced_by_one_that_the_control_plane_issues() -> None:
    engine = Nodes(OVER, OVER)
    await kubelets(engine).run(REQUEST)
    assert engine.calls == [
        ("id-1", issue_command("dev-control-plane")),
        ("id-1", ("sh", "-c", INSTALL_KUBELET)),
        ("id-1", issue_command("dev-worker")),
        ("id-2", ("sh", "-c", INSTALL_KUBELET)),
    ]
    assert {place: mode for place, (_, mode) in engine.files.items()} == {
        ("id-1", KUBELET_FILE): "0600",
        ("id-2", KUBELET_FILE): "0600",
    }
    assert all("PRIVATE KEY" in content for content, _ in engine.files.values())


async def test_valid_certificate_stays_and_its_kubelet_runs_on() -> None:
    engine = Nodes(VALID, "")
    await kubelets(engine).run(REQUEST)
    assert (engine.calls, engine.files) == ([], {})


async def test_node_that_fails_does_not_keep_the_others_from_theirs() -> None:
    engine = Nodes(OVER, OVER, broken="id-1")
    with pytest.raises(CommandFailed, match="docker exec") as failed:
        await kubelets(engine).run(REQUEST)
    assert failed.value.command == ["docker", "exec", "dev-control-plane"]
    assert list(engine.files) == [("id-2", KUBELET_FILE)]


async def test_what_gets_the_name_of_a_node_meanwhile_gets_no_certificate() -> None:
    engine = Nodes(OVER, OVER)
    engine.there = [engine.there[0], replace(engine.there[1], container_id="id-9")]
    with pytest.raises(Withdrawn):
        await kubelets(engine).run(REQUEST)
    assert engine.files == {}
