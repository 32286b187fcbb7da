"""Restores the addresses of control planes that the other members of their etcd expect.

docker assigns the lowest free address to the next container. If nodes start in the order of their previous addresses,
each gets its own, unless lower ones have become free or another container starts in between. In that case placeholders
occupy the lower addresses: containers that do nothing and end by themselves after some minutes.
"""

import ipaddress
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from capk.engine.containers import Containers, Node
from capk.errors import AddressTaken, CommandError
from capk.kindconfig.config import CONTROL_PLANE
from capk.manager.operations.listing import list_nodes

MOST_PLACEHOLDERS: Final = 64
"""For all nodes of one kind cluster together."""
TRIES: Final = 2
"""Another container may take an address between the end of the placeholder and the start of the node."""


async def restore_addresses(containers: Containers, cluster: str, addresses: Mapping[str, str]) -> None:
    """Give the running nodes of a kind cluster their addresses; nodes that already have them keep running.

    addresses: the address that each node needs, by name.
    Raises CommandError; AddressTaken if an address is not available. Nodes may then be stopped, but no placeholder is
    left.
    """
    if not containers.gives_lowest_address:
        return
    nodes = await _running(containers, cluster)
    wrong = [node for node in nodes if node.address not in ("", addresses.get(node.name, node.address))]
    if not wrong:
        return
    movable = movable_in_the_way(nodes, {addresses[node.name] for node in wrong})
    await containers.stop([node.name for node in (*wrong, *movable)])
    await _start_in_place(containers, wrong, addresses)
    await containers.start([node.name for node in movable])


def movable_in_the_way(nodes: list[Node], needed: Collection[str]) -> list[Node]:
    """Return the running load balancer and workers that have an address that a control plane needs.

    They work with any other address.
    """
    return [node for node in nodes if node.role != CONTROL_PLANE and node.running and node.address in needed]


def in_the_way_of_others(nodes: list[Node], due: Collection[str], others: Collection[str]) -> list[Node]:
    """Return the running nodes that need no fixed address and have one that another kind cluster needs.

    Return none if the kind cluster may answer: only if a majority of its control planes does not run, its nodes may be
    stopped.
    """
    planes = [node.name for node in nodes if node.role == CONTROL_PLANE]
    if 2 * sum(name not in due for name in planes) > len(planes):
        return []
    return [node for node in nodes if node.role != CONTROL_PLANE and node.running and node.address in others]


async def is_any_free(containers: Containers, addresses: Collection[str]) -> bool:
    """Return whether the engine may assign one of these addresses next; False if the engine does not answer."""
    try:
        return bool(addresses) and not set(addresses) <= (await containers.occupants()).keys()
    except CommandError:
        return False


async def start_elsewhere(containers: Containers, cluster: str, names: Sequence[str], needed: Collection[str]) -> None:
    """Start nodes that may have any address except those that control planes of other kind clusters need.

    If those cannot be kept free, the nodes start anyway. Raises CommandError.
    """
    if not names:
        return
    nodes = [node for node in await list_nodes(containers, cluster) if node.role == CONTROL_PLANE]
    left = iter(range(MOST_PLACEHOLDERS))
    try:
        for name in names:
            with suppress(CommandError):
                await _keep_free(containers, nodes, needed, left)
            await containers.start([name])
    finally:
        with suppress(CommandError):
            await containers.release_addresses(cluster)


async def _keep_free(containers: Containers, planes: list[Node], needed: Collection[str], left: Iterator[int]) -> None:
    """Occupy addresses until the next one that the engine assigns is not needed.

    planes: control planes of the kind cluster, whose image the placeholders use; if empty, nothing is occupied.
    """
    for _ in left if planes else ():
        container_id, got = await containers.hold_address(planes[0].cluster, planes[0].image)
        if got not in needed:
            await containers.remove([container_id])
            return


async def _running(containers: Containers, cluster: str) -> list[Node]:
    return [node for node in await list_nodes(containers, cluster) if node.running]


async def _start_in_place(containers: Containers, nodes: list[Node], addresses: Mapping[str, str]) -> None:
    left = iter(range(MOST_PLACEHOLDERS))
    try:
        for node in sorted(nodes, key=lambda node: _rank(addresses[node.name])):
            await _start_at(containers, node, addresses[node.name], left)
    finally:
        # A placeholder that cannot be removed ends by itself. Its error must not hide the first one or a cancellation.
        with suppress(CommandError):
            await containers.release_addresses(nodes[0].cluster)


async def _start_at(containers: Containers, node: Node, address: str, left: Iterator[int]) -> None:
    for _ in range(TRIES):
        await _make_next(containers, node, address, left)
        await containers.start([node.name])
        running = await _running(containers, node.cluster)
        if all(one.address in ("", address) for one in running if one.name == node.name):
            return
        await containers.stop([node.name])
    raise await _taken(containers, node, address)


async def _make_next(containers: Containers, node: Node, address: str, left: Iterator[int]) -> None:
    """Occupy addresses until the engine assigns the one that the node needs next."""
    for _ in left:
        container_id, got = await containers.hold_address(node.cluster, node.image)
        if got == address:
            await containers.remove([container_id])
            return
        if _rank(got) > _rank(address):
            break
    raise await _taken(containers, node, address)


async def _taken(containers: Containers, node: Node, address: str) -> AddressTaken:
    return AddressTaken(node.name, address, (await containers.occupants()).get(address, ""))


def _rank(address: str) -> int:
    return int(ipaddress.ip_address(address))
