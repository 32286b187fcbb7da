"""The simulated engine and kind follow the rules of the real ones."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from capk.api import names
from capk.engine.containers import Containers
from capk.engine.kind import Kind
from capk.errors import CommandFailed, CommandTimedOut
from test.simulation import clock
from test.simulation.clock import now
from test.simulation.doors import SimulatedContainers, SimulatedKind
from test.simulation.engine import Birth, SimulatedEngine
from test.simulation.identities import kubeconfig, leak
from test.simulation.kindcommand import KindCommand, make_instantly

DOCTOR = frozenset({"build", "can_pull", "info"})
"""Calls of `capk doctor`, which the provider never makes."""


def signatures(kind: type) -> dict[str, list[str]]:
    public = {name: one for name, one in inspect.getmembers(kind, callable) if not name.startswith("_")}
    return {name: list(inspect.signature(one).parameters) for name, one in public.items()}


@pytest.mark.parametrize(("double", "real"), [(SimulatedKind, Kind), (SimulatedContainers, Containers)])
def test_doubles_take_the_calls_that_the_provider_makes(double: type, real: type) -> None:
    assert signatures(double) == {name: one for name, one in signatures(real).items() if name not in DOCTOR}


ONE = {"nodes": [{"role": "control-plane"}]}
THREE = {"nodes": [{"role": "control-plane"}] * 3}


def in_time(test: Callable[[SimulatedEngine, SimulatedKind], Coroutine[Any, Any, Any]], seed: int = 1) -> None:
    async def main() -> None:
        engine = SimulatedEngine(Random(seed))
        await test(engine, _kind_of(engine))

    clock.run(main())


def _kind_of(engine: SimulatedEngine) -> SimulatedKind:
    kind = KindCommand(engine)
    return SimulatedKind(lambda: kind, "provider-1", lambda *_: None)


def containers(engine: SimulatedEngine) -> SimulatedContainers:
    return SimulatedContainers(lambda: engine, "provider-1", lambda *_: None, ("docker",))


def test_a_creation_makes_all_nodes_and_a_load_balancer() -> None:
    async def life(engine: SimulatedEngine, kind: SimulatedKind) -> None:
        assert "https://127.0.0.1:" in await kind.create_cluster("dev", THREE, retain=True)
        assert await kind.nodes("dev") == [
            "dev-control-plane",
            "dev-control-plane2",
            "dev-control-plane3",
            "dev-external-load-balancer",
        ]
        assert engine.answers(engine.births[0])

    in_time(life)


def test_a_name_that_is_taken_is_refused() -> None:
    async def life(engine: SimulatedEngine, kind: SimulatedKind) -> None:
        make_instantly(engine, "dev", ONE)
        with pytest.raises(CommandFailed) as failed:
            await kind.create_cluster("dev", ONE, retain=True)
        assert 'node(s) already exist for a cluster with the name "dev"' in failed.value.output

    in_time(life)


def test_a_container_of_a_killed_creation_comes_to_light_later() -> None:
    async def life(engine: SimulatedEngine, kind: SimulatedKind) -> None:
        creation = asyncio.create_task(kind.create_cluster("dev", ONE, retain=True))
        await asyncio.sleep(2.2)
        creation.cancel()
        await asyncio.wait([creation])
        await asyncio.sleep(60)
        assert len(engine.of("dev")) == 1
        assert not engine.answers(engine.births[0])

    in_time(life)


def test_the_lowest_free_address_is_given_first() -> None:
    async def life(engine: SimulatedEngine, kind: SimulatedKind) -> None:
        first, second = (make_instantly(engine, name, ONE) for name in ("a", "b"))
        one, other = engine.of("a")[0], engine.of("b")[0]
        assert (one.address, other.address) == ("172.18.0.2", "172.18.0.3")
        engine.stop(one)
        engine.stop(other)
        engine.start(other)
        assert other.address == "172.18.0.2"
        assert engine.answers(second)
        assert not engine.answers(first)

    in_time(life)


@pytest.mark.parametrize(("order", "answers"), [("addresses", True), ("reversed", False)])
def test_several_control_planes_answer_only_at_the_addresses_that_they_had(order: str, answers: bool) -> None:
    async def life(engine: SimulatedEngine, kind: SimulatedKind) -> None:
        birth: Birth = make_instantly(engine, "dev", THREE)
        own = sorted(engine.of("dev"), key=lambda one: one.address)
        for container in own:
            engine.stop(container)
        for container in own if order == "addresses" else reversed(own):
            engine.start(container)
        assert engine.answers(birth) is answers

    in_time(life)


def test_a_hanging_engine_ends_questions_at_their_deadline() -> None:
    async def life(engine: SimulatedEngine, kind: SimulatedKind) -> None:
        engine.trouble.hang = 300
        with pytest.raises(CommandTimedOut):
            await kind.clusters()
        assert 60 <= now() < 62

    in_time(life)


def test_a_listing_can_be_behind_the_other_one() -> None:
    async def life(engine: SimulatedEngine, kind: SimulatedKind) -> None:
        door = containers(engine)
        engine.trouble.disagree = 300
        await door.nodes()
        make_instantly(engine, "dev", ONE)
        seen = [await door.nodes() for _ in range(5)]
        assert await kind.clusters() == ["dev"]
        assert [] in seen

    in_time(life)


ARGUMENTS = (
    *("--name", "dev-w1", "--label", "io.x-k8s.kind.role=worker", "--label", "io.x-k8s.kind.cluster=dev"),
    *("--label", f"{names.MACHINE_CONTAINER_LABEL}=m", f"--volume=/nothing:{names.CLAIM_MOUNT_FOLDER}uid.1:ro", "node"),
)


def test_a_worker_starts_joins_and_its_running_kubelet_registers_again() -> None:
    async def life(engine: SimulatedEngine, kind: SimulatedKind) -> None:
        birth, doors = make_instantly(engine, "dev", ONE), containers(engine)
        node = await doors.run_node(ARGUMENTS, {})
        await asyncio.sleep(10)
        assert "Multi-User" in await doors.printed(node)
        await doors.run(node, ["kubeadm", "join", "--config", "x"], timeout_seconds=300)
        assert birth.nodes == {"dev-w1": node}
        call = ["kubectl", "delete", "node", "dev-w1", "--ignore-not-found", "--wait=false"]
        await doors.run("dev-control-plane", call)
        assert birth.nodes == {}
        await asyncio.sleep(10)
        assert birth.nodes == {"dev-w1": node}
        with pytest.raises(CommandFailed) as taken:
            await doors.run_node(ARGUMENTS, {})
        assert "already in use" in taken.value.output

    in_time(life)


def test_a_worker_whose_client_is_gone_is_created_and_not_started() -> None:
    async def life(engine: SimulatedEngine, kind: SimulatedKind) -> None:
        make_instantly(engine, "dev", ONE)
        call = asyncio.create_task(containers(engine).run_node(ARGUMENTS, {}))
        await asyncio.sleep(0.1)
        call.cancel()
        await asyncio.sleep(20)
        worker = engine.named("dev-w1")
        assert worker
        assert not worker.running

    in_time(life)


def test_kubeadm_goes_on_when_the_wait_for_it_ends() -> None:
    async def life(engine: SimulatedEngine, kind: SimulatedKind) -> None:
        birth, doors = make_instantly(engine, "dev", ONE), containers(engine)
        node = await doors.run_node(ARGUMENTS, {})
        with pytest.raises(CommandTimedOut):
            await doors.run(node, ["kubeadm", "join"], timeout_seconds=0.5)
        await asyncio.sleep(20)
        assert birth.nodes == {"dev-w1": node}

    in_time(life)


def test_secrets_of_the_simulation_are_recognised_wherever_they_leak() -> None:
    async def life(engine: SimulatedEngine, kind: SimulatedKind) -> None:
        birth = make_instantly(engine, "dev", ONE)
        text = kubeconfig("dev", "https://127.0.0.1:1", birth.identity)
        assert leak(text)
        assert leak(birth.identity.key)
        assert not leak(birth.identity.certificate)

    in_time(life)


def test_a_placeholder_has_an_address_until_it_is_removed_or_ends_by_itself() -> None:
    async def life(engine: SimulatedEngine, kind: SimulatedKind) -> None:
        doors = containers(engine)
        _, first = await doors.hold_address("dev", "kindest/node:v1")
        second_id, second = await doors.hold_address("dev", "kindest/node:v1")
        assert (first, second) == ("172.18.0.2", "172.18.0.3")
        assert (await doors.occupants()).keys() == {first, second}
        await doors.remove([second_id])
        await doors.release_addresses("other")
        assert [address for address, _ in engine.held.values()] == [first]
        await asyncio.sleep(301)
        assert engine.held == {}

    in_time(life)


def test_placeholders_of_one_kind_cluster_are_removed_together() -> None:
    async def life(engine: SimulatedEngine, kind: SimulatedKind) -> None:
        doors = containers(engine)
        await doors.hold_address("dev", "kindest/node:v1")
        await doors.hold_address("prod", "kindest/node:v1")
        await doors.release_addresses("dev")
        assert [cluster for _, cluster in engine.held.values()] == ["prod"]

    in_time(life)
