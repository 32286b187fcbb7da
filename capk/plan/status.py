"""Build a status from the verdicts of a decision: conditions, their summary and the history (C17, C18, C20)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from capk.api.conditions import Status, find, set_condition
from capk.api.names import KIND_CONFIGS, KIND_CONTROL_PLANES, PAUSED_ANNOTATION, Condition, Reason, Resource
from capk.api.objects import Object, OwnerCluster
from capk.diagnosis.failures import Failure
from capk.plan.enginechanges import engine_warnings
from capk.plan.enginepods import PodEngine, lost_engine
from capk.plan.facts import EngineFacts, GoalFacts
from capk.plan.machines import was_joined
from capk.plan.observed import MachineObserved, Observed
from capk.plan.power import awaits_addresses, stop_refusal

HISTORY_LIMIT = 20
"""Maximum number of entries in status.history, newest last."""

_PARTS = (
    Condition.ENGINE_AVAILABLE,
    Condition.CLUSTER_CREATED,
    Condition.NODES_RUNNING,
    Condition.API_SERVER_AVAILABLE,
    Condition.KUBECONFIG_AVAILABLE,
)
"""The conditions that Ready summarises, the deepest cause first."""
_MACHINE_PARTS = (Condition.ENGINE_AVAILABLE, Condition.WORKER_JOINED)
"""The same for a KINDMachine."""
_MAY_STAY_UNKNOWN = Condition.API_SERVER_AVAILABLE
"""If the provider cannot reach API servers, readiness depends on the engine only."""


@dataclass(frozen=True)
class Verdict:
    """The new content of one condition. The message of a True Ready stays empty (C17)."""

    status: Status
    reason: str
    message: str = ""


def true(reason: Reason, message: str = "") -> Verdict:
    """Return a True verdict; message: a warning, if any."""
    return Verdict("True", reason, message)


def false(reason: Reason, message: str = "") -> Verdict:
    """Return a False verdict."""
    return Verdict("False", reason, message)


def blocked_deletion(failure: Failure, hint: str = "") -> dict[Condition, Verdict]:
    """Return the verdicts of a deletion that cannot continue without the engine; hint: what it waits for."""
    return {
        Condition.DELETING: Verdict("True", failure.reason, f"{failure.message} {hint}".rstrip()),
        Condition.ENGINE_AVAILABLE: false(failure.reason, failure.message),
    }


AWAITS_ENGINE = "The deletion continues when the engine answers."
AWAITS_CLASS = (
    "The deletion continues when the class is there again. With spec.deletionPolicy Retain, the kind cluster stays on "
    "its engine."
)
UNKNOWN = Verdict("Unknown", Reason.UNKNOWN, "Not observed yet.")
UNEVENTFUL = frozenset(
    {Reason.NOT_PAUSED, Reason.NOT_DELETING, Reason.ENGINE_ANSWERS, Reason.ANSWERING, Reason.UNKNOWN}
)
"""Initial reasons of conditions, which are not worth a line of history."""
RUNS_FREELY = {
    Condition.PAUSED: false(Reason.NOT_PAUSED),
    Condition.DELETING: false(Reason.NOT_DELETING),
}
"""The verdicts of an object that is neither paused nor being deleted."""


def kindcluster_status(observed: Observed, verdicts: Mapping[Condition, Verdict], **fields: Any) -> dict[str, Any]:
    """Return the whole status of a KINDCluster.

    verdicts: the conditions that this decision sets; the others keep their value, or become Unknown.
    fields: other fields of the status to set; None removes a field.
    """
    cluster, now = observed.object, observed.now
    before = list(cluster.status.get("conditions") or ())
    unobserved = {part: UNKNOWN for part in _PARTS if find(before, part) is None}
    in_pod = observed.pod_engine
    engine = _pod_verdict(observed, in_pod) if in_pod else _engine_verdict(observed.engine, _power(observed))
    after = _with_verdicts(before, unobserved | RUNS_FREELY | engine | dict(verdicts), cluster.generation, now)
    after = _with_verdicts(after, {Condition.READY: _summary(after, _PARTS)}, cluster.generation, now)
    history = [*(cluster.status.get("history") or ()), *_transitions(before, after, now)]
    status = {
        **cluster.status,
        "clusterName": observed.cluster_name,
        "engine": _engine_status(observed),
        **fields,
        "conditions": after,
        "observedGeneration": cluster.generation,
        "history": history[-HISTORY_LIMIT:],
    }
    return {field: value for field, value in status.items() if value is not None and value != []}


def machine_status(observed: MachineObserved, verdicts: Mapping[Condition, Verdict], **fields: Any) -> dict[str, Any]:
    """Return the whole status of a KINDMachine; verdicts and fields as for `kindcluster_status`."""
    machine, now, infrastructure = observed.object, observed.now, observed.infrastructure
    before = list(machine.status.get("conditions") or ())
    unobserved = {part: UNKNOWN for part in _MACHINE_PARTS if find(before, part) is None}
    engine = _verdict_of_its_engine(infrastructure) if infrastructure else {}
    after = _with_verdicts(before, unobserved | RUNS_FREELY | engine | dict(verdicts), machine.generation, now)
    summary = {Condition.READY: _machine_summary(observed, after)}
    status = {
        **machine.status,
        **({"clusterName": infrastructure.cluster_name} if infrastructure else {}),
        **fields,
        "conditions": _with_verdicts(after, summary, machine.generation, now),
        "observedGeneration": machine.generation,
    }
    return {field: value for field, value in status.items() if value is not None and value != []}


def _engine_verdict(engine: EngineFacts, warning: str = "") -> dict[Condition, Verdict]:
    """Return what the last inventory shows, also while an operation runs: on an engine that hangs, it takes long."""
    if engine.failure is not None:
        return {Condition.ENGINE_AVAILABLE: false(engine.failure.reason, engine.failure.message)}
    return {Condition.ENGINE_AVAILABLE: true(Reason.ENGINE_ANSWERS, warning)} if engine.answers else {}


def _verdict_of_its_engine(infrastructure: Observed) -> dict[Condition, Verdict]:
    """Return what a KINDMachine shows of its KINDCluster's engine; of one that is gone, what the KINDCluster shows."""
    cluster, in_pod = infrastructure.object, infrastructure.pod_engine
    if in_pod is None or not in_pod.is_gone:
        return _engine_verdict(infrastructure.engine)
    shown = find(cluster.conditions, Condition.ENGINE_AVAILABLE)
    if shown is not None and shown["status"] == "False":
        return {Condition.ENGINE_AVAILABLE: false(shown["reason"], shown.get("message", ""))}
    return _pod_verdict(infrastructure, in_pod)


def _pod_verdict(observed: Observed, engine: PodEngine) -> dict[Condition, Verdict]:
    """Return the same for an engine in a Pod, which may be missing; it goes with its object."""
    if observed.object.is_deleting and engine.facts is not None:
        return {}
    if engine.is_gone:
        is_lost = observed.object.completed_attempt is not None
        return {Condition.ENGINE_AVAILABLE: false(Reason.MISSING, lost_engine(engine))} if is_lost else {}
    if not observed.engine.answers:
        return _late_stop(engine, _engine_verdict(observed.engine))
    stays = f"The engine is {engine.title}. `clusterctl move` cannot take it elsewhere, so an annotation blocks it."
    warnings = (stays, _power(observed), *engine_warnings(observed))
    return {Condition.ENGINE_AVAILABLE: true(Reason.ENGINE_ANSWERS, " ".join(filter(None, warnings)))}


def _late_stop(engine: PodEngine, verdicts: dict[Condition, Verdict]) -> dict[Condition, Verdict]:
    """Add to what is wrong with an engine that it is not stopped for that: only its nodes show what would be lost."""
    late = (
        "spec.engine.powerState Stopped takes effect when it answers: until then nothing proves that no data would be "
        "lost."
    )
    if not engine.is_stopping:
        return verdicts
    return {kind: replace(verdict, message=f"{verdict.message} {late}") for kind, verdict in verdicts.items()}


def _power(observed: Observed) -> str:
    """Return a warning if the object asks for a stop that is not possible."""
    cluster, engine = observed.object, observed.pod_engine
    if not cluster.is_to_be_stopped or not (cluster.completed_attempt is not None or cluster.is_provisioned):
        return ""
    refusal = stop_refusal(observed)
    if engine is not None and engine.facts is not None and not engine.keeps_data:
        refusal = "the engine in the Pod has no volume and would lose its data"
        if engine.facts.claim is not None:
            refusal = "the volume of the engine in the Pod is being deleted, and its data would go with the Pod"
    if not refusal and awaits_addresses(observed):
        return (
            "spec.engine.powerState Stopped takes effect when the API server has answered: until then the addresses "
            "that the control planes need are not known."
        )
    what = "spec.engine.powerState Stopped has no effect"
    return refusal and f"{what}, because {refusal}. Set Running, or delete the object."


def _engine_status(observed: Observed) -> dict[str, Any] | None:
    """Return status.engine; None for the provider's own engine."""
    engine, stored = observed.pod_engine, observed.object.status.get("engine") or {}
    if not observed.engine_class:
        return None
    if engine is None:
        return {"className": observed.engine_class}
    if engine.facts is None:
        return {**stored, "className": observed.engine_class}
    pod = engine.facts.pod
    # Where it runs, also while it goes with its object.
    is_there = pod is not None and (pod.lives or observed.object.is_deleting)
    placed = {"node": pod.node, "restarts": pod.restarts} if pod and pod.node and is_there else {}
    shown = {"pod": f"{engine.namespace}/{engine.name}", **placed}
    return {"className": observed.engine_class, **(shown if engine.facts.any else {})}


def _machine_summary(observed: MachineObserved, conditions: Sequence[Mapping[str, Any]]) -> Verdict:
    """Return Ready of a KINDMachine: Unknown if its node has joined, and is stopped or the engine cannot be asked.

    False would let a MachineHealthCheck replace all workers, whose containers may well run, unless the engine is gone.
    """
    summary, engine = _summary(conditions, _MACHINE_PARTS), find(conditions, Condition.ENGINE_AVAILABLE)
    infrastructure = observed.infrastructure
    is_gone = infrastructure is not None and infrastructure.pod_engine is not None and infrastructure.pod_engine.is_gone
    is_of_engine = engine is not None and engine["status"] == "False" and summary.reason == engine["reason"]
    is_unseen = is_of_engine and not is_gone
    is_off = is_unseen or summary.reason == Reason.STOPPED
    return replace(summary, status="Unknown") if is_off and was_joined(observed) else summary


def queued(message: str, last: GoalFacts | None) -> Verdict:
    """Return the verdict while an attempt waits for others; it keeps the cause if the attempt before it failed.

    message: what the attempt waits for. last: outcome of the attempt before, if it was for the same.
    """
    failure = last.failure if last else None
    cause = f" The last attempt failed with {failure.reason}: {failure.message}" if failure else ""
    return false(Reason.QUEUED, message + cause)


def paused_status(current: Object, owner: OwnerCluster | None, now: datetime, *, warning: str = "") -> dict[str, Any]:
    """Return the stored status with the condition Paused, whose message names every cause (C7).

    current: of one of our kinds, whose name is that of its class. warning: a sentence to add.
    """
    causes = ["Cluster spec.paused is set to true"] if owner and owner.pauses else []
    causes += [f"{type(current).__name__} has the {PAUSED_ANNOTATION} annotation"] if current.is_paused else []
    verdict = true(Reason.PAUSED, ". ".join(filter(None, (", ".join(causes), warning))))
    return conditions_only(current.status, {Condition.PAUSED: verdict}, generation=current.generation, now=now)


def unreconciled_status(resource: Resource, current: Object, cause: str, now: datetime) -> dict[str, Any]:
    """Return the stored status of an object whose reconciles keep failing, with the cause in its summary.

    The other conditions keep what was true when they were written: nothing newer is known.
    """
    verdict = Verdict("Unknown", Reason.NOT_RECONCILED, unreconciled_message(cause))
    summary = Condition.AVAILABLE if resource is KIND_CONTROL_PLANES else Condition.READY
    verdicts = {summary: verdict}
    if current.is_deleting and resource is not KIND_CONFIGS:
        verdicts[Condition.DELETING] = replace(verdict, status="True")
    return conditions_only(current.status, verdicts, generation=current.generation, now=now)


def unreconciled_message(cause: str) -> str:
    """Return the message about reconciles that keep failing; cause: a clause without a full stop."""
    return f"The provider tries again and again, but cannot go on: {cause}. Run `capk doctor` to check its rights."


def conditions_only(
    current: Mapping[str, Any], verdicts: Mapping[Condition, Verdict], *, generation: int, now: datetime
) -> dict[str, Any]:
    """Return the stored status with only those conditions changed."""
    return {**current, "conditions": _with_verdicts(list(current.get("conditions") or ()), verdicts, generation, now)}


def transitions(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the new conditions whose status or reason has changed."""
    known = {condition["type"]: condition for condition in before}
    return [
        condition
        for condition in after
        if (old := known.get(condition["type"], {})).get("reason") != condition["reason"]
        or old.get("status") != condition["status"]
    ]


def _with_verdicts(
    conditions: list[Mapping[str, Any]], verdicts: Mapping[Condition, Verdict], generation: int, now: datetime
) -> list[Mapping[str, Any]]:
    for kind, verdict in verdicts.items():
        conditions = list(
            set_condition(
                conditions,
                kind,
                verdict.status,
                verdict.reason,
                verdict.message,
                generation=generation,
                now=now,
            )
        )
    return conditions


def _summary(conditions: Sequence[Mapping[str, Any]], parts: Sequence[Condition]) -> Verdict:
    deleting = find(conditions, Condition.DELETING)
    if deleting and deleting["status"] == "True":
        return Verdict("False", Reason.DELETING, deleting.get("message", ""))
    for part in parts:
        condition = find(conditions, part)
        if condition and condition["status"] == "False":
            # Another release of the provider may have written a reason that this release does not know.
            return Verdict("False", str(condition["reason"]), condition.get("message", ""))
    if all(_is_well(conditions, part) for part in parts):
        return true(Reason.READY)
    return Verdict("False", Reason.NOT_READY, "Not everything has been observed yet.")


def _is_well(conditions: Sequence[Mapping[str, Any]], part: Condition) -> bool:
    condition = find(conditions, part)
    if condition is None:
        return False
    is_tolerated = part is _MAY_STAY_UNKNOWN and condition["reason"] == Reason.NOT_REACHABLE
    return condition["status"] == "True" or is_tolerated


def _transitions(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], now: datetime
) -> list[dict[str, str]]:
    """Return the history entries: not for Ready, which follows from the others, and not for initial reasons."""
    known = {condition["type"] for condition in before if condition["status"] != "Unknown"}
    return [
        {
            "time": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "type": condition["type"],
            "reason": condition["reason"],
            "message": condition.get("message", ""),
        }
        for condition in transitions(before, after)
        if condition["type"] != Condition.READY
        and (condition["type"] in known or condition["reason"] not in UNEVENTFUL)
    ]


def is_refused(observed: Observed, kind: Condition) -> bool:
    """Return whether the stored condition is a refusal, which holds until the next attempt."""
    stored = find(observed.object.conditions, kind)
    return stored is not None and stored["reason"] in (Reason.WRITE_REFUSED, Reason.NAME_CONFLICT)
