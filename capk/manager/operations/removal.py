"""Removes containers of a kind cluster, and only those that a listing just before it proves to be the object's own."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from capk.engine.containers import Containers, Node
from capk.engine.inventory import Snapshot
from capk.engine.kind import Kind
from capk.errors import CommandFailed, CommandTimedOut
from capk.kindconfig.config import CONTROL_PLANE, LOAD_BALANCER
from capk.manager.operations.listing import list_nodes
from capk.manager.outcome import Withdrawn
from capk.plan.marks import Mark
from capk.plan.plan import Delete, RemoveWorker

ALONE_SECONDS: Final = 10.0
"""How long a load balancer must be alone before it is removed: only its nodes would show whose it is.

The load balancer of a stranger's new kind cluster appears seconds before the nodes, whose volumes the engine still
copies.
"""
LISTING_SECONDS: Final = 1.0
"""Interval between two listings of containers that are being removed or may still appear."""


class Removed(NamedTuple):
    """The end of a removal.

    others: the containers of that name that it left alone. has_found: whether it has found any to remove.
    """

    others: list[Node]
    has_found: bool


class Removal:
    """Lists and removes containers until nothing is left to remove."""

    def __init__(self, kind: Kind, containers: Containers, *, delete_seconds: float) -> None:
        """Take the parts that do input and output.

        delete_seconds: time limit for the removal of a kind cluster.
        """
        self._kind = kind
        self._containers = containers
        self._delete_seconds = delete_seconds

    async def remove(
        self,
        name: str,
        choose: Callable[[list[Node]], list[Node]],
        *,
        settle_seconds: float = 0.0,
        still_wanted: Callable[[], bool] = lambda: True,
    ) -> Removed:
        """List the containers of a kind cluster and remove the chosen ones, until none is left to choose.

        The engine may still be creating containers during the removal: it copies a volume for seconds.
        Raises CommandTimedOut if chosen containers are left in the end.
        """
        clock = asyncio.get_running_loop().time
        quiet_since, lone, has_found = clock(), _LoneBalancers(), False
        deadline = quiet_since + self._delete_seconds
        while True:
            if not still_wanted():
                raise Withdrawn
            nodes = await list_nodes(self._containers, name)
            chosen = choose(nodes)
            if lone.may_be_anothers(chosen, clock()):
                await asyncio.sleep(LISTING_SECONDS)
                continue
            if not chosen and clock() - quiet_since >= settle_seconds:
                return Removed(nodes, has_found)
            if chosen:
                has_found = True
                await self._containers.remove([node.container_id for node in chosen])
                quiet_since = clock()
            if clock() + LISTING_SECONDS >= deadline:
                left = ", ".join(node.name for node in chosen)
                output = f"still listed after their removal: {left}"
                raise CommandTimedOut([*self._kind.command, "delete", "cluster"], output, self._delete_seconds)
            await asyncio.sleep(LISTING_SECONDS if not chosen else 0)


class _LoneBalancers:
    """The load balancers that a removal has seen, and since when without nodes."""

    def __init__(self) -> None:
        self._accompanied: set[str] = set()
        self._since: dict[str, float] = {}

    def may_be_anothers(self, chosen: list[Node], moment: float) -> bool:
        """Return whether one of the chosen containers is a load balancer whose nodes may still appear."""
        ids = {node.container_id for node in chosen}
        if any(node.role != LOAD_BALANCER for node in chosen):
            self._accompanied |= ids
        firsts = [self._since.setdefault(one, moment) for one in sorted(ids - self._accompanied)]
        return any(moment - first < ALONE_SECONDS for first in firsts)


def removable(nodes: Iterable[Node], request: Delete) -> list[Node]:
    """Return the containers that a removal may remove, from a current listing.

    A container without a mark is removed only by its id, or as the load balancer of the others, and only if no foreign
    container has the same cluster name.
    Raises Withdrawn if a control plane is there of which the decision knew nothing.
    """
    nodes = list(nodes)
    marked = [node for node in nodes if _matches(Mark.parse(node.mark), request)]
    if request.without_control_plane and any(node.role == CONTROL_PLANE for node in marked):
        raise Withdrawn
    named = [node for node in nodes if node.mark is None and _is_named(node, request)]
    proven = {node.container_id for node in (*marked, *named)}
    is_shared = any(node.container_id not in proven for node in nodes if node.role != LOAD_BALANCER)
    return marked if is_shared else [*marked, *named]


def _is_named(node: Node, request: Delete) -> bool:
    is_balancer = request.takes_balancer and node.role == LOAD_BALANCER
    return is_balancer or node.container_id in request.container_ids


def _matches(mark: Mark | None, request: Delete) -> bool:
    if mark is None or mark.uid not in request.uids:
        return False
    return request.up_to_attempt is None or mark.attempt is None or mark.attempt <= request.up_to_attempt


def check_engine(snapshot: Snapshot, request: Delete | RemoveWorker) -> None:
    """Raise CommandError if another engine may have answered, which has none of the containers."""
    if not request.engine:
        return
    if snapshot.error:
        raise snapshot.error
    check_engine_id(snapshot.engine_id, request)


def check_engine_id(engine_id: str, request: Delete | RemoveWorker) -> None:
    """Raise CommandFailed if that is not the engine which has the kind cluster."""
    if engine_id != request.engine:
        cause = "another container engine answered than the one that has the kind cluster"
        raise CommandFailed(["kind", "delete", "cluster", "--name", request.name], cause, 0)


def check_later_attempts(left: Iterable[Node], request: Delete) -> None:
    """Raise CommandFailed if containers of the same object are left: otherwise this removal would repeat for ever."""
    later = [node.name for node in left if (mark := Mark.parse(node.mark)) and mark.uid in request.uids]
    if later:
        cause = (
            f"a later attempt than the one that the KINDCluster names created {', '.join(later)}. Another provider may "
            "be running; if not, delete the KINDCluster, which removes them"
        )
        raise CommandFailed(["kind", "delete", "cluster", "--name", request.name], cause, 0)


def of_attempt(nodes: Iterable[Node], mark: Mark) -> list[Node]:
    """Return the containers of one creation: its marked nodes, and the load balancer if all other nodes are its own."""
    nodes = list(nodes)
    own = [node for node in nodes if Mark.parse(node.mark) == mark]
    others = [node for node in nodes if node not in own and node.role != LOAD_BALANCER]
    balancers = [node for node in nodes if node.role == LOAD_BALANCER and node.mark is None]
    return [*own, *balancers] if own and not others else own
