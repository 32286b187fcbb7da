"""Decide who owns the kind cluster of the wanted name: never touch someone else's (C21). Pure.

The engine is the source of truth. Every node container that the provider creates has a mark, which the engine lists
from the start; kind's load balancer has none. An adopted cluster is identified by the id of its control plane
container. If the engine cannot list containers, the claim and the fingerprint of the certificate authority decide.
"""

from enum import Enum, auto

from capk.api import names
from capk.api.conditions import find
from capk.api.names import Condition, Reason
from capk.api.objects import KINDCluster
from capk.kindconfig.config import CONTROL_PLANE
from capk.plan.claims import Claim
from capk.plan.facts import NodeFacts
from capk.plan.marks import Mark
from capk.plan.observed import Observed
from capk.plan.plan import Create, Delete, Goal

_BEFORE_A_CREATION = frozenset(
    {
        Reason.UNKNOWN,
        Reason.QUEUED,
        Reason.MISSING,
        Reason.NAME_CONFLICT,
        Reason.INVALID_CONFIG,
        Reason.WRITE_REFUSED,
        Reason.NOT_PROVISIONED,
        Reason.KUBECONFIG_UNAVAILABLE,
        Reason.WAITING_FOR_CLUSTER,
        Reason.WAITING_FOR_CONTROL_PLANE,
        Reason.WAITING_FOR_CONFIG_MAP,
    }
)
"""Reasons of the condition ClusterCreated that an object may have without any creation."""


class Ownership(Enum):
    """Who owns the kind cluster."""

    ABSENT = auto()
    """There is none."""
    OURS = auto()
    """It was created or adopted for this object: every node but the load balancer proves it."""
    MIXED = auto()
    """Some containers are ours, others belong to someone else who created them concurrently."""
    LEFTOVER = auto()
    """Only a load balancer is left, under a name that this object has claimed."""
    UNPROVEN = auto()
    """Claimed, and nothing contradicts the claim; only its fingerprint could prove it."""
    UNSEEN = auto()
    """kind lists it, but its containers have not been listed yet."""
    FOREIGN = auto()
    """Someone else created it."""


def ownership(observed: Observed) -> Ownership:
    """Return who owns the kind cluster, as far as the observed state shows."""
    engine = observed.engine
    if not engine.exists:
        return Ownership.ABSENT
    if not engine.nodes and observed.made is not None:
        return Ownership.OURS
    if not engine.nodes:
        return Ownership.UNSEEN if engine.lists_nodes else _by_claim(observed)
    nodes = [node for node in engine.nodes if not node.is_load_balancer]
    if not nodes:
        # If its nodes are still missing, it may belong to the object that has precedence for the name.
        has_begun = observed.claim is not None or observed.object.is_being_created
        return Ownership.LEFTOVER if has_begun and observed.rival is None else Ownership.FOREIGN
    own = sum(is_own(observed, node) for node in nodes)
    if own == len(nodes) or is_adopted(observed):
        return Ownership.OURS
    return Ownership.MIXED if own else Ownership.FOREIGN


def own_uids(observed: Observed) -> frozenset[str]:
    """Return the uids in marks that belong to this object: its own, and the one in its claim."""
    return frozenset({observed.object.uid, *([observed.claim.uid] if observed.claim else ())})


def is_own(observed: Observed, node: NodeFacts) -> bool:
    """Return whether a node has a mark of this object."""
    return node.mark is not None and node.mark.uid in own_uids(observed)


def leads_to_own(observed: Observed) -> bool:
    """Return whether the kubeconfig leads to this object's control plane; a cluster may be only partly ours."""
    nodes = [node for node in _nodes(observed) if node.role == CONTROL_PLANE]
    return ownership(observed) is not Ownership.MIXED or (bool(nodes) and all(is_own(observed, node) for node in nodes))


def unmarked_ids(observed: Observed) -> frozenset[str]:
    """Return the ids of this object's containers without a mark: the load balancer, and nodes of an adopted cluster."""
    if ownership(observed) not in (Ownership.OURS, Ownership.LEFTOVER):
        return frozenset()
    return frozenset(node.container_id for node in observed.engine.nodes or () if node.mark is None)


def removal_of_rest(observed: Observed) -> Delete:
    """Return the removal of every container of this object up to its current attempt, before a new creation."""
    return Delete(
        observed.cluster_name,
        Goal.UP,
        uids=own_uids(observed),
        container_ids=unmarked_ids(observed),
        up_to_attempt=observed.object.attempt,
    )


def adoptable_as(observed: Observed) -> str | None:
    """Return the uid or container id to claim an adopted kind cluster with; None if the user does not allow adoption.

    The kind cluster of another existing object is never adopted, because its kubeconfig alone gives full access to it.
    """
    wanted, marks = observed.object.adopts, {node.mark for node in _kinds_own(observed) if node.mark}
    named = {mark.uid for mark in marks} | {str(mark) for mark in marks} if marks else {"true"}
    return _claimable_as(observed) if wanted in named else None


def restorable_as(observed: Observed) -> str | None:
    """Return the uid or container id to claim a kind cluster with whose claim was removed from the object.

    None if the object holds a claim, or if its status does not show that it had a kind cluster of that name. Only the
    certificate authority in the status then proves that it is this one: see `capk.plan.adoption`.
    """
    cluster = observed.object
    holds_claim = {names.CLAIM_ANNOTATION, names.CLAIM_ID_ANNOTATION} <= cluster.annotations.keys()
    if holds_claim or not cluster.noted_authority or cluster.provisioned_name != observed.cluster_name:
        return None
    return _claimable_as(observed) if ownership(observed) is Ownership.FOREIGN else None


def _claimable_as(observed: Observed) -> str | None:
    """Return what a claim to the kind cluster has to name; None if nothing could, or if it is another object's."""
    nodes = _kinds_own(observed)
    if observed.is_held or not (nodes or not observed.engine.lists_nodes):
        return None
    marks = {node.mark for node in nodes}
    if marks <= {None}:
        control_planes = [node.container_id for node in nodes if node.role == CONTROL_PLANE]
        return None if nodes and not control_planes else min(control_planes, default=observed.object.uid)
    uids = {mark.uid for mark in marks if mark}
    return uids.pop() if None not in marks and len(uids) == 1 else None


def is_completed_attempt(observed: Observed) -> bool:
    """Return whether the marks and the status, or memory, prove the creation complete, whatever annotations hold."""
    attempt = made_by(observed)
    return attempt is not None and attempt in (observed.object.completed_attempt, observed.completed)


def was_completed(observed: Observed) -> bool:
    """Return whether the last creation for this object was completed, whatever happened since.

    One proof is enough, so that the provider never takes a running cluster for an incomplete one after a status was
    lost or a manifest replaced. Annotations and status copied from another object prove nothing.
    """
    cluster, claim = observed.object, observed.claim
    if observed.made is not None or is_completed_attempt(observed) or _is_from_elsewhere(observed):
        return True
    if cluster.is_being_created:
        return False
    if _owns_config_secret(observed):
        return True
    if claim is None:
        return cluster.claim_id == cluster.uid and (cluster.is_provisioned or cluster.identity is not None)
    # The completed creation of another object proves nothing for this one unless the cluster exists.
    return cluster.is_provisioned or (
        cluster.identity is not None and (claim.uid == cluster.uid or observed.engine.exists)
    )


def _is_from_elsewhere(observed: Observed) -> bool:
    """Return whether no creation that this release would begin has made the kind cluster of a provisioned object.

    It was adopted, or made by a release that did not count attempts. The identity annotation does not show that it is
    complete, because everyone may edit it, and no number in the status does.
    """
    cluster = observed.object
    if is_adopted(observed):
        return True
    if not (cluster.is_provisioned and observed.engine.exists):
        return False
    marks = {node.mark for node in _kinds_own(observed) if is_own(observed, node)}
    is_uncounted = bool(marks) and all(mark is not None and mark.attempt is None for mark in marks)
    return is_uncounted if observed.engine.lists_nodes else cluster.attempt == 0


def made_by(observed: Observed) -> int | None:
    """Return the attempt of the nodes that kind made with a mark of this object; None if there is not exactly one.

    If the engine cannot list containers, it is the last one that the object names.
    """
    if not observed.engine.lists_nodes:
        return observed.object.attempt or None
    attempts = {node.mark.attempt for node in _kinds_own(observed) if node.mark and is_own(observed, node)}
    return attempts.pop() if len(attempts) == 1 else None


def is_described(observed: Observed, attempt: int) -> bool:
    """Return whether the object is known to describe the kind cluster that this attempt has made.

    An object of an older backup describes the one before: until its identity is compared, the attempt is not its own.
    """
    access, cluster = observed.access, observed.object
    is_compared = access is not None and access.fingerprint == cluster.identity
    return attempt in (observed.completed, cluster.completed_attempt) or is_compared


def describes_another(observed: Observed) -> bool:
    """Return whether the status names another creation than the marks, as in an older backup of the object."""
    attempt = made_by(observed)
    return None not in (attempt, observed.object.completed_attempt) and not is_described(observed, attempt or 0)


def _owns_config_secret(observed: Observed) -> bool:
    secret = observed.secrets.get(f"{observed.cluster_name}-config")
    references = secret.metadata.get("ownerReferences") or () if secret else ()
    return any(reference.get("uid") == observed.object.uid for reference in references)


def _by_claim(observed: Observed) -> Ownership:
    cluster = observed.object
    is_unread = cluster.identity in (None, names.UNREAD)
    if observed.claim is None and (is_unread or not _was_provisioned(observed)):
        return Ownership.FOREIGN
    if is_unread:
        # With two claims and no fingerprint, nothing proves which claim is forged. If a container was in the way of the
        # creation, it may be of someone else's kind cluster, and kind would remove that with ours.
        failure = observed.failure(Goal.UP)
        is_shared = failure is not None and failure.reason is Reason.NAME_CONFLICT
        is_proven = has_begun_here(observed) and not (observed.is_held or is_shared)
        return Ownership.OURS if is_proven else Ownership.FOREIGN
    if observed.access is None:
        return Ownership.UNPROVEN
    return Ownership.OURS if observed.access.fingerprint == cluster.identity else Ownership.FOREIGN


def has_begun_here(observed: Observed) -> bool:
    """Return whether memory or status shows that a creation for this object has begun.

    Annotations show nothing: anyone who may create an object can write the claim to a stranger's kind cluster. Nor does
    a creation of which nothing is left: the name was free again.
    """
    if has_left_nothing(observed):
        return False
    if observed.is_unfinished or observed.made is not None or observed.completed is not None:
        return True
    return observed.object.is_provisioned or shows_a_creation(observed.object)


def shows_a_creation(cluster: KINDCluster) -> bool:
    """Return whether the status shows that a creation has begun."""
    created = find(cluster.conditions, Condition.CLUSTER_CREATED)
    return created is not None and created["reason"] not in _BEFORE_A_CREATION


def has_left_nothing(observed: Observed) -> bool:
    """Return whether the object's last creation is proven to have left no container, or kind was never started for it.

    Only memory shows that.
    """
    last, mark = observed.goals.get(Goal.UP), Mark(observed.object.uid, observed.object.attempt)
    if observed.never_began == mark:
        return True
    return last is not None and last.left_nothing and isinstance(last.request, Create) and last.request.mark == mark


def _was_provisioned(observed: Observed) -> bool:
    """Return whether memory or status, which only the provider writes, shows a creation for this object and name."""
    cluster = observed.object
    is_stored = cluster.completed_attempt is not None and cluster.provisioned_name == observed.cluster_name
    return is_stored or observed.completed is not None


def is_adopted(observed: Observed) -> bool:
    """Return whether the claim names one of the containers, and none has a mark, which would override the claim.

    Workers that were added since are marked with the claim. If the named container was removed, they prove the others:
    kind creates nothing under a name that has a container. A kind cluster of several containers has several ids that a
    claim may name, so that two objects may have one each.
    """
    claim, nodes = observed.claim, _nodes(observed)
    return (
        claim is not None
        and not observed.is_adopted_first
        and all(node.mark is None or (node.machine and is_own(observed, node)) for node in nodes)
        and any(node.container_id == claim.uid or _joined_adopted(observed, claim, node) for node in nodes)
    )


def _joined_adopted(observed: Observed, claim: Claim, node: NodeFacts) -> bool:
    """Return whether a worker has joined the kind cluster that the object had adopted with this claim."""
    return bool(node.machine) and node.mark == Mark(claim.uid) and claim.uid != observed.object.uid


def has_no_control_plane(observed: Observed) -> bool:
    """Return whether the rest of the object's kind cluster has no control plane: the etcd went with the last one, and
    nothing brings it back to life."""
    owned = ownership(observed)
    if owned not in (Ownership.OURS, Ownership.MIXED, Ownership.LEFTOVER):
        return False
    own = [node for node in observed.engine.nodes or () if owned is not Ownership.MIXED or is_own(observed, node)]
    return bool(own) and all(node.role != CONTROL_PLANE for node in own)


def _nodes(observed: Observed) -> list[NodeFacts]:
    return [node for node in observed.engine.nodes or () if not node.is_load_balancer]


def _kinds_own(observed: Observed) -> list[NodeFacts]:
    """Return the nodes that kind itself made: workers that were added later prove nothing about its creation."""
    return [node for node in _nodes(observed) if not node.machine]
