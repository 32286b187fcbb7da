"""Choose the operation that a complete kind cluster needs: repair, renewal, or reading its kubeconfigs."""

from capk.api import names
from capk.api.conditions import find
from capk.api.names import Condition, Reason
from capk.plan.dataloss import has_lost_its_data, known_kube_system_uid, noted_kube_system_uid
from capk.plan.observed import Observed
from capk.plan.ownership import describes_another, leads_to_own
from capk.plan.plan import OperationRequest, ReadAccess
from capk.plan.power import is_to_rest, stop_request
from capk.plan.renewal import kubelets_request, kubelets_wait, renewal_request, renewal_wait
from capk.plan.repair import (
    must_be_asked_first,
    start_request,
    was_reached,
)
from capk.plan.secrets import (
    are_intact,
)

NOWHERE_SECONDS = 60.0
"""How soon to read kubeconfigs again that do not work: nothing announces that there are others."""


def due_operation(observed: Observed) -> tuple[OperationRequest | None, float | None]:
    """Return the operation that is due, and the seconds to wait if its back-off has not ended."""
    if observed.operation is not None:
        return None, None
    if is_to_rest(observed):
        stop = None if observed.workers.under_way else stop_request(observed)
        return _when_due(observed, stop) if stop else (None, None)
    if must_be_asked_first(observed):
        return read_when_due(observed)
    if (request := start_request(observed)) is not None:
        return _when_due(observed, request)
    if not leads_to_own(observed):
        return None, None
    if observed.engine.restarted:
        return _when_due(observed, ReadAccess(observed.cluster_name, await_answer=True))
    renewal = renewal_request(observed)
    if renewal and renewal_wait(observed) <= 0:
        return renewal, None
    is_due = observed.recheck or needs_access(observed) or _is_back(observed) or _may_be_renewed(observed)
    if observed.access is None and (is_due or _leads_nowhere(observed)):
        return read_when_due(observed)
    if _may_have_lost_its_data(observed):
        return read_when_due(observed)
    kubelets = kubelets_request(observed)
    if kubelets and kubelets_wait(observed) <= 0:
        return kubelets, None
    waits = [renewal_wait(observed)] if renewal else []
    waits += [kubelets_wait(observed)] if kubelets else []
    return None, min([*waits, NOWHERE_SECONDS] if _leads_nowhere(observed) else waits, default=None)


def _leads_nowhere(observed: Observed) -> bool:
    """Return whether the kubeconfigs do not work, because of the login or of the certificate authority in them.

    The nodes may have other ones by now: someone has replaced an authority.
    """
    is_mistrusted = observed.health.answers is False and observed.health.is_mistrusted and was_reached(observed)
    return bool(observed.refused) or is_mistrusted


def _is_back(observed: Observed) -> bool:
    """Return whether the API server answers again after an outage: its data and certificates may have changed."""
    stored = find(observed.object.conditions, Condition.API_SERVER_AVAILABLE)
    return bool(observed.health.answers) and stored is not None and stored["status"] == "False"


def _may_be_renewed(observed: Observed) -> bool:
    """Return whether the certificates have expired while no provider looked: only a kubeconfig shows when to renew."""
    return observed.validity is None and observed.health.has_expired


def _may_have_lost_its_data(observed: Observed) -> bool:
    """Return whether the API server's data may have changed; only a new uid of kube-system proves it.

    Also return whether a user has just removed the annotation that another one had edited.
    """
    if known_kube_system_uid(observed) is not None:
        return observed.health.is_doubted
    created = find(observed.object.conditions, Condition.CLUSTER_CREATED)
    return observed.access is None and created is not None and created["reason"] == Reason.DATA_LOST


def read_when_due(observed: Observed) -> tuple[OperationRequest | None, float | None]:
    """Return the read of the kubeconfigs, or the seconds to wait if its back-off has not ended."""
    if observed.operation is not None:
        return None, None
    return _when_due(observed, ReadAccess(observed.cluster_name))


def _when_due(observed: Observed, request: OperationRequest) -> tuple[OperationRequest | None, float | None]:
    """Hold a request back until the back-off of its goal ends."""
    remaining = observed.remaining(request.goal)
    return (None, remaining) if remaining > 0 else (request, None)


def needs_access(observed: Observed) -> bool:
    """Return whether something has to be written that only the kubeconfigs hold (C27: all can be read again)."""
    if observed.access is not None:
        return False
    cluster = observed.object
    is_known = cluster.identity not in (None, names.UNREAD)
    complete = is_known and cluster.endpoint and cluster.status.get("endpoints") and cluster.is_provisioned
    # If the engine cannot list containers, only the kubeconfig holds the address of the API server.
    is_asked = observed.engine.lists_nodes or observed.health.is_watched
    # A condition alone never leads to a removal: read the kubeconfig again first.
    is_doubted = cluster.recreates and bool(noted_kube_system_uid(observed)) and has_lost_its_data(observed)
    return is_doubted or describes_another(observed) or not (complete and is_asked and are_intact(observed))
