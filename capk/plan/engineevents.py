"""What happens to an engine in a Pod, as Events of its KINDCluster: placed on a node, restarted, lost. Pure.

status.engine holds what was announced: a status differs from the stored one once, whatever restarts in between.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from capk.api.conditions import find
from capk.api.names import Condition
from capk.plan.enginechanges import engine_warnings
from capk.plan.enginepods import PodEngine, PodFacts, memory_remedy
from capk.plan.events import Event
from capk.plan.observed import Observed
from capk.plan.plan import Plan

SCHEDULED: Final = "EngineScheduled"
RESTARTED: Final = "EngineRestarted"
LOST: Final = "EngineLost"
WITH_WARNINGS: Final = "EngineWithWarnings"


def announce_engine(observed: Observed, plan: Plan) -> Plan:
    """Add to a plan the Events about the engine that its status reports for the first time."""
    engine = observed.pod_engine
    if engine is None or engine.facts is None or plan.status is None:
        return plan
    stored, reported = observed.object.status.get("engine") or {}, plan.status.get("engine") or {}
    events = (*_events(observed, engine, stored, reported), *_warnings(observed, plan.status))
    return replace(plan, events=events)


def _events(
    observed: Observed, engine: PodEngine, stored: Mapping[str, Any], reported: Mapping[str, Any]
) -> Iterator[Event]:
    pod = engine.facts.pod if engine.facts else None
    before, node = stored.get("node"), reported.get("node")
    # A Pod that ends because its object asks for that is not lost.
    if before and not node and not (observed.object.is_deleting or engine.is_to_be_stopped):
        yield Event("Warning", LOST, _loss(observed, engine, before))
    if node and node != before:
        yield Event("Normal", SCHEDULED, f"{engine.title} of the engine is on node {node}.")
    if pod is not None and node and pod.restarts > (stored.get("restarts") or 0):
        yield Event("Warning", RESTARTED, _restart(engine, pod))


def _warnings(observed: Observed, status: Mapping[str, Any]) -> Iterator[Event]:
    """Return the Events about warnings that the status shows for the first time, beside what is no news in it."""
    before, after = (_message(one.get("conditions") or ()) for one in (observed.object.status, status))
    for warning in engine_warnings(observed):
        if warning in after and warning not in before:
            yield Event("Warning", WITH_WARNINGS, warning)


def _message(conditions: Sequence[Mapping[str, Any]]) -> str:
    return str((find(conditions, Condition.ENGINE_AVAILABLE) or {}).get("message") or "")


def _loss(observed: Observed, engine: PodEngine, node: str) -> str:
    pod = engine.facts.pod if engine.facts else None
    where = f"{engine.title} of the engine, on node {node},"
    if pod is None:
        what = f"{where} was deleted."
    elif pod.has_ended:
        what = f"{where} has ended{f': {pod.why}' if pod.why else ''}".rstrip(".") + "."
    else:
        what = f"{where} is being deleted, for example by a drain of that node."
    return f"{what} {_what_follows(observed, engine)}"


def _what_follows(observed: Observed, engine: PodEngine) -> str:
    claim = engine.facts.claim if engine.facts else None
    if claim is not None and not claim.is_deleting:
        return "Its volume keeps the data: the provider creates the Pod again, and the kind cluster continues."
    lost = "The data of the kind cluster goes with it."
    if observed.object.completed_attempt is None:
        return "The provider begins again with another Pod."
    if observed.object.recreates:
        return f"{lost} The provider creates a new, empty kind cluster, because spec.recreatePolicy is Always."
    return f"{lost} Delete the KINDCluster, or set spec.recreatePolicy to Always to get a new, empty kind cluster."


def _restart(engine: PodEngine, pod: PodFacts) -> str:
    """Return the message about a restart. It has no count: the Event counts repetitions of the same message."""
    reason, code = pod.last
    cause = f" ({reason}, exit code {code})" if reason else ""
    what = f"Docker in {engine.title} has ended{cause} and was started again."
    if pod.was_out_of_memory:
        limit = f" of {pod.memory}" if pod.memory else ""
        return f"{what} It needed more than its limit{limit} of memory. {memory_remedy(pod)}"
    return f"{what} `kubectl logs --previous -n {engine.namespace} {engine.name}` shows its output."
