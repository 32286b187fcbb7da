"""Decide what to do for a KINDControlPlane: report its state, keep Cluster API's kubeconfig Secret (C40…C45).

The KINDCluster creates and deletes the kind cluster as one unit. So a KINDControlPlane needs no finalizer, and its
deletion waits for nothing (C45).
"""

from collections.abc import Mapping
from typing import Any

from capk.api.conditions import find
from capk.api.names import Condition, Reason
from capk.api.objects import KINDCluster
from capk.kindconfig.config import CONTROL_PLANE, MOST_CONTROL_PLANES
from capk.kindconfig.images import same_version
from capk.plan.kindcluster import FRESH_SECONDS
from capk.plan.observed import ControlPlaneObserved
from capk.plan.parts import REPLICAS, SECRET
from capk.plan.plan import Plan
from capk.plan.secrets import FOREIGN_SECONDS, differs, is_as_written, kubeconfig_secret_name, wanted_kubeconfig_secret
from capk.plan.status import RUNS_FREELY, Verdict, conditions_only, false, paused_status, true

SELECTOR = "node-role.kubernetes.io/control-plane"
"""Of the Nodes that the replicas are: kubeadm gives them this label."""


def decide(observed: ControlPlaneObserved) -> Plan:
    """Return the next plan for a KINDControlPlane."""
    control_plane = observed.object
    if control_plane.is_left_to_others:
        return Plan()
    if observed.is_paused:
        return Plan(status=paused_status(control_plane, observed.owner, observed.now))
    if control_plane.is_deleting:
        return Plan()
    if observed.owner is None:
        return _await_owner(observed)
    secrets = _secrets(observed)
    status = _status(observed, secret_follows=bool(secrets))
    return Plan(
        secrets=secrets,
        replicas=_due_replicas(observed, status),
        status=status,
        requeue_seconds=FOREIGN_SECONDS if _is_foreign(observed) else None,
    )


def _await_owner(observed: ControlPlaneObserved) -> Plan:
    """Report that no Cluster owns the object, like a KINDCluster: most get their Cluster quickly."""
    control_plane, reference = observed.object, observed.object.owner_cluster_reference
    age = (observed.now - control_plane.created_at).total_seconds()
    if 0 <= age < FRESH_SECONDS and not control_plane.status:
        return Plan(requeue_seconds=FRESH_SECONDS - age + 0.1)
    if reference is None:
        message = "No Cluster owns this KINDControlPlane. Create a Cluster whose controlPlaneRef names it."
    else:
        message = f"Cluster {reference['name']}, which owns this KINDControlPlane, does not exist. Create it again."
    verdicts = RUNS_FREELY | {Condition.AVAILABLE: false(Reason.WAITING_FOR_CLUSTER, message)}
    status = {**control_plane.status, "observedGeneration": control_plane.generation}
    return Plan(status=conditions_only(status, verdicts, generation=control_plane.generation, now=observed.now))


def _secrets(observed: ControlPlaneObserved) -> tuple[dict[str, Any], ...]:
    """Return the kubeconfig Secret if it has to be written (C14, C15)."""
    owner = observed.owner
    if observed.access is None or owner is None:
        return ()
    if owner.spec.get("controlPlaneRef") and (
        owner.references("controlPlaneRef", "KINDControlPlane") != observed.object.name
    ):
        # The Cluster references another control plane: the owner reference was copied.
        return ()
    wanted = wanted_kubeconfig_secret(
        observed.object,
        owner.name,
        observed.cluster_name,
        observed.access.kubeconfig(observed.policy.endpoint),
    )
    name = wanted["metadata"]["name"]
    is_held_back = name in observed.foreign_secrets or f"{SECRET} {name}" in observed.held_back
    is_due = not is_held_back and differs(wanted, observed.secrets.get(name))
    return (wanted,) if is_due else ()


def _status(observed: ControlPlaneObserved, *, secret_follows: bool) -> dict[str, Any]:
    control_plane, infrastructure = observed.object, observed.infrastructure
    assert observed.owner is not None
    has_secret = secret_follows or kubeconfig_secret_name(observed.owner.name) in observed.secrets
    is_up = infrastructure is not None and infrastructure.is_true(Condition.CLUSTER_CREATED) and has_secret
    initialized = control_plane.is_initialized or is_up
    verdicts = RUNS_FREELY | {Condition.AVAILABLE: _available(observed, has_secret=has_secret)}
    status = {
        **control_plane.status,
        **(_replicas(infrastructure) if infrastructure is not None and initialized else {}),
        "initialized": initialized,
        "ready": initialized,
        "externalManagedControlPlane": True,
        "observedGeneration": control_plane.generation,
    }
    if initialized:
        status["initialization"] = {"controlPlaneInitialized": True}
    return conditions_only(status, verdicts, generation=control_plane.generation, now=observed.now)


def _due_replicas(observed: ControlPlaneObserved, status: Mapping[str, Any]) -> int | None:
    """The number of nodes that were made, where the spec leaves it open: users read it as the one that is wanted.

    On an initialized control plane, admission takes only the number that the stored status has.
    """
    control_plane, made = observed.object, status.get("replicas") or 0
    is_open = control_plane.replicas is None and status["initialized"] and REPLICAS not in observed.held_back
    is_taken = not control_plane.is_initialized or control_plane.status.get("replicas") == made
    return made if is_open and is_taken and 1 <= made <= MOST_CONTROL_PLANES else None


def _is_foreign(observed: ControlPlaneObserved) -> bool:
    """Return whether the name of Cluster API's kubeconfig Secret is taken by a Secret that is not ours."""
    return observed.owner is not None and kubeconfig_secret_name(observed.owner.name) in observed.foreign_secrets


def _available(observed: ControlPlaneObserved, *, has_secret: bool) -> Verdict:
    infrastructure = observed.infrastructure
    if observed.owner and _is_foreign(observed):
        name = kubeconfig_secret_name(observed.owner.name)
        message = (
            f"Secret {name} exists and does not belong to this provider. Copy its data if you need it, and delete it."
        )
        return false(Reason.NAME_CONFLICT, message)
    for part, words in observed.refusals.items():
        if part.startswith(SECRET) and not is_as_written(observed.secrets.get(part.removeprefix(SECRET).strip())):
            return false(Reason.WRITE_REFUSED, f"The API server refuses {part.capitalize()}: {words}")
    if infrastructure is None:
        message = "The Cluster's KINDCluster does not exist. Create it, or delete the Cluster."
        return false(Reason.WAITING_FOR_INFRASTRUCTURE, message)
    if not has_secret and observed.access is None and (refused := _refused_before(observed)):
        return refused
    for condition in infrastructure.conditions:
        # Without a message it is a step of the creation, which the KINDCluster already reports.
        if condition["type"] == Condition.READY and condition["status"] != "True" and condition.get("message"):
            message = f"KINDCluster {infrastructure.name}: {condition['message']}"
            return false(Reason.WAITING_FOR_INFRASTRUCTURE, message)
    if not infrastructure.is_true(Condition.READY) or not has_secret:
        return false(Reason.WAITING_FOR_INFRASTRUCTURE, f"KINDCluster {infrastructure.name} is not ready yet.")
    running = infrastructure.status.get("kubernetesVersion")
    wanted = observed.object.version
    if wanted and running and not same_version(wanted, running):
        return false(
            Reason.UNSUPPORTED_VERSION_CHANGE,
            f"spec.version is {wanted}, but the kind cluster runs {running}, and kind cannot upgrade a cluster. Create "
            f"a new Cluster with a node image that runs {wanted}, move the workloads, and delete this one.",
        )
    words = "" if observed.object.replicas is not None else observed.refusals.get(REPLICAS, "")
    return true(Reason.AVAILABLE, words and f"The API server refuses spec.replicas: {words}")


def _refused_before(observed: ControlPlaneObserved) -> Verdict | None:
    """Return the verdict of the last failed write of the Secret; it holds until the next write with a kubeconfig."""
    stored = find(observed.object.conditions, Condition.AVAILABLE)
    if stored is None or stored["reason"] not in (Reason.NAME_CONFLICT, Reason.WRITE_REFUSED):
        return None
    return false(Reason(stored["reason"]), stored.get("message", ""))


def _replicas(infrastructure: KINDCluster) -> dict[str, Any]:
    """Return the numbers of control plane nodes and the version that they run (C43)."""
    nodes = [node for node in infrastructure.status.get("nodes") or () if node.get("role") == CONTROL_PLANE]
    running = [node for node in nodes if node.get("state", "Running") == "Running"]
    version = infrastructure.status.get("kubernetesVersion")
    counts = {
        "selector": SELECTOR,
        "replicas": len(nodes),
        "upToDateReplicas": len(nodes),
        "updatedReplicas": len(nodes),
        "readyReplicas": len(running),
        "availableReplicas": len(running),
        "unavailableReplicas": len(nodes) - len(running),
    }
    if not version:
        return counts
    return {**counts, "version": version, "versions": [{"version": version, "replicas": max(len(nodes), 1)}]}
