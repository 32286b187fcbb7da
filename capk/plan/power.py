"""Decide whether a kind cluster has to be stopped, and which containers of it. Pure.

Only what comes back with its data is stopped. An engine in a Pod is stopped as a whole, as soon as no node runs in it:
see `capk.plan.preparation`.
"""

from capk.api import names
from capk.errors import InvalidSpec
from capk.kindconfig.config import CONTROL_PLANE
from capk.plan.facts import NodeFacts
from capk.plan.observed import Observed
from capk.plan.ownership import Ownership, describes_another, is_own, leads_to_own, own_uids, ownership
from capk.plan.plan import Create, Goal, StopNodes
from capk.plan.repair import known_addresses

_FIELD = "spec.engine.powerState"
STOPPED = f"because {_FIELD} is Stopped"
"""Why nothing runs, for messages."""


def is_to_rest(observed: Observed) -> bool:
    """Return whether no container of the kind cluster may run: it is complete, and comes back when it is started.

    A kind cluster whose kubeconfig was never read is completed first.
    """
    cluster = observed.object
    if not _is_asked(observed) or cluster.is_deleting:
        return False
    # A moved object has lost its status, but not its endpoint.
    was_up = cluster.is_provisioned or cluster.endpoint is not None
    is_read = cluster.identity not in (None, names.UNREAD) and observed.made is None
    is_up = was_up and is_read and not describes_another(observed)
    return is_up and not stop_refusal(observed) and not awaits_addresses(observed)


def will_rest(observed: Observed) -> bool:
    """Return whether the kind cluster has to be stopped, but something has to be known or stored first."""
    return _is_asked(observed) and not is_to_rest(observed) and not stop_refusal(observed)


def rests(observed: Observed) -> bool:
    """Return whether an engine in a Pod has stopped all node containers, so that its Pod may go."""
    engine, in_pod = observed.engine, observed.pod_engine
    is_seen = engine.answers and (engine.nodes is not None or not engine.exists)
    return in_pod is not None and is_seen and is_to_rest(observed) and not resting_nodes(observed)


def _is_asked(observed: Observed) -> bool:
    """Return whether node containers may run that the object asks to stop."""
    in_pod = observed.pod_engine
    return observed.object.is_to_be_stopped and (in_pod is None or in_pod.is_stopping)


def stop_refusal(observed: Observed) -> str:
    """Return why a kind cluster could not come back after a stop, as a clause; empty if it could."""
    nodes = observed.engine.nodes or ()
    planes = [node for node in nodes if node.role == CONTROL_PLANE]
    if refusal := refusal_by_spec(observed, control_planes=len(planes)):
        return refusal
    if any(node.forgets for node in nodes):
        return "kind v0.32 or earlier made its load balancer, which loses its configuration when it stops"
    return _refusal_by_nodes(observed)


def _refusal_by_nodes(observed: Observed) -> str:
    """Return the same, as far as only the nodes show it: the spec may not describe all of a kind cluster."""
    last = observed.goals.get(Goal.STOPPED)
    if last is None or last.failure is None or last.failure.retry or not isinstance(last.request, StopNodes):
        return ""
    there = {node.container_id for node in observed.engine.nodes or ()}
    return "" if last.request.control_planes.isdisjoint(there) else last.failure.message


def awaits_addresses(observed: Observed) -> bool:
    """Return whether control planes run whose addresses are not known, which they need when they start again.

    An answer of their API server proves them. One that was moved while it was stopped stays so.
    """
    planes = [node for node in observed.engine.nodes or () if node.role == CONTROL_PLANE]
    known = known_addresses(observed)
    runs = any(node.running for node in planes)
    return len(planes) > 1 and runs and not all(node.name in known for node in planes)


def refusal_by_spec(observed: Observed, *, control_planes: int) -> str:
    """Return the same, as far as it is known before the kind cluster exists."""
    if not observed.engine.lists_nodes:
        return "the provider has no command of the container engine to stop it with; see --engine-command"
    if folder := observed.passing_etcd_folder:
        return in_memory(folder)
    if control_planes > 1 and not observed.engine.gives_lowest_address:
        return (
            "this container engine gives nodes other addresses when they start again, and several control planes need "
            "the same ones"
        )
    return ""


def in_memory(folder: str) -> str:
    """Return why a kind cluster whose etcd is in that folder must not be stopped, as a clause."""
    return f"a kubeadm patch puts etcd into {folder}, which is in memory, so that its data would be lost"


def check_power(observed: Observed, request: Create) -> None:
    """Raise InvalidSpec if a kind cluster is to be stopped after its creation that could not come back."""
    nodes = request.config.get("nodes") or ()
    planes = sum(node.get("role", CONTROL_PLANE) == CONTROL_PLANE for node in nodes)
    if not observed.object.is_to_be_stopped:
        return
    if refusal := refusal_by_spec(observed, control_planes=planes):
        raise InvalidSpec(_FIELD, f"cannot be Stopped, because {refusal}; set Running, or leave it out")


def resting_nodes(observed: Observed) -> list[NodeFacts]:
    """Return the running containers that have to be stopped; if the kind cluster is only partly ours, only our own."""
    is_mixed, has_balancer = ownership(observed) is Ownership.MIXED, leads_to_own(observed)
    return [
        node
        for node in observed.engine.nodes or ()
        if node.running and (not is_mixed or is_own(observed, node) or (node.is_load_balancer and has_balancer))
    ]


def stop_request(observed: Observed) -> StopNodes | None:
    """Return the request that stops what runs; None if nothing does."""
    running = resting_nodes(observed)
    if not running:
        return None
    unmarked = frozenset(node.container_id for node in running if node.mark is None)
    planes = frozenset(node.container_id for node in running if node.role == CONTROL_PLANE)
    is_in_pod = observed.pod_engine is not None
    return StopNodes(observed.cluster_name, own_uids(observed), unmarked, planes, is_in_pod=is_in_pod)
