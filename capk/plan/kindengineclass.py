"""Decide about a KINDEngineClass: only its status, which reports whether its engine can be used. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from capk.api.conditions import find
from capk.api.engineclasses import KINDEngineClass
from capk.api.names import Condition, Reason
from capk.api.objects import SecretFacts
from capk.diagnosis.failures import Failure
from capk.plan.plan import Plan
from capk.plan.status import UNKNOWN, Verdict, conditions_only, false, true

REFRESH_SECONDS = 60.0
"""How often the Secret of a class is read: no watch delivers it."""
RETRY_SECONDS = 10.0
"""The same while the engine cannot be used."""
_NOBODY = "No namespace may use it, because spec.namespaceSelector is not set."


@dataclass(frozen=True)
class ClassObserved:
    """Everything that the status of a KINDEngineClass depends on."""

    object: KINDEngineClass
    now: datetime
    clusters: int = 0
    """KINDClusters whose kind clusters are, or will be, on its engine."""
    failure: Failure | None = None
    """Why its engine cannot be used."""
    answers: bool = False
    """Whether the last inventory of its engine succeeded."""
    warning: str = ""
    """What is wrong although it can be used."""

    @property
    def secrets(self) -> Mapping[str, SecretFacts]:
        """No Secret belongs to it."""
        return {}


def decide(observed: ClassObserved) -> Plan:
    """Return the plan for a KINDEngineClass."""
    current = observed.object
    # A provider that has just started knows less than the status that an earlier one has written.
    verdicts = {} if _is_still_unknown(observed) else {Condition.READY: _ready(observed)}
    status = conditions_only(current.status, verdicts, generation=current.generation, now=observed.now)
    status = {**status, "clusters": observed.clusters, "observedGeneration": current.generation}
    return Plan(status=status, requeue_seconds=RETRY_SECONDS if observed.failure else REFRESH_SECONDS)


def _is_still_unknown(observed: ClassObserved) -> bool:
    """Return whether nothing is known yet of the engine, but the status has a verdict on this very spec."""
    stored = find(observed.object.status.get("conditions") or (), Condition.READY)
    is_of_this_spec = stored is not None and stored.get("observedGeneration") == observed.object.generation
    return is_of_this_spec and _ready(observed) is UNKNOWN


def _ready(observed: ClassObserved) -> Verdict:
    if observed.failure:
        return false(observed.failure.reason, observed.failure.message)
    if not observed.answers:
        return UNKNOWN
    nobody = "" if "namespaceSelector" in observed.object.spec else _NOBODY
    return true(Reason.ENGINE_ANSWERS, " ".join(filter(None, (nobody, observed.warning))))
