"""Renewal of certificates: in every control plane, then read again; only then are the old ones dropped."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from capk.diagnosis.failures import classify
from capk.engine.inventory import Inventory
from capk.errors import CommandFailed
from capk.kindconfig.expiry import RENEW_COMMAND, RESTART_COMMAND
from capk.kindconfig.kubeconfig import BadKubeconfig
from capk.manager.operations.renewal import Renewal
from capk.plan.plan import RenewCertificates
from test.unit.manager.test_manager_executor import RECORD, Engine, container
from test.unit.plan.builders import ACCESS, NOW

NODES = ("dev-control-plane", "dev-control-plane2")
REQUEST = RenewCertificates("dev", NODES, NOW)
NEW = replace(ACCESS, not_after=NOW + timedelta(days=365))


class Nodes(Engine):
    def __init__(self, broken: str = "") -> None:
        super().__init__()
        self.broken = broken

    async def run(self, node: str, command: tuple[str, ...], **_: Any) -> None:
        self.calls.append((node, command))
        if node == self.broken:
            raise CommandFailed(["docker", "exec", node, *command], "exec: kubeadm: not found", 127)


def renewing(engine: Engine, read: Any) -> Renewal:
    async def answer(*_: Any) -> Any:
        engine.calls.append(("read", ""))
        return read

    return Renewal(engine, Inventory(engine, engine), answer)


async def test_all_are_renewed_then_the_kubeconfig_is_read_then_what_holds_the_old_ones_restarts():
    engine = Nodes()
    assert await renewing(engine, NEW).run(RECORD, REQUEST) is NEW
    assert engine.calls == [
        *((node, RENEW_COMMAND) for node in NODES),
        ("read", ""),
        *((node, RESTART_COMMAND) for node in NODES),
    ]


async def test_kubeconfig_that_stays_as_it_was_is_a_failure_and_nothing_restarts():
    engine = Nodes()
    old = replace(ACCESS, not_after=NOW)
    with pytest.raises(BadKubeconfig, match="with the old one"):
        await renewing(engine, old).run(RECORD, REQUEST)
    assert RESTART_COMMAND not in [command for _, command in engine.calls]


async def test_node_that_cannot_renew_ends_it_with_the_command_to_run_by_hand():
    engine = Nodes(broken=NODES[1])
    with pytest.raises(CommandFailed) as failed:
        await renewing(engine, NEW).run(RECORD, REQUEST)
    assert len(engine.calls) == 2
    said = classify(failed.value).message
    assert said.startswith("Could not run a command in a node: exec: kubeadm: not found.")
    assert f"`docker exec {NODES[1]} {' '.join(RENEW_COMMAND)}`" in said


async def test_what_gets_the_name_of_a_node_meanwhile_is_left_alone():
    engine = Nodes(broken="id-2")
    engine.there = [container(name, id=f"id-{number}") for number, name in enumerate(NODES, 1)]
    request = replace(REQUEST, container_ids=frozenset({"id-1", "id-2"}))
    with pytest.raises(CommandFailed) as failed:
        await renewing(engine, NEW).run(RECORD, request)
    assert [node for node, _ in engine.calls] == ["id-1", "id-2"]
    assert f"`docker exec {NODES[1]} {' '.join(RENEW_COMMAND)}`" in classify(failed.value).message
