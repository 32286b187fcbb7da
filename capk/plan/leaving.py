"""Decide how to delete a KINDMachine: first its container and its Node, then the finalizer (C53)."""

from collections.abc import Mapping
from typing import Any

from capk.api import names
from capk.api.conditions import find
from capk.api.names import Condition, Reason
from capk.kindconfig.config import CONTROL_PLANE
from capk.plan.deletion import SETTLE_SECONDS
from capk.plan.engineid import another_engine
from capk.plan.facts import UNLISTED_SECONDS, NodeFacts
from capk.plan.joining import unserved_kindcluster
from capk.plan.machines import container_in_the_way, has_joined, machine_id, node_of, own_container, was_joined
from capk.plan.observed import MachineObserved, Observed
from capk.plan.ownership import Ownership, leads_to_own, own_uids, ownership
from capk.plan.parts import FINALIZER
from capk.plan.plan import Goal, Plan, RemoveWorker
from capk.plan.power import STOPPED, is_to_rest
from capk.plan.status import AWAITS_ENGINE, Verdict, blocked_deletion, machine_status, true

NODE_ATTEMPTS = 4
"""How often the provider tries to delete the Node of a standalone machine whose API server does not answer: it may be
starting. After that the Node stays, because the deletion of the object must end."""
_OF_WHOLE_NODES = frozenset(
    {Reason.JOINED, Reason.MISSING, Reason.STARTING_NODES, Reason.NODES_STOPPED, Reason.STOPPED}
)
"""Reasons of the condition WorkerJoined while no join is under way."""

_DELETING = {Condition.DELETING: true(Reason.DELETING, "Removing the node.")}


def plan_removal(observed: MachineObserved) -> Plan:
    """Return the next step of the deletion; the last one removes the finalizer.

    Cluster API has drained the node before: it deletes a KINDMachine only then.
    """
    machine, operation = observed.object, observed.operation
    if not machine.has_finalizer:
        return Plan(cancel_operation=operation is not None)
    if operation is not None:
        return Plan(cancel_operation=operation.request.goal is not Goal.LEFT, status=_deleting(observed))
    if observed.unserved:
        message = f"{unserved_kindcluster(observed)} The deletion continues then."
        return Plan(status=_deleting(observed, {Condition.DELETING: true(Reason.WAITING_FOR_INFRASTRUCTURE, message)}))
    if _goes_with_its_cluster(observed) or observed.infrastructure is None:
        return _finish(observed)
    engine, in_pod = observed.infrastructure.engine, observed.infrastructure.pod_engine
    if in_pod is not None and in_pod.is_gone:
        return _finish(observed)
    if not engine.answers:
        return _await_engine(observed)
    if failure := another_engine(observed.infrastructure):
        return Plan(status=_deleting(observed, blocked_deletion(failure)))
    if ownership(observed.infrastructure) is Ownership.UNSEEN:
        return Plan(refresh=True, status=_deleting(observed), requeue_seconds=1.0)
    container = own_container(observed)
    if is_to_rest(observed.infrastructure) and _is_whole(observed, container):
        return _await_start(observed)
    if container is None and container_in_the_way(observed) is not None:
        # The name, and the Node of that name, belong to someone else.
        return _finish(observed)
    if container is not None or (_leaves_something(observed) and not _was_just_removed(observed)):
        return _remove(observed, container)
    return _finish(observed)


def _goes_with_its_cluster(observed: MachineObserved) -> bool:
    """Return whether the deletion of the kind cluster removes the node, or leaves it running on purpose.

    The remains of a join are never left in a kind cluster that is retained. One in a Pod goes in any case, after its
    user has allowed that.
    """
    infrastructure = observed.infrastructure
    is_going = (observed.owner is not None and observed.owner.is_deleting) or (
        infrastructure is not None and infrastructure.object.is_deleting
    )
    if infrastructure is None or not is_going:
        return is_going
    container = own_container(observed)
    is_whole = container is not None and has_joined(observed, container)
    is_retained = infrastructure.object.retains and infrastructure.pod_engine is None
    return not is_retained or is_whole or not _leaves_something(observed)


def _leaves_something(observed: MachineObserved) -> bool:
    """Return whether there may be something to remove although no container of the machine is listed.

    That is the container of a cancelled join, which the engine may still be adding, or the Node of a container that was
    removed by hand: Cluster API deletes the Node of a Machine itself.
    """
    assert observed.infrastructure is not None
    if not observed.infrastructure.engine.lists_nodes:
        return False
    return _may_appear(observed) or observed.object.is_standalone


def _may_appear(observed: MachineObserved) -> bool:
    condition = find(observed.object.conditions, Condition.WORKER_JOINED)
    return not was_joined(observed) or (condition is not None and condition["reason"] not in _OF_WHOLE_NODES)


def _was_just_removed(observed: MachineObserved) -> bool:
    gone = observed.goals.get(Goal.LEFT)
    return gone is not None and gone.failure is None and isinstance(gone.request, RemoveWorker)


def _remove(observed: MachineObserved, container: NodeFacts | None) -> Plan:
    infrastructure = observed.infrastructure
    assert infrastructure is not None
    node = node_of(observed)
    drains = _drains(observed, container)
    message = f"{'Draining and removing' if drains else 'Removing'} node {node}."
    status = _deleting(observed, {Condition.DELETING: true(Reason.REMOVING_NODE, message)})
    last = observed.goals.get(Goal.LEFT)
    attempts = last.attempts if last is not None and last.failure is not None else 0
    if failure := observed.failure(Goal.LEFT):
        remaining = observed.remaining(Goal.LEFT)
        message = f"{failure.message} The provider retries the deletion."
        status = _deleting(observed, {Condition.DELETING: true(Reason.DELETION_FAILED, message)})
        if remaining > 0:
            return Plan(status=status, requeue_seconds=remaining)
    removal = RemoveWorker(
        infrastructure.cluster_name,
        node,
        container.machine if container else machine_id(observed),
        uids=own_uids(infrastructure),
        drain=drains,
        must_delete_node=observed.object.is_standalone and attempts < NODE_ATTEMPTS - 1,
        control_planes=_control_planes(infrastructure),
        settle_seconds=SETTLE_SECONDS if container is None and _may_appear(observed) else 0.0,
        engine=infrastructure.engine.id,
    )
    return Plan(operation=removal, status=status)


def _control_planes(infrastructure: Observed) -> frozenset[str]:
    """Return the containers of the control planes, if all of them are the KINDCluster's own."""
    if ownership(infrastructure) not in (Ownership.OURS, Ownership.MIXED) or not leads_to_own(infrastructure):
        return frozenset()
    nodes = infrastructure.engine.nodes or ()
    return frozenset(node.container_id for node in nodes if node.role == CONTROL_PLANE)


def _drains(observed: MachineObserved, container: NodeFacts | None) -> bool:
    """Return whether nothing else drains the node, unless the user has opted out."""
    machine = observed.object
    is_node = container is not None and has_joined(observed, container)
    return is_node and machine.is_standalone and names.EXCLUDE_DRAINING_ANNOTATION not in machine.annotations


def _is_whole(observed: MachineObserved, container: NodeFacts | None) -> bool:
    """Return whether a node has to be removed, or a Node that nothing but the provider deletes."""
    return container is not None or (observed.object.is_standalone and was_joined(observed))


def _await_start(observed: MachineObserved) -> Plan:
    """Wait until the kind cluster runs: nothing could drain the node, or delete its Node."""
    assert observed.infrastructure is not None
    message = (
        f"KINDCluster {observed.infrastructure.object.name} is stopped, {STOPPED}. The deletion continues when it runs."
    )
    return Plan(status=_deleting(observed, {Condition.DELETING: true(Reason.WAITING_FOR_INFRASTRUCTURE, message)}))


def _await_engine(observed: MachineObserved) -> Plan:
    assert observed.infrastructure is not None
    failure = observed.infrastructure.engine.failure
    if failure is None:
        return Plan(requeue_seconds=UNLISTED_SECONDS)
    return Plan(status=_deleting(observed, blocked_deletion(failure, AWAITS_ENGINE)))


def _finish(observed: MachineObserved) -> Plan:
    """Remove the finalizer; a refused write is retried when its back-off ends."""
    words = observed.refusals.get(FINALIZER)
    message = (
        "Nothing else is left to do, but the API server refuses to remove the finalizer "
        f"{names.KIND_MACHINE_FINALIZER}: {words}. The provider retries."
    )
    return Plan(
        remove_finalizer=FINALIZER not in observed.held_back,
        status=_deleting(observed, {Condition.DELETING: true(Reason.WRITE_REFUSED, message)}) if words else None,
    )


def _deleting(observed: MachineObserved, verdicts: Mapping[Condition, Verdict] = _DELETING) -> dict[str, Any]:
    return machine_status(observed, verdicts)
