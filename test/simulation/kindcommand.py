"""The `kind` command on the simulated engine: creations that take time, can be killed, and fail.

The engine continues its requests after it is killed: a requested container still appears later.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from capk.api.names import CLAIM_MOUNT_FOLDER, Reason
from capk.engine.progress import Step
from capk.errors import CommandFailed
from test.simulation.clock import now, spawn
from test.simulation.engine import CONTROL_PLANE, FOREIGN, LOAD_BALANCER, Birth, Container, SimulatedEngine
from test.simulation.identities import kubeconfig
from test.simulation.printed import failure

_STEPS: Final = (
    ("configuration", Reason.WRITING_CONFIGURATION, "Writing configuration", 0.5),
    ("kubeadm", Reason.STARTING_CONTROL_PLANE, "Starting control-plane", 6.0),
    ("cni", Reason.INSTALLING_CNI, "Installing CNI", 0.5),
    ("storage", Reason.INSTALLING_STORAGE_CLASS, "Installing StorageClass", 0.5),
    ("wait", Reason.WAITING_FOR_READY, "Waiting ≤ 2m0s for control-plane = Ready", 4.0),
)


MOST_SECONDS: Final = 8.0
"""Maximum time of the engine to create a container, which includes copying a volume."""


@dataclass
class Planned:
    """A failure of the next creations. times: their number."""

    step: str
    fixture: str
    times: int
    cluster: str | None = None


class KindProcess:
    """One run of the kind command."""

    def __init__(self, owner: str, name: str, doing: str) -> None:
        self.owner = owner
        self.name = name
        self.doing = doing
        self.is_alive = True
        self.task: asyncio.Task[Any] | None = None

    def kill(self) -> None:
        """Kill it."""
        self.is_alive = False
        if self.task:
            self.task.cancel()


class KindCommand:
    """Runs kind on the engine.

    speed: factor of all durations. planned: failures of the next creations.
    on_create: called with (owner, name, process) when a creation begins.
    """

    def __init__(self, engine: SimulatedEngine, *, speed: float = 1.0, version: str = "v0.33.0") -> None:
        self.engine = engine
        self.speed = speed
        self.version = version
        self.planned: list[Planned] = []
        self.running: list[KindProcess] = []
        self.fails_to_start: dict[str, int] = {}
        self.failed_as_planned: set[str] = set()
        """Kind clusters of which a creation has failed for a cause that has nothing to do with a stranger."""

    def start(self, process: KindProcess, work: Any) -> asyncio.Task[Any]:
        """Run kind independently of the process that waits for it."""
        self.running.append(process)
        process.task = spawn(work)
        process.task.add_done_callback(lambda task: self._ended(process, task))
        return process.task

    def orphan(self, owner: str, linger_seconds: float) -> None:
        """End the runs of kind of a killed provider, immediately or after a moment."""
        loop = asyncio.get_running_loop()
        self.engine.clients = [one for one in self.engine.clients if one.is_alive]
        for process in [one for one in [*self.running, *self.engine.clients] if one.owner == owner]:
            if linger_seconds:
                loop.call_later(linger_seconds, process.kill)
            else:
                process.kill()

    def _ended(self, process: KindProcess, task: asyncio.Task[Any]) -> None:
        process.is_alive = False
        self.running.remove(process)
        self.engine.touched[process.name] = now()
        if not task.cancelled():
            task.exception()

    async def create(
        self,
        process: KindProcess,
        name: str,
        config: Mapping[str, Any],
        on_step: Callable[[Step], None],
        *,
        retain: bool,
        with_secrets: bool = False,
    ) -> Birth:
        """Create a kind cluster; raises CommandFailed."""
        command = ("create", "cluster", f"--name={name}", "--config=-")
        if self.engine.of(name):
            raise failure("create-name-taken", name, *command)
        nodes = planned_nodes(name, config)
        birth = self._begin(name, config, nodes)
        try:
            await self._step(
                process, "image", Step(Reason.ENSURING_NODE_IMAGE, "Ensuring node image"), 1.5, name, on_step
            )
            on_step(Step(Reason.PREPARING_NODES, "Preparing nodes"))
            await self._prepare(process, birth, nodes, command)
            for step, reason, title, seconds in _STEPS:
                await self._step(process, step, Step(reason, title), seconds, name, on_step)
                self._check_nodes(birth, len(nodes), command)
                birth.is_up = birth.is_up or step == "kubeadm"
            self._maybe_fail("end", name)
        except CommandFailed as failed:
            if not retain:
                await self._remove(process, name, process.owner)
            if with_secrets and len(failed.output) < 30_000:
                failed.output = failure("create-kubeadm-refuses", name, with_secrets=True).output[-600:] + failed.output
            raise
        return birth

    def _begin(self, name: str, config: Mapping[str, Any], nodes: Sequence[tuple[str, str, str | None, str]]) -> Birth:
        port = int((config.get("networking") or {}).get("apiServerPort") or 0)
        marks = [mark for _, _, mark, _ in nodes if mark]
        planes = sum(role == CONTROL_PLANE for _, role, _, _ in nodes)
        return self.engine.begin(name, marks[0] if marks else FOREIGN, max(port, 0), planes)

    async def _step(
        self,
        process: KindProcess,
        key: str,
        step: Step,
        seconds: float,
        name: str,
        on_step: Callable[[Step], None],
    ) -> None:
        on_step(step)
        await self._takes(seconds)
        await self._ask()
        self._maybe_fail(key, name)

    async def _prepare(
        self,
        process: KindProcess,
        birth: Birth,
        nodes: Sequence[tuple[str, str, str | None, str]],
        command: Sequence[str],
    ) -> None:
        """Create all containers concurrently, as kind does; the engine continues each of them independently."""
        self._maybe_fail("nodes", birth.cluster, before=True)
        runs = [spawn(self._run_container(process, birth, *node, command=command)) for node in nodes]
        for run in runs:
            # If kind is killed, nothing waits for the outcome.
            run.add_done_callback(lambda done: done.exception())
        await asyncio.wait(runs)
        failures = [error for run in runs if (error := run.exception())]
        if failures:
            raise failures[0]
        self._maybe_fail("nodes", birth.cluster)

    async def _run_container(
        self,
        process: KindProcess,
        birth: Birth,
        name: str,
        role: str,
        mark: str | None,
        image: str,
        *,
        command: Sequence[str],
    ) -> None:
        """Run `docker run`: the engine always creates the container; the command then starts it in a second step."""
        await asyncio.sleep(min(self.speed * self.engine.rng.choice((0.3, 0.8, 2.0, 5.0)), MOST_SECONDS))
        if self.engine.is_off:
            raise failure("get-clusters-engine-down", birth.cluster, *command)
        if self.engine.port_owner(birth):
            raise failure("create-port-allocated", birth.cluster, *command)
        if self.engine.trouble.full_disk > now():
            self.failed_as_planned.add(birth.cluster)
            raise failure("create-disk-full", birth.cluster, *command)
        try:
            container = self.engine.make(birth, name, role, mark, image, is_listed=self.engine.rng.random() < 0.7)
        except KeyError:
            raise failure("create-container-name-taken", birth.cluster, *command) from None
        await self._takes(0.5)
        container.is_listed = True
        if process.is_alive:
            self.engine.start(container)

    def _check_nodes(self, birth: Birth, wanted: int, command: Sequence[str]) -> None:
        own = [one for one in self.engine.containers.values() if one.birth is birth]
        if len(own) < wanted or not all(one.running for one in own):
            raise failure("create-deleted-meanwhile", birth.cluster, *command)

    def _maybe_fail(self, step: str, name: str, *, before: bool = False) -> None:
        for planned in self.planned:
            is_early = planned.fixture == "create-port-allocated"
            if planned.step != step or planned.cluster not in (None, name) or (step == "nodes" and before == is_early):
                continue
            planned.times -= 1
            if planned.times <= 0:
                self.planned.remove(planned)
            self.failed_as_planned.add(name)
            raise failure(planned.fixture, name, "create", "cluster", f"--name={name}", "--config=-")

    async def delete(self, process: KindProcess, name: str) -> None:
        """Delete the listed containers of a kind cluster, if there are any."""
        await self._ask(down="delete-engine-down", name=name)
        await self._remove(process, name, process.owner)

    async def _remove(self, process: KindProcess, name: str, who: str) -> None:
        doomed = self.engine.of(name)
        await self._takes(0.8 if doomed else 0.1)
        for container in doomed:
            if container.is_stuck:
                raise failure("delete-container-stuck", name, "delete", "cluster", f"--name={name}")
            self.engine.remove(container, who)

    async def read_kubeconfig(self, name: str, *, internal: bool) -> str:
        """Return the output of `kind get kubeconfig`, from the first control plane."""
        arguments = ("get", "kubeconfig", f"--name={name}")
        await self._takes(0.3)
        await self._ask()
        self._maybe_fail("kubeconfig", name)
        planes = [one for one in self.engine.of(name) if one.role == CONTROL_PLANE]
        if not planes:
            raise failure("get-kubeconfig-unknown", name, *arguments)
        if not planes[0].running:
            raise failure("get-kubeconfig-stopped", name, *arguments)
        birth = planes[0].birth
        if not birth.is_up:
            raise failure("get-kubeconfig-unfinished", name, *arguments)
        return kubeconfig_of(birth, name, internal=internal)

    async def _takes(self, seconds: float) -> None:
        slow = 8.0 if self.engine.trouble.slow > now() else 1.0
        await asyncio.sleep(seconds * self.speed * slow * self.engine.rng.uniform(0.7, 1.4))

    async def _ask(self, down: str = "get-clusters-engine-down", name: str = "any") -> None:
        """Make one call of the engine, which may hang or be down."""
        await self._takes(0.02)
        await hang(self.engine)
        if self.engine.is_down:
            raise failure(down, name, "get", "clusters")


async def hang(engine: SimulatedEngine) -> None:
    """Wait until the engine no longer hangs."""
    while (rest := engine.trouble.hang - now()) > 0:  # noqa: ASYNC110
        await asyncio.sleep(rest + 0.01)


def planned_nodes(name: str, config: Mapping[str, Any]) -> list[tuple[str, str, str | None, str]]:
    """Return (name, role, mark, image) of the containers that kind creates for a configuration, with load balancer."""
    nodes, counts = [], dict.fromkeys((CONTROL_PLANE, "worker"), 0)
    for node in config.get("nodes") or [{}]:
        role = node.get("role") or CONTROL_PLANE
        counts[role] += 1
        suffix = str(counts[role]) if counts[role] > 1 else ""
        nodes.append((f"{name}-{role}{suffix}", role, mark_of(node), str(node.get("image") or "kindest/node:v1.37.0")))
    if counts[CONTROL_PLANE] > 1:
        nodes.append((f"{name}-{LOAD_BALANCER}", LOAD_BALANCER, None, "envoyproxy/envoy:v1.36.2"))
    return nodes


def mark_of(node: Mapping[str, Any]) -> str | None:
    """Return the mark of a node in a kind configuration."""
    paths = [str(mount.get("containerPath") or "") for mount in node.get("extraMounts") or ()]
    marks = [path.removeprefix(CLAIM_MOUNT_FOLDER) for path in paths if path.startswith(CLAIM_MOUNT_FOLDER)]
    return marks[-1] if marks else None


def kubeconfig_of(birth: Birth, name: str, *, internal: bool) -> str:
    """Return the kubeconfig of a kind cluster; a hostile node adds fields."""
    host = f"{name}-{LOAD_BALANCER if birth.control_planes > 1 else CONTROL_PLANE}:6443"
    address = birth.engine.address if birth.engine else "127.0.0.1"
    server = f"https://{host}" if internal else f"https://{address}:{birth.port}"
    user: dict[str, Any] = dict(birth.hostile)
    return kubeconfig(name, server, birth.identity, user=user)


def make_instantly(engine: SimulatedEngine, name: str, config: Mapping[str, Any]) -> Birth:
    """Create a complete kind cluster instantly, as someone else might have done unnoticed."""
    nodes = planned_nodes(name, config)
    birth = engine.begin(name, FOREIGN, 0, sum(role == CONTROL_PLANE for _, role, _, _ in nodes))
    for node_name, role, mark, image in nodes:
        with suppress(KeyError):
            engine.start(engine.make(birth, node_name, role, mark, image))
    birth.is_up = True
    return birth


def start_again(engine: SimulatedEngine, containers: Sequence[Container]) -> None:
    """Start containers one after the other."""
    for container in containers:
        engine.start(container)
