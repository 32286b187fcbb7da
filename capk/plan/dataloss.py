"""Find out whether the etcd of a kind cluster has lost its data: the uid of its kube-system namespace shows it."""

from capk.api import names
from capk.api.conditions import find
from capk.api.names import Condition, Reason
from capk.plan.observed import Observed
from capk.plan.ownership import is_completed_attempt


def known_kube_system_uid(observed: Observed) -> str | None:
    """Return the uid that the kube-system namespace had when it was first read; None if it was not read yet.

    Everyone who may edit the object can write the annotation. So the status comes first, then what this process has
    seen before an edit.
    """
    stored = observed.object.kube_system_uid
    return noted_kube_system_uid(observed) or (stored and (observed.unedited_kube_system_uid or stored))


def noted_kube_system_uid(observed: Observed) -> str | None:
    """Return the uid in the status, if it is of this kind cluster: each creation has another authority."""
    identity = observed.access.fingerprint if observed.access else observed.object.identity
    return observed.object.kube_system_uid_of(identity)


def due_kube_system_uid(observed: Observed) -> str | None:
    """Return the uid of kube-system to store, if none is known: the first one that was read of the kind cluster.

    The API server may have refused to store it for so long that the data is lost since.
    """
    access, first = observed.access, observed.first_kube_system_uid
    if access is None or known_kube_system_uid(observed) is not None:
        return None
    return first[1] if first and first[0] == access.fingerprint else access.kube_system_uid


def has_lost_its_data(observed: Observed) -> bool:
    """Return whether the workload cluster's etcd lost its data: its kube-system namespace has a new uid, or is gone."""
    if (known := known_kube_system_uid(observed)) is None:
        # The creation of another cluster removes it, and the condition does not describe that cluster.
        return False
    read = observed.access.kube_system_uid if observed.access else None
    # The last uid counts even after the kubeconfigs are forgotten: the write of the status may have been refused.
    if (found := observed.kube_system_uid if read is None else read) is not None:
        return found != known
    created = find(observed.object.conditions, Condition.CLUSTER_CREATED)
    return created is not None and created["reason"] == Reason.DATA_LOST


def has_answered_empty(observed: Observed) -> bool:
    """Return whether the kind cluster that the object describes has just answered with an empty etcd.

    Only then may it be removed. A condition may be older than the cluster, and an annotation may be edited or restored
    from a backup. If the certificate authority differs too, the object is outdated.
    """
    access = observed.access
    if access is None or access.kube_system_uid is None or noted_kube_system_uid(observed) is None:
        return False
    return has_lost_its_data(observed)


def due_etcd(observed: Observed) -> dict[str, str] | None:
    """Return what the status notes of the data of the kind cluster, if it was just read for the first time."""
    access = observed.access
    if access is None or not access.kube_system_uid or noted_kube_system_uid(observed) or has_lost_its_data(observed):
        return None
    if due_kube_system_uid(observed) not in (None, access.kube_system_uid):
        # What is stored now shows the loss in the next decision.
        return None
    return {"authority": access.fingerprint, "kubeSystemUID": access.kube_system_uid}


def restored_etcd(observed: Observed) -> dict[str, str | None]:
    """Return the uid of kube-system as it was before someone edited it: the edit would look like a loss of data."""
    known, stored = known_kube_system_uid(observed), observed.object.kube_system_uid
    return {names.KUBE_SYSTEM_ANNOTATION: known} if known and known != stored else {}


def corrected_etcd(observed: Observed) -> dict[str, str | None]:
    """Return the uid of kube-system for an object that describes another kind cluster than its own.

    It is stored before the identity: with a new identity alone, the cluster would look as if it had lost its data. If
    the status and the marks name the same creation, the object describes its own cluster, and its identity was edited.
    """
    access, cluster = observed.access, observed.object
    if is_completed_attempt(observed) or noted_kube_system_uid(observed):
        return {}
    if access is None or not observed.engine.nodes or cluster.identity in (None, names.UNREAD, access.fingerprint):
        return {}
    if cluster.kube_system_uid in (None, access.kube_system_uid):
        return {}
    return {names.KUBE_SYSTEM_ANNOTATION: access.kube_system_uid or None}
