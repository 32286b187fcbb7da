"""What to do while a KINDCluster goes away: its kind cluster first, its Secrets, then the finalizer (C23, C24)."""

from typing import Any

from capk.api.names import Condition, Reason
from capk.plan.creation import retry_delay
from capk.plan.observed import Observed
from capk.plan.ownership import Ownership, ownership
from capk.plan.plan import Create, Delete, Plan, ReadAccess
from capk.plan.report import Verdict, kindcluster_status


def plan_deletion(observed: Observed) -> Plan:
    """Return the next step towards leaving nothing behind; the last one drops the finalizer."""
    cluster, operation = observed.object, observed.operation
    if not cluster.has_finalizer:
        return Plan(cancel_operation=operation is not None and operation.in_progress)
    if cluster.claim is None:
        return _farewell(observed)
    if operation and operation.in_progress:
        return Plan(cancel_operation=not isinstance(operation.request, Delete), status=_deleting(observed))
    if cluster.retains or observed.rival is not None:
        return _farewell(observed)
    if not observed.engine.answers:
        return _await_engine(observed)
    match ownership(observed):
        case Ownership.ABSENT if operation and isinstance(operation.request, Create):
            # Of a creation that was ended midway the engine may still bring a node to light.
            return _delete(observed)
        case Ownership.ABSENT | Ownership.STRANGERS:
            return _farewell(observed)
        case Ownership.UNPROVEN if not (operation and isinstance(operation.request, ReadAccess)):
            # Its fingerprint tells whether it is still ours. Where it cannot be read, the claim decides.
            return Plan(operation=ReadAccess(observed.cluster_name), status=_deleting(observed))
        case _:
            return _delete(observed)


def _delete(observed: Observed) -> Plan:
    last = observed.operation
    if last and last.failure and isinstance(last.request, Delete):
        remaining = retry_delay(last.attempt, observed.policy) - last.ended_seconds_ago
        if remaining > 0:
            message = f"{last.failure.message} The deletion is tried again."
            return Plan(
                status=_deleting(observed, Verdict("True", Reason.DELETION_FAILED, message)),
                requeue_seconds=remaining,
            )
    return Plan(operation=Delete(observed.cluster_name), status=_deleting(observed))


def _await_engine(observed: Observed) -> Plan:
    failure = observed.engine.failure
    if failure is None:
        return Plan(requeue_seconds=1.0)
    message = f"{failure.message} The deletion goes on when the engine answers."
    unreachable = {Condition.ENGINE_AVAILABLE: Verdict("False", failure.reason, failure.message)}
    return Plan(status=_deleting(observed, Verdict("True", failure.reason, message), unreachable))


def _farewell(observed: Observed) -> Plan:
    # Where another object has the name, kind cluster and Secrets are that one's.
    secrets = sorted(observed.secrets) if observed.rival is None else []
    return Plan(delete_secrets=tuple(secrets), remove_finalizer=True)


def _deleting(
    observed: Observed,
    verdict: Verdict | None = None,
    more: dict[Condition, Verdict] | None = None,
) -> dict[str, Any]:
    verdict = verdict or Verdict("True", Reason.DELETING, "Deleting the kind cluster.")
    return kindcluster_status(observed, {Condition.DELETING: verdict} | (more or {}), ready=False)
