"""Actions of users: on their objects, on ours, and on the engine."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from capk.api import names
from capk.api.names import Resource
from capk.errors import ApiError
from test.simulation import clock
from test.simulation.apiserver import RESOURCES
from test.simulation.clock import now
from test.simulation.engine import FOREIGN
from test.simulation.kindcommand import KindProcess, make_instantly
from test.simulation.life import Life, action
from test.simulation.objects import Body, copied

NAMESPACE: Final = "default"


@action("apply")
def apply(
    life: Life,
    name: str,
    namespace: str = NAMESPACE,
    spec: Mapping[str, Any] | None = None,
    owned: bool = False,
    control_plane: bool = True,
    replicas: int | None = None,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    order: str = "CKP",
) -> None:
    """`kubectl apply` of a KINDCluster, with a Cluster and a KINDControlPlane if it is owned.

    order: C for Cluster, K for KINDCluster, P for KINDControlPlane.
    """
    if life.world.options.watch_filter:
        labels = {names.WATCH_FILTER_LABEL: life.world.options.watch_filter, **(labels or {})}
    metadata = {
        "name": name,
        "namespace": namespace,
        **({"annotations": expanded(life, annotations)} if annotations else {}),
        **({"labels": dict(labels)} if labels else {}),
    }
    bodies: dict[str, tuple[Any, Body]] = {"K": (names.KIND_CLUSTERS, {"metadata": metadata, "spec": dict(spec or {})})}
    if owned and life.world.api.core_version:
        cluster: Body = {"infrastructureRef": {"kind": names.KIND_CLUSTERS.kind, "name": name}}
        if control_plane:
            cluster["controlPlaneRef"] = {"kind": names.KIND_CONTROL_PLANES.kind, "name": name}
            asked = {"version": "v1.37.0", **({"replicas": replicas} if replicas else {})}
            bodies["P"] = (names.KIND_CONTROL_PLANES, {"metadata": metadata, "spec": asked})
        bodies["C"] = (
            names.clusters(life.world.api.core_version),
            {"metadata": {"name": name, "namespace": namespace}, "spec": cluster},
        )
    for letter in order:
        if letter in bodies:
            with suppress(ApiError):
                life.world.api.create(*bodies[letter])


@action("edit")
def edit(
    life: Life, name: str, patch: Mapping[str, Any], kind: str = "kindclusters", namespace: str = NAMESPACE
) -> None:
    """`kubectl patch` of an object."""
    life.world.api.edit(RESOURCES[kind], namespace, name, expanded(life, patch))


@action("delete")
def delete(life: Life, name: str, kind: str = "kindclusters", namespace: str = NAMESPACE) -> None:
    """`kubectl delete`."""
    with suppress(ApiError):
        life.world.api.delete(RESOURCES[kind], namespace, name)


@action("force-delete")
def force_delete(life: Life, name: str, namespace: str = NAMESPACE) -> None:
    """Delete a KINDCluster and remove its finalizers."""
    if obj := life.world.api.find(names.KIND_CLUSTERS, namespace, name):
        life.world.forced.add(obj["metadata"]["uid"])
        delete(life, name, namespace=namespace)
        life.world.api.edit(names.KIND_CLUSTERS, namespace, name, {"metadata": {"finalizers": []}})


@action("replace")
def replace(life: Life, name: str, namespace: str = NAMESPACE) -> None:
    """`kubectl replace --force` with a saved manifest, including annotations and finalizers of the old object."""
    if obj := life.world.api.find(names.KIND_CLUSTERS, namespace, name):
        saved = manifest(obj)
        _lose_status(life, obj)
        delete(life, name, namespace=namespace)
        clock.spawn(create_when_gone(life, names.KIND_CLUSTERS, saved))


@action("copy")
def copy(
    life: Life, name: str, to: str, namespace: str = NAMESPACE, to_namespace: str = NAMESPACE, endpoint: bool = False
) -> None:
    """Apply a saved manifest under another name; endpoint: with the address of the original's API server."""
    if obj := life.world.api.find(names.KIND_CLUSTERS, namespace, name):
        saved = manifest(obj)
        saved["metadata"] |= {"name": to, "namespace": to_namespace}
        saved["metadata"].pop("ownerReferences", None)
        if not endpoint:
            saved["spec"].pop("controlPlaneEndpoint", None)
        with suppress(ApiError):
            made = life.world.api.create(names.KIND_CLUSTERS, saved)
            life.world.copies.add(made["metadata"]["uid"])


@action("move")
def move(life: Life, name: str, namespace: str = NAMESPACE, after: float = 5.0) -> None:
    """`clusterctl move` of a standalone object away and back: deleted without its finalizer, then created again."""
    obj = life.world.api.find(names.KIND_CLUSTERS, namespace, name)
    annotations = (obj or {}).get("metadata", {}).get("annotations") or {}
    if obj is None or names.BLOCK_MOVE_ANNOTATION in annotations or obj["metadata"].get("ownerReferences"):
        return
    saved = manifest(obj)
    _lose_status(life, obj)
    mark = {names.DELETE_FOR_MOVE_ANNOTATION: ""}
    life.world.forced.add(obj["metadata"]["uid"])
    life.world.api.edit(names.KIND_CLUSTERS, namespace, name, {"metadata": {"annotations": mark, "finalizers": []}})
    delete(life, name, namespace=namespace)
    life.later(after, create, life, names.KIND_CLUSTERS, saved)


@action("annotate")
def annotate(life: Life, name: str, annotations: Mapping[str, str | None], namespace: str = NAMESPACE) -> None:
    """`kubectl annotate` of a KINDCluster; `$OUTSIDE` is a directory, `$UID:name` another object's uid."""
    life.world.forged.add(f"{namespace}/{name}")
    patch = {"metadata": {"annotations": expanded(life, annotations)}}
    life.world.api.edit(names.KIND_CLUSTERS, namespace, name, patch)


@action("pause")
def pause(life: Life, name: str, kind: str = "kindclusters", namespace: str = NAMESPACE, seconds: float = 60.0) -> None:
    """Pause an object, or a Cluster, for a while."""
    on: Body = {"spec": {"paused": True}}
    off: Body = {"spec": {"paused": None}}
    if kind != "clusters":
        on = {"metadata": {"annotations": {names.PAUSED_ANNOTATION: ""}}}
        off = {"metadata": {"annotations": {names.PAUSED_ANNOTATION: None}}}
    resource = RESOURCES[kind]
    life.world.api.edit(resource, namespace, name, on)
    life.later(seconds, life.world.api.edit, resource, namespace, name, off)


@action("leave-filter")
def leave_filter(life: Life, name: str, namespace: str = NAMESPACE, seconds: float = 5.0) -> None:
    """Remove the label of the watch filter for a while."""
    value = life.world.options.watch_filter
    if not value:
        return
    for label, after in ((None, 0.0), (value, seconds)):
        patch = {"metadata": {"labels": {names.WATCH_FILTER_LABEL: label}}}
        life.later(after, life.world.api.edit, names.KIND_CLUSTERS, namespace, name, patch)


@action("secret")
def secret(life: Life, name: str, how: str, namespace: str = NAMESPACE) -> None:
    """Change one of our Secrets. how: unlabel, delete, edit, disown, retype."""
    api, where = life.world.api, (namespace, name)
    if api.find(names.SECRETS, *where) is None:
        return
    if how in ("delete", "retype"):
        api.delete(names.SECRETS, *where)
        life.invalid.discard(f"secret {namespace}/{name}")
    if how == "retype":
        api.create(names.SECRETS, {"metadata": {"name": name, "namespace": namespace}, "type": "other", "data": {}})
        life.invalid.add(f"secret {namespace}/{name}")
    patches: dict[str, Body] = {
        "unlabel": {"metadata": {"labels": {names.SECRET_CLUSTER_LABEL: None}}},
        "edit": {"data": {"config": "ZWRpdGVk", "value": "ZWRpdGVk"}},
        "disown": {"metadata": {"ownerReferences": None}},
    }
    if how in patches:
        api.edit(names.SECRETS, *where, patches[how])


@action("foreign-secret")
def foreign_secret(life: Life, name: str, namespace: str = NAMESPACE, immutable: bool = False) -> None:
    """Create a Secret with a name that the provider needs."""
    body: Body = {"metadata": {"name": name, "namespace": namespace}, "type": "Opaque", "data": {"mine": "eA=="}}
    if immutable:
        body["immutable"] = True
    with suppress(ApiError):
        life.world.api.create(names.SECRETS, body)
        life.invalid.add(f"secret {namespace}/{name}")


@action("free-secret")
def free_secret(life: Life, name: str, namespace: str = NAMESPACE) -> None:
    """Delete such a Secret."""
    life.invalid.discard(f"secret {namespace}/{name}")
    delete(life, name, kind="secrets", namespace=namespace)


@action("install-core")
def install_core(life: Life, version: str = "v1beta2") -> None:
    """`clusterctl init`."""
    if life.world.api.core_version is None:
        life.world.api.core_version = version
        life.world.core_since = now()


@action("add-control-plane")
def add_control_plane(life: Life, name: str, namespace: str = NAMESPACE) -> None:
    """Add a KINDControlPlane to a Cluster that had none."""
    metadata = {"name": name, "namespace": namespace}
    with suppress(ApiError):
        life.world.api.create(names.KIND_CONTROL_PLANES, {"metadata": metadata, "spec": {"version": "v1.37.0"}})
    reference = {"kind": names.KIND_CONTROL_PLANES.kind, "name": name}
    life.world.api.edit(names.CLUSTERS, namespace, name, {"spec": {"controlPlaneRef": reference}})


# --- on the engine


@action("stranger-creates")
def stranger_creates(life: Life, name: str, workers: int = 0, instantly: bool = True) -> None:
    """A user creates a kind cluster of that name by hand."""
    config = {"nodes": [{"role": "control-plane"}, *([{"role": "worker"}] * workers)]}
    if instantly:
        if not life.world.engine.of(name, unlisted=True):
            make_instantly(life.world.engine, name, config)
        return
    process = KindProcess(FOREIGN, name, "create")
    kind = life.world.kind
    kind.start(process, kind.create(process, name, config, lambda step: None, retain=False))


@action("stranger-makes-node")
def stranger_makes_node(life: Life, name: str, role: str = "control-plane") -> None:
    """A user creates one node first: one container of that kind cluster is theirs, complete and running.

    Without a container engine nobody can: the fake kind has no command that adds a container to a kind cluster.
    """
    engine = life.world.engine
    if life.world.options.lists and engine.named(f"{name}-{role}") is None:
        birth = engine.begin(name, FOREIGN, 0, 1)
        birth.is_up = True
        engine.start(engine.make(birth, f"{name}-{role}", role, None, "kindest/node:v1.37.0"))


@action("stranger-deletes")
def stranger_deletes(life: Life, name: str, only: str | None = None, role: str | None = None) -> None:
    """A user removes a kind cluster, one container of it, or all of a role, by hand."""
    engine = life.world.engine_for(name)
    for container in engine.of(name, unlisted=True):
        if only in (None, container.name) and role in (None, container.role):
            engine.remove(container, "user")


@action("stop-nodes")
def stop_nodes(life: Life, name: str, only: str | None = None) -> None:
    """Containers of a kind cluster stop."""
    engine = life.world.engine_for(name)
    for container in engine.of(name):
        if only in (None, container.role):
            engine.stop(container)


@action("occupy")
def occupy(life: Life, address: str, seconds: float = 300.0) -> None:
    """A container that is not a kind node takes an address for a while."""
    engine = life.world.engine
    if not any(one.address == address for one in engine.containers.values()):
        engine.occupied[address] = "registry"
        asyncio.get_running_loop().call_later(seconds, engine.occupied.pop, address, None)


def expanded(life: Life, document: Any) -> Any:
    """Replace `$OUTSIDE` and `$UID:namespace/name` in the texts of a document."""
    if isinstance(document, Mapping):
        return {key: expanded(life, value) for key, value in document.items()}
    if not isinstance(document, str):
        return document
    if document.startswith("$UID:"):
        namespace, _, name = document.removeprefix("$UID:").partition("/")
        obj = life.world.api.find(names.KIND_CLUSTERS, namespace, name)
        return obj["metadata"]["uid"] if obj else "uid-of-nobody"
    return document.replace("$OUTSIDE", str(life.world.outside))


def _lose_status(life: Life, obj: Body) -> None:
    """Drop the status: then only data from its etcd shows that an API server was reached once."""
    birth = life.world.birth_of(obj)
    if birth and names.KUBE_SYSTEM_ANNOTATION not in (obj["metadata"].get("annotations") or {}):
        life.world.workload.reached.discard(birth.number)


def manifest(obj: Body) -> Body:
    """Return an object as a user saves it."""
    saved: Body = copied(obj)
    saved.pop("status", None)
    for given in ("uid", "resourceVersion", "creationTimestamp", "generation", "deletionTimestamp"):
        saved["metadata"].pop(given, None)
    return saved


def create(life: Life, resource: Resource, saved: Body) -> None:
    """Create an object, unless it exists."""
    with suppress(ApiError):
        life.world.api.create(resource, saved)


async def create_when_gone(life: Life, resource: Resource, saved: Body) -> None:
    """Create an object as soon as the one with its name is gone."""
    metadata = saved["metadata"]
    for _ in range(1200):
        if life.world.api.find(resource, metadata["namespace"], metadata["name"]) is None:
            create(life, resource, saved)
            return
        await asyncio.sleep(0.5)
