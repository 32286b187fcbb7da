"""Replacements of `Kind` and `Containers` with the same methods, on the simulated engine."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import fields
from typing import Any, Final

from capk.engine.containers import Node
from capk.engine.progress import Step
from capk.errors import CommandFailed, CommandTimedOut
from test.simulation.calls import QUERY_DEADLINE_SECONDS, OnCall, ask
from test.simulation.clock import now
from test.simulation.engine import CONTROL_PLANE, LOAD_BALANCER, Container, SimulatedEngine
from test.simulation.kindcommand import KindCommand, KindProcess, kubeconfig_of, start_again
from test.simulation.printed import failure
from test.simulation.workercalls import WorkerCalls

_NODE_FIELDS: Final = {one.name for one in fields(Node)}


class SimulatedKind:
    """Answers the calls of `capk.engine.kind.Kind` for one provider process."""

    def __init__(
        self,
        find: Callable[[], KindCommand],
        owner: str,
        on_call: OnCall,
        *,
        create_timeout_seconds: float = 900,
        delete_timeout_seconds: float = 300,
    ) -> None:
        self.command = ("kind",)
        self._find = find
        self._owner = owner
        self._on_call = on_call
        self._create_timeout_seconds = create_timeout_seconds
        self._delete_timeout_seconds = delete_timeout_seconds

    @property
    def _kind(self) -> KindCommand:
        """kind for the engine that is there now: one in a Pod may be replaced."""
        return self._find()

    async def version(self) -> str:
        """Return kind's version."""
        self._on_call("version", "")
        await asyncio.sleep(0.02)
        return self._kind.version

    async def create_cluster(
        self,
        name: str,
        config: Mapping[str, Any],
        *,
        image: str | None = None,
        wait_seconds: int = 0,
        retain: bool = False,
        on_step: Callable[[Step], None] = lambda step: None,
    ) -> str:
        """Create a kind cluster and return its kubeconfig."""
        self._on_call("create", name)
        process, context, loop = KindProcess(self._owner, name, "create"), copy_context(), asyncio.get_running_loop()

        def report(step: Step) -> None:
            if process.is_alive:
                loop.call_soon(on_step, step, context=context)

        work = self._kind.create(process, name, config, report, retain=retain, with_secrets=True)
        birth = await self._run(process, work, self._create_timeout_seconds, "create", "cluster", f"--name={name}")
        birth.reported = now(), self._owner
        return kubeconfig_of(birth, name, internal=False)

    async def delete_cluster(self, name: str) -> None:
        """Delete a kind cluster; return when no node is left, as `Kind` does."""
        self._on_call("delete", name)
        deadline = now() + self._delete_timeout_seconds
        while True:
            process = KindProcess(self._owner, name, "delete")
            arguments = ("delete", "cluster", f"--name={name}")
            await self._run(process, self._kind.delete(process, name), self._delete_timeout_seconds, *arguments)
            if not (left := await self.nodes(name)):
                return
            if now() + 1.0 >= deadline:
                output = f"still listed after their deletion: {', '.join(left)}"
                raise CommandTimedOut(["kind", "delete", "cluster"], output, self._delete_timeout_seconds)
            await asyncio.sleep(1.0)

    async def clusters(self) -> list[str]:
        """Return the names of all kind clusters."""
        self._on_call("clusters", "")
        await self._ask("get", "clusters")
        if self._kind.engine.trouble.garble > now() and self._kind.engine.rng.random() < 0.5:
            raise CommandFailed(
                ["kind", "get", "clusters"], "ERROR: failed to list clusters: unexpected end of output", 1
            )
        return sorted({one.cluster for one in self._kind.engine.listed()})

    async def nodes(self, name: str) -> list[str]:
        """Return the names of a cluster's node containers."""
        self._on_call("nodes", name)
        await self._ask("get", "nodes", f"--name={name}")
        return [one.name for one in self._kind.engine.of(name)]

    async def kubeconfig(self, name: str, *, internal: bool) -> str:
        """Return a cluster's kubeconfig."""
        self._on_call("kubeconfig", name)
        try:
            async with asyncio.timeout(QUERY_DEADLINE_SECONDS):
                return await self._kind.read_kubeconfig(name, internal=internal)
        except TimeoutError:
            raise CommandTimedOut(["kind", "get", "kubeconfig", f"--name={name}"], "", QUERY_DEADLINE_SECONDS) from None

    async def _ask(self, *arguments: str) -> None:
        await ask(self._kind.engine, ["kind", *arguments], "get-clusters-engine-down")

    async def _run(self, process: KindProcess, work: Any, timeout_seconds: float, *arguments: str) -> Any:
        """Wait for a run of kind; at the deadline or on cancellation, stop it and wait for its end."""
        task = self._kind.start(process, work)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await asyncio.shield(task)
        except TimeoutError:
            await self._end(process)
            raise CommandTimedOut(["kind", *arguments], "", timeout_seconds) from None
        except asyncio.CancelledError:
            await self._end(process)
            raise

    async def _end(self, process: KindProcess) -> None:
        await asyncio.sleep(self._kind.engine.rng.choice((0.01, 0.5, 5.0)))
        process.kill()


class SimulatedContainers(WorkerCalls):
    """Answers the calls of `capk.engine.containers.Containers` for one provider process.

    command: None for an engine that cannot list containers.
    """

    engine = "docker"

    def __init__(
        self, find: Callable[[], SimulatedEngine], owner: str, on_call: OnCall, command: tuple[str, ...] | None
    ) -> None:
        self.command = command
        self.network = "kind"
        self.gives_lowest_address = True
        super().__init__(find, owner, on_call)

    async def nodes(self, cluster: str | None = None) -> list[Node] | None:
        """Return all node containers of all kind clusters, or of one."""
        self._on_call("list", "")
        if self.command is None:
            return None
        await self._ask("inspect")
        trouble, engine = self._engine.trouble, self._engine
        if trouble.crash > now():
            raise ValueError("Unterminated string starting at: line 1 column 30")
        if trouble.garble > now() and engine.rng.random() < 0.5:
            raise CommandFailed(["docker", "inspect"], '[{"Id": "abc", "Name": "/dev-control-pl', 0)
        engine.remember()
        behind = trouble.disagree > now() and engine.rng.random() < 0.7
        listed = engine.a_while_ago() if behind else engine.listed()
        return [as_node(one) for one in listed if cluster in (None, one.cluster)]

    async def start(self, names: Sequence[str]) -> None:
        """Start containers, one after the other."""
        self._on_call("start", ",".join(names))
        for name in names:
            await self._ask("start")
            await asyncio.sleep(self._engine.rng.uniform(0.2, 0.8))
            if (container := self._engine.containers.get(name) or self._engine.named(name)) is None:
                raise failure("engine-start-absent", name, "start")
            if self._engine.has_no_port(container):
                said = f"Bind for 127.0.0.1:{container.birth.port} failed: port is already allocated"
                raise CommandFailed(["docker", "start", name], f"Error response from daemon: {said}", 1)
            start_again(self._engine, [container])

    async def stop(self, names: Sequence[str]) -> None:
        """Stop containers."""
        self._on_call("stop", ",".join(names))
        for name in names:
            await self._ask("stop")
            await asyncio.sleep(self._engine.rng.uniform(0.5, 3))
            if container := self._engine.named(name):
                self._engine.stop(container)

    async def halt(self, container_ids: Sequence[str]) -> None:
        """Stop containers by id; missing ones are fine."""
        self._on_call("halt", ",".join(container_ids))
        for container in filter(None, map(self._engine.containers.get, container_ids)):
            self._engine.on_halt(container)
        await self._ask("stop")
        await asyncio.sleep(self._engine.rng.uniform(0.5, 3))
        for container in filter(None, map(self._engine.containers.get, container_ids)):
            self._engine.stop(container)

    async def remove(self, container_ids: Sequence[str]) -> None:
        """Remove containers by id, with their volumes."""
        self._on_call("remove", ",".join(container_ids))
        await self._ask("rm")
        await asyncio.sleep(self._engine.rng.uniform(0.3, 1.5))
        for container_id in container_ids:
            self._engine.held.pop(container_id, None)
            container = self._engine.containers.get(container_id)
            if container and container.is_stuck:
                raise failure("delete-container-stuck", container.cluster, "rm")
            if container:
                self._engine.remove(container, self._owner)

    async def printed(self, container_id: str, *, timeout_seconds: float = 30) -> str:
        """Return a container's output."""
        self._on_call("logs", container_id)
        await self._ask("logs")
        return self._output_of(container_id)

    async def write_file(self, node_name: str, path: str, content: str, *, mode: str = "0644") -> None:
        """Write a file into a node."""
        self._on_call("write", node_name)
        await self._ask("exec")
        self._running(node_name).files[path] = content

    async def occupants(self) -> dict[str, str]:
        """Return the containers on kind's network by address."""
        self._on_call("occupants", "")
        await self._ask("network")
        nodes = {one.address: one.name for one in self._engine.containers.values() if one.address}
        held = {address: f"{cluster}-address-placeholder" for address, cluster in self._engine.held.values()}
        return {**self._engine.occupied, **nodes, **held}

    async def hold_address(self, cluster: str, image: str) -> tuple[str, str]:
        """Start a placeholder; return its id and its address."""
        self._on_call("hold", cluster)
        await self._ask("run")
        held = self._engine.hold(cluster)
        await asyncio.sleep(self._engine.rng.uniform(0.2, 0.8))
        return held

    async def release_addresses(self, cluster: str) -> None:
        """Remove the placeholders of a kind cluster."""
        self._on_call("release", cluster)
        await self._ask("ps")
        if held := [one for one, (_, helped) in self._engine.held.items() if helped == cluster]:
            await self.remove(held)

    async def resolves_names(self) -> bool | None:
        """Return None, because only podman reports whether its network resolves names."""
        return None

    async def engine_id(self) -> str | None:
        """Return the id of this engine."""
        if self.command is None:
            return None
        self._on_call("info", "")
        await self._ask("info")
        return f"engine-{self._engine.number}"


def as_node(container: Container) -> Node:
    """Return the container as the provider's type."""
    address = container.birth.engine.address if container.birth.engine else "127.0.0.1"
    known = {
        "name": container.name,
        "cluster": container.cluster,
        "role": container.role,
        "running": container.running,
        "container_id": container.id,
        "address": container.address,
        "started_at": container.started_at,
        "image": container.image,
        "mark": container.mark,
        "api_port": (address, container.birth.port) if _publishes(container) else None,
        "addresses": (container.address,) if container.address else (),
        "machine": container.machine,
        "forgets": container.role == LOAD_BALANCER and container.birth.balancer_forgets,
    }
    return Node(**{name: value for name, value in known.items() if name in _NODE_FIELDS})


def _publishes(container: Container) -> bool:
    role = LOAD_BALANCER if container.birth.control_planes > 1 else CONTROL_PLANE
    return container.running and container.role == role
