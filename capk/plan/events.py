"""Decide which changes of a condition are worth a Kubernetes Event. Conditions hold the state, events the history."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from capk.api.names import Condition, Reason


class Event(NamedTuple):
    """An Event as `kubectl describe` shows it."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


_ORDINARY = {
    (Condition.CLUSTER_CREATED, Reason.CREATED): "The kind cluster is up.",
    (Condition.CLUSTER_CREATED, Reason.PREPARING_NODES): "kind is creating the cluster.",
    (Condition.CLUSTER_CREATED, Reason.CLEANING_UP): "",
    (Condition.CLUSTER_CREATED, Reason.WAITING_FOR_CLUSTER): "",
    (Condition.CLUSTER_CREATED, Reason.WAITING_FOR_CONFIG_MAP): "",
    (Condition.NODES_RUNNING, Reason.STARTING_NODES): "",
    (Condition.WORKER_JOINED, Reason.JOINED): "The node has joined the kind cluster.",
    (Condition.WORKER_JOINED, Reason.PREPARING_NODE): "The provider adds a node to the kind cluster.",
    (Condition.WORKER_JOINED, Reason.CLEANING_UP): "",
    (Condition.WORKER_JOINED, Reason.STARTING_NODES): "",
    (Condition.WORKER_JOINED, Reason.WAITING_FOR_MACHINE): "",
    (Condition.ENGINE_AVAILABLE, Reason.STARTING_ENGINE): "",
    (Condition.ENGINE_AVAILABLE, Reason.STOPPED): "",
    (Condition.NODES_RUNNING, Reason.STOPPED): "",
    (Condition.NODES_RUNNING, Reason.STOPPING_NODES): "",
    (Condition.DELETING, Reason.DELETING): "",
    (Condition.DELETING, Reason.REMOVING_NODE): "",
    (Condition.DELETING, Reason.WAITING_FOR_INFRASTRUCTURE): "",
    (Condition.PAUSED, Reason.PAUSED): "",
    (Condition.AVAILABLE, Reason.AVAILABLE): "The workload cluster is ready for use.",
}
"""Messages of Normal Events; an empty text means the condition's own message."""

_PROBLEMS = frozenset(
    {
        Reason.MISSING,
        Reason.DATA_LOST,
        Reason.CREATION_FAILED,
        Reason.DELETION_FAILED,
        Reason.NAME_CONFLICT,
        Reason.IMAGE_NOT_FOUND,
        Reason.PORT_CONFLICT,
        Reason.ADDRESS_TAKEN,
        Reason.ENGINE_UNREACHABLE,
        Reason.ENGINE_UNSUPPORTED,
        Reason.ENGINE_CHANGED,
        Reason.ENGINE_CLASS_NOT_FOUND,
        Reason.ENGINE_NOT_ALLOWED,
        Reason.ENGINE_UNSCHEDULABLE,
        Reason.ENGINE_REFUSED,
        Reason.ENGINE_IMAGE_NOT_FOUND,
        Reason.ENGINE_CRASHING,
        Reason.KIND_COMMAND_MISSING,
        Reason.OUT_OF_DISK,
        Reason.OUT_OF_MEMORY,
        Reason.INOTIFY_LIMIT,
        Reason.KUBEADM_FAILED,
        Reason.NODE_NAME_NOT_RESOLVED,
        Reason.TIMEOUT,
        Reason.INVALID_CONFIG,
        Reason.COMMAND_FAILED,
        Reason.KUBECONFIG_UNAVAILABLE,
        Reason.NOT_ANSWERING,
        Reason.WRITE_REFUSED,
        Reason.NOT_RECONCILED,
        Reason.CONTESTED,
        Reason.CERTIFICATE_EXPIRED,
        Reason.UNSUPPORTED_VERSION_CHANGE,
        Reason.NODES_STOPPED,
        Reason.NOT_CONFIGURED,
    }
)


_WARNINGS = {
    Condition.CLUSTER_CREATED: "CreatedWithWarnings",
    Condition.WORKER_JOINED: "JoinedWithWarnings",
    Condition.KUBECONFIG_AVAILABLE: "RenewalFailed",
}
"""Reasons of the Events for warnings in a condition that is True."""


def warning_of(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Event | None:
    """Return the Event for a new message in a condition that is True; None if there is nothing new.

    before: the previous condition; None if there was none.
    """
    reason, message = _WARNINGS.get(after["type"]), after.get("message") or ""
    if reason is None or after["status"] != "True" or not message:
        return None
    known = (before or {}).get("message") or ""
    return None if message in known else Event("Warning", reason, message)


def event_of(condition: Mapping[str, Any]) -> Event | None:
    """Return the Event for a condition that has just changed; None if the change is not worth one."""
    kind, reason, message = condition["type"], condition["reason"], condition.get("message") or ""
    if kind == Condition.READY and reason != Reason.NOT_RECONCILED:
        # It repeats another condition.
        return None
    if reason in _PROBLEMS:
        return Event("Warning", reason, message)
    if (kind, reason) in _ORDINARY:
        return Event("Normal", reason, _ORDINARY[kind, reason] or message)
    return None
