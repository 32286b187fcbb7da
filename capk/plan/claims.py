"""Decide which claims to a kind cluster are valid, and which of two objects has precedence for a name. Pure.

A claim is an annotation, so anyone who may edit the object can write one. It is valid only if nothing contradicts it,
and the marks on the containers override it (`capk.plan.ownership`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from capk.api.names import Condition
from capk.api.objects import KINDCluster

IsAlive = Callable[[str], bool]
"""Whether a KINDCluster with that uid exists."""

InheritanceRank = tuple[bool, bool, datetime, str, str]
"""What `inheritance_rank` returns."""


@dataclass(frozen=True)
class Claim:
    """A valid claim.

    name: of the kind cluster. uid: the uid in its marks, or the id of an adopted container.
    """

    name: str
    uid: str


def claim_of(cluster: KINDCluster, is_alive: IsAlive) -> Claim | None:
    """Return the claim of an object, or None if it has no valid one.

    A claim is valid only for a name that the object could request itself. If its status holds a name, it is valid only
    for that one, so that an edited claim cannot hide the existing kind cluster. `clusterctl move` copies the claim of
    another object. Such a claim is valid only after that object is gone, and only if its creation had ended: a backup
    from the middle of a creation does not show whether the kind cluster was completed later.
    """
    name, uid = cluster.claimed_name, cluster.claim_id
    wanted = cluster.spec.get("clusterName")
    if name is None or (wanted and wanted != name):
        return None
    is_open = cluster.is_being_created and not cluster.is_provisioned
    if name not in _own_names(cluster) or (uid != cluster.uid and (is_open or is_alive(uid))):
        return None
    return Claim(name, uid)


def cluster_name(cluster: KINDCluster, claim: Claim | None) -> str:
    """Return the name of the object's kind cluster.

    The first that is set: the claimed name, spec.clusterName, the name in the status, the owner Cluster's name, the
    object's name.
    """
    owner = cluster.owner_cluster_reference
    default = cluster.provisioned_name or (owner["name"] if owner else cluster.name)
    return claim.name if claim else cluster.spec.get("clusterName") or default


def holds_name(cluster: KINDCluster, claim: Claim | None, *, has_owner: bool, cluster_api_installed: bool) -> bool:
    """Return whether an object blocks its name for others: it has claimed it, or may claim it when it becomes free."""
    if cluster.is_left_to_others or is_finished(cluster):
        return False
    waits = cluster_api_installed and not has_owner and not cluster.spec.get("standalone")
    if claim is not None and (claim.uid == cluster.uid or cluster.is_provisioned or not waits):
        return True
    return not (cluster.is_deleting or cluster.is_paused or waits)


def is_finished(cluster: KINDCluster) -> bool:
    """Return whether the provider has nothing left to do for an object, which only finalizers of others keep."""
    return cluster.is_deleting and not cluster.has_finalizer


def precedes(cluster: KINDCluster, claim: Claim | None, other: KINDCluster, others_claim: Claim | None) -> bool:
    """Return whether `other` has precedence for a name that both want: a claim comes first, then the older object.

    Of two claims, the one of a provisioned object comes first: anyone who may edit an object can write a claim.
    """

    def rank(candidate: KINDCluster, own: Claim | None) -> tuple[bool, bool, bool, datetime, str, str]:
        is_open, is_anothers = not (own and candidate.is_provisioned), own is None or own.uid != candidate.uid
        return own is None, is_open, is_anothers, candidate.created_at, candidate.namespace, candidate.name

    return rank(other, others_claim) < rank(cluster, claim)


def comes_first(
    cluster: KINDCluster,
    claim: Claim | None,
    other: KINDCluster,
    others_claim: Claim | None,
    *,
    other_has_begun: bool,
    cluster_api_installed: bool,
) -> bool:
    """Return whether `other` comes before an object where a namespace may have only so many kind clusters on an engine.

    Every claim comes first, because a kind cluster exists or is being created. Of objects without one, those that may
    claim come in the order of their age, so that objects of the same moment do not exceed the limit together.

    other_has_begun: whether memory or the engine shows that a kind cluster was begun for `other`, whatever the object
    holds: its user may have removed the finalizer while it was paused.
    """
    if is_finished(other):
        return other_has_begun
    # Users can write the annotations of a move and of an external manager, so these hide no kind cluster.
    has_cluster = other.completed_attempt is not None or (other.is_provisioned and bool(other.used_engine_class))
    if others_claim is not None or other_has_begun or has_cluster:
        return True
    if other.is_left_to_others:
        return False
    if other.is_provisioned:
        return True
    has_owner = other.owner_cluster_reference is not None
    may = holds_name(other, None, has_owner=has_owner, cluster_api_installed=cluster_api_installed)
    return claim is None and not cluster.is_provisioned and may and precedes(cluster, None, other, None)


def inheritance_rank(cluster: KINDCluster) -> InheritanceRank:
    """Return the rank of an object among those that copied one claim; the lowest has precedence.

    That is the one whose status shows the cluster, or the oldest. Anyone can copy an annotation. Only the provider
    writes a status.
    """
    is_unseen = not cluster.is_true(Condition.CLUSTER_CREATED)
    return not cluster.is_provisioned, is_unseen, cluster.created_at, cluster.namespace, cluster.name


def _own_names(cluster: KINDCluster) -> set[str]:
    if cluster.provisioned_name:
        return {cluster.provisioned_name}
    owner = cluster.owner_cluster_reference
    given = (cluster.spec.get("clusterName"), owner["name"] if owner else None)
    return {cluster.name, *(str(name) for name in given if name)}
