"""Which kind cluster an object may call its own by name, and which of two objects comes first for a name. Pure.

A claim is an annotation, so anyone who may edit the object can write one. It counts only where nothing speaks against
it, and the marks on the containers count more (`capk.plan.ownership`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from capk.api.objects import KINDCluster

IsAlive = Callable[[str], bool]
"""Whether a KINDCluster of that uid exists."""


@dataclass(frozen=True)
class Claim:
    """A claim that counts.

    name: of the kind cluster. uid: what its marks name, or the id of an adopted container.
    """

    name: str
    uid: str


def claim_of(cluster: KINDCluster, is_alive: IsAlive) -> Claim | None:
    """Return the claim of an object, or None where it has none that counts.

    It counts only for a name that this object could ask for itself, or that the provider has written to its status: an
    edited claim must not hide the kind cluster that is there. A claim that another object made, which `clusterctl move`
    carries along, counts only once that object is gone: a copy of a living object has no claim.
    """
    name, uid = cluster.claimed_name, cluster.claim_id
    wanted = cluster.spec.get("clusterName")
    if name is None or (wanted and wanted != name):
        return None
    if name not in _own_names(cluster) or (uid != cluster.uid and is_alive(uid)):
        return None
    return Claim(name, uid)


def cluster_name(cluster: KINDCluster, claim: Claim | None) -> str:
    """Return the name of the object's kind cluster.

    The claimed one, else the one asked for, else that of the kind cluster that it has, else the owner Cluster's, else
    its own.
    """
    owner = cluster.owner_cluster_reference
    default = cluster.provisioned_name or (owner["name"] if owner else cluster.name)
    return claim.name if claim else cluster.spec.get("clusterName") or default


def holds_name(cluster: KINDCluster, claim: Claim | None, *, has_owner: bool, cluster_api_installed: bool) -> bool:
    """Return whether an object keeps others from its name: it has claimed it, or may claim it as soon as it is free."""
    if cluster.is_externally_managed or cluster.is_deleted_for_move:
        return False
    if claim is not None:
        return True
    waits = cluster_api_installed and not has_owner and not cluster.spec.get("standalone")
    return not (cluster.is_deleting or cluster.is_paused or waits)


def precedes(cluster: KINDCluster, claim: Claim | None, other: KINDCluster, others_claim: Claim | None) -> bool:
    """Return whether `other` has precedence for a name that both want: who claimed it, else who is older.

    Of two claims, one that was carried out counts more: anyone who may edit an object can write the other.
    """

    def rank(candidate: KINDCluster, own: Claim | None) -> tuple[bool, bool, bool, datetime, str, str]:
        is_open, is_anothers = not (own and candidate.is_provisioned), own is None or own.uid != candidate.uid
        return own is None, is_open, is_anothers, candidate.created_at, candidate.namespace, candidate.name

    return rank(other, others_claim) < rank(cluster, claim)


def inherits_first(cluster: KINDCluster, other: KINDCluster) -> bool:
    """Return whether `other` has precedence for a claim that both carry and neither made: it is provisioned, or older.

    An annotation can be copied; a status is written by the provider only.
    """

    def rank(candidate: KINDCluster) -> tuple[bool, datetime, str, str]:
        return not candidate.is_provisioned, candidate.created_at, candidate.namespace, candidate.name

    return rank(other) < rank(cluster)


def _own_names(cluster: KINDCluster) -> set[str]:
    owner = cluster.owner_cluster_reference
    given = (cluster.spec.get("clusterName"), cluster.provisioned_name, owner["name"] if owner else None)
    return {cluster.name, *(str(name) for name in given if name)}
