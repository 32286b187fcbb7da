"""Adopt a kind cluster that was not created for the object, because the user asks for it."""

from capk.api import names
from capk.api.names import Condition, Reason
from capk.plan.dueoperation import read_when_due
from capk.plan.engineid import claimed_engine
from capk.plan.facts import Access
from capk.plan.observed import Observed
from capk.plan.ownership import adoptable_as, restorable_as
from capk.plan.parts import CLAIM
from capk.plan.plan import Goal, Plan
from capk.plan.status import false, is_refused, kindcluster_status


def adopt(observed: Observed) -> Plan:
    """Return the next step of adopting a kind cluster for this object: read its kubeconfig, then claim it."""
    if observed.access is None:
        operation, requeue = read_when_due(observed)
        failure = observed.failure(Goal.ACCESS)
        if is_refused(observed, Condition.CLUSTER_CREATED) and failure is None:
            return Plan(operation=operation, requeue_seconds=requeue)
        message = f"Adopting the kind cluster: {failure.message}" if failure else "Adopting the kind cluster."
        reason = failure.reason if failure else Reason.NOT_PROVISIONED
        status = kindcluster_status(observed, {Condition.CLUSTER_CREATED: false(reason, message)})
        return Plan(operation=operation, requeue_seconds=requeue, status=status)
    if CLAIM in observed.held_back and (refusal := observed.refusals.get(CLAIM)):
        refused = false(Reason.WRITE_REFUSED, f"The API server refuses the claim to the kind cluster: {refusal}")
        return Plan(status=kindcluster_status(observed, {Condition.CLUSTER_CREATED: refused}))
    claim = _claim(observed, observed.access, adoptable_as(observed))
    if observed.object.identity == observed.access.fingerprint:
        return Plan(add_finalizer=True, annotations=claim, requeue_seconds=0.0)
    # What the object has kept is of another kind cluster: this one would seem to have lost its data, and its nodes to
    # have other addresses than the members of its etcd expect.
    claim[names.KUBE_SYSTEM_ANNOTATION] = observed.access.kube_system_uid or None
    status = kindcluster_status(observed, {}, nodes=None, attempt=None)
    return Plan(add_finalizer=True, annotations=claim, requeue_seconds=0.0, status=status)


def restored_claim(observed: Observed, access: Access) -> dict[str, str | None]:
    """Return the claim that was removed from the object; nothing if the kind cluster is not proven to be its own.

    The marks name an object that is gone, or the kind cluster has none, so that only the claim has led to it. The
    proof is its certificate authority: it was read for this object before, and is in the status.
    access: read from the containers that are there now.
    """
    claim_id = restorable_as(observed)
    is_own = claim_id is not None and access.fingerprint == observed.object.noted_authority
    return _claim(observed, access, claim_id) if is_own else {}


def restore_claim(observed: Observed) -> Plan | None:
    """Return the next step to the claim that was removed from the object: read the kubeconfig, then write the claim.

    None if the kind cluster is not, or not yet, proven to be its own.
    """
    if restorable_as(observed) is None:
        return None
    if observed.access is None:
        operation, requeue = read_when_due(observed)
        status, failure = None, observed.failure(Goal.ACCESS)
        if failure is not None:
            message = f"Cannot prove whose the kind cluster is: {failure.message} {by_hand(observed)}"
            unproven = false(Reason.KUBECONFIG_UNAVAILABLE, message)
            status = kindcluster_status(observed, {Condition.CLUSTER_CREATED: unproven})
        return Plan(operation=operation, requeue_seconds=requeue, status=status)
    if not (claim := restored_claim(observed, observed.access)):
        return None
    if CLAIM in observed.held_back and (refusal := observed.refusals.get(CLAIM)):
        refused = false(Reason.WRITE_REFUSED, f"The API server refuses the claim to the kind cluster: {refusal}")
        return Plan(status=kindcluster_status(observed, {Condition.CLUSTER_CREATED: refused}))
    return Plan(add_finalizer=True, annotations=claim, requeue_seconds=0.0)


def by_hand(observed: Observed) -> str:
    """Return how a user restores the claim without the proof; nothing if the object has not lost one."""
    claim_id = restorable_as(observed)
    if claim_id is None:
        return ""
    where = f"{observed.object.name} --namespace {observed.object.namespace}"
    claim = f"{names.CLAIM_ANNOTATION}={observed.cluster_name} {names.CLAIM_ID_ANNOTATION}={claim_id}"
    return (
        "The annotations that name the kind cluster were removed. If it belongs to this object, restore them: "
        f"`kubectl annotate --overwrite kindcluster {where} {claim} {names.IDENTITY_ANNOTATION}={names.UNREAD}`."
    )


def _claim(observed: Observed, access: Access, claim_id: str | None) -> dict[str, str | None]:
    return {
        names.CLAIM_ANNOTATION: observed.cluster_name,
        names.CLAIM_ID_ANNOTATION: claim_id,
        names.IDENTITY_ANNOTATION: access.fingerprint,
        **_attempt(observed),
        **claimed_engine(observed),
    }


def _attempt(observed: Observed) -> dict[str, str | None]:
    """Return the number of the creation that has made the kind cluster: otherwise another write would store it."""
    attempts = {node.mark.attempt for node in observed.engine.nodes or () if node.mark and node.mark.attempt}
    return {names.ATTEMPT_ANNOTATION: str(min(attempts))} if len(attempts) == 1 else {}
