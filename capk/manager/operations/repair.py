"""The operation `StartNodes`: start stopped nodes, in the order and with the addresses that they need."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from capk.engine.containers import Containers
from capk.engine.inventory import Inventory
from capk.errors import AddressTaken
from capk.manager.operations.addresses import (
    in_the_way_of_others,
    is_any_free,
    movable_in_the_way,
    restore_addresses,
    start_elsewhere,
)
from capk.manager.operations.listing import check_containers, list_nodes
from capk.plan.plan import StartNodes

NeededByOthers = Callable[[str], frozenset[str]]
"""Returns the addresses that control planes of other kind clusters need."""


class Repair:
    """Starts the nodes of kind clusters."""

    def __init__(self, containers: Containers, inventory: Inventory, needed_by_others: NeededByOthers) -> None:
        self._containers = containers
        self._inventory = inventory
        self._needed_by_others = needed_by_others
        self._addresses = asyncio.Lock()
        """Held while nodes get their addresses: two kind clusters would take each other's."""

    async def run(self, request: StartNodes) -> None:
        """Start the nodes.

        Raises CommandError, AddressTaken; Withdrawn if one of the containers is gone.
        """
        others = self._needed_by_others(request.name) if self._containers.gives_lowest_address else frozenset()
        if request.addresses or others:
            async with self._addresses:
                # Not before: the repair of another kind cluster may take minutes, and a container may be replaced.
                await check_containers(self._inventory, request)
                if request.addresses:
                    request = await self._with_blocking_nodes(request, others)
                await self._start_in_order(request, others)
        else:
            await check_containers(self._inventory, request)
            await self._start_in_order(request, others)
        await self._inventory.refresh()

    async def _start_in_order(self, request: StartNodes, needed_by_others: frozenset[str]) -> None:
        # A control plane with a wrong address does not work, and may occupy one that another kind cluster needs.
        misplaced = tuple(name for name in request.stop if name in request.addresses)
        if misplaced:
            await self._containers.stop(misplaced)
        order = await self._order(request)
        if others := tuple(name for name in request.stop if name not in misplaced):
            await self._containers.stop(others)
        is_at_stake = await is_any_free(self._containers, needed_by_others)
        last = tuple(name for name in order if name not in request.addresses) if is_at_stake else ()
        await self._containers.start(tuple(name for name in order if name not in last))
        try:
            if request.addresses:
                await restore_addresses(self._containers, request.name, request.addresses)
        except AddressTaken:
            await start_elsewhere(self._containers, request.name, last, needed_by_others)
            raise
        await start_elsewhere(self._containers, request.name, last, needed_by_others)

    async def _with_blocking_nodes(self, request: StartNodes, others: frozenset[str]) -> StartNodes:
        """Return the request extended by nodes that may have any address and occupy one that is needed.

        Also remove placeholders that a killed provider left.
        """
        await self._containers.release_addresses(request.name)
        listed = await list_nodes(self._containers, request.name)
        found = movable_in_the_way(listed, request.addresses.values())
        found += in_the_way_of_others(listed, request.addresses, others)
        names = tuple(dict.fromkeys(node.name for node in found if node.name not in request.stop))
        nodes = (*(name for name in request.nodes if name not in names), *names)
        return replace(request, nodes=nodes, stop=(*request.stop, *names))

    async def _order(self, request: StartNodes) -> tuple[str, ...]:
        """Return the nodes in the order that gives each its address; nodes that get another one come last.

        Raises AddressTaken if another container has an address that one of the nodes needs.
        """
        if not request.addresses:
            return request.nodes
        own = {*request.nodes, *request.stop}
        occupants = await self._containers.occupants()
        foreign = {address: container for address, container in occupants.items() if container not in own}
        for node, address in sorted(request.addresses.items()):
            if address in foreign:
                raise AddressTaken(node, address, foreign[address])
        return tuple(sorted(request.nodes, key=lambda node: request.preferred.get(node) in foreign))
