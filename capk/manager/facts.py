"""Turns what engine and API server say into the facts that decisions are made from; pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from capk.api import names
from capk.api.conditions import find
from capk.api.objects import KINDCluster, SecretFacts
from capk.diagnosis.failures import Failure, classify
from capk.engine.containers import Node
from capk.engine.inventory import Snapshot
from capk.engine.operations import OperationState
from capk.errors import CommandError
from capk.kindcfg.images import kind_release
from capk.kindcfg.kubeconfig import secret_digest
from capk.plan.observed import EngineFacts, NodeFacts, OperationFacts
from capk.plan.plan import Request


def version_note(version: str | None) -> str | None:
    """Return what a person should know about this version of kind; None where it is the release we were made for."""
    wanted = kind_release()
    if not version or version.split(".")[:2] == wanted.split(".")[:2]:
        return None
    return (
        f"kind is {version}, and this provider was made for {wanted}: it goes on, but node images of its catalogue may "
        f"not run, and causes of failures may not be recognised. Install {wanted} where the provider runs, or name it "
        "with --kind-command."
    )


def engine_facts(snapshot: Snapshot | None, name: str) -> EngineFacts:
    """Return what the engine has under that name."""
    if snapshot is None:
        return EngineFacts()
    entry = snapshot.clusters.get(name)
    nodes = tuple(_node(node) for node in entry.nodes) if entry and entry.nodes is not None else None
    failure = classify(snapshot.error) if snapshot.error else None
    restarted = entry is not None and entry.restarted
    return EngineFacts(looked=True, failure=failure, exists=entry is not None, nodes=nodes, restarted=restarted)


def operation_facts(state: OperationState | None, request: Request | None, clock: float) -> OperationFacts | None:
    """Return the running or last operation; clock: now, on the clock of the operations."""
    if state is None or request is None:
        return None
    return OperationFacts(
        request=request,
        queued=state.queued,
        running=state.running,
        told=state.told,
        step=state.step.reason if state.step else None,
        failure=_failure(state.error),
        logs=state.error.logs if isinstance(state.error, CommandError) else "",
        attempt=max(state.attempt, 1),
        ended_seconds_ago=clock - state.ended_at if state.ended_at is not None else 0.0,
    )


def comes_first(cluster: KINDCluster, other: KINDCluster) -> bool:
    """Return whether `other` has precedence for a name that both want: who claimed it, else who is older.

    A copy of an object has its claim as well, but not the uid that the claim was made with.
    """

    def rank(candidate: KINDCluster) -> tuple[bool, bool, datetime, str, str]:
        is_unclaimed, is_copy = candidate.claim is None, candidate.claim_id != candidate.uid
        return is_unclaimed, is_copy, candidate.created_at, candidate.namespace, candidate.name

    return rank(other) < rank(cluster)


def project_secret(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of a Secret of ours: metadata and a digest of the data, never the data itself."""
    metadata = raw.get("metadata") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "annotations", "ownerReferences")
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {field: metadata[field] for field in kept if field in metadata},
        "digest": secret_digest(raw.get("data") or {}),
    }


def ready_reason(raw: Mapping[str, Any]) -> str:
    """Return the state of a KINDCluster in one word: the reason of its Ready condition."""
    ready = find((raw.get("status") or {}).get("conditions") or (), names.Condition.READY)
    return str(ready["reason"]) if ready else str(names.Reason.UNKNOWN)


def secret_facts(projected: Mapping[str, Any]) -> SecretFacts:
    """Return the facts of a Secret that `project_secret` has been through."""
    metadata = projected["metadata"]
    return SecretFacts(name=metadata["name"], digest=projected["digest"], metadata=metadata)


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


def _failure(error: Exception | None) -> Failure | None:
    if error is None:
        return None
    if isinstance(error, CommandError):
        return classify(error)
    return Failure(names.Reason.COMMAND_FAILED, f"{error}. See the provider's log.")


def _node(node: Node) -> NodeFacts:
    return NodeFacts(
        name=node.name,
        role=node.role,
        running=node.running,
        address=node.address,
        claim_id=node.claim_id,
        container_id=node.container_id,
        image=node.image,
        started_at=node.started_at,
    )
