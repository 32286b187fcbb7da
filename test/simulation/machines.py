"""Actions of users on workers: KINDMachines, their Machines, and their containers."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from capk.api import names
from capk.errors import ApiError
from test.simulation import clock
from test.simulation.engine import FOREIGN, WORKER
from test.simulation.life import Life, action
from test.simulation.objects import Body
from test.simulation.users import NAMESPACE, create, create_when_gone, manifest
from test.simulation.workercalls import VERSION

MACHINE_FINALIZER: Final = "machine.cluster.x-k8s.io"


@action("machine")
def machine(
    life: Life, name: str, cluster: str, standalone: bool = False, annotations: Mapping[str, str] | None = None
) -> None:
    """Create a KINDMachine: one of a Machine if the Cluster exists and it is not standalone.

    cluster: name of the Cluster, and of its KINDCluster.
    """
    api, options = life.world.api, life.world.options
    labels = {names.WATCH_FILTER_LABEL: options.watch_filter} if options.watch_filter else {}
    metadata: Body = {"name": name, "namespace": NAMESPACE, "labels": labels, "annotations": dict(annotations or {})}
    spec: Body = {"clusterName": cluster}
    if not standalone and api.core_version and api.find(names.CLUSTERS, NAMESPACE, cluster):
        labels[names.CORE_CLUSTER_NAME_LABEL] = cluster
        if (owner := _owner(life, name, cluster)) is None:
            return
        spec, metadata["ownerReferences"] = {}, [owner]
    with suppress(ApiError):
        api.create(names.KIND_MACHINES, {"metadata": metadata, "spec": spec})


def _owner(life: Life, name: str, cluster: str) -> Body | None:
    """Return the reference to the Machine of that name, which is created if it is missing; None if that is refused."""
    api = life.world.api
    resource = names.machines(api.core_version or "")
    labels = {names.CORE_CLUSTER_NAME_LABEL: cluster}
    body = {"name": name, "namespace": NAMESPACE, "labels": labels, "finalizers": [MACHINE_FINALIZER]}
    with suppress(ApiError):
        api.create(resource, {"metadata": body, "spec": {"clusterName": cluster, "version": VERSION}})
    if (found := api.find(resource, NAMESPACE, name)) is None:
        return None
    reference = {"apiVersion": resource.api_version, "kind": "Machine", "name": name, "uid": found["metadata"]["uid"]}
    return {**reference, "controller": True, "blockOwnerDeletion": True}


@action("machine-delete")
def machine_delete(life: Life, name: str, only: bool = False) -> None:
    """Delete a Machine, or the KINDMachine if it has none; only: the KINDMachine in any case."""
    api = life.world.api
    resource = names.KIND_MACHINES if only or api.find(names.MACHINES, NAMESPACE, name) is None else names.MACHINES
    with suppress(ApiError):
        api.delete(resource, NAMESPACE, name)


@action("machine-force-delete")
def machine_force_delete(life: Life, name: str) -> None:
    """Delete a KINDMachine and remove its finalizer."""
    if obj := life.world.api.find(names.KIND_MACHINES, NAMESPACE, name):
        life.world.forced |= identities(obj)
        machine_delete(life, name, only=True)
        life.world.api.edit(names.KIND_MACHINES, NAMESPACE, name, {"metadata": {"finalizers": []}})


@action("machine-replace")
def machine_replace(life: Life, name: str) -> None:
    """`kubectl replace --force` with a saved manifest, annotations included."""
    if obj := life.world.api.find(names.KIND_MACHINES, NAMESPACE, name):
        machine_delete(life, name, only=True)
        clock.spawn(create_when_gone(life, names.KIND_MACHINES, manifest(obj)))


@action("machine-copy")
def machine_copy(life: Life, name: str, to: str) -> None:
    """Apply a saved manifest under another name."""
    if obj := life.world.api.find(names.KIND_MACHINES, NAMESPACE, name):
        saved = manifest(obj)
        saved["metadata"]["name"] = to
        life.world.forged.add(f"{NAMESPACE}/{to}")
        create(life, names.KIND_MACHINES, saved)


@action("machine-move")
def machine_move(life: Life, name: str, after: float = 5.0) -> None:
    """`clusterctl move` away and back."""
    obj = life.world.api.find(names.KIND_MACHINES, NAMESPACE, name)
    annotations = (obj or {}).get("metadata", {}).get("annotations") or {}
    if obj is None or names.BLOCK_MOVE_ANNOTATION in annotations or obj["metadata"].get("deletionTimestamp"):
        return
    life.world.forced |= identities(obj)
    mark = {"metadata": {"annotations": {names.DELETE_FOR_MOVE_ANNOTATION: ""}, "finalizers": []}}
    life.world.api.edit(names.KIND_MACHINES, NAMESPACE, name, mark)
    machine_delete(life, name, only=True)
    life.later(after, create, life, names.KIND_MACHINES, manifest(obj))


@action("machine-annotate")
def machine_annotate(life: Life, name: str, annotations: Mapping[str, str | None]) -> None:
    """`kubectl annotate` of a KINDMachine; `$UID:name` is the uid of another KINDMachine."""
    patch = {"metadata": {"annotations": {key: _expanded(life, value) for key, value in annotations.items()}}}
    if obj := life.world.api.find(names.KIND_MACHINES, NAMESPACE, name):
        life.world.forged.add(f"{NAMESPACE}/{name}")
        life.world.forced |= identities(obj)
        life.world.api.edit(names.KIND_MACHINES, NAMESPACE, name, patch)


@action("machine-relabel")
def machine_relabel(life: Life, name: str, to: str, seconds: float = 20.0) -> None:
    """Someone edits the label that names the Cluster; Cluster API writes it again after a while."""
    obj = life.world.api.find(names.KIND_MACHINES, NAMESPACE, name)
    before = ((obj or {"metadata": {}})["metadata"].get("labels") or {}).get(names.CORE_CLUSTER_NAME_LABEL)
    if before is not None:
        _label(life, name, to)
        life.later(seconds, _label, life, name, before)


def _label(life: Life, name: str, cluster: str) -> None:
    if life.world.api.find(names.KIND_MACHINES, NAMESPACE, name):
        labels = {"labels": {names.CORE_CLUSTER_NAME_LABEL: cluster}}
        life.world.api.edit(names.KIND_MACHINES, NAMESPACE, name, {"metadata": labels})


def _expanded(life: Life, value: str | None) -> str | None:
    if value is None or not value.startswith("$UID:"):
        return value
    obj = life.world.api.find(names.KIND_MACHINES, NAMESPACE, value.removeprefix("$UID:"))
    return str(obj["metadata"]["uid"]) if obj else "uid-of-nobody"


@action("worker")
def worker(life: Life, node: str, how: str) -> None:
    """Someone stops, starts or removes the container of a worker by hand."""
    container = next((one for one in life.world.everywhere() if one.name == node), None)
    engine = container.birth.engine if container else None
    if container is None or engine is None:
        return
    if how == "remove":
        engine.remove(container, "user")
    elif how == "stop":
        engine.stop(container)
    else:
        engine.start(container)


@action("stranger-makes-worker")
def stranger_makes_worker(life: Life, cluster: str, node: str, machine: str = "") -> None:
    """A user creates a container with the name of a worker; machine: also with that label.

    Without a container engine nobody can: the fake kind has no command that adds a container to a kind cluster.
    """
    engine = life.world.engine_for(cluster)
    if life.world.options.lists and not engine.is_off and engine.named(node) is None:
        birth = engine.begin(cluster, FOREIGN, 0, 1)
        engine.start(engine.make(birth, node, WORKER, None, "kindest/node:v1.37.0", machine=machine))


@action("joins-fail")
def joins_fail(life: Life, times: int = 1) -> None:
    """The next joins fail, and kubeadm prints the token."""
    life.world.engine.failing_joins += times


def identities(obj: Mapping[str, Any]) -> set[str]:
    """Return the machine ids that a container of a KINDMachine may have."""
    stored = (obj["metadata"].get("annotations") or {}).get(names.MACHINE_ID_ANNOTATION)
    return {obj["metadata"]["uid"], *([stored] if stored else [])}
