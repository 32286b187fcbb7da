"""A kind cluster on an engine that others share is stopped and started by spec.engine.powerState."""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from capk.api import names
from capk.api.names import KIND_CLUSTERS, KIND_MACHINES, SECRETS
from test.provider.world import NO_ANSWER, World, quiet, trouble

pytestmark = pytest.mark.virtual_time

BESIDE_WORKERS = {"nodes": [{"role": "control-plane"}, {"role": "worker"}]}
SEVERAL = {"nodes": [{"role": "control-plane"}] * 3}
IN_MEMORY = "kind: ClusterConfiguration\netcd: {local: {dataDir: /tmp/etcd}}\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def power(world: World, state: str) -> None:
    """Change the power state as a user does; an API server that has stopped does not answer."""
    world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"engine": {"powerState": state}}})


def running(world: World) -> list[str]:
    return sorted(node.name for node in world.engine.of() if node.running)


def address(world: World) -> None:
    """Give each container an address of its own, in the order of their names."""
    for number, node in enumerate(sorted(world.engine.of(), key=lambda node: node.name)):
        own = f"172.18.0.{number + 2}"
        world.engine.containers[node.container_id] = replace(node, address=own, addresses=(own,))


async def stopped(world: World) -> None:
    await world.until(lambda: world.reason() == "Stopped", 60)
    world.answer = NO_ANSWER
    assert running(world) == []


async def seen(world: World, seconds: float) -> set[str]:
    """Return every reason of Ready within that time."""
    found = set()
    for _ in range(int(seconds / 0.2)):
        found.add(world.reason())
        await asyncio.sleep(0.2)
    return found


class TestStop:
    async def test_stops_the_containers_and_keeps_them(self, world):
        async with world.running():
            world.add(spec=BESIDE_WORKERS)
            await world.ready()
            there = set(world.engine.containers)
            power(world, "Stopped")
            await world.until(lambda: world.reason() == "StoppingNodes", 30)
            assert running(world) == ["dev-control-plane", "dev-worker"]
            await stopped(world)
            assert set(world.engine.containers) == there
            assert world.condition("NodesRunning")[:2] == ("False", "Stopped")
            assert "Set Running to start them" in world.condition("Ready")[2]
            assert world.condition("EngineAvailable") == ("True", "EngineAnswers", "")
            assert world.condition("APIServerAvailable")[:2] == ("False", "Stopped")
            assert world.condition("KubeconfigAvailable")[0] == "True"
            states = {node["name"]: node["state"] for node in world.get()["status"]["nodes"]}
            assert states == {"dev-control-plane": "Stopped", "dev-worker": "Stopped"}

    async def test_stopped_cluster_costs_nothing_and_is_not_asked(self, world):
        asked: list[float] = []
        answers = world._ask_health

        async def ask(target: Any, path: str) -> Any:
            asked.append(asyncio.get_running_loop().time())
            return await answers(target, path)

        world._ask_health = ask
        async with world.running():
            world.add()
            await world.ready()
            power(world, "Stopped")
            await stopped(world)
            await asyncio.sleep(5)
            asked.clear()
            before = len(world.kube.writes)
            await quiet(world, 1800)
            assert (asked, len(world.kube.writes) - before) == ([], 0)

    async def test_node_that_runs_again_is_stopped_again(self, world):
        async with world.running():
            world.add(spec=BESIDE_WORKERS)
            await world.ready()
            power(world, "Stopped")
            await stopped(world)
            for _ in range(4):
                world.engine.restart_nodes()
                await world.until(lambda: running(world) == [], 330)
                assert "Ready" not in await seen(world, 30)
            assert world.reason() == "Stopped"
            assert world.engine.called("start") == []

    async def test_only_containers_of_the_object_are_stopped(self, world):
        async with world.running():
            world.add()
            await world.ready()
            others = {world.engine.run_node("other-control-plane", "other", mark="of-another.1")}
            others.add(world.engine.run_node("dev-worker", "dev", mark="of-another.1"))
            others.add(world.engine.run_node("dev-worker2", "dev"))
            power(world, "Stopped")
            await world.until(lambda: not world.node("dev-control-plane").running, 60)
            await asyncio.sleep(700)
            assert {node.container_id for node in world.engine.containers.values() if node.running} == others

    async def test_failed_stop_is_reported_and_tried_again(self, world):
        world.containers.halts = [trouble("Error response from daemon: cannot stop", "docker", "stop")] * 2
        async with world.running():
            world.add()
            await world.ready()
            power(world, "Stopped")
            await world.until(lambda: "cannot stop" in world.condition("NodesRunning")[2], 60)
            assert world.reason() == "StoppingNodes"
            await stopped(world)

    async def test_restart_of_the_provider_keeps_it_stopped(self, world):
        async with world.running():
            world.add(spec=BESIDE_WORKERS)
            await world.ready()
            power(world, "Stopped")
            await stopped(world)
        async with world.running():
            await asyncio.sleep(700)
            assert (running(world), world.reason()) == ([], "Stopped")
            assert world.engine.called("start") == []

    async def test_adopted_cluster_is_stopped_with_its_load_balancer(self, world):
        for name in ("dev-control-plane", "dev-control-plane2", "dev-control-plane3", "dev-external-load-balancer"):
            world.engine.run_node(name)
        address(world)
        async with world.running():
            world.add(annotations={names.ADOPT_ANNOTATION: "true"})
            await world.ready()
            power(world, "Stopped")
            await stopped(world)

    async def test_paused_object_is_left_alone(self, world):
        async with world.running():
            world.add()
            await world.ready()
            world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"annotations": {names.PAUSED_ANNOTATION: "true"}}})
            power(world, "Stopped")
            await asyncio.sleep(300)
            assert running(world) == ["dev-control-plane"]
            world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"annotations": {names.PAUSED_ANNOTATION: None}}})
            await stopped(world)


class TestStart:
    async def test_started_cluster_is_ready_when_it_answers(self, world):
        async with world.running():
            world.add(spec=BESIDE_WORKERS)
            await world.ready()
            power(world, "Stopped")
            answer = world.answer
            await stopped(world)
            power(world, "Running")
            assert "Ready" not in await seen(world, 120)
            assert world.condition("APIServerAvailable")[0] == "False"
            assert running(world) == ["dev-control-plane", "dev-worker"]
            world.answer = answer
            await world.ready()
            assert (len(world.engine.called("create")), world.engine.called("remove")) == (1, [])

    async def test_control_planes_start_in_the_order_of_their_addresses(self, world):
        async with world.running():
            world.add(spec=SEVERAL)
            await world.creating()
            address(world)
            await world.ready()
            turned = {"dev-control-plane": 4, "dev-control-plane2": 2, "dev-control-plane3": 3}
            for node in world.engine.of():
                if node.name in turned:
                    own = f"172.18.0.{turned[node.name]}"
                    world.engine.containers[node.container_id] = replace(node, address=own, addresses=(own,))
            nodes = [dict(one) for one in world.get()["status"]["nodes"]]
            for one in nodes:
                if one["name"] in turned:
                    one["address"] = f"172.18.0.{turned[one['name']]}"
            world.kube.edit(KIND_CLUSTERS, "dev", {"status": {"nodes": nodes}})
            power(world, "Stopped")
            answer = world.answer
            await stopped(world)
            power(world, "Running")
            world.answer = answer
            await world.ready()
            started = next(whom for what, whom, _ in world.engine.calls if what == "start").split(",")
            planes = [name for name in started if "control-plane" in name]
            assert planes == ["dev-control-plane2", "dev-control-plane3", "dev-control-plane"]

    async def test_change_of_mind_during_the_stop_ends_in_what_was_asked_last(self, world):
        world.containers.halt_seconds = 10.0
        async with world.running():
            world.add(spec=BESIDE_WORKERS)
            await world.ready()
            power(world, "Stopped")
            await world.until(lambda: world.engine.called("halt") != [], 30)
            power(world, "Running")
            await asyncio.sleep(60)
            await world.ready()
            assert running(world) == ["dev-control-plane", "dev-worker"]

    async def test_change_of_mind_during_the_start_ends_in_what_was_asked_last(self, world):
        async with world.running():
            world.add(spec=BESIDE_WORKERS)
            await world.ready()
            power(world, "Stopped")
            await stopped(world)
            power(world, "Running")
            await world.until(lambda: running(world) != [], 60)
            power(world, "Stopped")
            await world.until(lambda: world.reason() == "Stopped", 60)
            assert "Ready" not in await seen(world, 120)
            assert running(world) == []

    async def test_secret_that_was_deleted_meanwhile_is_there_again(self, world):
        async with world.running():
            world.add()
            await world.ready()
            power(world, "Stopped")
            answer = world.answer
            await stopped(world)
            del world.kube.objects[SECRETS.plural, "default", "dev-config"]
            await asyncio.sleep(60)
            assert (running(world), world.reason()) == ([], "Stopped")
            world.answer = answer
            power(world, "Running")
            await world.ready()
            assert world.kube.find(SECRETS, "dev-config") is not None


class TestCreation:
    async def test_cluster_that_was_never_made_is_made_first(self, world):
        async with world.running():
            world.add(spec={"engine": {"powerState": "Stopped"}, **BESIDE_WORKERS})
            await stopped(world)
            assert len(world.engine.called("create")) == 1
            assert {"Created", "Provisioned"} <= set(world.history())
            assert world.get()["status"]["initialization"] == {"provisioned": True}
            assert world.kube.find(SECRETS, "dev-config") is not None

    async def test_etcd_in_memory_is_refused_before_the_creation(self, world):
        async with world.running():
            world.add(spec={"engine": {"powerState": "Stopped"}, "kubeadmConfigPatches": [IN_MEMORY]})
            await world.until(lambda: world.reason() == "InvalidConfig", 30)
            assert "/tmp/etcd" in world.condition("Ready")[2]
            assert world.engine.containers == {}
            power(world, "Running")
            await world.ready()


class TestRefusal:
    @pytest.mark.parametrize(
        ("spec", "words"),
        [({"kubeadmConfigPatches": [IN_MEMORY]}, "which is in memory"), (SEVERAL, "other addresses")],
        ids=["etcd in memory", "several control planes on podman"],
    )
    async def test_cluster_that_could_not_come_back_keeps_running(self, world, spec, words):
        world.containers.gives_lowest_address = "nodes" not in spec
        async with world.running():
            world.add(spec=spec)
            await world.ready()
            there = running(world)
            power(world, "Stopped")
            await world.until(lambda: words in world.condition("EngineAvailable")[2], 30)
            await asyncio.sleep(300)
            assert (running(world), world.reason()) == (there, "Ready")
            world.engine.stop_nodes()
            await world.until(lambda: running(world) == there, 60)

    async def test_adopted_cluster_whose_etcd_is_in_memory_keeps_running(self, world):
        """Its spec shows nothing of the configuration that it was made with."""
        world.engine.run_node("dev-control-plane")
        world.engine.etcd_mount = "/tmp"
        async with world.running():
            world.add(annotations={names.ADOPT_ANNOTATION: "true"})
            await world.ready()
            power(world, "Stopped")
            await world.until(lambda: "no effect" in world.condition("EngineAvailable")[2], 30)
            assert "dev-control-plane has its data in /tmp, which is in memory" in world.condition("EngineAvailable")[2]
            await asyncio.sleep(300)
            assert (running(world), world.reason()) == (["dev-control-plane"], "Ready")
            assert world.engine.called("halt") == []
            world.engine.stop_nodes()
            await world.until(lambda: running(world) != [], 60)

    async def test_cluster_whose_etcd_is_in_memory_without_a_word_in_the_spec_keeps_running(self, world):
        """Of many patches together, not all are read."""
        world.engine.etcd_mount = "/tmp"
        async with world.running():
            world.add()
            await world.ready()
            power(world, "Stopped")
            await world.until(lambda: "which is in memory" in world.condition("EngineAvailable")[2], 30)
            await asyncio.sleep(300)
            assert (running(world), world.reason()) == (["dev-control-plane"], "Ready")

    async def test_engine_that_cannot_list_containers_keeps_running(self, tmp_path):
        world = World(tmp_path, engine_lists=False)
        async with world.running():
            world.add()
            await world.ready()
            power(world, "Stopped")
            await world.until(lambda: "no effect" in world.condition("EngineAvailable")[2], 30)
            assert world.reason() == "Ready"

    async def test_load_balancer_that_forgets_keeps_running(self, world):
        async with world.running():
            world.add(spec=SEVERAL)
            await world.creating()
            for node in world.engine.of():
                world.engine.containers[node.container_id] = replace(node, forgets="balancer" in node.name)
            await world.ready()
            power(world, "Stopped")
            await world.until(lambda: "load balancer" in world.condition("EngineAvailable")[2], 30)
            assert len(running(world)) == 4


class TestDeletion:
    async def test_stopped_cluster_is_deleted_without_a_start(self, world):
        async with world.running():
            world.add(spec=BESIDE_WORKERS)
            await world.ready()
            power(world, "Stopped")
            await stopped(world)
            world.delete()
            await world.gone()
            assert (world.engine.containers, world.engine.called("start")) == ({}, [])

    async def test_deletion_overtakes_the_stop(self, world):
        world.containers.halt_seconds = 100.0
        async with world.running():
            world.add()
            await world.ready()
            power(world, "Stopped")
            await world.until(lambda: world.engine.called("halt") != [], 30)
            world.delete()
            assert await world.gone() < 60
            assert world.engine.containers == {}


class TestWorkers:
    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        return World(tmp_path, capi="v1beta2")

    def machines(self, world: World) -> Collection[str]:
        return {name for kind, _, name in world.kube.objects if kind == KIND_MACHINES.plural}

    async def test_worker_is_stopped_and_started_with_its_cluster(self, world):
        async with world.running():
            world.add_owned()
            world.add_machine()
            await world.joined()
            power(world, "Stopped")
            answer = world.answer
            await stopped(world)
            await world.until(lambda: world.reason("dev-w1", resource=KIND_MACHINES) == "Stopped", 30)
            assert world.condition("Ready", "dev-w1", resource=KIND_MACHINES)[0] == "Unknown"
            assert world.condition("Available", resource=names.KIND_CONTROL_PLANES)[0] == "False"
            world.answer = answer
            power(world, "Running")
            await world.joined()
            assert world.node().running

    async def test_worker_joins_when_the_cluster_runs(self, world):
        async with world.running():
            world.add_owned()
            await world.ready()
            power(world, "Stopped")
            answer = world.answer
            await stopped(world)
            world.add_machine()
            await world.until(lambda: "is stopped" in world.condition("Ready", "dev-w1", resource=KIND_MACHINES)[2], 60)
            await asyncio.sleep(300)
            assert world.engine.called("run") == []
            world.answer = answer
            power(world, "Running")
            await world.joined()

    async def test_join_that_runs_is_ended_by_the_stop(self, world):
        world.containers.join_seconds = 200.0
        async with world.running():
            world.add_owned()
            await world.ready()
            world.add_machine()
            await world.until(lambda: world.engine.called("kubeadm join") != [], 60)
            power(world, "Stopped")
            await stopped(world)
            await asyncio.sleep(300)
            assert running(world) == []

    async def test_worker_leaves_when_the_cluster_runs(self, world):
        async with world.running():
            world.add_owned()
            world.add_machine()
            await world.joined()
            power(world, "Stopped")
            answer = world.answer
            await stopped(world)
            world.delete("dev-w1", resource=KIND_MACHINES)
            await asyncio.sleep(300)
            status, reason, message = world.condition("Deleting", "dev-w1", resource=KIND_MACHINES)
            assert (status, reason) == ("True", "WaitingForInfrastructure")
            assert "continues when it runs" in message
            world.answer = answer
            power(world, "Running")
            await world.gone("dev-w1", resource=KIND_MACHINES)
            assert "dev-w1" not in [node.name for node in world.engine.of()]

    async def test_worker_that_never_joined_goes_while_the_cluster_is_stopped(self, world):
        async with world.running():
            world.add_owned()
            await world.ready()
            power(world, "Stopped")
            await stopped(world)
            world.add_machine()
            await asyncio.sleep(30)
            world.delete("dev-w1", resource=KIND_MACHINES)
            await world.gone("dev-w1", resource=KIND_MACHINES)

    async def test_workers_go_with_their_stopped_cluster(self, world):
        async with world.running():
            world.add_owned()
            world.add_machine()
            await world.joined()
            power(world, "Stopped")
            await stopped(world)
            world.delete("dev-w1", resource=KIND_MACHINES)
            world.delete()
            await world.gone("dev-w1", resource=KIND_MACHINES)
            await world.gone()
            assert world.engine.containers == {}
