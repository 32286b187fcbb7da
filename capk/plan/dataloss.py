"""Find out whether the etcd of a kind cluster has lost its data: the uid of its kube-system namespace shows it."""

from capk.api import names
from capk.api.conditions import find
from capk.api.names import Condition, Reason
from capk.plan.observed import Observed
from capk.plan.ownership import is_completed_attempt


def has_lost_its_data(observed: Observed) -> bool:
    """Return whether the workload cluster's etcd lost its data: its kube-system namespace has a new uid, or is gone."""
    if observed.object.kube_system_uid is None:
        # The creation of another cluster removes it, and the condition does not describe that cluster.
        return False
    known = observed.unedited_kube_system_uid or observed.object.kube_system_uid
    read = observed.access.kube_system_uid if observed.access else None
    # The last uid counts even after the kubeconfigs are forgotten: the write of the status may have been refused.
    if (found := observed.kube_system_uid if read is None else read) is not None:
        return found != known
    created = find(observed.object.conditions, Condition.CLUSTER_CREATED)
    return created is not None and created["reason"] == Reason.DATA_LOST


def has_answered_empty(observed: Observed) -> bool:
    """Return whether the kind cluster that the object describes has just answered with an empty etcd.

    Only then may it be removed. A condition may be older than the cluster. If the certificate authority differs too,
    the object is outdated, for example restored from a backup.
    """
    access, cluster = observed.access, observed.object
    if access is None or access.kube_system_uid is None or not has_lost_its_data(observed):
        return False
    return cluster.identity in (names.UNREAD, access.fingerprint)


def restored_etcd(observed: Observed) -> dict[str, str | None]:
    """Return the uid of kube-system as it was before someone edited it: the edit would look like a loss of data."""
    known, stored = observed.unedited_kube_system_uid, observed.object.kube_system_uid
    return {names.KUBE_SYSTEM_ANNOTATION: known} if known and stored and known != stored else {}


def corrected_etcd(observed: Observed) -> dict[str, str | None]:
    """Return the uid of kube-system for an object that describes another kind cluster than its own.

    It is stored before the identity: with a new identity alone, the cluster would look as if it had lost its data. If
    the status and the marks name the same creation, the object describes its own cluster, and its identity was edited.
    """
    access, cluster = observed.access, observed.object
    if is_completed_attempt(observed):
        return {}
    if access is None or not observed.engine.nodes or cluster.identity in (None, names.UNREAD, access.fingerprint):
        return {}
    if cluster.kube_system_uid in (None, access.kube_system_uid):
        return {}
    return {names.KUBE_SYSTEM_ANNOTATION: access.kube_system_uid or None}
