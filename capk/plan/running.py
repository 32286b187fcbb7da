"""What to do for a kind cluster that stands: Secrets, endpoint, status, repair."""

from typing import Any

from capk.api import names
from capk.api.names import Condition, Reason
from capk.plan.creation import retry_delay
from capk.plan.observed import NodeFacts, Observed
from capk.plan.ownership import adopted_claim_id
from capk.plan.plan import Plan, ReadAccess, Request, StartNodes
from capk.plan.report import Verdict, false, kindcluster_status, true
from capk.plan.secrets import (
    are_intact,
    differs,
    foreign_among,
    kubeconfig_secret_name,
    wanted_config_secret,
    wanted_kubeconfig_secret,
)


def keep_running(observed: Observed) -> Plan:
    """Return what keeps Secrets, endpoint and status true to a kind cluster that is complete."""
    cluster, access = observed.object, observed.access
    secrets = wanted_secrets(observed) if access else ()
    operation, requeue = _operation(observed)
    waits = access is not None and _awaits_control_plane_secret(observed)
    endpoint = access.endpoint(observed.policy.endpoint) if access and cluster.endpoint is None else None
    return Plan(
        add_finalizer=not cluster.has_finalizer,
        annotations=_restored_claim(observed),
        operation=operation,
        secrets=tuple(
            secret
            for secret in secrets
            if (name := secret["metadata"]["name"]) not in observed.foreign_secrets
            and differs(secret, observed.secrets.get(name))
        ),
        endpoint=endpoint,
        identity=access.fingerprint if access and cluster.identity is None else None,
        # The KINDControlPlane writes its Secret within a moment; a status before that would be written twice.
        status=None if waits and not cluster.is_provisioned else _status(observed),
        requeue_seconds=requeue,
    )


def adopt(observed: Observed) -> Plan:
    """Return how a kind cluster that the user pointed at becomes this object's: read it, then claim it."""
    if observed.access is None:
        operation, requeue = _read(observed)
        return Plan(operation=operation, requeue_seconds=requeue, status=kindcluster_status(observed, {}))
    claim: dict[str, str | None] = {
        names.CLAIM_ANNOTATION: observed.cluster_name,
        names.CLAIM_ID_ANNOTATION: adopted_claim_id(observed),
        names.IDENTITY_ANNOTATION: observed.access.fingerprint,
    }
    return Plan(add_finalizer=True, annotations=claim, requeue_seconds=0.0)


def wanted_secrets(observed: Observed) -> tuple[dict[str, Any], ...]:
    """Return the Secrets that the KINDCluster keeps; Cluster API's may be the KINDControlPlane's (C14)."""
    access, cluster = observed.access, observed.object
    assert access is not None
    secrets = [wanted_config_secret(cluster, observed.cluster_name, access.external)]
    if observed.owner and observed.control_plane_name is None:
        kubeconfig = access.kubeconfig(observed.policy.endpoint)
        secrets.append(wanted_kubeconfig_secret(cluster, observed.owner.name, observed.cluster_name, kubeconfig))
    return tuple(secrets)


def _awaits_control_plane_secret(observed: Observed) -> bool:
    """Whether the kubeconfig Secret is the KINDControlPlane's to write, and it is about to (C13)."""
    control_plane = observed.control_plane
    return (
        control_plane is not None
        and observed.owner is not None
        and kubeconfig_secret_name(observed.owner.name) not in observed.secrets
        and not (control_plane.is_paused or control_plane.is_externally_managed or control_plane.is_deleting)
    )


def _restored_claim(observed: Observed) -> dict[str, str | None]:
    """The claim again, where somebody replaced the object's annotations."""
    if observed.object.claim is not None:
        return {}
    return {
        names.CLAIM_ANNOTATION: observed.cluster_name,
        names.CLAIM_ID_ANNOTATION: observed.object.claim_id,
    }


def _operation(observed: Observed) -> tuple[Request | None, float | None]:
    """Return the operation that is due, and when to look again if one has failed lately."""
    running = observed.operation
    if running and running.in_progress:
        return None, None
    stopped = _stopped(observed)
    if stopped or observed.engine.restarted:
        request = StartNodes(observed.cluster_name, tuple(node.name for node in stopped))
        remaining = _remaining_backoff(observed, StartNodes)
        return (None, remaining) if remaining > 0 else (request, None)
    due = observed.access is None and (observed.recheck or _needs_access(observed))
    return _read(observed) if due else (None, None)


def _read(observed: Observed) -> tuple[Request | None, float | None]:
    remaining = _remaining_backoff(observed, ReadAccess)
    running = observed.operation
    if running and running.in_progress:
        return None, None
    return (None, remaining) if remaining > 0 else (ReadAccess(observed.cluster_name), None)


def _remaining_backoff(observed: Observed, kind: type) -> float:
    last = observed.operation
    if last is None or last.failure is None or not isinstance(last.request, kind):
        return 0.0
    return retry_delay(last.attempt, observed.policy) - last.ended_seconds_ago


def _needs_access(observed: Observed) -> bool:
    """Whether something has to be written that only the kubeconfigs tell (C27: all can be read again)."""
    if observed.access is not None:
        return False
    cluster = observed.object
    complete = cluster.identity and cluster.endpoint and cluster.status.get("endpoints") and cluster.is_provisioned
    return not complete or not are_intact(observed)


def _stopped(observed: Observed) -> list[NodeFacts]:
    return [node for node in observed.engine.nodes or () if not node.running]


def _status(observed: Observed) -> dict[str, Any]:
    cluster, access = observed.object, observed.access
    verdicts = {
        Condition.CLUSTER_CREATED: true(Reason.CREATED),
        Condition.NODES_RUNNING: _nodes_verdict(observed),
        Condition.KUBECONFIG_AVAILABLE: _kubeconfig_verdict(observed),
    }
    fields: dict[str, Any] = {"nodes": _nodes(observed), "logs": None}
    if access is not None:
        fields["endpoints"] = {
            "external": _url(access.external_endpoint),
            "internal": _url(access.internal_endpoint),
        }
        fields["kubernetesVersion"] = access.version or cluster.status.get("kubernetesVersion")
    images = {node.image for node in observed.engine.nodes or () if node.image and node.role == "control-plane"}
    if images:
        fields["image"] = min(images)
    # The endpoint is stored before this status is (C10, C13).
    if (access is not None and not foreign_among(observed)) or (cluster.is_provisioned and cluster.endpoint):
        fields |= {"ready": True, "initialization": {"provisioned": True}}
    return kindcluster_status(observed, verdicts, **fields)


def _nodes_verdict(observed: Observed) -> Verdict:
    stopped = _stopped(observed)
    if not stopped and observed.engine.restarted:
        return false(Reason.STARTING_NODES, "Nodes were started again; waiting for the kind cluster's API server.")
    if not stopped:
        return true(Reason.RUNNING)
    names_of_stopped = ", ".join(node.name for node in stopped)
    last = observed.operation
    if last and last.failure and isinstance(last.request, StartNodes):
        return false(Reason.NODES_STOPPED, f"Could not start {names_of_stopped}: {last.failure.message}")
    return false(Reason.STARTING_NODES, f"Starting stopped nodes: {names_of_stopped}.")


def _kubeconfig_verdict(observed: Observed) -> Verdict:
    if foreign := foreign_among(observed):
        message = (
            f"Secret {', '.join(foreign)} exists and is not this provider's, so it is not overwritten. "
            "Delete or rename it."
        )
        return false(Reason.NAME_CONFLICT, message)
    if observed.access is not None or not _needs_access(observed):
        return true(Reason.PROVISIONED)
    last = observed.operation
    if last and last.failure and isinstance(last.request, ReadAccess):
        return false(Reason.KUBECONFIG_UNAVAILABLE, last.failure.message)
    return false(Reason.NOT_PROVISIONED, "Reading the kubeconfig.")


def _nodes(observed: Observed) -> list[dict[str, str]]:
    if observed.engine.nodes is not None:
        return [
            {"name": node.name, "role": node.role, "address": node.address, "state": _state(node)}
            for node in sorted(observed.engine.nodes, key=lambda node: node.name)
        ]
    if observed.access is not None and observed.access.nodes:
        return [{"name": name} for name in sorted(observed.access.nodes)]
    return list(observed.object.status.get("nodes") or ())


def _state(node: NodeFacts) -> str:
    return "Running" if node.running else "Stopped"


def _url(endpoint: tuple[str, int]) -> str:
    host, port = endpoint
    return f"https://{host}:{port}"
