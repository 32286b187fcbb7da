"""Decide whether the container engine that answers holds an object's kind cluster. Pure.

If another engine does not list a kind cluster, the cluster is not gone. Creating it there would make a second one.
"""

from capk.api import names
from capk.api.names import Reason
from capk.diagnosis.failures import Failure
from capk.plan.observed import Observed
from capk.plan.ownership import is_adopted, is_own

_SHOWN = 20


def another_engine(observed: Observed) -> Failure | None:
    """Return why the provider must not act on the engine that answers; None if it is, or may be, the right one.

    Containers that are proven to be the object's prove the engine. Its id does not, because reinstalling the engine may
    change it. An engine without an id is another one than an engine that had an id.
    If someone removed the claim, the status still shows a creation; copies of the object have no status.
    """
    engine, known = observed.engine, observed.object.engine_id
    has_cluster = observed.claim is not None or observed.object.completed_attempt is not None
    is_asked = engine.id or (engine.was_listed and engine.lists_nodes)
    if not has_cluster or not known or not is_asked or known == engine.id:
        return None
    if any(is_own(observed, node) for node in engine.nodes or ()) or is_adopted(observed):
        return None
    answering = engine.id[:_SHOWN] or "one without an id"
    return Failure(
        Reason.ENGINE_CHANGED,
        f"The kind cluster is on the container engine {known[:_SHOWN]}, but {answering} answers. Point the "
        "provider to the former engine (its context, DOCKER_HOST or --engine-command). If it is gone for good, "
        f"remove the annotation {names.ENGINE_ANNOTATION} from the KINDCluster.",
    )


def claimed_engine(observed: Observed) -> dict[str, str | None]:
    """Return the engine annotation that is stored with a claim."""
    return {names.ENGINE_ANNOTATION: observed.engine.id or None}


def corrected_engine(observed: Observed) -> dict[str, str | None]:
    """Return the annotation if the right engine has a new id; a missing annotation waits for the next write."""
    known, now = observed.object.engine_id, observed.engine.id
    return claimed_engine(observed) if known and now and known != now else {}


def missing_engine_id(observed: Observed) -> str | None:
    """Return the engine id if an object of an earlier release lacks it."""
    return observed.engine.id or None if observed.object.engine_id is None else None
