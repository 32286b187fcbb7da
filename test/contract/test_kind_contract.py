"""The behaviour of the kind command on which the provider relies. A replacement of the command must pass this."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from capk.api.names import CLAIM_MOUNT_FOLDER, Reason
from capk.diagnosis.failures import Failure, classify
from capk.engine.containers import Containers, Node
from capk.engine.inventory import Inventory
from capk.engine.kind import Kind
from capk.engine.nodelogs import last_words, node_logs
from capk.engine.progress import Step
from capk.engine.workdir import WorkDir
from capk.errors import CommandFailed
from capk.manager.operations.completion import COMPLETION_FILE, completed_creation, note_completion
from capk.plan.marks import Mark
from test.contract.engines import KINDS, REAL, USERS_KUBECONFIG, Engine, config
from test.contract.workload import authority, get, server

STEPS = [
    Reason.ENSURING_NODE_IMAGE,
    Reason.PREPARING_NODES,
    Reason.WRITING_CONFIGURATION,
    Reason.STARTING_CONTROL_PLANE,
    Reason.INSTALLING_CNI,
    Reason.INSTALLING_STORAGE_CLASS,
]


@pytest.fixture(autouse=True)
def users_kubeconfig_untouched(engine: Engine) -> Iterator[None]:
    files = [engine.home / ".kube" / name for name in ("config", "other")]
    before = [file.stat() for file in files]
    yield
    assert [file.read_text() for file in files] == [USERS_KUBECONFIG] * 2
    assert [file.stat().st_mtime_ns for file in files] == [stat.st_mtime_ns for stat in before]
    assert {file.name for file in (engine.home / ".kube").iterdir()} == {"config", "other"}


@pytest.fixture(autouse=True)
def no_private_file_left(engine: Engine) -> Iterator[None]:
    yield
    assert [file for file in engine.work_dir.rglob("*") if file.is_file()] == []


class Running:
    """A cluster that the tests only read."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.name = engine.name("shared")
        self.steps: list[Step] = []
        self.nodes = [{"role": "control-plane"}, {"role": "worker"}]
        for node in self.nodes:
            node["extraMounts"] = [{"hostPath": str(folder), "containerPath": f"{CLAIM_MOUNT_FOLDER}some-uid"}]
        self.config = config(nodes=self.nodes)
        self.kubeconfig = asyncio.run(
            engine.kind.create_cluster(
                self.name, self.config, image=engine.image, wait_seconds=120, on_step=self.steps.append
            )
        )


@pytest.fixture(scope="module")
def running(engine, tmp_path_factory) -> Running:
    return Running(engine, tmp_path_factory.mktemp("claim"))


async def failure_of(call) -> Failure:
    with pytest.raises(CommandFailed) as failure:
        await call
    assert failure.value.exit_status == 1
    return classify(failure.value)


async def nodes_of(engine: Engine, name: str) -> list[Node]:
    return [node for node in await engine.containers.nodes() or [] if node.cluster == name]


async def create_until(engine: Engine, name: str, reason: Reason) -> asyncio.Task[str]:
    reached = asyncio.Event()

    def report(step: Step) -> None:
        if step.reason is reason:
            reached.set()

    task = asyncio.create_task(engine.kind.create_cluster(name, config(), image=engine.image, on_step=report))
    await asyncio.wait([task, asyncio.create_task(reached.wait())], return_when=asyncio.FIRST_COMPLETED)
    assert reached.is_set()
    return task


async def test_version_is_the_pinned_release(engine):
    assert await engine.kind.version() == engine.release


async def test_creation_reports_its_steps_in_order(running):
    expected = [*STEPS, Reason.JOINING_WORKERS, Reason.WAITING_FOR_READY]
    assert [step.reason for step in running.steps] == expected
    assert not any(step.warning for step in running.steps)


async def test_kubeconfig_of_a_creation_works(running, tmp_path):
    assert get(running.kubeconfig, "/version", tmp_path)["gitVersion"].startswith("v1.")
    nodes = get(running.kubeconfig, "/api/v1/nodes", tmp_path)
    assert sorted(node["metadata"]["name"] for node in nodes["items"]) == [
        f"{running.name}-control-plane",
        f"{running.name}-worker",
    ]


async def test_kubeconfig_can_be_read_again(engine, running, tmp_path):
    again = await engine.kind.kubeconfig(running.name, internal=False)
    assert server(again) == server(running.kubeconfig)
    assert authority(again) == authority(running.kubeconfig)
    assert get(again, "/version", tmp_path)


async def test_internal_kubeconfig_names_the_control_plane_container(engine, running):
    internal = await engine.kind.kubeconfig(running.name, internal=True)
    assert server(internal) == f"https://{running.name}-control-plane:6443"
    assert authority(internal) == authority(running.kubeconfig)


async def test_cluster_is_listed_with_its_nodes(engine, running):
    assert running.name in await engine.kind.clusters()
    assert await engine.kind.nodes(running.name) == [f"{running.name}-control-plane", f"{running.name}-worker"]


async def test_containers_tell_what_a_status_needs(engine, running):
    control_plane, worker = await nodes_of(engine, running.name)
    assert (control_plane.name, worker.name) == (f"{running.name}-control-plane", f"{running.name}-worker")
    assert (control_plane.role, worker.role) == ("control-plane", "worker")
    for node in (control_plane, worker):
        assert node.running
        assert node.address
        assert node.started_at
        assert node.container_id
        assert node.addresses[0] == node.address
        assert node.mark == "some-uid"
        assert not engine.image or node.image == engine.image
    host, port = control_plane.api_port
    assert server(running.kubeconfig) == f"https://{host}:{port}"
    assert worker.api_port is None


async def test_occupants_of_the_network_are_told(engine, running):
    occupants = await engine.containers.occupants()
    for node in await nodes_of(engine, running.name):
        assert occupants[node.address] == node.name


async def test_engine_has_an_id_that_stays(engine):
    assert await engine.containers.engine_id()
    assert await engine.containers.engine_id() == await engine.containers.engine_id()


async def test_file_is_written_into_a_node(engine, running):
    name, path = f"{running.name}-worker", "/etc/capk-test/a file"
    await engine.containers.write_file(name, path, "first\n")
    await engine.containers.write_file(name, path, "second $(x)\n", mode="0600")
    assert (await engine.containers.run(name, ["cat", path])).stdout == "second $(x)\n"
    with pytest.raises(CommandFailed):
        await engine.containers.run(name, ["cat", "/etc/capk-test/another"])
    with pytest.raises(CommandFailed) as failure:
        await engine.containers.run(name, ["capk-no-such-command"])
    assert failure.value.exit_status in (126, 127)


async def test_what_a_control_plane_notes_is_read_in_it_and_copied_from_it(engine, running):
    plane = (await nodes_of(engine, running.name))[0]
    folder, _, file = COMPLETION_FILE.rpartition("/")
    assert await completed_creation(engine.containers, [plane]) is None
    copied = await engine.containers.copied(plane.container_id, folder)
    assert "claim" in {path.partition("/")[0] for path in copied}
    assert file not in copied
    await note_completion(engine.containers, [plane], Mark(plane.mark))
    assert await completed_creation(engine.containers, [plane]) == Mark(plane.mark)
    assert (await engine.containers.copied(plane.container_id, folder))[file] == plane.mark


async def test_inventory_joins_clusters_and_nodes(engine, running):
    inventory = Inventory(engine.kind, engine.containers)
    entry = (await inventory.refresh()).clusters[running.name]
    assert [node.role for node in entry.nodes] == ["control-plane", "worker"]
    await inventory.stop()


async def test_name_that_is_taken_is_refused_and_the_cluster_lives_on(engine, running, tmp_path):
    failure = await failure_of(engine.kind.create_cluster(running.name, config(), image=engine.image))
    assert failure.reason is Reason.NAME_CONFLICT
    assert running.name in failure.message
    assert get(running.kubeconfig, "/version", tmp_path)


async def test_logs_of_a_node_can_be_read(engine, running):
    node = (await nodes_of(engine, running.name))[0]
    text = await node_logs(engine.containers, node.container_id)
    assert "--- /var/log/containers/" in text
    assert "could not be read" not in text


async def test_stopped_node_is_seen_and_started_again(engine, running, tmp_path):
    name = f"{running.name}-control-plane"
    before = {node.name: node for node in await nodes_of(engine, running.name)}
    engine.stop_node(name)
    stopped = {node.name: node for node in await nodes_of(engine, running.name)}
    assert {node.name: node.running for node in stopped.values()} == {name: False, f"{running.name}-worker": True}
    assert "could not be read" not in await last_words(engine.containers, stopped[name].container_id)
    unavailable = await failure_of(engine.kind.kubeconfig(running.name, internal=False))
    assert unavailable.reason is Reason.KUBECONFIG_UNAVAILABLE
    await engine.containers.start([name])
    started = {node.name: node for node in await nodes_of(engine, running.name)}
    assert started[name].running
    assert started[name].started_at != before[name].started_at
    assert await engine.kind.kubeconfig(running.name, internal=False)
    for _ in range(60):
        try:
            assert get(running.kubeconfig, "/version", tmp_path)
            break
        except OSError:
            await asyncio.sleep(1)
    else:
        pytest.fail("the API server did not come back on its old address")


async def test_start_of_a_running_node_is_fine(engine, running):
    await engine.containers.start([f"{running.name}-worker"])


async def test_unknown_cluster(engine):
    name = engine.name("nosuch")
    assert (await failure_of(engine.kind.kubeconfig(name, internal=False))).reason is Reason.KUBECONFIG_UNAVAILABLE
    assert await engine.kind.nodes(name) == []
    await engine.kind.delete_cluster(name)
    assert name not in await engine.kind.clusters()


async def test_deleted_cluster_is_gone_and_can_be_made_again(engine, tmp_path):
    name = engine.name("again")
    first = await engine.kind.create_cluster(name, config(), image=engine.image)
    await engine.kind.delete_cluster(name)
    assert name not in await engine.kind.clusters()
    assert await nodes_of(engine, name) == []
    with pytest.raises(OSError, match="refused"):
        get(first, "/version", tmp_path)
    second = await engine.kind.create_cluster(name, config(), image=engine.image)
    assert authority(second) != authority(first)
    await engine.kind.delete_cluster(name)


async def test_cluster_whose_containers_are_removed_by_id_is_gone(engine):
    name = engine.name("removed")
    await engine.kind.create_cluster(name, config("control-plane", "worker"), image=engine.image)
    ids = [node.container_id for node in await nodes_of(engine, name)]
    await engine.containers.remove(ids)
    assert name not in await engine.kind.clusters()
    assert await nodes_of(engine, name) == []
    await engine.containers.remove(ids)


@pytest.mark.parametrize(
    ("broken", "part"),
    [
        ({"noodles": True}, "noodles"),
        ({"nodes": [{"role": "worker"}]}, "must have at least one control-plane node"),
        ({"networking": {"podSubnet": "10.0.0.0/99"}}, "10.0.0.0/99"),
    ],
)
async def test_refused_configuration_makes_nothing(engine, broken, part):
    name = engine.name("refused")
    failure = await failure_of(engine.kind.create_cluster(name, {**config(), **broken}, image=engine.image))
    assert failure.reason is Reason.INVALID_CONFIG
    assert part in failure.message
    assert not failure.retry
    assert name not in await engine.kind.clusters()


async def test_image_that_cannot_be_had_is_told_and_leaves_nothing(engine):
    name = engine.name("image")
    failure = await failure_of(engine.kind.create_cluster(name, config(), image="kindest/node:v9.9.9"))
    assert failure.reason is Reason.IMAGE_NOT_FOUND
    assert "kindest/node:v9.9.9" in failure.message
    assert name not in await engine.kind.clusters()


async def test_port_that_is_taken_is_told_and_leaves_nothing(engine):
    name = engine.name("port")
    with socket.create_server(("0.0.0.0", 0)) as holder:
        port = holder.getsockname()[1]
        node = {"role": "control-plane", "extraPortMappings": [{"hostPort": port, "containerPort": 80}]}
        failure = await failure_of(engine.kind.create_cluster(name, config(nodes=[node]), image=engine.image))
    assert failure.reason is Reason.PORT_CONFLICT
    assert name not in await engine.kind.clusters()


async def test_two_clusters_at_once_are_independent(engine, tmp_path):
    names = [engine.name(purpose) for purpose in ("left", "right")]
    left, right = await asyncio.gather(
        *(engine.kind.create_cluster(name, config(), image=engine.image) for name in names)
    )
    assert server(left) != server(right)
    assert authority(left) != authority(right)
    assert get(left, "/version", tmp_path) == get(right, "/version", tmp_path)
    await asyncio.gather(*(engine.kind.delete_cluster(name) for name in names))
    assert not set(names) & set(await engine.kind.clusters())


async def test_several_control_planes_have_a_load_balancer(engine, tmp_path):
    name = engine.name("ha")
    steps: list[Step] = []
    kubeconfig = await engine.kind.create_cluster(
        name, config("control-plane", "control-plane"), image=engine.image, on_step=steps.append
    )
    assert [step.reason for step in steps] == [
        *STEPS[:2],
        Reason.CONFIGURING_LOAD_BALANCER,
        *STEPS[2:],
        Reason.JOINING_CONTROL_PLANE_NODES,
    ]
    assert get(kubeconfig, "/version", tmp_path)
    assert server(await engine.kind.kubeconfig(name, internal=True)) == f"https://{name}-external-load-balancer:6443"
    assert [(node.name, node.role) for node in await nodes_of(engine, name)] == [
        (f"{name}-control-plane", "control-plane"),
        (f"{name}-control-plane2", "control-plane"),
        (f"{name}-external-load-balancer", "external-load-balancer"),
    ]
    await engine.kind.delete_cluster(name)
    assert await nodes_of(engine, name) == []


async def test_cancelled_creation_stays_listed_until_it_is_deleted(engine):
    name = engine.name("cancelled")
    task = await create_until(engine, name, Reason.STARTING_CONTROL_PLANE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert name in await engine.kind.clusters()
    again = await failure_of(engine.kind.create_cluster(name, config(), image=engine.image))
    assert again.reason is Reason.NAME_CONFLICT
    await engine.kind.delete_cluster(name)
    assert name not in await engine.kind.clusters()
    assert await nodes_of(engine, name) == []


async def test_nodes_that_are_still_being_made_are_deleted_too(engine):
    name = engine.name("early")
    task = await create_until(engine, name, Reason.PREPARING_NODES)
    while not task.done() and name not in await engine.kind.clusters():
        pass
    task.cancel()
    await asyncio.wait([task])
    await engine.kind.delete_cluster(name)
    assert name not in await engine.kind.clusters()
    await asyncio.sleep(5)
    assert await nodes_of(engine, name) == []


PROVIDER = """
import asyncio, json, sys
from pathlib import Path
from capk.engine.kind import Kind
from capk.engine.workdir import WorkDir

command, work_dir, environment, name, config, image = json.load(sys.stdin)
kind = Kind(command, work_dir=WorkDir(Path(work_dir)), environment=environment)
asyncio.run(kind.create_cluster(name, config, image=image, on_step=lambda step: print(step.reason.value, flush=True)))
"""


@pytest.mark.rule("K37")
async def test_killed_provider_leaves_no_command_and_nothing_that_delete_cannot_remove(engine):
    name = engine.name("killed")
    provider = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROVIDER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    task = [engine.kind.command, str(engine.work_dir), engine.environment, name, config(), engine.image]
    provider.stdin.write(json.dumps(task).encode())
    provider.stdin.close()
    while (await provider.stdout.readline()).decode().strip() != Reason.STARTING_CONTROL_PLANE:
        pass
    assert commands_about(name)
    os.kill(provider.pid, signal.SIGKILL)
    await provider.wait()
    for _ in range(100):
        if not commands_about(name):
            break
        await asyncio.sleep(0.05)
    assert commands_about(name) == []
    await engine.kind.delete_cluster(name)
    assert name not in await engine.kind.clusters()
    assert await nodes_of(engine, name) == []
    assert WorkDir(engine.work_dir).remove_leftovers() == 1


def commands_about(name: str) -> list[str]:
    """Command lines of kind, and of the container engine's command below it, that name the cluster."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if {"create", "exec", "run"} & set(words[:6]) and any(name in word for word in words):
            lines.append(" ".join(words))
    return lines


@pytest.mark.parametrize("program", REAL)
async def test_engine_that_is_down_is_told_apart_from_no_clusters(program, tmp_path):
    down = {"DOCKER_HOST": f"unix://{tmp_path}/no.sock"}
    kind = Kind([str(KINDS[program])], work_dir=WorkDir(tmp_path), environment=down)
    containers = Containers(["docker"], environment=down)
    for call in (kind.clusters(), containers.nodes()):
        assert (await failure_of(call)).reason is Reason.ENGINE_UNREACHABLE
    snapshot = await Inventory(kind, containers).refresh()
    assert classify(snapshot.error).reason is Reason.ENGINE_UNREACHABLE
