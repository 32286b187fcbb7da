"""Adopt a kind cluster that was not created for the object, because the user asks for it."""

from capk.api import names
from capk.api.names import Condition, Reason
from capk.plan.dueoperation import read_when_due
from capk.plan.engineid import claimed_engine
from capk.plan.observed import Observed
from capk.plan.ownership import adoptable_as
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
    claim: dict[str, str | None] = {
        names.CLAIM_ANNOTATION: observed.cluster_name,
        names.CLAIM_ID_ANNOTATION: adoptable_as(observed),
        names.IDENTITY_ANNOTATION: observed.access.fingerprint,
        **_attempt(observed),
        **claimed_engine(observed),
    }
    if observed.object.identity == observed.access.fingerprint:
        return Plan(add_finalizer=True, annotations=claim, requeue_seconds=0.0)
    # What the object has kept is of another kind cluster: this one would seem to have lost its data, and its nodes to
    # have other addresses than the members of its etcd expect.
    claim[names.KUBE_SYSTEM_ANNOTATION] = observed.access.kube_system_uid or None
    status = kindcluster_status(observed, {}, nodes=None, attempt=None)
    return Plan(add_finalizer=True, annotations=claim, requeue_seconds=0.0, status=status)


def _attempt(observed: Observed) -> dict[str, str | None]:
    """Return the number of the creation that has made the kind cluster: otherwise another write would store it."""
    attempts = {node.mark.attempt for node in observed.engine.nodes or () if node.mark and node.mark.attempt}
    return {names.ATTEMPT_ANNOTATION: str(min(attempts))} if len(attempts) == 1 else {}
