"""Turns what engine and API server say into the facts that decisions are made from; pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from capk.api import names
from capk.api.conditions import find
from capk.api.objects import SecretFacts
from capk.diagnosis.failures import Failure, classify
from capk.engine.containers import Node
from capk.engine.inventory import Snapshot
from capk.errors import AddressTaken, CommandError
from capk.kindcfg.images import kind_release
from capk.kindcfg.kubeconfig import BadKubeconfig, secret_digest
from capk.plan.marks import Mark
from capk.plan.observed import EngineFacts, NodeFacts


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


def engine_facts(snapshot: Snapshot | None, name: str, *, lists_nodes: bool) -> EngineFacts:
    """Return what the engine has under that name. lists_nodes: whether it can be asked for containers at all."""
    if snapshot is None:
        return EngineFacts(lists_nodes=lists_nodes)
    entry = snapshot.clusters.get(name)
    return EngineFacts(
        looked=True,
        failure=classify(snapshot.error) if snapshot.error else None,
        exists=entry is not None,
        nodes=tuple(_node(node) for node in entry.nodes) if entry and entry.nodes is not None else None,
        lists_nodes=lists_nodes,
        restarted=entry is not None and entry.restarted,
    )


def project_secret(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of a Secret of ours: metadata and a digest of the data, never the data itself."""
    metadata = raw.get("metadata") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "annotations", "ownerReferences")
    data = raw.get("data") or {}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {field: metadata[field] for field in kept if field in metadata},
        "digest": secret_digest(data),
        "keys": sorted(data),
        "authority": authority_in(data),
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


def failure_of(error: Exception | None) -> Failure | None:
    """Return why an operation failed, in words for people."""
    match error:
        case None:
            return None
        case CommandError():
            return classify(error)
        case BadKubeconfig():
            return Failure(names.Reason.KUBECONFIG_UNAVAILABLE, f"{_sentence(error)} See the control-plane node.")
        case AddressTaken():
            remedy = "Stop or remove that container; the nodes are started as soon as the address is free."
            return Failure(names.Reason.ADDRESS_TAKEN, f"{error}. {remedy}")
        case _:
            return Failure(names.Reason.COMMAND_FAILED, f"{type(error).__name__}. See the provider's log.")


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def _node(node: Node) -> NodeFacts:
    return NodeFacts(
        name=node.name,
        role=node.role,
        running=node.running,
        address=node.address,
        mark=Mark.parse(node.mark),
        container_id=node.container_id,
        image=node.image,
        started_at=node.started_at,
    )
