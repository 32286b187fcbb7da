"""Actions on engines in Pods: of users, of strangers in their namespace, of nodes, and of the administrator."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from capk.api import names
from capk.api.names import Resource
from capk.errors import ApiError
from capk.plan.engineobjects import engine_name
from test.simulation.apiserver import RESOURCES
from test.simulation.clock import now
from test.simulation.life import Life, action
from test.simulation.objects import Body
from test.simulation.podengines import CLASS, KINDS, NAMESPACE, offer
from test.simulation.users import NAMESPACE as USERS


def _uid(life: Life, name: str) -> str:
    obj = life.world.api.find(names.KIND_CLUSTERS, USERS, name)
    return str(obj["metadata"]["uid"]) if obj else ""


def _pod(life: Life, name: str) -> Body | None:
    return life.world.pods.own(names.PODS, _uid(life, name))


@action("kubelet")
def kubelet(life: Life, trouble: str, seconds: float = 60.0) -> None:
    """Scheduler or kubelet have a temporary trouble; see `podengines.SimulatedKubelet`."""
    life.world.pods.kubelet.lost_at = now()
    setattr(life.world.pods.kubelet, trouble, now() + seconds)
    life.world.pods.kubelet.poke()


@action("slow-end")
def slow_end(life: Life, seconds: float = 60.0) -> None:
    """Pods take long to end."""
    life.world.pods.kubelet.end_seconds = seconds


@action("pod-crashes")
def pod_crashes(life: Life, name: str, reason: str = "OOMKilled", seconds: float = 3.0, times: int = 1) -> None:
    """The container of an engine ends, and is started again."""
    if (pod := _pod(life, name)) and (pod.get("status") or {}).get("phase") == "Running":
        life.world.pods.kubelet.crash(pod, reason, seconds, times)


@action("pod-evicted")
def pod_evicted(life: Life, name: str) -> None:
    """The kubelet ends a Pod because its machine has run out of something."""
    if (pod := _pod(life, name)) and pod["spec"].get("nodeName") and not pod["metadata"].get("deletionTimestamp"):
        status = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
        where = (names.PODS.plural, NAMESPACE, pod["metadata"]["name"])
        life.world.api.update("patch", names.PODS, where, lambda seen: {**seen, "status": status}, subresource="status")


@action("pod-deleted")
def pod_deleted(life: Life, name: str, force: bool = False) -> None:
    """Someone deletes a Pod, as `kubectl drain` does; force: without waiting for its node."""
    if (pod := _pod(life, name)) is None:
        return
    if force:
        life.world.api.remove(names.PODS, NAMESPACE, pod["metadata"]["name"])
    else:
        life.world.api.delete(names.PODS, NAMESPACE, pod["metadata"]["name"])


@action("engine-object-deleted")
def engine_object_deleted(life: Life, name: str, plural: str) -> None:
    """Someone deletes the Service, Secret or volume claim of an engine."""
    if found := life.world.pods.own(RESOURCES[plural], _uid(life, name)):
        life.world.api.delete(RESOURCES[plural], NAMESPACE, found["metadata"]["name"])


@action("engine-name-taken")
def engine_name_taken(life: Life, name: str, plural: str, seconds: float = 600.0) -> None:
    """Someone has an object with the name of an engine for a while."""
    uid, resource = _uid(life, name), RESOURCES[plural]
    if not uid:
        return
    body: Body = {"metadata": {"name": engine_name(uid), "namespace": NAMESPACE}, "spec": {}}
    if plural == "pods":
        body["spec"] = {"nodeName": "node-2", "containers": [{"name": "mine", "image": "nginx"}]}
    with suppress(ApiError):
        _as_stranger(life, resource, body, seconds)


@action("copied-engine-pod")
def copied_engine_pod(life: Life, name: str) -> None:
    """Someone creates a Pod with another name from the manifest of one of ours, with our labels."""
    if pod := _pod(life, name):
        metadata = {"name": "copy-of-engine", "namespace": NAMESPACE, "labels": pod["metadata"]["labels"]}
        with suppress(ApiError):
            _as_stranger(life, names.PODS, {"metadata": metadata, "spec": {"containers": []}}, 1e6)


def _as_stranger(life: Life, resource: Resource, body: Body, seconds: float) -> None:
    made = life.world.api.create(resource, body)
    metadata = made["metadata"]
    life.world.pods.strangers.add(metadata["uid"])
    life.later(min(seconds, 600.0), _remove_of_stranger, life, resource, metadata["name"], metadata["uid"])


def _remove_of_stranger(life: Life, resource: Resource, name: str, uid: str) -> None:
    found = life.world.api.find(resource, NAMESPACE, name)
    if found and found["metadata"]["uid"] == uid:
        life.world.api.edit(resource, NAMESPACE, name, {"metadata": {"finalizers": None}})
        life.world.api.remove(resource, NAMESPACE, name)


@action("engine-quota")
def engine_quota(life: Life, plural: str, most: int = 0, seconds: float = 300.0) -> None:
    """The namespace of engines has a temporary quota."""
    quotas = life.world.api.quotas
    quotas[NAMESPACE, plural] = most
    asyncio.get_running_loop().call_later(seconds, quotas.pop, (NAMESPACE, plural), None)


@action("engine-namespace-deleted")
def engine_namespace_deleted(life: Life, seconds: float = 120.0) -> None:
    """Someone deletes the namespace of engines, and creates it again later."""
    api = life.world.api
    api.closed[NAMESPACE] = "terminating"
    for resource in KINDS:
        for obj in [one for one in api.all(resource) if one["metadata"]["namespace"] == NAMESPACE]:
            with suppress(ApiError):
                api.delete(resource, NAMESPACE, obj["metadata"]["name"])
    loop = asyncio.get_running_loop()
    loop.call_later(seconds / 2, lambda: api.closed.update({NAMESPACE: "missing"}) if NAMESPACE in api.closed else None)
    loop.call_later(seconds, api.closed.pop, NAMESPACE, None)


@action("namespace-deleted")
def namespace_deleted(life: Life, seconds: float = 300.0) -> None:
    """A user deletes the namespace with everything in it, and creates it again later."""
    api = life.world.api
    api.closed[USERS] = "terminating"
    kinds = [names.SECRETS, names.KIND_CONTROL_PLANES, names.KIND_CLUSTERS, names.CLUSTERS, names.KIND_MACHINES]
    for resource in kinds:
        for obj in [one for one in api.all(resource) if one["metadata"]["namespace"] == USERS]:
            with suppress(ApiError):
                api.delete(resource, USERS, obj["metadata"]["name"])
    life.later(seconds, api.closed.pop, USERS, None)


@action("power")
def power(life: Life, name: str, state: str) -> None:
    """A user stops or starts an engine."""
    if life.world.pods.has(life.world.api.find(names.KIND_CLUSTERS, USERS, name) or {"spec": {}}):
        patch = {"spec": {"engine": {"powerState": state}}}
        life.world.api.edit(names.KIND_CLUSTERS, USERS, name, patch)


@action("class")
def engine_class(life: Life, how: str, seconds: float = 120.0) -> None:
    """The administrator changes the class for a while. how: delete, image, closed, volume, labels."""
    api, world = life.world.api, life.world
    found = api.find(names.KIND_ENGINE_CLASSES, None, CLASS)
    if found is None:
        return
    if how == "delete":
        api.delete(names.KIND_ENGINE_CLASSES, "", CLASS)
        body = {"metadata": {"name": CLASS, "labels": found["metadata"].get("labels") or {}}, "spec": found["spec"]}
        life.later(seconds, _create_class, life, body)
        return
    has_volume = world.options.pods == "volume"
    changed: Mapping[str, Any] = {
        "image": offer(has_volume=has_volume, image="missing:1"),
        "closed": {**offer(has_volume=has_volume), "namespaceSelector": None},
        "volume": {"pods": {"storage": None if has_volume else {"claim": {"size": "20Gi"}}}},
    }[how]
    api.edit(names.KIND_ENGINE_CLASSES, "", CLASS, {"spec": changed})
    whole = offer(has_volume=has_volume)
    life.later(seconds, api.edit, names.KIND_ENGINE_CLASSES, "", CLASS, {"spec": whole})


def _create_class(life: Life, body: Body) -> None:
    with suppress(ApiError):
        life.world.api.create(names.KIND_ENGINE_CLASSES, body)


@action("pod-engine")
def pod_engine(life: Life, name: str, trouble: str, seconds: float = 30.0) -> None:
    """Docker in a Pod has a temporary fault; see `engine.Trouble`."""
    if machine := life.world.pods.of(_uid(life, name)):
        setattr(machine.engine.trouble, trouble, now() + seconds)


@action("authority-deleted")
def authority_deleted(life: Life) -> None:
    """Someone deletes the Secret with the authority of all engines."""
    for secret in life.world.api.all(names.SECRETS):
        if secret["metadata"]["name"] == "capkind-engine-ca":
            life.world.api.delete(names.SECRETS, secret["metadata"]["namespace"], "capkind-engine-ca")


def end(life: Life) -> None:
    """End all faults of engines in Pods."""
    api, pods = life.world.api, life.world.pods
    pods.kubelet.end()
    api.quotas.clear()
    api.closed.clear()
    api.no_watch.clear()
    for machine in pods.machines():
        machine.engine.trouble.end()
        for container in machine.engine.containers.values():
            container.is_stuck = container.exits_again = False
