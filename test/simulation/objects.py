"""Merge patches and admission rules of the simulated API server. Pure."""

import json
from collections.abc import Mapping
from typing import Any, Final

from capk.api import names
from capk.api.names import Resource
from capk.errors import ApiError, Conflict, Forbidden, NotFound, Unreachable

Body = dict[str, Any]

_FIXED_AT_CREATION: Final = (
    "kubernetesVersion",
    "image",
    "nodes",
    "networking",
    "featureGates",
    "runtimeConfig",
    "kubeadmConfigPatches",
    "containerdConfigPatches",
)


def copied(document: Any) -> Any:
    """Return a document after a JSON round trip; raises TypeError for values that JSON does not have."""
    return json.loads(json.dumps(document))


def merged(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def selects(selector: str | None, labels: Mapping[str, str]) -> bool:
    """Evaluate `key` and `key=value`, joined by commas."""
    for term in (selector or "").split(","):
        key, _, value = term.partition("=")
        if term and (key not in labels or (value and labels[key] != value)):
            return False
    return True


def error(verb: str, resource: Resource, where: str, status: int, message: str) -> ApiError:
    """Return the client's ApiError for an answer with that HTTP status."""
    subject = f"{resource.plural} {where}".strip()
    if status in (0, 408, 429) or status >= 500:
        return Unreachable(verb, subject, status, message)
    known = {401: Forbidden, 403: Forbidden, 404: NotFound, 409: Conflict}
    return known.get(status, ApiError)(verb, subject, status, message)


def refusal(resource: Resource, old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> tuple[int, str] | None:
    """Return status and message with which validation rejects a write, or None."""
    metadata, before = new["metadata"], (old or {}).get("metadata") or {}
    references = metadata.get("ownerReferences") or ()
    if sum(bool(reference.get("controller")) for reference in references) > 1:
        return 422, "metadata.ownerReferences: Invalid value: Only one reference can have Controller set to true"
    added = set(metadata.get("finalizers") or ()) - set(before.get("finalizers") or ())
    if old and before.get("deletionTimestamp") and added:
        return 422, "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted"
    if resource.plural == "secrets" and old:
        return _secret_refusal(old, new)
    if resource.plural == "kindclusters":
        return _kindcluster_refusal(old, new)
    return None


def _secret_refusal(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[int, str] | None:
    if old.get("immutable") and (new.get("data") != old.get("data") or not new.get("immutable")):
        return 422, "data: Forbidden: field is immutable when `immutable` is set"
    if new.get("type") != old.get("type"):
        return 422, f'type: Invalid value: "{new.get("type")}": field is immutable'
    return None


def _kindcluster_refusal(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> tuple[int, str] | None:
    spec, before = new.get("spec") or {}, (old or {}).get("spec") or {}
    nodes = spec.get("nodes") or ()
    several = sum((node.get("role") or "control-plane") == "control-plane" for node in nodes) > 1
    limit = 40 if several else 49
    if len(spec.get("clusterName") or "") > limit:
        return 422, f"spec.clusterName: must be at most {limit} characters"
    if "clusterName" in before and spec.get("clusterName") != before["clusterName"]:
        return 422, "spec.clusterName: Forbidden: cannot change once set"
    wanted = spec.get("controlPlaneEndpoint") or {}
    if bool(wanted.get("host")) != bool(wanted.get("port")):
        return 422, "spec.controlPlaneEndpoint: Invalid value: must have both host and port, or neither of them"
    endpoint = before.get("controlPlaneEndpoint") or {}
    if (
        endpoint.get("host")
        and endpoint.get("port")
        and "controlPlaneEndpoint" in spec
        and spec["controlPlaneEndpoint"] != endpoint
    ):
        return 422, "spec.controlPlaneEndpoint: Forbidden: cannot change once set: Cluster API copies it once"
    if old and _is_created(old):
        for field in _FIXED_AT_CREATION:
            if (spec.get(field) or None) != (before.get(field) or None):
                return 422, f"spec.{field}: Forbidden: cannot change: kind sets it once, when it creates the cluster"
    return None


def _is_created(obj: Mapping[str, Any]) -> bool:
    status = obj.get("status") or {}
    return bool((status.get("initialization") or {}).get("provisioned")) or any(
        condition["type"] == names.Condition.CLUSTER_CREATED and condition["status"] == "True"
        for condition in status.get("conditions") or ()
    )


def is_paused(obj: Body) -> bool:
    """Return whether a user has paused an object by its annotation."""
    return names.PAUSED_ANNOTATION in (obj["metadata"].get("annotations") or {})


def is_to_be_stopped(obj: Body) -> bool:
    """Return whether the user of a KINDCluster has asked for its kind cluster to be stopped."""
    return (obj["spec"].get("engine") or {}).get("powerState") == "Stopped"
