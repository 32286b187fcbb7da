"""What to do while there is no whole kind cluster yet: create, show progress, clean up, try again."""

from collections.abc import Mapping, Sequence
from posixpath import normpath
from typing import Any

from capk.api import names
from capk.api.names import Condition, Reason
from capk.errors import InvalidSpec
from capk.kindcfg.config import kind_config
from capk.kindcfg.images import node_image
from capk.plan.observed import EndpointMode, Observed, OperationFacts, Policy
from capk.plan.ownership import Ownership, ownership, was_completed
from capk.plan.plan import Create, Delete, Plan
from capk.plan.report import false, kindcluster_status


def plan_creation(observed: Observed) -> Plan | None:
    """Return what to do where no kind cluster stands that a creation has completed; None where one does."""
    operation = observed.operation
    if operation and operation.in_progress and isinstance(operation.request, Create | Delete):
        return Plan(status=_progress(observed, operation) if operation.told else None)
    exists = ownership(observed) is not Ownership.ABSENT
    if exists and (was_completed(observed) or observed.access is not None):
        return None
    if exists:
        # The provider ended in the middle of a creation: nobody knows how far it came, so it starts afresh (C21).
        return Plan(
            operation=Delete(observed.cluster_name),
            status=_waiting(observed, Reason.CLEANING_UP, "Removing what an interrupted creation left behind."),
        )
    if was_completed(observed) and not observed.object.recreates:
        return Plan(status=_missing(observed))
    return _start(observed)


def _start(observed: Observed) -> Plan:
    cluster = observed.object
    if observed.control_plane_name and observed.control_plane is None:
        message = f"KINDControlPlane {observed.control_plane_name} does not exist yet."
        return Plan(status=_waiting(observed, Reason.WAITING_FOR_CONTROL_PLANE, message))
    if observed.owner and observed.owner.is_deleting:
        return Plan()
    try:
        request = creation_request(observed)
    except InvalidSpec as wrong:
        return Plan(status=_waiting(observed, Reason.INVALID_CONFIG, str(wrong)))
    last = observed.operation
    # Only the same attempt has to wait: what a user has changed, here or in the KINDControlPlane, is tried at once.
    if last and last.failure and last.request == request:
        remaining = retry_delay(last.attempt, observed.policy) - last.ended_seconds_ago
        if remaining > 0:
            failed = false(last.failure.reason, last.failure.message)
            status = kindcluster_status(observed, {Condition.CLUSTER_CREATED: failed}, logs=last.logs or None)
            return Plan(status=status, requeue_seconds=remaining)
    claim: dict[str, str | None] = {
        names.CLAIM_ANNOTATION: request.name,
        names.CLAIM_ID_ANNOTATION: cluster.claim_id,
        names.IDENTITY_ANNOTATION: "",
    }
    return Plan(add_finalizer=True, annotations=claim, operation=request)


def creation_request(observed: Observed) -> Create:
    """Return the creation that the objects ask for.

    Raises InvalidSpec where they contradict each other or ask for what kind cannot do.
    """
    cluster = observed.object
    version = cluster.spec.get("kubernetesVersion")
    wanted = observed.control_plane.version if observed.control_plane else None
    if version and wanted and _bare(version) != _bare(wanted):
        raise InvalidSpec(
            "spec.kubernetesVersion",
            f"is {version}, but the KINDControlPlane asks for {wanted}; set only the KINDControlPlane's spec.version",
        )
    image = node_image(version or wanted, cluster.spec.get("image"), observed.policy.default_image)
    config = kind_config(
        cluster.spec,
        cluster_name=observed.cluster_name,
        cluster_network=observed.owner.cluster_network if observed.owner else None,
        image=image,
    )
    check_host_paths(cluster.spec, observed.policy.allowed_host_paths)
    # Nodes never become Ready without a CNI, so waiting for them would only lose time.
    has_cni = not (cluster.spec.get("networking") or {}).get("disableDefaultCNI")
    return Create(
        name=observed.cluster_name,
        config=_marked(_with_known_port(observed, config), cluster.claim_id),
        image=image,
        wait_seconds=observed.policy.wait_seconds if has_cni else 0,
        claim_id=cluster.claim_id,
        generation=cluster.generation,
    )


def check_host_paths(spec: Mapping[str, Any], allowed: Sequence[str]) -> None:
    """Raise InvalidSpec for a node that mounts a path of the engine's host outside of the allowed ones.

    Links on the host are not followed: whoever may write below an allowed path decides what it leads to.
    """
    for number, node in enumerate(spec.get("nodes") or ()):
        for place, mount in enumerate(node.get("extraMounts") or ()):
            path = normpath(mount.get("hostPath") or "")
            if not any(path == root or path.startswith(root.rstrip("/") + "/") for root in map(normpath, allowed)):
                raise InvalidSpec(
                    f"spec.nodes[{number}].extraMounts[{place}].hostPath",
                    f"{path} is not among the paths of the container engine's host that this provider may mount "
                    f"({', '.join(allowed) or 'none'}). Ask who runs the provider to add it to --allowed-host-paths.",
                )


def retry_delay(attempt: int, policy: Policy) -> float:
    """Return the seconds to wait after the given number of consecutive failures: doubling, bounded."""
    return float(min(policy.retry_base_seconds * 2 ** min(attempt - 1, 20), policy.retry_limit_seconds))


def _marked(config: dict[str, Any], claim_id: str) -> dict[str, Any]:
    """Put the claim's mark on every node: kind offers no container labels, but mounts show in the engine as well."""
    mount = {"hostPath": "/dev/null", "containerPath": names.CLAIM_MOUNT_FOLDER + claim_id, "readOnly": True}
    nodes = config.get("nodes") or [{"role": "control-plane"}]
    marked = [{**node, "extraMounts": [*(node.get("extraMounts") or ()), mount]} for node in nodes]
    return {**config, "nodes": marked}


def _with_known_port(observed: Observed, config: dict[str, Any]) -> dict[str, Any]:
    """Publish a recreated cluster on the port that the endpoint names already: that one never changes (C10)."""
    endpoint = observed.object.endpoint
    if endpoint is None or observed.policy.endpoint is not EndpointMode.EXTERNAL:
        return config
    return {**config, "networking": {"apiServerPort": endpoint[1], **(config.get("networking") or {})}}


def _bare(version: str) -> str:
    return version.removeprefix("v")


def _progress(observed: Observed, operation: OperationFacts) -> dict[str, Any]:
    if isinstance(operation.request, Delete):
        return _waiting(observed, Reason.CLEANING_UP, "Removing what an interrupted creation left behind.")
    if operation.queued:
        return _waiting(observed, Reason.QUEUED, "Waiting for other kind clusters to be created first.")
    return _waiting(observed, operation.step or Reason.CREATING, "")


def _missing(observed: Observed) -> dict[str, Any]:
    message = (
        f'The kind cluster "{observed.cluster_name}" was deleted, but not through this object; its data is gone. '
        "Delete the object, or set spec.recreatePolicy to Always to get a new, empty cluster."
    )
    gone = {Condition.NODES_RUNNING: false(Reason.MISSING, "There is no kind cluster.")}
    status = _waiting(observed, Reason.MISSING, message, gone)
    return {**status, "ready": False, "nodes": []}


def _waiting(
    observed: Observed, reason: Reason, message: str, more: dict[Condition, Any] | None = None
) -> dict[str, Any]:
    return kindcluster_status(observed, {Condition.CLUSTER_CREATED: false(reason, message)} | (more or {}))
