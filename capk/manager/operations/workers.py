"""Carries out the requests of KINDMachines: one container joins a kind cluster, one container goes.

The decision may be minutes old. So the containers are listed again first. Only a container of the machine's name that
has both its label and a mark of its kind cluster is removed, by id, and always before its Node: a kubelet that still
runs would register the Node again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from pathlib import Path
from typing import Final

from capk.api.names import Reason
from capk.diagnosis.failures import cause_of
from capk.engine.containers import Containers, Node
from capk.engine.failurelogs import FailureLogs
from capk.engine.inventory import Inventory
from capk.engine.nodelogs import last_words, node_logs
from capk.engine.progress import Step
from capk.engine.worker import NewNode, Worker, WorkerNodes
from capk.engine.workerflags import SUPPORTED
from capk.errors import CommandError, CommandFailed, CommandTimedOut, NoApiServer, UnsupportedEngine
from capk.kindconfig.config import CONTROL_PLANE
from capk.manager.operations.listing import list_nodes
from capk.manager.operations.removal import check_engine
from capk.manager.outcome import Joined, Withdrawn
from capk.plan.marks import Mark
from capk.plan.plan import AddWorker, AskApiServer, Goal, RemoveWorker

FAILED_SETTLE_SECONDS: Final = 3.0
"""How long no container may appear if the engine did not answer the request for one: it may still copy a volume."""
LISTING_SECONDS: Final = 1.0
"""Interval between two listings of a container that is being removed or may still appear."""
REMOVE_SECONDS: Final = 300.0
"""Time limit for the removal of a container."""
CLEANUP_SECONDS: Final = 60.0
"""Time limit for the removal of what a failed or cancelled join left; the next decision removes the rest."""
NO_ENGINE: Final = "kind alone"
LOGS_SECONDS: Final = 60.0
"""Time limit for the logs of a node that did not join."""

log = logging.getLogger(__name__)


class Workers:
    """Adds and removes single workers with the container engine."""

    def __init__(self, containers: Containers, inventory: Inventory, logs: FailureLogs) -> None:
        self._containers = containers
        self._inventory = inventory
        self._logs = logs
        self._nodes = WorkerNodes(containers)

    async def ask(self, request: AskApiServer) -> None:
        """Raise NoApiServer if the API server does not answer in the control plane.

        Also raises CommandError; Withdrawn if a control plane is not the observed one.
        """
        nodes = await list_nodes(self._containers, request.name)
        control_plane = _observed_control_plane(nodes, request)
        if not await self._nodes.reaches_api_server(control_plane):
            raise NoApiServer(request.name, next(one.name for one in nodes if one.container_id == control_plane))

    async def add(self, request: AddWorker, on_step: Callable[[Step], None]) -> Joined:
        """Join one worker. If that fails or is cancelled, remove its container first, then its Node.

        Raises CommandError, InvalidSpec, UnsupportedEngine; Withdrawn if a control plane is not the observed one.
        """
        engine = self._containers.engine if self._containers.command else NO_ENGINE
        if engine not in SUPPORTED:
            raise UnsupportedEngine(engine, SUPPORTED)
        control_plane = _observed_control_plane(await list_nodes(self._containers, request.name), request)
        created: list[NewNode] = []
        try:
            created.append(await self._nodes.create(control_plane, _worker(request), on_step))
            await created[0].join(on_step)
        except BaseException as error:
            container_id = created[0].container_id if created else ""
            if isinstance(error, CommandError):
                await self._keep_logs(request, container_id, error)
            await self._clean_up(request, control_plane, container_id)
            raise
        self._logs.drop(request.node)
        await self._inventory.refresh()
        return Joined(created[0].container_id)

    async def remove(
        self,
        request: RemoveWorker,
        on_step: Callable[[Step], None] = lambda step: None,
        *,
        still_wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Remove the container of one machine, then its Node; either may be gone.

        Raises CommandError if the container cannot be removed, or the Node while it `must_delete_node`; Withdrawn as
        soon as the object does not want it. Other errors of the drain and of the removal of the Node are logged: the
        control plane may be gone as well.
        """
        nodes = await list_nodes(self._containers, request.name)
        own = _proven(nodes, request.node, request.machine, request.uids)
        control_plane = _own_control_plane(nodes, request, is_there=bool(own))
        on_step(Step(Reason.REMOVING_NODE, f"Removing node {request.node}"))
        # Without a kubelet no Pod would end.
        if request.drain and control_plane and any(node.running for node in own):
            await self._best_effort(self._nodes.drain(control_plane, request.node), "drain", request.node)
        left = await self._remove_containers(request, still_wanted)
        if control_plane and not _is_taken(left, request.node):
            deletion = self._nodes.delete_node(control_plane, request.node)
            await (deletion if request.must_delete_node else self._best_effort(deletion, "delete", request.node))
        if request.goal is Goal.LEFT:
            self._logs.drop(request.node)
        check_engine(await self._inventory.refresh(), request)

    async def _remove_containers(self, request: RemoveWorker, still_wanted: Callable[[], bool]) -> list[Node]:
        """List the containers and remove those of the machine, until none appears any more; return the others."""
        clock = asyncio.get_running_loop().time
        began = quiet_since = clock()
        pause = 0.0
        while True:
            if not still_wanted():
                raise Withdrawn
            nodes = await list_nodes(self._containers, request.name)
            proven = _proven(nodes, request.node, request.machine, request.uids)
            found = [node for node in proven if node.container_id not in request.spared]
            if not found and clock() - quiet_since >= request.settle_seconds:
                break
            if found:
                await self._containers.remove([node.container_id for node in found])
                quiet_since = clock()
            if clock() - began >= REMOVE_SECONDS:
                call = [*(self._containers.command or ()), "rm", request.node]
                raise CommandTimedOut(call, "it is still listed after its removal", REMOVE_SECONDS)
            # In most cases the first removal is the only one, and the next listing proves it.
            await asyncio.sleep(pause if found else LISTING_SECONDS)
            pause = LISTING_SECONDS
        if self._containers.engine == "podman":
            # Those of a container that was never created; podman keeps named volumes.
            await self._containers.remove_volumes(request.machine)
        return nodes

    async def _clean_up(self, request: AddWorker, control_plane: str, container_id: str) -> None:
        """Remove the container of a join that did not succeed, then its Node. Errors are logged."""
        settle = 0.0 if container_id else FAILED_SETTLE_SECONDS
        removal = RemoveWorker(
            request.name,
            request.node,
            request.machine,
            frozenset({request.mark.uid}),
            settle_seconds=settle,
            spared=request.joined,
        )
        try:
            async with asyncio.timeout(CLEANUP_SECONDS):
                if container_id:
                    # The engine gave that id, so it has the container, whatever a listing shows.
                    await self._containers.remove([container_id])
                left = await self._remove_containers(removal, lambda: True)
                if container_id and not _is_taken(left, request.node):
                    await self._nodes.delete_node(control_plane, request.node)
        except (CommandError, TimeoutError) as error:
            cause = cause_of(error) if isinstance(error, CommandError) else f"no end within {CLEANUP_SECONDS:.0f} s"
            log.warning("Could not remove what the failed join of node %s left: %s", request.node, cause)

    async def _keep_logs(self, request: AddWorker, container_id: str, error: CommandError) -> None:
        """Keep the logs of a node that did not join; an error here never stops the cleanup."""
        node = request.node
        place = self._logs.begin(node, error.output)
        error.logs = str(place or "")
        if place is None:
            return
        try:
            async with asyncio.timeout(LOGS_SECONDS):
                await self._keep_node_logs(place, request, container_id)
        except (CommandError, TimeoutError) as late:
            log.info("The logs in %s are incomplete: %s", place, str(late) or f"time limit of {LOGS_SECONDS:.0f} s")
        except Exception:
            # The user has to learn of the failed join, whatever is wrong with the logs.
            log.exception("Cannot keep the logs of node %s in %s", node, place)
        self._logs.end(place)

    async def _keep_node_logs(self, place: Path, request: AddWorker, container_id: str) -> None:
        for one in await list_nodes(self._containers, request.name):
            if one.container_id == container_id:
                read = node_logs if one.running else last_words
                self._logs.add(place, f"{request.node}.log", await read(self._containers, one.container_id))

    async def _best_effort(self, work: Awaitable[None], what: str, node: str) -> None:
        try:
            await work
        except CommandError as error:
            log.info("Could not %s Node %s, whose container is removed all the same: %s", what, node, cause_of(error))


def _worker(request: AddWorker) -> Worker:
    return Worker(
        cluster=request.name,
        node=request.node,
        machine=request.machine,
        image=request.image,
        mounts=(*request.mounts, request.mark.mount),
        labels=request.labels,
        taints=request.taints,
        patches=request.patches,
        provider_id=request.provider_id,
    )


def _observed_control_plane(nodes: Iterable[Node], request: AddWorker | AskApiServer) -> str:
    """Return the id of the first running control plane of the decision.

    Raises Withdrawn if one of its containers is not there any more: its name may be someone else's by now.
    """
    known = {node.container_id: node for node in nodes}
    if not request.container_ids <= known.keys():
        raise Withdrawn
    running = {node.name: identity for identity, node in known.items() if node.running}
    own = [name for name in request.control_planes if running.get(name) in request.container_ids]
    if not own:
        names = ", ".join(request.control_planes)
        raise CommandFailed(["docker", "exec", names], f"container {names} is not running", 1)
    return running[own[0]]


def _own_control_plane(nodes: Iterable[Node], request: RemoveWorker, *, is_there: bool) -> str:
    """Return the id of a running control plane of the machine's kind cluster; empty if there is none.

    is_there: whether the machine's own container proves whose kind cluster it is. Then a control plane without a mark
    counts too, as does one of the decision: that of an adopted kind cluster has none.
    """
    for node in nodes:
        mark = Mark.parse(node.mark)
        is_known = is_there or node.container_id in request.control_planes
        is_ours = mark.uid in request.uids if mark else is_known
        if node.role == CONTROL_PLANE and node.running and is_ours:
            return node.container_id
    return ""


def _is_taken(nodes: Iterable[Node], name: str) -> bool:
    """Return whether another machine has the name by now: its Node must stay, because no kubelet registers twice."""
    return any(node.name == name for node in nodes)


def _proven(nodes: Iterable[Node], name: str, machine: str, uids: Collection[str]) -> list[Node]:
    """Return the containers of a machine, by name, label and mark."""
    return [
        node
        for node in nodes
        if node.name == name and node.machine == machine and (mark := Mark.parse(node.mark)) and mark.uid in uids
    ]
