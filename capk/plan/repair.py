"""Decide which node containers to start and in which order. Pure.

A cluster with one control plane works with any addresses. Several control planes do not, because etcd members find
each other by address. An engine assigns the lowest free address to the next container, so nodes that start in the order
of their previous addresses get them again (kubernetes-sigs/kind#1689). If they do not,
`capk.manager.operations.addresses` corrects them after the start.

Measured with kind 0.33, three control planes and docker: in that order all answer within half a minute of the start.
With three addresses in another order none ever does. With two exchanged, the cluster still answers: one of these two
members is out, and the other one and the third form a quorum. So an answer does not prove that addresses are right.
"""

import ipaddress

from capk.api.conditions import find
from capk.api.names import Condition
from capk.api.objects import KINDCluster
from capk.kindconfig.config import CONTROL_PLANE
from capk.plan.facts import EngineFacts, NodeFacts
from capk.plan.marks import Mark
from capk.plan.observed import Observed
from capk.plan.ownership import Ownership, is_own, leads_to_own, ownership
from capk.plan.plan import Goal, StartNodes


def stopped_nodes(observed: Observed) -> list[NodeFacts]:
    """Return the nodes that do not run; if the cluster is only partly ours, only our own.

    The load balancer, which has no mark, belongs to the control planes. A container is listed as stopped for seconds
    before it first runs, and podman stops one for seconds before it removes it: those of workers that join or leave are
    left to their KINDMachine.
    """
    is_mixed, has_balancer = ownership(observed) is Ownership.MIXED, leads_to_own(observed)
    away = observed.workers.joining | {node.name for node in observed.engine.nodes or () if _is_leaving(observed, node)}
    stopped = (node for node in observed.engine.nodes or () if not node.running and node.name not in away)
    return [
        node for node in stopped if not is_mixed or is_own(observed, node) or (node.is_load_balancer and has_balancer)
    ]


def has_lost_its_load_balancer(observed: Observed) -> bool:
    """Return whether the load balancer was removed, whose port is the endpoint of several control planes.

    kind cannot create another one, and health does not show it: each control plane publishes a port of its own.
    """
    are_own = ownership(observed) in (Ownership.OURS, Ownership.MIXED) and leads_to_own(observed)
    if not (needs_addresses(observed) and are_own):
        return False
    return not any(node.is_load_balancer for node in observed.engine.nodes or ())


def _is_leaving(observed: Observed, node: NodeFacts) -> bool:
    """Return whether a worker is being removed; a KINDMachine may have the name of a node that kind created."""
    return bool(node.machine) and node.name in observed.workers.leaving


def misplaced_nodes(observed: Observed) -> list[NodeFacts]:
    """Return the running control planes whose address differs from the one that other etcd members expect.

    If these are unknown, return the nodes that have an address which another kind cluster needs.
    Return none while the kind cluster answers: its quorum works, and restarting these nodes would break it.
    """
    return _relocated(observed) if _answers(observed) is False else []


def must_be_asked_first(observed: Observed) -> bool:
    """Return whether control planes have other addresses and it is not known yet whether the cluster still answers.

    This happens after a restart of the provider, with or without a restart of its machine.
    """
    return _answers(observed) is None and not stopped_nodes(observed) and bool(_relocated(observed))


def _answers(observed: Observed) -> bool | None:
    """Return whether the kind cluster answers; None if unknown."""
    if observed.engine.restarted:
        return False
    if observed.health.answers is not None:
        return observed.health.answers
    if observed.access is not None:
        return observed.access.answered
    return None if observed.failure(Goal.ACCESS) is None else False


def _relocated(observed: Observed) -> list[NodeFacts]:
    if not needs_addresses(observed) or ownership(observed) is Ownership.MIXED:
        return []
    nodes = [node for node in observed.engine.nodes or () if node.running and node.address]
    planes, known = [node for node in nodes if node.role == CONTROL_PLANE], known_addresses(observed)
    if not any(node.name in known for node in planes):
        return [node for node in nodes if node.address in _reserved(observed)]
    return [node for node in planes if node.address != known.get(node.name, node.address)]


def _reserved(observed: Observed) -> frozenset[str]:
    """Return the addresses that a kind cluster gives up if its own are unknown, as after a move during a reboot.

    Only silence proves that it is broken: of an API server that has answered before, and not just after a restart.
    """
    return observed.needed_by_others if was_reached(observed) and not observed.engine.restarted else frozenset()


def nodes_in_the_way(observed: Observed, due: list[NodeFacts]) -> list[NodeFacts]:
    """Return the other running nodes of the kind cluster that occupy an address which a due node needs."""
    known = known_addresses(observed)
    needed = {known.get(node.name) for node in due if node.role == CONTROL_PLANE}
    return [
        node
        for node in observed.engine.nodes or ()
        if node.running and node not in due and node.address and node.address in needed
    ]


def was_reached(observed: Observed) -> bool:
    """Return whether a provider has ever reached the API server: this process, or one that stored it."""
    return observed.health.reached or was_ever_reached(observed.object)


def is_known_to_answer(observed: Observed) -> bool:
    """Return whether the API server has answered the last request of this provider that can show it."""
    health, access = observed.health, observed.access
    return bool(health.answers or (health.answers is None and access and access.answered))


def was_ever_reached(cluster: KINDCluster) -> bool:
    """Return whether a provider has ever reached the API server of the workload cluster.

    A moved or replaced object has lost its status, but keeps the uid of its kube-system namespace. Only the API server
    can have provided that uid.
    """
    stored = find(cluster.conditions, Condition.API_SERVER_AVAILABLE)
    is_judged = stored is not None and stored["status"] in ("True", "False")
    return is_judged or cluster.kube_system_uid is not None


def needs_addresses(observed: Observed) -> bool:
    """Return whether the nodes need their previous addresses."""
    return sum(node.role == CONTROL_PLANE for node in observed.engine.nodes or ()) > 1


def known_addresses(observed: Observed) -> dict[str, str]:
    """Return the address of each node, by name: a control plane's first address, any other node's last working one."""
    listed = observed.object.status.get("nodes") or ()
    known = {node["name"]: node["address"] for node in listed if node.get("name") and _is_address(node.get("address"))}
    return {**observed.first_addresses, **known}


def first_addresses(engine: EngineFacts, mark: Mark) -> dict[str, str]:
    """Return the addresses of the control planes with that mark, by name, if there are several and all nodes run."""
    nodes = [node for node in engine.nodes or () if node.mark == mark]
    if engine.restarted or not all(node.running and node.address for node in nodes):
        return {}
    planes = [node for node in nodes if node.role == CONTROL_PLANE]
    return {node.name: node.address for node in planes} if len(planes) > 1 else {}


def needed_addresses(cluster: KINDCluster) -> frozenset[str]:
    """Return the addresses that are reserved for this object's control planes, running or not."""
    nodes = cluster.status.get("nodes") or ()
    planes = [node.get("address") for node in nodes if node.get("role") == CONTROL_PLANE]
    if len(planes) < 2 or cluster.is_deleting:
        return frozenset()
    return frozenset(str(address) for address in planes if _is_address(address))


def start_request(observed: Observed) -> StartNodes | None:
    """Return the request that restarts stopped or misplaced nodes; None if all run at the right address."""
    misplaced = misplaced_nodes(observed)
    due = [*stopped_nodes(observed), *misplaced]
    if not due:
        return None
    if not needs_addresses(observed) or ownership(observed) is Ownership.MIXED:
        # Nodes that belong to someone else are never stopped to free an address.
        return StartNodes(
            observed.cluster_name,
            tuple(node.name for node in due),
            container_ids=_ids(due),
            although_stopped=observed.object.is_to_be_stopped,
        )
    in_the_way = nodes_in_the_way(observed, due)
    due += in_the_way
    known = known_addresses(observed)
    order = sorted((node.name for node in due), key=lambda name: (_rank(known.get(name)), name))
    bound = {node.name for node in due if node.role == CONTROL_PLANE}
    return StartNodes(
        observed.cluster_name,
        tuple(order),
        stop=tuple(sorted(node.name for node in (*misplaced, *in_the_way))),
        addresses={name: known[name] for name in order if name in known and name in bound},
        preferred={name: known[name] for name in order if name in known and name not in bound},
        container_ids=_ids(due),
        although_stopped=observed.object.is_to_be_stopped,
    )


def _ids(nodes: list[NodeFacts]) -> frozenset[str]:
    return frozenset(node.container_id for node in nodes)


def _rank(address: str | None) -> tuple[int, int]:
    """Order addresses as the engine assigns them; a node with an unknown address comes last."""
    if address is None:
        return 1, 0
    return 0, int(ipaddress.ip_address(address))


def _is_address(text: object) -> bool:
    try:
        ipaddress.ip_address(str(text))
    except ValueError:
        return False
    return True
