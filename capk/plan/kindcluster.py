"""Decide what to do for a KINDCluster: an ordered list of steps, of which the first with a plan decides.

`_STEPS` holds the order of events in one place. Nothing here waits, reads or writes.
"""

from collections.abc import Callable
from dataclasses import replace

from capk.api import names
from capk.api.conditions import find
from capk.api.names import Condition, Reason
from capk.errors import InvalidSpec
from capk.kindconfig.config import check_cluster_name
from capk.plan import creation, deletion
from capk.plan.adoption import adopt, restore_claim
from capk.plan.blockedmove import blocked_move_warning
from capk.plan.dueoperation import read_when_due
from capk.plan.duewrites import due_identity
from capk.plan.engineclass import is_proven_own, not_allowed_status
from capk.plan.engineevents import announce_engine
from capk.plan.engineid import another_engine, released_engine
from capk.plan.facts import UNLISTED_SECONDS
from capk.plan.observed import Observed
from capk.plan.ownership import Ownership, adoptable_as, has_left_nothing, ownership, was_completed
from capk.plan.parts import CLAIM
from capk.plan.plan import Create, Plan
from capk.plan.preparation import keep_engine, with_engine
from capk.plan.running import keep_running
from capk.plan.runningstatus import made_facts
from capk.plan.status import false, kindcluster_status, paused_status

FRESH_SECONDS = 3.0
"""How long a new object waits for its owner Cluster without a status: most get it quickly, and a status is a write."""

STARTING_SECONDS = 30.0
"""How soon to look again why an engine in a Pod does not answer yet."""

REMOVAL_SECONDS = 1.0
"""How soon to look again whether a removal has ended."""

_CLAIM = (names.CLAIM_ANNOTATION, names.CLAIM_ID_ANNOTATION, names.IDENTITY_ANNOTATION)
"""Annotations that claim a name for an object."""


def decide(observed: Observed) -> Plan:
    """Return the next plan for a KINDCluster."""
    plan = next((plan for step in _STEPS if (plan := step(observed)) is not None), None)
    plan = drop_copied_claim(observed, plan or keep_running(observed))
    return announce_engine(observed, hold_move(observed, release_name(observed, release_engine(observed, plan))))


def leave_to_others(observed: Observed) -> Plan | None:
    """Do nothing if another system manages the infrastructure (C6) or `clusterctl move` has moved the object (C25)."""
    return Plan() if observed.object.is_left_to_others else None


def stay_paused(observed: Observed) -> Plan | None:
    """Do nothing while the object or its Cluster is paused, deletion included (C7)."""
    cluster = observed.object
    if not observed.is_paused:
        return None
    status = paused_status(cluster, observed.owner, observed.now, warning=blocked_move_warning(observed))
    if cluster.is_deleting or (observed.made is None and observed.completed is None):
        return Plan(cancel_queued=True, status=status)
    identity = None if observed.made is None else due_identity(observed)
    # A completed creation is recorded all the same. Otherwise the cluster would look incomplete after a restart or an
    # edit of the annotations, and the addresses that its control planes need would be lost.
    return Plan(cancel_queued=True, identity=identity, status={**status, **made_facts(observed)})


def hold_move(observed: Observed, plan: Plan) -> Plan:
    """Block `clusterctl move` while a creation runs, because the target could not continue it (C30).

    An engine in a Pod blocks it for as long as it lives, because it stays in its management cluster.

    The annotation is set with the claim and removed with the identity, so it costs no write. A paused object loses it
    too.
    """
    cluster, latest = observed.object, observed.operation
    held = cluster.annotations.get(names.BLOCK_MOVE_ANNOTATION)
    is_left_alone = cluster.is_left_to_others or cluster.is_deleting
    if is_left_alone or CLAIM in observed.held_back:
        return plan
    if observed.pod_engine and observed.pod_engine.facts and observed.pod_engine.facts.any:
        is_held = held == names.HELD_BY_ENGINE
        stays = {names.BLOCK_MOVE_ANNOTATION: names.HELD_BY_ENGINE}
        return plan if is_held else replace(plan, annotations={**plan.annotations, **stays})
    if held == names.HELD_BY_ENGINE and observed.pod_engine is None:
        # It came with a copied manifest.
        return replace(plan, annotations={names.BLOCK_MOVE_ANNOTATION: None, **plan.annotations})
    creates = isinstance(plan.operation, Create) or (latest is not None and isinstance(latest.request, Create))
    if creates and held is None:
        return replace(plan, annotations={**plan.annotations, names.BLOCK_MOVE_ANNOTATION: names.HELD_BY_CREATION})
    if not creates and held == names.HELD_BY_CREATION and plan.identity is None:
        return replace(plan, annotations={**plan.annotations, names.BLOCK_MOVE_ANNOTATION: None})
    return plan


def drop_copied_claim(observed: Observed, plan: Plan) -> Plan:
    """Remove the annotations that a copied manifest holds from another object that exists.

    The copied claim is invalid while the original exists. If `clusterctl move` removes the original, its kind cluster
    lives on and must not become the copy's. A creation replaces these annotations in any case.
    """
    cluster = observed.object
    is_left_alone = observed.is_paused or cluster.is_left_to_others
    if not observed.copies_claim or is_left_alone or cluster.is_deleting or CLAIM in observed.held_back:
        return plan
    # An object does not lose what the marks prove to be its own because of an edited claim.
    if ownership(observed) is not Ownership.FOREIGN or not observed.engine.answers:
        return plan
    copied: dict[str, str | None] = {name: None for name in creation.DESCRIBING if name in cluster.annotations}
    return replace(plan, annotations={**copied, **plan.annotations})


def release_engine(observed: Observed, plan: Plan) -> Plan:
    """Remove the engine annotation after a creation that failed and left nothing: any engine may make the next one."""
    is_left_alone = observed.is_paused or observed.object.is_left_to_others
    if is_left_alone or CLAIM in observed.held_back:
        return plan
    return replace(plan, annotations={**released_engine(observed), **plan.annotations})


def release_name(observed: Observed, plan: Plan) -> Plan:
    """Remove the claim after a creation that has left nothing, if the engine cannot list containers.

    Without marks, a kind cluster that someone else creates under that name would seem to be the rest of this creation.
    """
    cluster = observed.object
    is_left_alone = observed.is_paused or cluster.is_left_to_others
    if is_left_alone or observed.engine.lists_nodes or observed.operation is not None or CLAIM in observed.held_back:
        return plan
    if not has_left_nothing(observed):
        return plan
    released = dict.fromkeys(name for name in _CLAIM if name in cluster.annotations)
    return replace(plan, annotations={**released, **plan.annotations})


def delete(observed: Observed) -> Plan | None:
    """Delete the kind cluster if the object is being deleted (C23)."""
    return deletion.plan_deletion(observed) if observed.object.is_deleting else None


def await_owner(observed: Observed) -> Plan | None:
    """Do nothing until the owner Cluster has set its owner reference, unless the object is standalone (C5)."""
    cluster = observed.object
    if observed.owner or cluster.spec.get("standalone") or not observed.cluster_api_installed:
        return None
    if creation.has_begun(observed):
        return None
    age = (observed.now - cluster.created_at).total_seconds()
    # It is negative if this clock is behind the API server's.
    if 0 <= age < FRESH_SECONDS and not cluster.status:
        return Plan(requeue_seconds=FRESH_SECONDS - age + 0.1)
    message = (
        "No Cluster owns this KINDCluster. Create a Cluster whose infrastructureRef names it, "
        "or set spec.standalone to true to use it without one."
    )
    return Plan(
        status=kindcluster_status(observed, {Condition.CLUSTER_CREATED: false(Reason.WAITING_FOR_CLUSTER, message)})
    )


def check_name(observed: Observed) -> Plan | None:
    """Reject a name that kind or the host names of its nodes do not allow."""
    try:
        check_cluster_name(observed.cluster_name, observed.object.spec)
    except InvalidSpec as wrong:
        return Plan(
            status=kindcluster_status(observed, {Condition.CLUSTER_CREATED: false(Reason.INVALID_CONFIG, str(wrong))})
        )
    return None


def await_removal(observed: Observed) -> Plan | None:
    """Wait while what the object claims is removed for the one before it: it would be Ready for a last moment.

    A removal that is still queued is withdrawn in favor of the claim.
    """
    if not observed.is_being_removed:
        return None
    message = "Removing the kind cluster of an earlier object."
    verdicts = {Condition.CLUSTER_CREATED: false(Reason.CLEANING_UP, message)}
    return Plan(status=kindcluster_status(observed, verdicts), requeue_seconds=REMOVAL_SECONDS)


def yield_to_rival(observed: Observed) -> Plan | None:
    """Wait if another KINDCluster has precedence for the name and no container under it belongs to this one."""
    # An unproven cluster is read first: its fingerprint overrides a claim, which anyone can write.
    if observed.rival is None or ownership(observed) in (Ownership.OURS, Ownership.MIXED, Ownership.UNPROVEN):
        return None
    message = (
        f'KINDCluster {observed.rival} already uses the kind cluster name "{observed.cluster_name}". '
        "Give this one another spec.clusterName, or delete the other."
    )
    return Plan(status=kindcluster_status(observed, {Condition.CLUSTER_CREATED: false(Reason.NAME_CONFLICT, message)}))


def await_engine(observed: Observed) -> Plan | None:
    """Change nothing while the container engine does not answer, and report that."""
    engine = observed.engine
    if not engine.was_listed and engine.failure is None:
        return Plan(requeue_seconds=UNLISTED_SECONDS)
    if engine.failure is None:
        return None
    # Events with the cause of a slow start are looked for, no watch delivers them.
    again = STARTING_SECONDS if engine.failure.reason is Reason.STARTING_ENGINE else None
    return Plan(status=kindcluster_status(observed, {}), requeue_seconds=again)


def await_own_engine(observed: Observed) -> Plan | None:
    """Change nothing while another engine answers than the one that holds the kind cluster."""
    if (failure := another_engine(observed)) is None:
        return None
    verdicts = {Condition.ENGINE_AVAILABLE: false(failure.reason, failure.message)}
    return Plan(status=kindcluster_status(observed, verdicts))


def check_engine_allowed(observed: Observed) -> Plan | None:
    """Do nothing on an engine whose class does not allow the object, unless the object has a kind cluster there.

    Annotations and the adoption of a kind cluster of someone else must not lead around the class.
    """
    if observed.engine_refusal is None or is_proven_own(observed):
        return None
    return Plan(status=not_allowed_status(observed, observed.engine_refusal))


def leave_others_alone(observed: Observed) -> Plan | None:
    """Never change a kind cluster that was not created for this object, whatever its name (C21)."""
    announced = find(observed.object.conditions, Condition.CLUSTER_CREATED)
    is_announced = announced is not None and announced["reason"] == Reason.NAME_CONFLICT
    owned = ownership(observed)
    if owned is Ownership.UNPROVEN and is_announced:
        # It was not ours when its fingerprint was last compared, which is not kept in memory for long.
        return Plan(operation=read_when_due(observed)[0])
    if owned is not Ownership.FOREIGN:
        return None
    if restored := restore_claim(observed):
        return restored
    adoptable = adoptable_as(observed)
    if adoptable and not _is_claimed_in_vain(observed, adoptable):
        return adopt(observed)
    # A claim without a complete creation is released: the name was never ours. One of an adoption would only come back.
    unfinished = observed.object.claimed_name and not was_completed(observed)
    released = _CLAIM if unfinished and not adoptable else ()
    verdicts = {Condition.CLUSTER_CREATED: false(Reason.NAME_CONFLICT, _conflict(observed))}
    return Plan(
        # The owner may just have deleted that cluster to free the name for this object.
        refresh=not is_announced,
        annotations=dict.fromkeys(released),
        status=kindcluster_status(observed, verdicts),
    )


def _is_claimed_in_vain(observed: Observed, claim_id: str) -> bool:
    """Return whether the object holds the claim of an adoption that does not make the kind cluster its own.

    To write the same claim again would change nothing, so that there would be no end.
    """
    cluster = observed.object
    is_stored = cluster.claimed_name == observed.cluster_name and cluster.claim_id == claim_id
    return is_stored and observed.access is not None and cluster.identity == observed.access.fingerprint


def _conflict(observed: Observed) -> str:
    others = sorted({str(node.mark) for node in observed.engine.nodes or () if node.mark})
    if observed.is_held:
        adopting = "delete the KINDCluster that it belongs to"
    elif not others:
        adopting = f'set the annotation {names.ADOPT_ANNOTATION}: "true" to take it over'
    else:
        adopting = (
            f'set the annotation {names.ADOPT_ANNOTATION}: "{others[0]}" to take it over from the KINDCluster that '
            "created it"
        )
    return (
        f'A kind cluster named "{observed.cluster_name}" exists that was not created for this KINDCluster. '
        f"Use another spec.clusterName, delete that cluster, or {adopting}."
    )


def create(observed: Observed) -> Plan | None:
    """Create the kind cluster if there is none or only an incomplete one, and its engine before it."""
    return with_engine(observed, creation.plan_creation(observed))


def end_lost_operation(observed: Observed) -> Plan | None:
    """End the operation on an engine in a Pod that is gone: its commands would wait for an answer."""
    engine = observed.pod_engine
    pod = engine.facts.pod if engine and engine.facts else None
    if engine is None or engine.facts is None or observed.operation is None:
        return None
    is_lost = pod is None or pod.is_deleting or pod.has_ended
    return Plan(cancel_operation=True) if is_lost else None


_STEPS: tuple[Callable[[Observed], Plan | None], ...] = (
    leave_to_others,
    stay_paused,
    delete,
    end_lost_operation,
    creation.show_progress,
    await_owner,
    check_name,
    keep_engine,
    await_engine,
    await_own_engine,
    check_engine_allowed,
    await_removal,
    creation.clear_remains,
    yield_to_rival,
    leave_others_alone,
    create,
)
