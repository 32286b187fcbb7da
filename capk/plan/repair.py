"""Which node containers have to be started, in which order, and which operation that takes. Pure.

Nodes of one control plane find each other whatever their addresses are. Several control planes do not: the members of
etcd know each other by address. An engine gives the lowest free address to whatever starts next, so each node gets its
own again where they start in the order of the addresses that they had (kubernetes-sigs/kind#1689).
"""

import ipaddress

from capk.kindcfg.config import CONTROL_PLANE
from capk.plan.observed import NodeFacts, Observed
from capk.plan.ownership import Ownership, is_own, ownership
from capk.plan.plan import StartNodes


def stopped_nodes(observed: Observed) -> list[NodeFacts]:
    """Return the nodes that do not run; of a cluster that is only partly ours, our own."""
    is_mixed = ownership(observed) is Ownership.MIXED
    stopped = (node for node in observed.engine.nodes or () if not node.running)
    return [node for node in stopped if not is_mixed or is_own(observed, node)]


def misplaced_nodes(observed: Observed) -> list[NodeFacts]:
    """Return the running control planes that have another address than the other members of their etcd expect.

    Only while the kind cluster does not answer: one that does proves that its addresses are right.
    """
    is_down = observed.engine.restarted or observed.health.answers is False
    if not (is_down and needs_addresses(observed)):
        return []
    known = known_addresses(observed)
    return [
        node
        for node in observed.engine.nodes or ()
        if node.role == CONTROL_PLANE and node.running and node.address not in ("", known.get(node.name, node.address))
    ]


def needs_addresses(observed: Observed) -> bool:
    """Return whether the nodes have to get the addresses again that they had."""
    return sum(node.role == CONTROL_PLANE for node in observed.engine.nodes or ()) > 1


def known_addresses(observed: Observed) -> dict[str, str]:
    """Return the address of each node, by name, as it was when the kind cluster last answered."""
    listed = observed.object.status.get("nodes") or ()
    return {node["name"]: node["address"] for node in listed if node.get("name") and _is_address(node.get("address"))}


def start_request(observed: Observed) -> StartNodes | None:
    """Return what brings stopped or misplaced nodes back; None where all run where they should."""
    misplaced = misplaced_nodes(observed)
    due = [*stopped_nodes(observed), *misplaced]
    if not due:
        return None
    if not needs_addresses(observed):
        return StartNodes(observed.cluster_name, tuple(node.name for node in due))
    known = known_addresses(observed)
    order = sorted((node.name for node in due), key=lambda name: (_rank(known.get(name)), name))
    return StartNodes(
        observed.cluster_name,
        tuple(order),
        stop=tuple(sorted(node.name for node in misplaced)),
        addresses={name: known[name] for name in order if name in known},
    )


def _rank(address: str | None) -> tuple[int, int]:
    """Order addresses as the engine gives them out; a node whose address is not known comes last."""
    if address is None:
        return 1, 0
    return 0, int(ipaddress.ip_address(address))


def _is_address(text: object) -> bool:
    try:
        ipaddress.ip_address(str(text))
    except ValueError:
        return False
    return True
