"""Decide what a complete kind cluster needs: Secrets, endpoint, status, repair."""

from capk.api import names
from capk.plan.creation import WORKERS_SECONDS
from capk.plan.dataloss import corrected_etcd, due_kube_system_uid, has_answered_empty
from capk.plan.dueoperation import due_operation
from capk.plan.duewrites import (
    awaits_control_plane_secret,
    due_endpoint,
    due_identity,
    due_secrets,
    restored_annotations,
)
from capk.plan.engineid import missing_engine_id
from capk.plan.observed import Observed
from capk.plan.ownership import removal_of_rest
from capk.plan.parts import CLAIM
from capk.plan.plan import Goal, OperationRequest, Plan, ReadAccess, StartNodes
from capk.plan.power import is_to_rest, will_rest
from capk.plan.runningstatus import running_status
from capk.plan.secrets import (
    FOREIGN_SECONDS,
    foreign_among,
)

UNREST_SECONDS = 3.0
"""How soon to look again whether a kind cluster can be stopped: what is stored last makes it possible."""


def keep_running(observed: Observed) -> Plan:
    """Return the plan that keeps a complete kind cluster running and its Secrets, endpoint and status current."""
    cluster, access, rests = observed.object, observed.access, is_to_rest(observed)
    if cluster.recreates and observed.operation is None and has_answered_empty(observed) and not rests:
        remaining = observed.remaining(Goal.UP)
        return (
            Plan(status=running_status(observed), requeue_seconds=remaining) if remaining > 0 else _start_over(observed)
        )
    operation, requeue = due_operation(observed)
    identity = due_identity(observed)
    waits = access is not None and awaits_control_plane_secret(observed)
    if waits or foreign_among(observed):
        requeue = min(requeue or FOREIGN_SECONDS, FOREIGN_SECONDS)
    is_held_back = CLAIM in observed.held_back
    is_joined = rests and bool(observed.workers.under_way)
    if is_joined:
        requeue = WORKERS_SECONDS
    if will_rest(observed):
        requeue = min(requeue or UNREST_SECONDS, UNREST_SECONDS)
    is_corrected = identity is not None and cluster.identity not in (None, names.UNREAD)
    if is_corrected or (corrected_etcd(observed) and not is_held_back):
        # The status names the creation as soon as the object describes the kind cluster that it has.
        requeue = 0.0
    return Plan(
        cancel_operation=rests and _is_useless_at_rest(observed),
        cancel_workers=is_joined,
        add_finalizer=not (cluster.has_finalizer or is_held_back),
        annotations={} if is_held_back else restored_annotations(observed),
        identity=identity,
        kube_system_uid=due_kube_system_uid(observed),
        engine_id=missing_engine_id(observed),
        operation=operation,
        secrets=due_secrets(observed),
        endpoint=due_endpoint(observed),
        # Reading the kubeconfig and writing the KINDControlPlane's Secret take a moment. Waiting saves a status write.
        status=None
        if not cluster.is_provisioned and (waits or _is_reading(observed, operation))
        else running_status(observed),
        requeue_seconds=requeue,
    )


def _is_useless_at_rest(observed: Observed) -> bool:
    """Return whether an operation runs that needs a kind cluster which runs; a renewal is never cut short."""
    operation = observed.operation
    return operation is not None and isinstance(operation.request, StartNodes | ReadAccess)


def _is_reading(observed: Observed, due: OperationRequest | None) -> bool:
    """Return whether the kubeconfig is being read and the read has just started."""
    if observed.operation is not None:
        return isinstance(observed.operation.request, ReadAccess) and not observed.operation.announced
    return isinstance(due, ReadAccess) and observed.failure(Goal.ACCESS) is None


def _start_over(observed: Observed) -> Plan:
    """Remove a kind cluster that has lost its data; from now on it counts as incomplete.

    The uid of its kube-system namespace is kept until the next creation starts. Otherwise the cluster would count as
    complete if the removal fails and the status was not stored.
    """
    if observed.workers.under_way:
        return Plan(cancel_workers=True, requeue_seconds=WORKERS_SECONDS)
    begin: dict[str, str | None] = {names.IDENTITY_ANNOTATION: ""}
    # The nodes' addresses belong to the lost cluster, and its creation no longer counts.
    status = {field: value for field, value in running_status(observed).items() if field not in ("nodes", "attempt")}
    if observed.object.completed_attempt is not None:
        # This comes first: after a restart during the removal, the attempt would make the rest look complete.
        return Plan(status=status, requeue_seconds=0.0)
    return Plan(annotations=begin, operation=removal_of_rest(observed), status=status)
