"""Whose kind cluster stands under the wanted name: never touch someone else's (C21). Pure.

The engine is the truth. Every node container that the provider makes bears a mark, which the engine shows from the
first instant of the container's life; kind's load balancer has none. An adopted cluster is known by the id of its
control plane's container. Only where the engine cannot be asked for containers do the claim and the fingerprint of the
certificate authority decide.
"""

from collections.abc import Iterable
from enum import Enum, auto

from capk.api import names
from capk.kindconfig.config import CONTROL_PLANE
from capk.plan.observed import NodeFacts, Observed


class Ownership(Enum):
    """Whose kind cluster it is."""

    ABSENT = auto()
    """There is none."""
    OURS = auto()
    """It was made, or adopted, for this object: every node but the load balancer proves it."""
    MIXED = auto()
    """Some containers are ours, others belong to someone who was quicker with the rest."""
    LEFTOVER = auto()
    """Nothing but a load balancer is there, under a name that this object has claimed."""
    UNPROVEN = auto()
    """Claimed, and nothing speaks against it; its fingerprint could tell for sure."""
    UNSEEN = auto()
    """It is listed, and its containers have not been seen yet."""
    FOREIGN = auto()
    """Someone else made it."""


def ownership(observed: Observed) -> Ownership:
    """Return whose kind cluster it is, as far as what is known tells."""
    engine = observed.engine
    if not engine.exists:
        return Ownership.ABSENT
    if not engine.nodes and observed.made is not None:
        return Ownership.OURS
    if not engine.nodes:
        return Ownership.UNSEEN if engine.lists_nodes else _by_claim(observed)
    nodes = [node for node in engine.nodes if not node.is_load_balancer]
    if not nodes:
        # One whose nodes are still to come may be that of who comes first for the name.
        has_begun = observed.claim is not None or observed.object.is_being_created
        return Ownership.LEFTOVER if has_begun and observed.rival is None else Ownership.FOREIGN
    own = sum(is_own(observed, node) for node in nodes)
    if own == len(nodes) or _is_adopted(observed, nodes):
        return Ownership.OURS
    return Ownership.MIXED if own else Ownership.FOREIGN


def own_uids(observed: Observed) -> frozenset[str]:
    """Return the uids whose marks are this object's: its own, and the one that its claim brought along."""
    return frozenset({observed.object.uid, *([observed.claim.uid] if observed.claim else ())})


def is_own(observed: Observed, node: NodeFacts) -> bool:
    """Return whether a node bears a mark of this object."""
    return node.mark is not None and node.mark.uid in own_uids(observed)


def leads_to_own(observed: Observed) -> bool:
    """Return whether the kubeconfig is this object's: in a cluster that is partly ours, the control plane is."""
    nodes = [node for node in _nodes(observed) if node.role == CONTROL_PLANE]
    return ownership(observed) is not Ownership.MIXED or (bool(nodes) and all(is_own(observed, node) for node in nodes))


def unmarked_ids(observed: Observed) -> frozenset[str]:
    """Return the ids of the containers that are this object's without a mark.

    Of a cluster that is ours they are the load balancer and, where it was adopted, its nodes.
    """
    if ownership(observed) not in (Ownership.OURS, Ownership.LEFTOVER):
        return frozenset()
    return frozenset(node.container_id for node in observed.engine.nodes or () if node.mark is None)


def adoptable_as(observed: Observed) -> str | None:
    """Return what an adopted kind cluster would be claimed by; None where the user has not allowed to adopt it.

    What another object that exists holds is never adopted: to read its kubeconfig would be enough to have it.
    """
    if observed.is_held:
        return None
    wanted, nodes = observed.object.adopts, _nodes(observed)
    marks = {node.mark for node in nodes}
    if not wanted or not (nodes or not observed.engine.lists_nodes):
        return None
    if marks <= {None}:
        control_planes = [node.container_id for node in nodes if node.role == "control-plane"]
        return min(control_planes, default=observed.object.uid) if wanted == "true" else None
    uids = {mark.uid for mark in marks if mark}
    named = wanted in uids | {str(mark) for mark in marks if mark}
    return uids.pop() if named and None not in marks and len(uids) == 1 else None


def was_completed(observed: Observed) -> bool:
    """Return whether the last creation for this object came to its end, whatever happened since.

    Any of the traces will do, so that a lost status or a replaced manifest never makes the provider take a running
    cluster for a half-made one. A copy of another object's annotations and status is no trace.
    """
    cluster, claim = observed.object, observed.claim
    if observed.made is not None:
        return True
    # Whatever the annotations say: with the marks, the status or the memory shows that this very creation was complete.
    if (attempt := made_by(observed)) is not None and attempt in (cluster.completed_attempt, observed.completed):
        return True
    if cluster.is_being_created:
        return False
    if _owns_config_secret(observed):
        return True
    if claim is None:
        return cluster.claim_id == cluster.uid and (cluster.is_provisioned or cluster.identity is not None)
    # What another object has completed is no trace of a cluster of this one, unless it is there.
    return cluster.is_provisioned or (
        cluster.identity is not None and (claim.uid == cluster.uid or observed.engine.exists)
    )


def made_by(observed: Observed) -> int | None:
    """Return the attempt that all nodes with a mark of this object come from; None where there is no such one."""
    attempts = {node.mark.attempt for node in _nodes(observed) if node.mark and is_own(observed, node)}
    return attempts.pop() if len(attempts) == 1 else None


def _owns_config_secret(observed: Observed) -> bool:
    secret = observed.secrets.get(f"{observed.cluster_name}-config")
    references = secret.metadata.get("ownerReferences") or () if secret else ()
    return any(reference.get("uid") == observed.object.uid for reference in references)


def _by_claim(observed: Observed) -> Ownership:
    cluster = observed.object
    if observed.claim is None:
        return Ownership.FOREIGN
    if cluster.identity in (None, names.UNREAD):
        # Two claims and no fingerprint: nothing shows which one is forged.
        return Ownership.FOREIGN if observed.is_held else Ownership.OURS
    if observed.access is None:
        return Ownership.UNPROVEN
    return Ownership.OURS if observed.access.fingerprint == cluster.identity else Ownership.FOREIGN


def _is_adopted(observed: Observed, nodes: Iterable[NodeFacts]) -> bool:
    """Whether the claim names one of the containers, and none bears a mark, which would count more."""
    claim = observed.claim
    return (
        claim is not None
        and all(node.mark is None for node in nodes)
        and any(node.container_id == claim.uid for node in nodes)
    )


def _nodes(observed: Observed) -> list[NodeFacts]:
    return [node for node in observed.engine.nodes or () if not node.is_load_balancer]
