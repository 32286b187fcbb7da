"""Whose the kind cluster is that stands under the wanted name: never touch a stranger's (C21).

Three proofs, the strongest first. Every node container that the provider makes carries a mount whose path names the
claim: the engine shows it from the first instant of the container's life. (An adopted cluster is known by the id of its
container.) The certificate authority of a finished cluster has a fingerprint that the object remembers. And before a
creation starts, the object claims the name. The last two are for engines that cannot be asked for containers.
"""

from enum import Enum, auto

from capk.plan.observed import Observed


class Ownership(Enum):
    """Whose the kind cluster of that name is."""

    ABSENT = auto()
    """There is none."""
    OURS = auto()
    """It was made, or adopted, for this object."""
    UNPROVEN = auto()
    """Claimed, and nothing speaks against it; its fingerprint could tell for sure."""
    STRANGERS = auto()
    """Somebody else made it."""


def ownership(observed: Observed) -> Ownership:
    """Return whose the kind cluster is, as far as can be told from what was seen."""
    cluster, engine = observed.object, observed.engine
    if not engine.exists:
        return Ownership.ABSENT
    if engine.nodes:
        is_ours = any(cluster.claim_id in (node.claim_id, node.container_id) for node in engine.nodes)
        return Ownership.OURS if is_ours else Ownership.STRANGERS
    if cluster.claim is None:
        return Ownership.STRANGERS
    if cluster.identity is None:
        return Ownership.OURS
    if observed.access is None:
        return Ownership.UNPROVEN
    return Ownership.OURS if observed.access.fingerprint == cluster.identity else Ownership.STRANGERS


def adopted_claim_id(observed: Observed) -> str:
    """Return what an adopted kind cluster will be known by: its nodes carry no mark of ours."""
    control_planes = [node for node in observed.engine.nodes or () if node.role == "control-plane"]
    return min(node.container_id for node in control_planes) if control_planes else observed.object.uid


def was_completed(observed: Observed) -> bool:
    """Return whether the last creation for this object came to its end, whatever happened since.

    Any of the three traces will do, so that a lost status or a replaced manifest never makes the provider take a
    running cluster for a half-made one.
    """
    cluster = observed.object
    return not cluster.is_being_created and (
        cluster.identity is not None or cluster.is_provisioned or f"{observed.cluster_name}-config" in observed.secrets
    )
