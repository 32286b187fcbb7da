"""The operation `StopNodes`: stop the containers of a kind cluster that a listing just before proves to be its own."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from capk.engine.containers import Containers, Node
from capk.engine.enginecli import UnreadableAnswer
from capk.engine.inventory import Inventory
from capk.engine.nodescripts import ETCD_MANIFEST, ETCD_MOUNT
from capk.errors import PassingData
from capk.kindconfig.config import CONTROL_PLANE, LOAD_BALANCER
from capk.kindconfig.etcdfolder import passing_because
from capk.manager.operations.listing import list_nodes, naming
from capk.manager.outcome import Withdrawn
from capk.plan.marks import Mark
from capk.plan.plan import StopNodes

CHECK_SECONDS: Final = 15.0
"""Time limit for the question where the etcd of a node has its data."""
_MOST_READ: Final = 8192
"""Characters of the answer, which may name two paths. What follows is cut off: root in the node decides how much."""


class Stopping:
    """Stops kind clusters."""

    def __init__(self, containers: Containers, inventory: Inventory) -> None:
        self._containers = containers
        self._inventory = inventory

    async def run(self, request: StopNodes, still_wanted: Callable[[], bool]) -> None:
        """Stop the containers that run.

        Raises CommandError; PassingData if data would be lost; Withdrawn if the object does not want it any more.
        """
        chosen = stoppable(await list_nodes(self._containers, request.name), request)
        with naming({node.name: node.container_id for node in chosen}):
            planes = [node for node in chosen if node.role == CONTROL_PLANE]
            checks = (self._check_data(node, is_in_pod=request.is_in_pod) for node in planes)
            outcomes = await asyncio.gather(*checks, return_exceptions=True)
            # That data would be lost is final, whatever became of the other questions.
            for error in sorted(filter(None, outcomes), key=lambda one: not isinstance(one, PassingData)):
                raise error
        if not still_wanted():
            raise Withdrawn
        with naming({node.name: node.container_id for node in chosen}):
            await self._containers.halt([node.container_id for node in chosen])
        await self._inventory.refresh()

    async def _check_data(self, node: Node, *, is_in_pod: bool) -> None:
        """Raise PassingData if the stop takes the data of the node's etcd; without an answer, nothing is proven."""
        call = ["sh", "-c", ETCD_MOUNT, "etcd-mount", ETCD_MANIFEST]
        output = await self._containers.run(node.container_id, call, timeout_seconds=CHECK_SECONDS)
        try:
            where = passing_because(output.stdout[:_MOST_READ].splitlines(), is_in_pod=is_in_pod)
        except ValueError:
            raise UnreadableAnswer(["exec", node.name], "it does not name the mount of etcd's data") from None
        if where:
            raise PassingData(node.name, where)


def stoppable(nodes: Iterable[Node], request: StopNodes) -> list[Node]:
    """Return the running containers that may be stopped, from a current listing.

    A container without a mark is stopped only by its id, and only if no foreign container has the same cluster name.
    """
    nodes = list(nodes)
    marked = [node for node in nodes if (mark := Mark.parse(node.mark)) and mark.uid in request.uids]
    named = [node for node in nodes if node.mark is None and node.container_id in request.container_ids]
    proven = {node.container_id for node in (*marked, *named)}
    is_shared = any(node.container_id not in proven and node.role != LOAD_BALANCER for node in nodes)
    return [node for node in (marked if is_shared else [*marked, *named]) if node.running]
