"""Decide whether the container engine that answers holds an object's kind cluster. Pure.

If another engine does not list a kind cluster, the cluster is not gone. Creating it there would make a second one.
"""

from capk.api import names
from capk.api.names import Reason
from capk.diagnosis.failures import Failure
from capk.plan.facts import NodeFacts
from capk.plan.observed import Observed
from capk.plan.ownership import has_left_nothing, is_adopted, is_own, was_completed
from capk.plan.plan import Create, Goal

_SHOWN = 20


def another_engine(observed: Observed) -> Failure | None:
    """Return why the provider must not act on the engine that answers; None if it is, or may be, the right one.

    Containers that are proven to be the object's prove the engine. Its id does not, because reinstalling the engine may
    change it. An engine without an id is another one than an engine that had an id.
    """
    engine, known = observed.engine, observed.object.engine_id
    if observed.pod_engine is not None:
        # It is found by the uid of the object, whatever id Docker has.
        return None
    is_asked = engine.id or (engine.was_listed and engine.lists_nodes)
    if not _has_cluster(observed) or not known or not is_asked or known == engine.id:
        return None
    if any(_is_latest(observed, node) for node in engine.nodes or ()) or is_adopted(observed):
        return None
    if _has_left_nothing(observed):
        return None
    answering = engine.id[:_SHOWN] or "one without an id"
    where = "is" if was_completed(observed) else "was not completed, and may have left containers,"
    return Failure(
        Reason.ENGINE_CHANGED,
        f"The kind cluster {where} on the container engine {known[:_SHOWN]}, but {answering} answers. Point the "
        "provider to the former engine (its context, DOCKER_HOST or --engine-command). If it is gone for good, "
        f"remove the annotation {names.ENGINE_ANNOTATION} from the KINDCluster.",
    )


def _has_left_nothing(observed: Observed) -> bool:
    """Return whether the object's last creation is proven to have left no container on the engine of the annotation.

    Earlier creations have not left any there either: each began on the engine of the one before it.
    """
    last = observed.goals.get(Goal.UP)
    began_there = last is not None and isinstance(last.request, Create) and last.request.engine
    return has_left_nothing(observed) and (observed.never_began is not None or began_there == observed.object.engine_id)


def released_engine(observed: Observed) -> dict[str, str | None]:
    """Return the annotation to remove if nothing is on its engine: only memory shows that until then."""
    is_due = observed.object.engine_id is not None and _has_left_nothing(observed)
    return {names.ENGINE_ANNOTATION: None} if is_due else {}


def _has_cluster(observed: Observed) -> bool:
    """Return whether the engine annotation is the object's own, and not a copy.

    If someone edited the claim, the status still shows a complete creation, and the identity one that has begun.
    """
    cluster = observed.object
    has_begun = cluster.is_being_created and cluster.claim_id == cluster.uid
    return has_begun or observed.claim is not None or cluster.completed_attempt is not None


def _is_latest(observed: Observed, node: NodeFacts) -> bool:
    """Return whether a node was made by the creation that the engine annotation belongs to.

    An earlier creation may have left nodes on another engine. If the object's attempts are lost, every own node counts.
    """
    known = {observed.object.attempt, observed.object.completed_attempt, observed.completed} - {0, None}
    return is_own(observed, node) and (not known or node.mark is None or node.mark.attempt in (None, *known))


def claimed_engine(observed: Observed) -> dict[str, str | None]:
    """Return the annotations about the engine that are stored with a claim."""
    engine: dict[str, str | None] = {names.ENGINE_ANNOTATION: observed.engine.id or None}
    is_stored = names.ENGINE_CLASS_ANNOTATION in observed.object.annotations
    if observed.engine_class or is_stored:
        engine[names.ENGINE_CLASS_ANNOTATION] = observed.engine_class or None
    return engine


def corrected_engine(observed: Observed) -> dict[str, str | None]:
    """Return the annotation if the right engine has a new id; a missing annotation waits for the next write."""
    known, now = observed.object.engine_id, observed.engine.id
    return claimed_engine(observed) if known and now and known != now else {}


def missing_engine_id(observed: Observed) -> str | None:
    """Return the engine id if an object of an earlier release lacks it."""
    return observed.engine.id or None if observed.object.engine_id is None else None
