"""Decide what to do until the kind cluster is complete: create, report progress, clean up, retry."""

from dataclasses import replace
from typing import Any

from capk.api import names
from capk.api.conditions import find, transition_time
from capk.api.names import Condition, Reason
from capk.errors import InvalidSpec
from capk.kindconfig.registries import AUTHORITY_KEY, authority_names
from capk.plan.blockedmove import blocked_move_warning
from capk.plan.creationrequest import advice, creation_request, is_outdated
from capk.plan.dueoperation import read_when_due
from capk.plan.engineclass import not_allowed_status
from capk.plan.engineid import another_engine, claimed_engine
from capk.plan.enginepods import lost_engine
from capk.plan.facts import OperationFacts
from capk.plan.observed import Observed
from capk.plan.ownership import (
    Ownership,
    has_begun_here,
    has_no_control_plane,
    ownership,
    removal_of_rest,
    shows_a_creation,
    was_completed,
)
from capk.plan.parts import CLAIM
from capk.plan.plan import Create, Delete, Goal, OperationRequest, Plan
from capk.plan.status import false, kindcluster_status, queued

WORKERS_SECONDS = 1.0
"""How soon to look again whether the cancelled joins of workers have ended."""
CHANGE_SECONDS = 1.0
"""How soon to look again at an object whose annotations led to another engine; a webhook may put them back."""
RENAMED_SECONDS = 10.0
"""How long the engine may still add containers of a creation that was ended because the name has changed."""
DESCRIBING = (
    names.CLAIM_ANNOTATION,
    names.CLAIM_ID_ANNOTATION,
    names.IDENTITY_ANNOTATION,
    names.ATTEMPT_ANNOTATION,
    names.KUBE_SYSTEM_ANNOTATION,
    names.ENGINE_ANNOTATION,
    names.ENGINE_CLASS_ANNOTATION,
)
"""Annotations that describe the kind cluster of one object and are wrong on another object."""
_REMAINS = "Removing what an interrupted creation left behind."


def show_progress(observed: Observed) -> Plan | None:
    """While a creation, or the cleanup after one, runs, report only its progress."""
    operation = observed.operation
    if operation is None or operation.request.goal is not Goal.UP:
        return None
    if isinstance(operation.request, Create) and is_outdated(observed, operation.request):
        # Once it is complete, the spec cannot change any more, and would describe another kind cluster for good.
        return Plan(cancel_operation=True)
    return Plan(status=_progress(observed, operation) if operation.announced else None)


def clear_remains(observed: Observed) -> Plan | None:
    """Remove what a creation has begun under another name, before the claim to it is overwritten.

    Only containers with the mark of this very object go. What was completed in that moment stays.
    """
    last, cluster = observed.goals.get(Goal.UP), observed.object
    if not observed.remains or (last is not None and last.left_nothing):
        return None
    if was_completed(observed):
        named = Plan(status=_waiting(observed, Reason.INVALID_CONFIG, _named(observed)))
        return None if observed.engine.exists else named
    if last and isinstance(last.request, Delete) and (remaining := observed.remaining(Goal.UP)) > 0:
        return _after_failure(observed, remaining)
    failure = last.failure if last else None
    removal = Delete(
        observed.remains,
        Goal.UP,
        uids=frozenset({cluster.uid}),
        up_to_attempt=cluster.attempt,
        settle_seconds=RENAMED_SECONDS,
        is_shared=failure is not None and failure.reason is Reason.NAME_CONFLICT,
        takes_balancer=True,
    )
    return Plan(operation=removal, status=_waiting(observed, Reason.CLEANING_UP, _REMAINS))


def _named(observed: Observed) -> str:
    return (
        f'The kind cluster of this object is named "{observed.remains}", but the object now asks for '
        f'"{observed.cluster_name}", and a kind cluster cannot be renamed. Delete this object, which removes it, and '
        "create another one."
    )


def plan_creation(observed: Observed) -> Plan | None:
    """Return what to do if there is no complete kind cluster; None if there is one."""
    owned = ownership(observed)
    is_complete = was_completed(observed)
    if owned is Ownership.UNSEEN and not is_complete:
        return Plan(refresh=True, requeue_seconds=1.0)
    if owned is Ownership.UNPROVEN and not has_begun_here(observed):
        return _prove(observed)
    if is_complete and has_no_control_plane(observed):
        # A second listing has to agree, because the cleanup removes the rest.
        return replace(_clean_up_rest(observed), refresh=True) if observed.object.recreates else _lost(observed)
    if owned is not Ownership.ABSENT and (is_complete or _is_adopted(observed)):
        return None
    if owned is not Ownership.ABSENT:
        # The provider stopped during a creation and cannot know how far it got, so it starts over (C21).
        return _clean_up(observed)
    if is_complete and not observed.object.recreates:
        return _lost(observed)
    return _start(observed)


def _prove(observed: Observed) -> Plan:
    """Read the kubeconfig before anything is said of a kind cluster that only annotations call the object's."""
    operation, requeue = read_when_due(observed)
    failure = observed.failure(Goal.ACCESS)
    message = f"Cannot prove whose the kind cluster is: {failure.message}" if failure else "Reading the kubeconfig."
    status = _waiting(observed, Reason.KUBECONFIG_UNAVAILABLE if failure else Reason.NOT_PROVISIONED, message)
    return Plan(operation=operation, requeue_seconds=requeue, status=status)


def _lost(observed: Observed) -> Plan:
    return Plan(refresh=not _is_announced(observed, Reason.MISSING), status=_missing(observed))


def _is_adopted(observed: Observed) -> bool:
    """Return whether the kind cluster was adopted, or read although the engine cannot list containers."""
    return observed.access is not None and not observed.object.is_being_created


def _clean_up(observed: Observed) -> Plan:
    if observed.workers.under_way:
        return Plan(cancel_workers=True, requeue_seconds=WORKERS_SECONDS)
    if (remaining := observed.remaining(Goal.UP)) > 0:
        return _after_failure(observed, remaining)
    return Plan(
        add_finalizer=True,
        operation=replace(removal_of_rest(observed), unless_complete=_may_be_complete(observed)),
        status=_waiting(observed, Reason.CLEANING_UP, _REMAINS),
    )


def _may_be_complete(observed: Observed) -> bool:
    """Return whether the object may have been restored from the middle of a creation that was completed later.

    This process knows of a creation that it has begun that it was not completed. And with the uid of its kube-system,
    the object is removing a kind cluster that has lost its data: a creation begins without that uid.
    """
    return not observed.is_unfinished and observed.object.kube_system_uid is None


def _clean_up_rest(observed: Observed) -> Plan:
    """Remove what is left of a complete kind cluster, unless a control plane is listed by then."""
    plan = _clean_up(observed)
    if not isinstance(plan.operation, Delete):
        return plan
    return replace(plan, operation=replace(plan.operation, without_control_plane=True, unless_complete=False))


def _start(observed: Observed) -> Plan:
    cluster = observed.object
    if observed.workers.under_way:
        # They join a kind cluster that is gone; the new one would have their containers among its own.
        return Plan(cancel_workers=True, requeue_seconds=WORKERS_SECONDS)
    if observed.control_plane_name and observed.control_plane is None:
        message = f"KINDControlPlane {observed.control_plane_name} does not exist yet."
        return Plan(status=_waiting(observed, Reason.WAITING_FOR_CONTROL_PLANE, message))
    if observed.owner and observed.owner.is_deleting:
        message = f"Cluster {observed.owner.name} is being deleted."
        return Plan(status=_waiting(observed, Reason.WAITING_FOR_CLUSTER, message))
    if observed.engine_refusal:
        return Plan(status=not_allowed_status(observed, observed.engine_refusal))
    if observed.overridden_class:
        return _change_to_default(observed)
    if observed.authorities.missing:
        return _await_config_maps(observed)
    try:
        request = creation_request(observed)
    except InvalidSpec as wrong:
        # The cause may be in a ConfigMap, and the provider does not watch ConfigMaps.
        again = recheck_delay(observed, Reason.INVALID_CONFIG) if authority_names(cluster.spec) else None
        return Plan(status=_waiting(observed, Reason.INVALID_CONFIG, str(wrong)), requeue_seconds=again)
    last = observed.goals.get(Goal.UP)
    # Only an identical attempt waits: a change by the user, here or in the KINDControlPlane, is tried immediately.
    if last and last.failure and _is_retry(last.request, request):
        if not last.failure.retry:
            return _after_failure(observed, None)
        if (remaining := observed.remaining(Goal.UP)) > 0:
            return _after_failure(observed, remaining)
    if CLAIM in observed.held_back and (refusal := observed.refusals.get(CLAIM)):
        message = f"The API server refuses the claim that must be stored before kind starts: {refusal}"
        return Plan(status=_waiting(observed, Reason.WRITE_REFUSED, message))
    if not observed.engine.lists_nodes and not (cluster.is_provisioned or shows_a_creation(cluster)):
        # Without marks, only the status shows after a restart that the rest of a creation is the object's.
        return Plan(status=_waiting(observed, Reason.CREATING, ""), requeue_seconds=0.0)
    claim: dict[str, str | None] = {
        names.CLAIM_ANNOTATION: request.name,
        names.CLAIM_ID_ANNOTATION: cluster.uid,
        names.ATTEMPT_ANNOTATION: str(request.mark.attempt),
        names.IDENTITY_ANNOTATION: "",
        names.KUBE_SYSTEM_ANNOTATION: None,
        **claimed_engine(observed),
    }
    # What a creation that was ended has left may not have been listed yet. And one listing without a complete kind
    # cluster does not prove that the cluster is gone: with this claim it would count as incomplete.
    is_doubted = cluster.is_being_created or was_completed(observed)
    return Plan(refresh=is_doubted, add_finalizer=True, annotations=claim, operation=request)


def _change_to_default(observed: Observed) -> Plan:
    """Remove the annotations that keep the object on the provider's own engine, where it has nothing.

    They came with a manifest, or anyone has written them: they must not lead around the default class.
    """
    wrong = [name for name in DESCRIBING if name in observed.object.annotations]
    refusal = observed.refusals.get(CLAIM)
    if CLAIM in observed.held_back and refusal:
        message = (
            f"The default class of the namespace is {observed.overridden_class}, and the API server refuses to remove "
            f"annotations that name another engine ({', '.join(wrong)}): {refusal}"
        )
        return Plan(status=_waiting(observed, Reason.WRITE_REFUSED, message))
    return Plan(refresh=True, annotations=dict.fromkeys(wrong), requeue_seconds=CHANGE_SECONDS)


def _is_retry(last: OperationRequest | None, request: Create) -> bool:
    """Return whether the last attempt was for the same kind cluster; a cleanup belongs to the attempt before it."""
    return request.is_like(last) or isinstance(last, Delete)


def awaited_authorities(observed: Observed) -> tuple[str, ...]:
    """Return the names of the ConfigMaps that a creation needs now; none if no creation can start."""
    cluster = observed.object
    if cluster.is_deleting or observed.is_paused or observed.operation is not None or observed.engine.exists:
        return ()
    return authority_names(cluster.spec)


def _await_config_maps(observed: Observed) -> Plan:
    missing = [f"ConfigMap {name} {why}" for name, why in sorted(observed.authorities.missing.items())]
    message = (
        f"{', '.join(missing)}. A mirror in spec.registries needs its certificates: create it in namespace "
        f"{observed.object.namespace}, with the certificates in PEM under the key {AUTHORITY_KEY}."
    )
    status = _waiting(observed, Reason.WAITING_FOR_CONFIG_MAP, message)
    return Plan(status=status, requeue_seconds=recheck_delay(observed, Reason.WAITING_FOR_CONFIG_MAP))


def recheck_delay(observed: Observed, reason: Reason) -> float:
    """Return the seconds until the next check of what no event announces: as long as it has lasted, within bounds."""
    policy, announced = observed.policy, find(observed.object.conditions, Condition.CLUSTER_CREATED)
    if announced is None or announced["reason"] != reason:
        return policy.retry_base_seconds
    since = transition_time(announced)
    # A time in the future is a clock that differs, or an edit: the back-off grows with it all the same.
    lasted = abs((observed.now - since).total_seconds()) if since else policy.retry_limit_seconds
    return min(max(lasted, policy.retry_base_seconds), policy.retry_limit_seconds)


def _after_failure(observed: Observed, remaining: float | None) -> Plan:
    """Report why the last attempt failed until the next one; remaining: None if only an edit allows another."""
    last = observed.goals[Goal.UP]
    if last.failure is None:
        return Plan(status=_waiting(observed, Reason.CLEANING_UP, _REMAINS), requeue_seconds=remaining)
    words = (last.failure.message, *advice(observed), blocked_move_warning(observed))
    failed = false(last.failure.reason, " ".join(filter(None, words)))
    status = kindcluster_status(observed, {Condition.CLUSTER_CREATED: failed}, logs=last.logs or None)
    return Plan(status=status, requeue_seconds=remaining)


def has_begun(observed: Observed) -> bool:
    """Return whether the object has a kind cluster, or may have one: it then no longer waits for an owner.

    A claim with the uid of another object came with copied annotations, for example from a backup. It counts if that
    kind cluster still exists, or as long as that is unknown.
    """
    cluster, claim = observed.object, observed.claim
    if claim is None or claim.uid == cluster.uid or cluster.is_provisioned:
        return claim is not None or ownership(observed) in (Ownership.OURS, Ownership.MIXED)
    is_known = observed.engine.answers and another_engine(observed) is None
    return not is_known or ownership(observed) not in (Ownership.ABSENT, Ownership.FOREIGN, Ownership.LEFTOVER)


def needs_no_owner(observed: Observed) -> bool:
    """Return whether a KINDCluster is created without an owner only because Cluster API is not installed."""
    cluster = observed.object
    is_alone = cluster.owner_cluster_reference is None and not (cluster.spec.get("standalone") or has_begun(observed))
    return is_alone and not (observed.cluster_api_installed or cluster.is_deleting or observed.is_paused)


def _progress(observed: Observed, operation: OperationFacts) -> dict[str, Any]:
    if not isinstance(operation.request, Create):
        return _waiting(observed, Reason.CLEANING_UP, _REMAINS)
    if operation.queued:
        last = observed.goals.get(Goal.UP)
        is_retry = last is not None and _is_retry(last.request, operation.request)
        verdict = queued("Waiting for other kind clusters to be created first.", last if is_retry else None)
        return kindcluster_status(observed, {Condition.CLUSTER_CREATED: verdict})
    # The status lists nodes of an earlier kind cluster: a repair would give their addresses to the new nodes.
    status = _waiting(observed, operation.step or Reason.CREATING, "")
    return {field: value for field, value in status.items() if field != "nodes"}


def _is_announced(observed: Observed, reason: Reason) -> bool:
    condition = find(observed.object.conditions, Condition.CLUSTER_CREATED)
    return condition is not None and condition["reason"] == reason


def _missing(observed: Observed) -> dict[str, Any]:
    cluster = f'kind cluster "{observed.cluster_name}"'
    lost = f"All control-plane nodes of the {cluster} were" if observed.engine.exists else f"The {cluster} was"
    lost = f"{lost} deleted outside this object, and its data is gone."
    if observed.pod_engine and observed.pod_engine.is_gone:
        lost = lost_engine(observed.pod_engine)
    message = f"{lost} Delete the object, or set spec.recreatePolicy to Always to get a new, empty cluster."
    gone = {Condition.NODES_RUNNING: false(Reason.MISSING, "There is no kind cluster.")}
    status = _waiting(observed, Reason.MISSING, message, gone)
    return {**status, "ready": False, "nodes": []}


def _waiting(
    observed: Observed, reason: Reason, message: str, more: dict[Condition, Any] | None = None
) -> dict[str, Any]:
    return kindcluster_status(observed, {Condition.CLUSTER_CREATED: false(reason, message)} | (more or {}))
