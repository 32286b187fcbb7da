"""What commands in nodes wait for is up to root in them, and holds nobody else up."""

import asyncio
from typing import Any

import pytest

from capk.api.names import KIND_CLUSTERS, SECRETS
from capk.engine.nodescripts import ETCD_MOUNT, READ_KUBELET, READ_NOTE
from capk.errors import CommandTimedOut
from test.provider.world import NO_ANSWER, World

pytestmark = pytest.mark.virtual_time

MANY = {"nodes": [{"role": "control-plane"}, *({"role": "worker"} for _ in range(20))]}


def hang(world: World, script: str = READ_KUBELET) -> list[str]:
    """Let a script hang in every node, by default that about kubelets; return the nodes where it did."""
    run, asked = world.containers.run, list[str]()

    async def hanging(node_name: str, command: Any, *, timeout_seconds: float = 30, **options: Any) -> Any:
        if script not in list(command):
            return await run(node_name, command, **options)
        asked.append(node_name)
        await asyncio.sleep(timeout_seconds)
        raise CommandTimedOut(["docker", "exec"], "", timeout_seconds)

    world.containers.run = hanging  # type: ignore[method-assign]
    return asked


async def test_nodes_that_hang_do_not_keep_others_from_a_start(tmp_path):
    world = World(tmp_path)
    asked, answer = hang(world), world.answer
    async with world.running():
        for number in range(8):
            world.add(f"hangs-{number}", spec=MANY)
        for number in range(8):
            await world.ready(f"hangs-{number}")
        world.answer = NO_ANSWER
        await world.until(lambda: len(asked) >= 4, 300)
        world.answer = answer
        world.add()
        await world.ready()
        world.engine.stop_nodes(*(node.container_id for node in world.engine.of("dev")))
        await world.until(lambda: all(node.running for node in world.engine.of("dev")), 60)


async def test_nodes_that_hang_delay_the_start_of_another_by_some_minutes(tmp_path):
    world = World(tmp_path)
    asked = hang(world)
    async with world.running():
        world.add(spec=MANY)
        await world.ready()
        world.answer = NO_ANSWER
        await world.until(lambda: asked != [], 300)
        worker = next(node for node in world.engine.of() if node.role == "worker")
        world.engine.stop_nodes(worker.container_id)
        await world.until(lambda: all(node.running for node in world.engine.of()), 420)


async def test_nodes_whose_kubeconfig_cannot_be_read_do_not_keep_a_new_cluster_from_being_ready(tmp_path):
    world = World(tmp_path)
    read = world.kind.kubeconfig

    async def hanging(name: str, *, internal: bool) -> str:
        if name == "dev":
            return await read(name, internal=internal)
        await asyncio.sleep(60)
        raise CommandTimedOut(["kind", "get", "kubeconfig"], "", 60)

    async with world.running():
        for number in range(40):
            world.add(f"hangs-{number}")
        for number in range(40):
            await world.ready(f"hangs-{number}")
        world.kind.kubeconfig = hanging  # type: ignore[method-assign]
        await asyncio.sleep(60)
        for number in range(40):
            del world.kube.objects[SECRETS.plural, "default", f"hangs-{number}-config"]
        await asyncio.sleep(10)
        world.add()
        await world.until(lambda: world.reason() == "Ready", 30)


async def test_nodes_that_hang_before_their_stop_do_not_keep_others_from_a_start(tmp_path):
    world = World(tmp_path)
    asked = hang(world, ETCD_MOUNT)
    async with world.running():
        for number in range(40):
            world.add(f"hangs-{number}")
        world.add()
        for number in range(40):
            await world.ready(f"hangs-{number}")
        await world.ready()
        for number in range(40):
            world.kube.edit(KIND_CLUSTERS, f"hangs-{number}", {"spec": {"engine": {"powerState": "Stopped"}}})
        await world.until(lambda: len(asked) >= 4, 30)
        world.engine.stop_nodes(*(node.container_id for node in world.engine.of("dev")))
        await world.until(lambda: all(node.running for node in world.engine.of("dev")), 30)


async def test_all_control_planes_are_asked_together_before_a_stop(tmp_path):
    world = World(tmp_path)
    asked = hang(world, ETCD_MOUNT)
    async with world.running():
        world.add(spec={"nodes": [{"role": "control-plane"}] * 3})
        await world.ready()
        world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"engine": {"powerState": "Stopped"}}})
        await world.until(lambda: len(asked) == 3, 10)
        await world.until(lambda: "Could not stop" in world.condition("NodesRunning")[2], 20)


async def test_nodes_that_hang_before_a_removal_do_not_keep_others_from_theirs(tmp_path):
    """An interrupted creation is removed only if no control plane holds the file of a completed one."""
    world = World(tmp_path)
    asked = hang(world, READ_NOTE)
    backups = []
    async with world.running():
        world.add()
        for number in range(40):
            world.add(f"hangs-{number}")
            await world.creating(f"hangs-{number}")
            backups.append(world.get(f"hangs-{number}"))
            await world.ready(f"hangs-{number}")
        await world.ready()
    for backup in backups:
        world.kube.put(KIND_CLUSTERS, backup)
    async with world.running():
        await world.until(lambda: len(asked) >= 8, 60)
        world.delete()
        await world.until(lambda: world.engine.of("dev") == [], 30)
