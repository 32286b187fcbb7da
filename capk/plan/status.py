"""What a status says: conditions, their summary and the history, from verdicts of a decision (C17, C18, C20)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from capk.api.conditions import Status, find, set_condition
from capk.api.names import Condition, Reason
from capk.plan.observed import Observed

HISTORY_LIMIT = 20
"""Entries of status.history that are kept, newest last."""

_PARTS = (
    Condition.ENGINE_AVAILABLE,
    Condition.CLUSTER_CREATED,
    Condition.NODES_RUNNING,
    Condition.API_SERVER_AVAILABLE,
    Condition.KUBECONFIG_AVAILABLE,
)
"""What Ready sums up, the deepest cause first."""
_MAY_STAY_UNKNOWN = Condition.API_SERVER_AVAILABLE
"""Where the provider cannot reach API servers, readiness is what the engine knows."""


@dataclass(frozen=True)
class Verdict:
    """What one condition should say. The message of a True Ready stays empty (C17)."""

    status: Status
    reason: str
    message: str = ""


def true(reason: Reason, message: str = "") -> Verdict:
    """Return a verdict that all is well; the message: what a person should know nevertheless."""
    return Verdict("True", reason, message)


def false(reason: Reason, message: str = "") -> Verdict:
    """Return a verdict that something is not, or not yet, so."""
    return Verdict("False", reason, message)


UNKNOWN = Verdict("Unknown", Reason.UNKNOWN, "Not observed yet.")
UNEVENTFUL = frozenset(
    {Reason.NOT_PAUSED, Reason.NOT_DELETING, Reason.ENGINE_ANSWERS, Reason.ANSWERING, Reason.UNKNOWN}
)
"""Reasons that conditions begin with: no news."""
RUNS_FREELY = {
    Condition.PAUSED: false(Reason.NOT_PAUSED),
    Condition.DELETING: false(Reason.NOT_DELETING),
}
"""The verdicts of an object that is neither paused nor going away."""


def kindcluster_status(observed: Observed, verdicts: Mapping[Condition, Verdict], **fields: Any) -> dict[str, Any]:
    """Return the whole status of a KINDCluster.

    verdicts: the conditions that this decision judged; the others stay as they are, or Unknown.
    fields: other fields of the status to set; one that is None is dropped.
    """
    cluster, now = observed.object, observed.now
    before = list(cluster.status.get("conditions") or ())
    unseen = {part: UNKNOWN for part in _PARTS if find(before, part) is None}
    answers = {Condition.ENGINE_AVAILABLE: true(Reason.ENGINE_ANSWERS)} if observed.engine.answers else {}
    after = _with_verdicts(before, unseen | RUNS_FREELY | answers | dict(verdicts), cluster.generation, now)
    after = _with_verdicts(after, {Condition.READY: _summary(after)}, cluster.generation, now)
    history = [*(cluster.status.get("history") or ()), *_transitions(before, after, now)]
    status = {
        **cluster.status,
        "clusterName": observed.cluster_name,
        **fields,
        "conditions": after,
        "observedGeneration": cluster.generation,
        "history": history[-HISTORY_LIMIT:],
    }
    return {field: value for field, value in status.items() if value is not None and value != []}


def conditions_only(
    seen: Mapping[str, Any], verdicts: Mapping[Condition, Verdict], *, generation: int, now: datetime
) -> dict[str, Any]:
    """Return the stored status with those conditions changed and nothing else."""
    return {**seen, "conditions": _with_verdicts(list(seen.get("conditions") or ()), verdicts, generation, now)}


def transitions(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the conditions whose status or reason differs, as they are now."""
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


def _summary(conditions: Sequence[Mapping[str, Any]]) -> Verdict:
    deleting = find(conditions, Condition.DELETING)
    if deleting and deleting["status"] == "True":
        return Verdict("False", Reason.DELETING, deleting.get("message", ""))
    for part in _PARTS:
        condition = find(conditions, part)
        if condition and condition["status"] == "False":
            # Another release of the provider may have written a reason that this one does not know.
            return Verdict("False", str(condition["reason"]), condition.get("message", ""))
    if all(_is_well(conditions, part) for part in _PARTS):
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
    """Changes worth a line of history: not Ready, which follows from the others, and not the uneventful first ones."""
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
