"""Whether the container engine that answers is the one that holds an object's kind cluster. Pure.

A kind cluster that another engine does not have is not gone, and one that is created there would be a second one.
"""

from capk.api import names
from capk.api.names import Reason
from capk.diagnosis.failures import Failure
from capk.plan.observed import Observed
from capk.plan.ownership import is_own

_SHOWN = 20


def another_engine(observed: Observed) -> Failure | None:
    """Return why nothing may be done on the engine that answers; None where it is the right one, or may be.

    Containers that bear the object's mark prove the engine whatever its id, which a new installation may change.
    The claim may have been taken off; the status, which no copy of the object has, shows a creation all the same.
    """
    engine, known = observed.engine, observed.object.engine_id
    has_cluster = observed.claim is not None or observed.object.completed_attempt is not None
    if not has_cluster or not known or not engine.id or known == engine.id:
        return None
    if any(is_own(observed, node) for node in engine.nodes or ()):
        return None
    return Failure(
        Reason.ENGINE_CHANGED,
        f"The kind cluster is on the container engine {known[:_SHOWN]}, and {engine.id[:_SHOWN]} answers. Give the "
        "provider the former again (its context, DOCKER_HOST or --engine-command). If it is gone for good, remove the "
        f"annotation {names.ENGINE_ANNOTATION} from the KINDCluster.",
    )


def claimed_engine(observed: Observed) -> dict[str, str | None]:
    """Return the annotation that goes with a claim."""
    return {names.ENGINE_ANNOTATION: observed.engine.id or None}


def corrected_engine(observed: Observed) -> dict[str, str | None]:
    """Return the annotation where the right engine has another id by now; a missing one waits for another write."""
    known, now = observed.object.engine_id, observed.engine.id
    return claimed_engine(observed) if known and now and known != now else {}


def missing_engine_id(observed: Observed) -> str | None:
    """Return the id that an object of an earlier release lacks."""
    return observed.engine.id or None if observed.object.engine_id is None else None
