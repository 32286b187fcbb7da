"""Decide what to do for a KINDMachine: an ordered list of steps, of which the first with a plan decides.

A KINDMachine is one worker of a running kind cluster. Cluster API drains it and counts it; what is left to do is to let
one node join and to remove one node. Nothing here waits, reads or writes.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from capk.api import names
from capk.api.conditions import find
from capk.api.names import Condition, Reason
from capk.plan import joining, leaving
from capk.plan.blockedmove import blocked_move_warning
from capk.plan.engineid import another_engine
from capk.plan.facts import UNLISTED_SECONDS, NodeFacts
from capk.plan.kindcluster import FRESH_SECONDS
from capk.plan.machines import (
    addresses_of,
    container_in_the_way,
    has_joined,
    node_of,
    own_container,
    provider_id,
    was_joined,
)
from capk.plan.observed import MachineObserved
from capk.plan.ownership import Ownership, ownership
from capk.plan.parts import CLAIM, PROVIDER_ID
from capk.plan.plan import AddWorker, AskApiServer, Plan
from capk.plan.power import STOPPED, is_to_rest
from capk.plan.status import Verdict, false, machine_status, paused_status, true

CLONED_SECONDS = 30.0
"""How long an object that was created from a template waits silently for its Machine, which core creates after it."""
REFUSED_SECONDS = 60.0
"""Interval between reads of a Machine that the API server refuses: no event shows that it allows them."""


def decide(observed: MachineObserved) -> Plan:
    """Return the next plan for a KINDMachine."""
    plan = next((plan for step in _STEPS if (plan := step(observed)) is not None), None)
    return hold_move(observed, plan or joining.plan_join(observed))


def leave_to_others(observed: MachineObserved) -> Plan | None:
    """Do nothing if another system manages the object or `clusterctl move` has moved it (C54)."""
    return Plan() if observed.object.is_left_to_others else None


def stay_paused(observed: MachineObserved) -> Plan | None:
    """Do nothing while the object or its Cluster is paused, deletion included (C54); record a join that has ended."""
    machine = observed.object
    if not observed.is_paused:
        return None
    status = paused_status(machine, observed.owner, observed.now, warning=blocked_move_warning(observed))
    return Plan(cancel_queued=True, annotations=_record_of_join(observed), status=status)


def _record_of_join(observed: MachineObserved) -> dict[str, str | None]:
    is_stored = observed.object.annotations.get(names.JOINED_CONTAINER_ANNOTATION) == observed.joined
    if not observed.joined or is_stored or observed.object.is_deleting or CLAIM in observed.held_back:
        return {}
    return {names.JOINED_CONTAINER_ANNOTATION: observed.joined}


def delete(observed: MachineObserved) -> Plan | None:
    """Remove the node if the object is being deleted (C53)."""
    return leaving.plan_removal(observed) if observed.object.is_deleting else None


def show_progress(observed: MachineObserved) -> Plan | None:
    """While a join runs, or the cleanup after one, report only its progress."""
    operation = observed.operation
    if operation is None:
        return None
    if isinstance(operation.request, AskApiServer):
        # It takes a moment, and the condition holds what was found out before.
        return Plan()
    if isinstance(operation.request, AddWorker) and joining.is_pointless(observed):
        return Plan(cancel_operation=True)
    return Plan(status=joining.progress(observed, operation) if operation.announced else None)


def await_machine(observed: MachineObserved) -> Plan | None:
    """Do nothing until a Machine owns the object, unless it names its KINDCluster itself (C52)."""
    machine = observed.object
    if observed.machine is not None or machine.is_standalone or was_joined(observed):
        return None
    if observed.unreadable:
        message = f"The API server refuses to hand out the Machine that owns this KINDMachine: {observed.unreadable}"
        return replace(_not_joined(observed, Reason.WAITING_FOR_MACHINE, message), requeue_seconds=REFUSED_SECONDS)
    age = (observed.now - machine.created_at).total_seconds()
    is_cloned = names.CLONED_FROM_ANNOTATION in machine.annotations
    patience = CLONED_SECONDS if is_cloned else FRESH_SECONDS
    if 0 <= age < patience and not machine.status:
        return Plan(requeue_seconds=patience - age + 0.1)
    message = (
        "No Machine owns this KINDMachine, although it was created from a KINDMachineTemplate. Cluster API creates its "
        "Machine a moment later; if it does not, see the conditions of the MachineSet."
        if is_cloned
        else "No Machine owns this KINDMachine. A MachineDeployment creates both from a KINDMachineTemplate. "
        "Delete this object, or set spec.clusterName to the name of a KINDCluster to use it without a Machine."
    )
    return _not_joined(observed, Reason.WAITING_FOR_MACHINE, message)


def await_kindcluster(observed: MachineObserved) -> Plan | None:
    """Wait for the KINDCluster to exist: without it, not even the name of the node is known."""
    if observed.infrastructure is not None:
        return None
    return _not_joined(observed, Reason.WAITING_FOR_INFRASTRUCTURE, joining.missing_kindcluster(observed))


def await_engine(observed: MachineObserved) -> Plan | None:
    """Change nothing while the container engine does not answer, or another one answers, and report that."""
    assert observed.infrastructure is not None
    engine = observed.infrastructure.engine
    if not engine.was_listed and engine.failure is None:
        return Plan(requeue_seconds=UNLISTED_SECONDS)
    failure = engine.failure or another_engine(observed.infrastructure)
    if failure is None:
        return None
    return Plan(status=machine_status(observed, {Condition.ENGINE_AVAILABLE: false(failure.reason, failure.message)}))


def await_listing(observed: MachineObserved) -> Plan | None:
    """Change nothing until the containers of the kind cluster are listed; some engines cannot list them."""
    assert observed.infrastructure is not None
    engine = observed.infrastructure.engine
    if not engine.lists_nodes:
        message = (
            "This container engine cannot list containers, so the provider cannot add workers to a running kind "
            "cluster. List them in spec.nodes of the KINDCluster before it is created."
        )
        return _not_joined(observed, Reason.ENGINE_UNSUPPORTED, message)
    is_unseen = ownership(observed.infrastructure) is Ownership.UNSEEN
    return Plan(refresh=True, requeue_seconds=1.0) if is_unseen else None


def leave_others_alone(observed: MachineObserved) -> Plan | None:
    """Never touch a container that was not made for this object, whatever its name."""
    if own_container(observed) is not None or container_in_the_way(observed) is None:
        return None
    announced = find(observed.object.conditions, Condition.WORKER_JOINED)
    plan = _not_joined(
        observed,
        Reason.NAME_CONFLICT,
        f"A container named {node_of(observed)} exists that was not made for this KINDMachine. Remove it, or delete "
        "this Machine: its successor gets another name.",
    )
    return replace(plan, refresh=announced is None or announced["reason"] != Reason.NAME_CONFLICT)


def keep(observed: MachineObserved) -> Plan | None:
    """Keep the records and the status of a node that has joined in line with its container."""
    container = own_container(observed)
    if container is None or not has_joined(observed, container):
        return None
    machine, wanted = observed.object, provider_id(observed)
    is_held_back = CLAIM in observed.held_back
    is_due = machine.provider_id != wanted and PROVIDER_ID not in observed.held_back
    return Plan(
        add_finalizer=not (machine.has_finalizer or is_held_back),
        annotations={} if is_held_back else _corrected(observed, container),
        provider_id=wanted if is_due else None,
        status=_status(observed, container),
    )


def _corrected(observed: MachineObserved, container: NodeFacts) -> dict[str, str | None]:
    wanted = {
        names.MACHINE_ID_ANNOTATION: container.machine,
        names.JOINED_CONTAINER_ANNOTATION: container.container_id,
    }
    stored = observed.object.annotations
    return {name: value for name, value in wanted.items() if stored.get(name) != value}


def _status(observed: MachineObserved, container: NodeFacts) -> dict[str, Any]:
    machine = observed.object
    # Core copies the provider id and provisioned together (C48, C49).
    is_whole = machine.is_provisioned or machine.provider_id == provider_id(observed)
    provisioned = is_whole or PROVIDER_ID not in observed.refusals
    milestones: dict[str, Any] = {"ready": True, "initialization": {"provisioned": True}} if provisioned else {}
    return machine_status(
        observed,
        {Condition.WORKER_JOINED: _joined_verdict(observed, container)},
        **milestones,
        # A stopped container has none: it most likely gets the same ones again.
        addresses=addresses_of(observed, container) or machine.status.get("addresses"),
        nodeName=node_of(observed),
        containerID=container.container_id,
        logs=None,
    )


def _joined_verdict(observed: MachineObserved, container: NodeFacts) -> Verdict:
    machine, kept = observed.object, [names.MACHINE_ID_ANNOTATION, names.JOINED_CONTAINER_ANNOTATION]
    is_stored = machine.has_finalizer and all(name in machine.annotations for name in kept)
    if CLAIM in observed.refusals and not is_stored:
        message = f"The API server refuses finalizer and annotations of the KINDMachine: {observed.refusals[CLAIM]}"
        return false(Reason.WRITE_REFUSED, message)
    if PROVIDER_ID in observed.refusals and machine.provider_id != provider_id(observed):
        message = f"The API server refuses spec.providerID: {observed.refusals[PROVIDER_ID]}"
        return false(Reason.WRITE_REFUSED, message)
    return true(Reason.JOINED, blocked_move_warning(observed)) if container.running else _stopped(observed, container)


def _stopped(observed: MachineObserved, container: NodeFacts) -> Verdict:
    """Return the verdict on a stopped node, which the KINDCluster starts with its other nodes."""
    assert observed.infrastructure is not None
    cluster = observed.infrastructure.object
    if is_to_rest(observed.infrastructure):
        return false(Reason.STOPPED, f"KINDCluster {cluster.name} is stopped, {STOPPED}.")
    verdict = find(cluster.conditions, Condition.NODES_RUNNING)
    if verdict is not None and verdict["status"] == "False" and verdict["reason"] != Reason.STARTING_NODES:
        return false(Reason.NODES_STOPPED, f"KINDCluster {cluster.name}: {verdict.get('message', '')}")
    return false(Reason.STARTING_NODES, f"KINDCluster {cluster.name} starts the stopped node {container.name}.")


def hold_move(observed: MachineObserved, plan: Plan) -> Plan:
    """Block `clusterctl move` while the node joins, because the target could not continue it (C54)."""
    machine, latest = observed.object, observed.operation
    held = machine.annotations.get(names.BLOCK_MOVE_ANNOTATION)
    is_left_alone = machine.is_left_to_others or machine.is_deleting
    if is_left_alone or CLAIM in observed.held_back:
        return plan
    joins = isinstance(plan.operation, AddWorker) or (latest is not None and isinstance(latest.request, AddWorker))
    if joins and held is None:
        return replace(plan, annotations={**plan.annotations, names.BLOCK_MOVE_ANNOTATION: names.HELD_BY_CREATION})
    if not joins and held == names.HELD_BY_CREATION:
        return replace(plan, annotations={**plan.annotations, names.BLOCK_MOVE_ANNOTATION: None})
    return plan


def _not_joined(observed: MachineObserved, reason: Reason, message: str) -> Plan:
    return Plan(status=machine_status(observed, {Condition.WORKER_JOINED: false(reason, message)}))


_STEPS: tuple[Callable[[MachineObserved], Plan | None], ...] = (
    leave_to_others,
    stay_paused,
    delete,
    show_progress,
    await_machine,
    await_kindcluster,
    await_engine,
    await_listing,
    leave_others_alone,
    keep,
)
