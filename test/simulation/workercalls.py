"""The engine's calls for workers that join later: run, commands of kubeadm and kubectl in nodes, images, volumes.

Engine and kubeadm go on when the provider's call has ended: a container appears later, a node joins later.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from capk.engine.command import Output
from capk.engine.containers import Sibling
from capk.engine.nodescripts import READ_NOTE
from capk.errors import CommandFailed, CommandTimedOut
from capk.manager.operations.completion import COMPLETION_FILE
from test.provider.workercalls import RequestedNode, files_of_node, requested_node
from test.simulation.calls import OnCall, ask
from test.simulation.clock import now, spawn
from test.simulation.engine import CONTROL_PLANE, Birth, Container, SimulatedEngine
from test.simulation.identities import TOKEN
from test.simulation.kindcommand import KindProcess, hang

VERSION: Final = "v1.37.0"
RUN_DEADLINE_SECONDS: Final = 120.0
BOOTED: Final = "Reached target Multi-User System."
REGISTER_SECONDS: Final = 5.0
"""A running kubelet registers its Node again so long after it was deleted."""


class WorkerCalls:
    """Those calls of `capk.engine.containers.Containers` that only workers need."""

    def __init__(self, find: Callable[[], SimulatedEngine], owner: str, on_call: OnCall) -> None:
        self._find = find
        self._owner = owner
        self._on_call = on_call

    @property
    def _engine(self) -> SimulatedEngine:
        return self._find()

    async def sibling(self, container_id: str) -> Sibling:
        """Return what the nodes of a kind cluster have in common."""
        self._on_call("inspect", container_id)
        await self._ask("inspect")
        container = self._existing(container_id, "inspect")
        return Sibling(container.image, "image-id", "kind", (container.address,) if container.address else ())

    async def has_image(self, image: str) -> bool:
        """Return whether the engine has an image: always."""
        await self._ask("image")
        return True

    async def pull(self, image: str) -> None:
        """Pull an image."""
        await self._ask("pull")

    async def create_volume(self, node: str, machine: str) -> str:
        """Create a volume; only podman needs it."""
        await self._ask("volume")
        return f"{node}-{machine}"

    async def remove_volumes(self, machine: str) -> None:
        """Remove volumes; only podman needs it."""
        await self._ask("volume")

    async def run_node(self, arguments: Sequence[str], variables: Mapping[str, str]) -> str:
        """Create and start the container of a worker; if the client ends, the engine creates it all the same."""
        asked = requested_node(arguments)
        self._on_call("run", asked.name)
        await self._ask("run")
        client = KindProcess(self._owner, asked.name, "run")
        self._engine.clients.append(client)
        work = spawn(self._run_for(client, asked))
        try:
            return str(await _until(work, ["docker", "run", asked.name], RUN_DEADLINE_SECONDS))
        finally:
            client.is_alive = False

    async def _run_for(self, client: KindProcess, asked: RequestedNode) -> str:
        engine = self._engine
        await asyncio.sleep(engine.rng.choice((0.3, 0.8, 2.0)))
        await hang(engine)
        if engine.trouble.full_disk > now():
            raise _failed("run", asked.name, "no space left on device")
        try:
            container = engine.make(
                self._birth(asked),
                *(asked.name, asked.role, asked.mark, asked.image),
                is_listed=engine.rng.random() < 0.7,
                machine=asked.machine,
            )
        except KeyError:
            said = f'Conflict. The container name "/{asked.name}" is already in use by container'
            raise _failed("run", asked.name, said) from None
        container.boot_seconds = engine.rng.choice((0.3, 1.0, 4.0))
        await asyncio.sleep(engine.rng.uniform(0.2, 1.0))
        container.is_listed = True
        if client.is_alive:
            engine.start(container)
        return self._existing(container.id, "run").id

    def _birth(self, asked: RequestedNode) -> Birth:
        """Return the kind cluster that the container joins."""
        planes = [one for one in self._engine.of(asked.cluster, unlisted=True) if one.role == CONTROL_PLANE]
        births = [one for one in self._engine.births if one.maker == asked.mark]
        return (births or [one.birth for one in planes] or self._engine.births)[-1]

    # --- commands in nodes

    async def read(self, node_name: str, command: Sequence[str], *, timeout_seconds: float = 30) -> Output:
        """Run a command that prints secrets."""
        return await self.run(node_name, command, timeout_seconds=timeout_seconds)

    async def run(
        self, node_name: str, command: Sequence[str], *, stdin: str | None = None, timeout_seconds: float = 30
    ) -> Output:
        """Run a command in a node."""
        self._on_call("exec", node_name)
        await self._ask("exec")
        return await self._execute(self._running(node_name), command, timeout_seconds)

    async def copied(self, container_id: str, folder: str, *, timeout_seconds: float = 30) -> Mapping[str, str]:
        """Return the files in a folder of a container, running or not."""
        self._on_call("cp", container_id)
        await self._ask("cp")
        container = self._existing(container_id, "cp")
        self._may_be_garbled("cp", container)
        files = container.files
        return {"claim": "", **{path.removeprefix(f"{folder}/"): text for path, text in files.items()}}

    def _may_be_garbled(self, verb: str, container: Container) -> None:
        if self._engine.trouble.garble > now() and self._engine.rng.random() < 0.5:
            raise _failed(verb, container.name, "OCI runtime exec failed: exec failed: resource busy")

    def _running(self, node: str) -> Container:
        container = self._engine.containers.get(node) or self._engine.named(node)
        if container is None or not container.running:
            raise CommandFailed(
                ["docker", "exec", node], f"Error response from daemon: container {node} is not running", 1
            )
        return container

    async def _execute(self, node: Container, command: Sequence[str], timeout_seconds: float) -> Output:
        """Run a command in a running node; those of no concern print nothing."""
        match list(command):
            case ["sh", "-c", script, *_] if script == READ_NOTE:
                self._may_be_garbled("exec", node)
                held = node.files.get(COMPLETION_FILE)
                return Output("missing\n" if held is None else f"held\n{held}", "")
            case ["cat", *paths]:
                return Output(files_of_node(paths, VERSION), "")
            case ["kubeadm", "token", "create", *_]:
                await self._reach(node)
                return Output(f"{TOKEN}\n", "")
            case ["kubeadm", "token", "delete", *_]:
                await self._reach(node)
            case ["kubeadm", "join", *_]:
                await _until(spawn(self._kubeadm(node)), ["docker", "exec", node.name, *command], timeout_seconds)
            case ["kubectl", *_, "get", "--raw=/readyz"]:
                await self._reach(node)
            case ["kubectl", *_, "delete", "node", name, "--ignore-not-found", "--wait=false"]:
                await self._reach(node)
                self._delete_node(node.birth, name)
            case ["kubectl", _, "drain", name, *_]:
                await self._reach(node)
                await asyncio.sleep(self._engine.rng.choice((0.5, 3.0, 60.0)))
                if self._engine.rng.random() < 0.3:
                    raise _failed(
                        "exec", node.name, f"error when evicting pods of {name}: global timeout reached: 1m0s"
                    )
            case ["journalctl", *_] if node.is_added:
                return Output(f"kubelet: cannot use the token {TOKEN}\n", "")
        return Output("", "")

    async def _reach(self, node: Container) -> None:
        """Ask the API server of the node's kind cluster."""
        await asyncio.sleep(self._engine.rng.uniform(0.1, 0.6))
        if not self._engine.answers(node.birth):
            raise _failed(
                "exec", node.name, "The connection to the server was refused - did you specify the right host?"
            )

    async def _kubeadm(self, node: Container) -> None:
        """Join a node, whatever happens to the command that has started it."""
        engine, birth = self._engine, node.birth
        await asyncio.sleep(engine.rng.choice((1.0, 3.0, 10.0)))
        if engine.containers.get(node.id) is not node or not node.running:
            raise _failed("exec", node.name, "", status=137)
        if engine.failing_joins > 0:
            engine.failing_joins -= 1
            said = f"error execution phase kubelet-start: timed out\nkubeadm join x:6443 --token {TOKEN}"
            raise _failed("exec", node.name, said)
        if not engine.answers(birth):
            raise _failed("exec", node.name, "error execution phase preflight: couldn't validate the identity")
        other = engine.containers.get(birth.nodes.get(node.name, ""))
        if other is not None and other.running:
            said = f'a Node with name "{node.name}" and status "Ready" already exists in the cluster'
            raise _failed("exec", node.name, said)
        birth.nodes[node.name] = node.id
        birth.joined[node.machine] = self._owner

    def _delete_node(self, birth: Birth, name: str) -> None:
        container = self._engine.containers.get(birth.nodes.pop(name, ""))
        if container is not None and container.running:
            loop = asyncio.get_running_loop()
            loop.call_later(REGISTER_SECONDS, self._register_again, container)

    def _register_again(self, container: Container) -> None:
        if self._engine.containers.get(container.id) is container and container.running:
            container.birth.nodes.setdefault(container.name, container.id)

    def _output_of(self, container_id: str) -> str:
        container = self._engine.containers.get(container_id)
        if container is None or not container.is_added or not container.started_at:
            return ""
        return BOOTED if now() >= float(container.started_at) + container.boot_seconds else "Starting systemd"

    def _existing(self, container_id: str, verb: str) -> Container:
        container = self._engine.containers.get(container_id)
        if container is None:
            raise _failed(verb, container_id, f"No such container: {container_id}")
        return container

    async def _ask(self, verb: str) -> None:
        await ask(self._engine, ["docker", verb], "engine-ps-engine-down")


async def _until(work: "asyncio.Task[Any]", command: Sequence[str], seconds: float) -> Any:
    """Wait for something that goes on when the wait for it ends."""
    work.add_done_callback(lambda done: None if done.cancelled() else done.exception())
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.shield(work)
    except TimeoutError:
        raise CommandTimedOut(list(command), "", seconds) from None


def _failed(verb: str, name: str, said: str, *, status: int = 1) -> CommandFailed:
    return CommandFailed(["docker", verb, name], f"Error response from daemon: {said}", status)
