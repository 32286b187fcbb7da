"""Decide what to do until the node of a KINDMachine has joined: wait, clean up, join, report progress, retry."""

from dataclasses import replace
from typing import Any

from capk.api import names
from capk.api.conditions import find
from capk.api.names import Condition, Reason
from capk.api.objects import KINDMachine
from capk.errors import InvalidSpec
from capk.kindconfig.config import CONTROL_PLANE
from capk.kindconfig.images import image_version, parse_version, same_version
from capk.kindconfig.patches import PatchReader
from capk.plan.blockedmove import blocked_move_warning
from capk.plan.facts import NodeFacts, OperationFacts
from capk.plan.hostpaths import check_mounts
from capk.plan.machines import has_lost_its_node, joined_ids, machine_id, node_of, own_container, provider_id
from capk.plan.marks import Mark
from capk.plan.observed import MachineObserved, Observed
from capk.plan.ownership import Ownership, is_own, leads_to_own, own_uids, ownership
from capk.plan.parts import CLAIM
from capk.plan.plan import AddWorker, AskApiServer, Goal, OperationRequest, Plan, RemoveWorker
from capk.plan.power import STOPPED, is_to_rest
from capk.plan.repair import is_known_to_answer
from capk.plan.status import false, machine_status, queued

ANSWER_SECONDS = 30.0
"""How long an answer of the API server counts before a join begins."""
_JOIN = "JoinConfiguration"


def plan_join(observed: MachineObserved) -> Plan:
    """Return what to do for a machine whose node has not joined, or is lost."""
    container = own_container(observed)
    if container is not None:
        # Nothing shows how far the join got, and kubeadm may still run in the container: start over.
        return _clean_up(observed, container)
    infrastructure = observed.infrastructure
    assert infrastructure is not None
    if message := _mislabelled(observed):
        return _waiting(observed, Reason.WAITING_FOR_INFRASTRUCTURE, message)
    if infrastructure.object.is_deleting:
        return _waiting(observed, Reason.WAITING_FOR_INFRASTRUCTURE, _unready(infrastructure) or "")
    if has_lost_its_node(observed) and not infrastructure.object.recreates:
        return _missing(observed)
    if message := _unready(infrastructure):
        return _waiting(observed, Reason.WAITING_FOR_INFRASTRUCTURE, message)
    return _start(observed)


def is_pointless(observed: MachineObserved) -> bool:
    """Return whether a join that runs cannot lead to a node: its kind cluster goes, or is stopped."""
    infrastructure = observed.infrastructure
    return infrastructure is None or infrastructure.object.is_deleting or is_to_rest(infrastructure)


def progress(observed: MachineObserved, operation: OperationFacts) -> dict[str, Any]:
    """Return the status while an operation runs that is not a part of the deletion."""
    if not isinstance(operation.request, AddWorker):
        return _status(observed, Reason.CLEANING_UP, "Removing what an interrupted join left behind.")
    if operation.queued:
        last = observed.goals.get(Goal.JOINED)
        is_retry = last is not None and _is_retry(last.request, operation.request)
        verdict = queued("Waiting for other workers to join first.", last if is_retry else None)
        return machine_status(observed, {Condition.WORKER_JOINED: verdict})
    return _status(observed, operation.step or Reason.PREPARING_NODE, "")


def missing_kindcluster(observed: MachineObserved) -> str:
    """Return which KINDCluster does not exist, or is not served, as far as that is known."""
    machine = observed.object
    if observed.unserved:
        return unserved_kindcluster(observed)
    if machine.is_standalone:
        return (
            f"KINDCluster {machine.kindcluster_name}, which spec.clusterName names, does not exist in namespace "
            f"{machine.namespace}."
        )
    if observed.owner is None:
        return f"Cluster {machine.core_cluster_name or 'of this Machine'} does not exist."
    return f"The KINDCluster of Cluster {observed.owner.name} does not exist yet."


def unserved_kindcluster(observed: MachineObserved) -> str:
    """Return why the provider cannot use a KINDCluster that exists."""
    return (
        f"KINDCluster {observed.unserved} exists, but this provider does not serve it, because its label "
        f"{names.WATCH_FILTER_LABEL} has another value than that of this KINDMachine, or is missing. Give both objects "
        "the same label."
    )


def _mislabelled(observed: MachineObserved) -> str:
    """Return how the label contradicts the Machine, whose Cluster never changes; empty if it does not."""
    wanted = observed.machine.cluster_name if observed.machine else None
    label = observed.object.core_cluster_name
    if wanted in (None, label):
        return ""
    return (
        f"The label {names.CORE_CLUSTER_NAME_LABEL} names Cluster {label}, but the Machine belongs to Cluster "
        f"{wanted}. Set the label to {wanted}."
    )


def _unready(infrastructure: Observed) -> str:
    """Return why no worker can join the kind cluster now; empty if one can."""
    cluster, control_plane = infrastructure.object, infrastructure.control_plane
    if cluster.is_deleting:
        return f"KINDCluster {cluster.name} is being deleted."
    if infrastructure.is_paused:
        return f"KINDCluster {cluster.name} is paused."
    if is_to_rest(infrastructure):
        return f"KINDCluster {cluster.name} is stopped, {STOPPED}."
    ready = find(cluster.conditions, Condition.READY)
    if ready is None or ready["status"] != "True":
        # Without a message it is a step of the creation, which the KINDCluster already reports.
        cause = ready.get("message") if ready else ""
        return f"KINDCluster {cluster.name} is not ready yet{': ' + cause if cause else '.'}"
    if (name := infrastructure.control_plane_name) and not (control_plane and control_plane.is_initialized):
        return f"KINDControlPlane {name} is not initialized yet."
    # The stored status may be older than the listing of the engine.
    is_there = ownership(infrastructure) in (Ownership.OURS, Ownership.MIXED)
    if not is_there or not _control_planes(infrastructure):
        return f"KINDCluster {cluster.name} is not ready yet."
    if not leads_to_own(infrastructure):
        return f"A control-plane node of kind cluster {infrastructure.cluster_name} belongs to someone else."
    return ""


def _clean_up(observed: MachineObserved, container: NodeFacts) -> Plan:
    if (remaining := observed.remaining(Goal.JOINED)) > 0:
        return _after_failure(observed, remaining)
    assert observed.infrastructure is not None
    removal = RemoveWorker(
        observed.infrastructure.cluster_name,
        container.name,
        container.machine,
        uids=own_uids(observed.infrastructure),
        engine=observed.infrastructure.engine.id,
        goal=Goal.JOINED,
    )
    status = _status(observed, Reason.CLEANING_UP, "Removing what an interrupted join left behind.")
    return Plan(add_finalizer=True, operation=removal, status=status)


def _missing(observed: MachineObserved) -> Plan:
    announced = find(observed.object.conditions, Condition.WORKER_JOINED)
    message = (
        f"The container {node_of(observed)} was removed, but not through this object. Delete the Machine, as a "
        "MachineHealthCheck does, and its MachineDeployment creates a new one."
        if not observed.object.is_standalone
        else f"The container {node_of(observed)} was removed, but not through this object. Delete this KINDMachine."
    )
    return Plan(
        refresh=announced is None or announced["reason"] != Reason.MISSING,
        status=_status(observed, Reason.MISSING, message),
    )


def _start(observed: MachineObserved) -> Plan:
    try:
        _check_version(observed)
    except InvalidSpec as wrong:
        return _waiting(observed, Reason.UNSUPPORTED_VERSION_CHANGE, str(wrong))
    try:
        request = join_request(observed)
    except InvalidSpec as wrong:
        return _waiting(observed, Reason.INVALID_CONFIG, str(wrong))
    last = observed.goals.get(Goal.JOINED)
    if last and last.failure and _is_retry(last.request, request):
        if not last.failure.retry:
            return _after_failure(observed, None)
        if (remaining := observed.remaining(Goal.JOINED)) > 0:
            return _after_failure(observed, remaining)
    if (question := _question(observed, request)) is not None:
        return question
    if CLAIM in observed.held_back and (refusal := observed.refusals.get(CLAIM)):
        message = f"The API server refuses what must be stored before the node joins: {refusal}"
        return _waiting(observed, Reason.WRITE_REFUSED, message)
    stored = observed.object.stored_machine_id
    claim: dict[str, str | None] = {}
    if stored != request.machine:
        # Beside an id of its own, the container of the original would look like one that this machine has lost.
        copied = [names.JOINED_CONTAINER_ANNOTATION] if observed.is_copy else []
        claim = {names.MACHINE_ID_ANNOTATION: request.machine, **dict.fromkeys(copied)}
    # What a join that was ended has left may not have been listed yet.
    return Plan(
        refresh=stored is not None,
        add_finalizer=not observed.object.has_finalizer,
        annotations=claim,
        operation=request,
    )


def _question(observed: MachineObserved, request: AddWorker) -> Plan | None:
    """Return the plan that finds out whether the API server answers; None if that is known, or was just found out.

    Without it no join can succeed. A provider that has never reached it from where it runs calls its KINDCluster Ready.
    """
    assert observed.infrastructure is not None
    if is_known_to_answer(observed.infrastructure):
        return None
    asked = observed.goals.get(Goal.ANSWERED)
    if asked is not None and asked.failure is None and asked.seconds_ago <= ANSWER_SECONDS:
        return None
    if asked is not None and asked.failure is not None and (remaining := observed.remaining(Goal.ANSWERED)) > 0:
        return replace(_waiting(observed, asked.failure.reason, asked.failure.message), requeue_seconds=remaining)
    return Plan(operation=AskApiServer(request.name, request.control_planes, request.container_ids))


def _is_retry(last: OperationRequest | None, request: AddWorker) -> bool:
    """Return whether the last attempt was for the same node; a cleanup belongs to the attempt before it."""
    return last == request or isinstance(last, RemoveWorker)


def join_request(observed: MachineObserved) -> AddWorker:
    """Return the request to add the machine's node to its kind cluster.

    Raises InvalidSpec if the spec contradicts the kind cluster or requests what the provider does not allow.
    """
    infrastructure, machine = observed.infrastructure, observed.object
    assert infrastructure is not None
    spec = machine.spec
    mounts, patches = tuple(spec.get("extraMounts") or ()), tuple(spec.get("kubeadmConfigPatches") or ())
    _check_image(machine, infrastructure.object.status.get("kubernetesVersion"))
    _check_patches(patches)
    check_mounts(mounts, "spec.extraMounts", observed.policy.allowed_host_paths)
    control_planes = _control_planes(infrastructure)
    return AddWorker(
        name=infrastructure.cluster_name,
        node=node_of(observed),
        mark=_mark(infrastructure, control_planes[0]),
        machine=machine_id(observed),
        generation=machine.generation,
        image=machine.image,
        labels=dict(spec.get("labels") or {}),
        taints=machine.taints,
        mounts=mounts,
        patches=patches,
        control_planes=tuple(node.name for node in control_planes),
        container_ids=frozenset(node.container_id for node in control_planes),
        provider_id=provider_id(observed),
        joined=joined_ids(observed),
        engine=infrastructure.engine.id,
    )


def _control_planes(infrastructure: Observed) -> list[NodeFacts]:
    """Return the control-plane nodes in the order of kind, which numbers them from the second one on."""
    nodes = [node for node in infrastructure.engine.nodes or () if node.role == CONTROL_PLANE]
    return sorted(nodes, key=lambda node: (len(node.name), node.name))


def _mark(infrastructure: Observed, control_plane: NodeFacts) -> Mark:
    """Return the mark of the kind cluster; the nodes of an adopted one have none, but its claim has an id."""
    if control_plane.mark is not None and is_own(infrastructure, control_plane):
        return control_plane.mark
    return Mark(infrastructure.claim.uid if infrastructure.claim else infrastructure.object.uid)


def _check_version(observed: MachineObserved) -> None:
    assert observed.infrastructure is not None
    wanted = observed.machine.version if observed.machine else None
    running = observed.infrastructure.object.status.get("kubernetesVersion")
    if wanted and running and not observed.object.image and not same_version(wanted, running):
        raise InvalidSpec(
            "Machine.spec.version",
            f"is {wanted}, but the kind cluster runs {running}, and a kind cluster cannot be upgraded. Set the version "
            f"of the MachineDeployment to {running}",
        )


def _check_image(machine: KINDMachine, running: str | None) -> None:
    """Raise InvalidSpec if the image's tag names another minor version than the one that runs."""
    found = image_version(machine.image) if machine.image else None
    if not found or not running:
        return
    try:
        differs = parse_version(found).minor != parse_version(running).minor
    except InvalidSpec:
        return
    if differs:
        raise InvalidSpec(
            "spec.image",
            f"{machine.image} holds {found}, but the kind cluster runs {running}. Omit image, or choose one of the "
            "same minor version",
        )


def _check_patches(patches: tuple[str, ...]) -> None:
    reader = PatchReader()
    for number, patch in enumerate(patches):
        documents = reader.documents(patch)
        if reader.has_left_out:
            raise InvalidSpec(
                f"spec.kubeadmConfigPatches[{number}]", "is too long, together with the patches before it; shorten them"
            )
        if not documents or any(document.get("kind") != _JOIN for document in documents):
            raise InvalidSpec(
                f"spec.kubeadmConfigPatches[{number}]",
                f"is not a YAML document with `kind: {_JOIN}`, the only one that kubeadm reads when a node joins",
            )


def _after_failure(observed: MachineObserved, remaining: float | None) -> Plan:
    """Report why the last attempt failed until the next one; remaining: None if only another object can succeed."""
    last = observed.goals[Goal.JOINED]
    if last.failure is None:
        status = _status(observed, Reason.CLEANING_UP, "Removing what an interrupted join left behind.")
        return Plan(status=status, requeue_seconds=remaining)
    words = filter(None, (last.failure.message, blocked_move_warning(observed)))
    failed = {Condition.WORKER_JOINED: false(last.failure.reason, " ".join(words))}
    return Plan(status=machine_status(observed, failed, logs=last.logs or None), requeue_seconds=remaining)


def _waiting(observed: MachineObserved, reason: Reason, message: str) -> Plan:
    return Plan(status=_status(observed, reason, message))


def _status(observed: MachineObserved, reason: Reason, message: str) -> dict[str, Any]:
    return machine_status(observed, {Condition.WORKER_JOINED: false(reason, message)})
