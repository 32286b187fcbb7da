"""Decide how to delete a KINDCluster: first its kind cluster, then its Secrets, then the finalizer (C23, C24)."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from capk.api.names import KIND_CLUSTER_FINALIZER, Condition, Reason
from capk.diagnosis.failures import Failure
from capk.plan.adoption import by_hand, restored_claim
from capk.plan.creation import WORKERS_SECONDS
from capk.plan.engineclass import is_proven_own
from capk.plan.engineid import another_engine
from capk.plan.enginepods import PodEngine
from capk.plan.facts import UNLISTED_SECONDS
from capk.plan.observed import Observed
from capk.plan.ownership import (
    Ownership,
    has_begun_here,
    has_left_nothing,
    own_uids,
    ownership,
    restorable_as,
    unmarked_ids,
    was_completed,
)
from capk.plan.parts import CLAIM, ENGINE_REMOVAL, FINALIZER, REMOVAL
from capk.plan.plan import Delete, EngineRemoval, Goal, Plan, ReadAccess
from capk.plan.secrets import own_among
from capk.plan.status import AWAITS_CLASS, AWAITS_ENGINE, Verdict, blocked_deletion, kindcluster_status, true

ENGINE_SECONDS = 30.0
"""How often to look whether the Pod of an engine is gone, beside the events of its watch."""
LATE_SECONDS = 120.0
"""How long the end of a Pod may take."""
SETTLE_SECONDS = 10.0
"""How long after a cancelled creation the engine may still add one of its containers, because it copies a volume."""

_DELETING = {Condition.DELETING: true(Reason.DELETING, "Deleting the kind cluster.")}


def plan_deletion(observed: Observed) -> Plan:
    """Return the next step of the deletion; the last one removes the finalizer.

    A container of a cancelled creation may still appear, also beside containers that belong to someone else.
    """
    cluster, operation = observed.object, observed.operation
    if not cluster.has_finalizer:
        return Plan(cancel_operation=operation is not None)
    if operation is not None:
        is_part_of_it = operation.request.goal is Goal.GONE
        return Plan(cancel_operation=not is_part_of_it, status=_deleting(observed))
    if observed.workers.under_way:
        # A container that appeared after the removal would stay, and a retained kind cluster keeps only whole nodes.
        return Plan(cancel_workers=True, status=_deleting(observed), requeue_seconds=WORKERS_SECONDS)
    if observed.pod_engine is not None:
        return _delete_engine(observed, observed.pod_engine)
    is_unfinished = _is_unfinished(observed)
    if cluster.retains and not is_unfinished:
        return _finish_deletion(observed)
    if not observed.engine.answers:
        return _await_engine(observed)
    if _was_removed(observed) and ownership(observed) in (Ownership.ABSENT, Ownership.FOREIGN):
        # This holds whichever engine answers now.
        return _finish_deletion(observed)
    if observed.engine_refusal and not is_proven_own(observed):
        # Annotations that lead to the kind cluster of someone else must not delete it on an engine that is not allowed.
        return _finish_absent(observed)
    if failure := another_engine(observed):
        return Plan(status=_deleting(observed, blocked_deletion(failure)))
    if restorable_as(observed) is not None and (restored := _restore_claim(observed)):
        return restored
    may_appear = _may_still_appear(observed)
    match ownership(observed):
        case Ownership.ABSENT if not may_appear:
            return _finish_absent(observed)
        case Ownership.FOREIGN if not (may_appear and observed.engine.lists_nodes):
            return _finish_absent(observed)
        case Ownership.UNSEEN:
            return Plan(refresh=True, status=_deleting(observed), requeue_seconds=1.0)
        case Ownership.UNPROVEN if not (isinstance(_last_request(observed), ReadAccess) or _backs_off(observed)):
            # Its fingerprint proves whether it is still ours. If it cannot be read, the claim decides, unless another
            # object claims the name too, or nothing but annotations shows that it was ever ours.
            return Plan(operation=ReadAccess(observed.cluster_name, goal=Goal.GONE), status=_deleting(observed))
        case Ownership.UNPROVEN if observed.is_held or not has_begun_here(observed):
            return _prove(observed)
        case _:
            return _delete(observed, settle_seconds=SETTLE_SECONDS if may_appear else 0.0)


def _delete_engine(observed: Observed, engine: PodEngine) -> Plan:
    """Delete the engine in a Pod, and the kind cluster with it; the executor of kind has nothing to do.

    What this decides is proven once more before anything is deleted, and the absence of the Pod before the rest goes.
    """
    facts = engine.facts
    if facts is None:
        return _await_engine(observed)
    if observed.object.retains and (facts.pod or facts.claim) and was_completed(observed):
        failure = Failure(
            Reason.ENGINE_NOT_ALLOWED,
            f"spec.deletionPolicy is Retain, but the engine is {engine.title}, which goes with this object. Save what "
            "you need, then set spec.deletionPolicy to Delete.",
        )
        return Plan(status=_deleting(observed, {Condition.DELETING: true(failure.reason, failure.message)}))
    removal = EngineRemoval(engine.namespace, engine.name, observed.object.uid)
    if facts.pod is None:
        finish = _finish_deletion(observed)
        return replace(finish, remove_engine=removal, requeue_seconds=ENGINE_SECONDS)
    message = f"Deleting {engine.title} with the kind cluster."
    words = observed.refusals.get(ENGINE_REMOVAL)
    verdict = true(Reason.DELETING, message)
    if words:
        verdict = true(Reason.DELETION_FAILED, f"The API server refuses to delete {engine.title}: {words}")
    elif facts.pod.is_deleting and _is_late(observed):
        node = f"node {facts.pod.node}" if facts.pod.node else "its node"
        verdict = true(Reason.DELETING, f"{message} Waiting for {node} to end it; is that node running?")
    status = _deleting(observed, {Condition.DELETING: verdict})
    is_under_way = facts.pod.is_deleting or ENGINE_REMOVAL in observed.held_back
    return Plan(status=status, remove_engine=None if is_under_way else removal, requeue_seconds=ENGINE_SECONDS)


def _is_late(observed: Observed) -> bool:
    """Return whether the deletion has lasted so long that something is wrong."""
    since = observed.object.metadata.get("deletionTimestamp")
    return since is not None and (observed.now - datetime.fromisoformat(since)).total_seconds() > LATE_SECONDS


def _is_unfinished(observed: Observed) -> bool:
    """Return whether a creation started that is not known to be complete."""
    cluster = observed.object
    has_begun = cluster.is_being_created or cluster.attempt > 0 or observed.is_unfinished
    return has_begun and not was_completed(observed)


def _may_still_appear(observed: Observed) -> bool:
    """Return whether the engine may still add containers of the object's last creation.

    Only the status and memory show that the creation was complete. Identity and attempt are annotations: after an edit,
    a creation that has just been cancelled looks complete, or as if it had never begun.
    """
    if has_left_nothing(observed) and not observed.engine.lists_nodes:
        # Without marks, what appears now is someone else's.
        return False
    attempt, completed = observed.object.attempt, (observed.object.completed_attempt, observed.completed)
    return _is_unfinished(observed) or observed.is_unfinished or (attempt > 0 and attempt not in completed)


def _was_removed(observed: Observed) -> bool:
    """Return whether a removal has ensured, on the engine of the kind cluster, that no container can still appear."""
    return observed.failure(Goal.GONE) is None and isinstance(_last_request(observed), Delete)


def _last_request(observed: Observed) -> object:
    gone = observed.goals.get(Goal.GONE)
    return gone.request if gone else None


def _backs_off(observed: Observed) -> bool:
    """Return whether a removal has failed and waits for its next turn: a read in between would shorten the wait."""
    return observed.failure(Goal.GONE) is not None and observed.remaining(Goal.GONE) > 0


def _delete(observed: Observed, *, settle_seconds: float) -> Plan:
    failure = observed.failure(Goal.GONE)
    if failure and isinstance(_last_request(observed), Delete):
        remaining = observed.remaining(Goal.GONE)
        message = f"{failure.message} The provider retries the deletion."
        status = _deleting(observed, {Condition.DELETING: true(Reason.DELETION_FAILED, message)})
        if remaining > 0:
            return Plan(status=status, requeue_seconds=remaining)
    else:
        status = _deleting(observed)
    is_unfinished = _is_unfinished(observed)
    removal = Delete(
        observed.cluster_name,
        Goal.GONE,
        uids=own_uids(observed),
        container_ids=unmarked_ids(observed),
        settle_seconds=settle_seconds,
        is_of_whole=not is_unfinished,
        unless_complete=is_unfinished and observed.object.retains and not observed.is_unfinished,
        engine=observed.engine.id,
    )
    return Plan(operation=removal, status=status)


def _restore_claim(observed: Observed) -> Plan | None:
    """Find out whether a kind cluster is the object's own although its claim was removed; None if it is not.

    Otherwise it would stay.
    """
    if observed.access is None:
        return _prove(observed)
    claim = restored_claim(observed, observed.access)
    if claim and CLAIM in observed.held_back:
        refusal = f"The API server refuses the claim to the kind cluster: {observed.refusals.get(CLAIM, '')}"
        return Plan(status=_deleting(observed, {Condition.DELETING: true(Reason.WRITE_REFUSED, refusal)}))
    return Plan(annotations=claim, requeue_seconds=0.0, status=_deleting(observed)) if claim else None


def _prove(observed: Observed) -> Plan:
    """Read the kubeconfig again, because the claim proves nothing."""
    remaining, status, failure = observed.remaining(Goal.GONE), _deleting(observed), observed.failure(Goal.GONE)
    if failure is not None:
        message = (
            f'{failure.message} Only the kubeconfig proves whether the kind cluster "{observed.cluster_name}" belongs '
            "to this object. The provider retries. To leave that cluster alone, set spec.deletionPolicy to Retain."
        )
        message = f"{message} {by_hand(observed)}".rstrip()
        status = _deleting(observed, {Condition.DELETING: true(failure.reason, message)})
    if remaining > 0:
        return Plan(status=status, requeue_seconds=remaining)
    return Plan(operation=ReadAccess(observed.cluster_name, goal=Goal.GONE), status=status)


def _await_engine(observed: Observed) -> Plan:
    failure = observed.engine.failure
    if failure is None:
        return Plan(requeue_seconds=UNLISTED_SECONDS)
    is_classless = failure.reason is Reason.ENGINE_CLASS_NOT_FOUND
    return Plan(status=_deleting(observed, blocked_deletion(failure, AWAITS_CLASS if is_classless else AWAITS_ENGINE)))


def _finish_absent(observed: Observed) -> Plan:
    """Finish the deletion of what was never removed and is not listed: one listing is no proof, so list again."""
    return replace(_finish_deletion(observed), refresh=True)


def _finish_deletion(observed: Observed) -> Plan:
    """Delete the Secrets, then remove the finalizer; a refused write is retried when its back-off ends."""
    secrets = own_among(observed)
    held_back = {name for name in secrets if f"{REMOVAL} {name}" in observed.held_back}
    return Plan(
        delete_secrets={name: uid for name, uid in secrets.items() if name not in held_back},
        remove_finalizer=not held_back and FINALIZER not in observed.held_back,
        status=_refused(observed, secrets),
    )


def _refused(observed: Observed, secrets: Collection[str]) -> dict[str, Any] | None:
    """Return a status with what keeps the object from going; None if nothing is known to."""
    parts = {f"{REMOVAL} {name}": f"to delete Secret {name}" for name in secrets}
    if observed.pod_engine is not None:
        parts[ENGINE_REMOVAL] = f"to delete the objects of {observed.pod_engine.title}"
    parts[FINALIZER] = f"to remove the finalizer {KIND_CLUSTER_FINALIZER}"
    refused = [f"{what}: {observed.refusals[part]}" for part, what in parts.items() if part in observed.refusals]
    if not refused:
        return None
    message = f"Nothing else is left to do, but the API server refuses {'; '.join(refused)}. The provider retries."
    return _deleting(observed, {Condition.DELETING: true(Reason.WRITE_REFUSED, message)})


def _deleting(observed: Observed, verdicts: Mapping[Condition, Verdict] = _DELETING) -> dict[str, Any]:
    return kindcluster_status(observed, verdicts, ready=False)
