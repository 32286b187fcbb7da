"""A small model of Cluster API's core: it owns our objects, and deletes them in order."""

import asyncio
from random import Random
from typing import Any, Final

from capk.api import names
from capk.api.names import Resource
from test.simulation.apiserver import ApiServer
from test.simulation.clock import context_of
from test.simulation.objects import Body

FINALIZER: Final = "cluster.cluster.x-k8s.io"
_REFERENCES: Final = (("controlPlaneRef", names.KIND_CONTROL_PLANES), ("infrastructureRef", names.KIND_CLUSTERS))


class CoreController:
    """Reconciles a Cluster some time after a change of it or an object that it names."""

    def __init__(self, server: ApiServer, rng: Random) -> None:
        self._server = server
        self._rng = rng
        self._pending: set[tuple[str, str]] = set()
        server.on_change.append(self._changed)

    def _changed(self, plural: str, before: Body | None, after: Body | None) -> None:
        if self._server.core_version is None:
            return
        obj: Body = after or before or {}
        if plural == names.CLUSTERS.plural and after:
            self._wake(obj["metadata"]["namespace"], obj["metadata"]["name"])
        elif plural in (names.KIND_CLUSTERS.plural, names.KIND_CONTROL_PLANES.plural):
            for cluster in self._server.all(names.CLUSTERS):
                named = [(cluster["spec"].get(field) or {}).get("name") for field, _ in _REFERENCES]
                if (
                    obj["metadata"]["name"] in named
                    and obj["metadata"]["namespace"] == cluster["metadata"]["namespace"]
                ):
                    self._wake(cluster["metadata"]["namespace"], cluster["metadata"]["name"])
        elif plural in (names.MACHINES.plural, names.KIND_MACHINES.plural):
            self._wake_machine(obj)
            if plural == names.MACHINES.plural and after is None:
                self._wake(obj["metadata"]["namespace"], _cluster_name(obj))

    def _wake_machine(self, obj: Body) -> None:
        """Reconcile the Machine of that name after a while: it goes once its KINDMachine is gone."""
        where = obj["metadata"]["namespace"], obj["metadata"]["name"]
        if (found := self._server.find(names.MACHINES, *where)) and found["metadata"].get("deletionTimestamp"):
            delay = self._rng.choice((0.05, 0.3, 1.5, 6))
            asyncio.get_running_loop().call_later(delay, self._delete_machine, *where, context=context_of(""))

    def _delete_machine(self, namespace: str, name: str) -> None:
        machine = self._server.find(names.MACHINES, namespace, name)
        cluster = self._server.find(names.CLUSTERS, namespace, _cluster_name(machine)) if machine else None
        if machine is None or (cluster and cluster["spec"].get("paused")):
            return
        infrastructure = self._server.find(names.KIND_MACHINES, namespace, name)
        owners = [one["uid"] for one in (infrastructure or {"metadata": {}})["metadata"].get("ownerReferences") or ()]
        if infrastructure is None or machine["metadata"]["uid"] not in owners:
            self._server.edit(names.MACHINES, namespace, name, {"metadata": {"finalizers": []}})
        elif not infrastructure["metadata"].get("deletionTimestamp"):
            self._server.delete(names.KIND_MACHINES, namespace, name)

    def _has_machines(self, cluster: Body) -> bool:
        """Delete the Machines of a Cluster; return whether some are left."""
        namespace, name = cluster["metadata"]["namespace"], cluster["metadata"]["name"]
        own = [one for one in self._server.all(names.MACHINES) if _cluster_name(one) == name]
        for machine in own:
            self._server.delete(names.MACHINES, namespace, machine["metadata"]["name"])
            self._wake_machine(machine)
        return bool(own)

    def _wake(self, namespace: str, name: str) -> None:
        if (namespace, name) in self._pending:
            return
        self._pending.add((namespace, name))
        delay = self._rng.choice((0.05, 0.3, 1.5, 6))
        asyncio.get_running_loop().call_later(delay, self._reconcile, namespace, name, context=context_of(""))

    def _reconcile(self, namespace: str, name: str) -> None:
        self._pending.discard((namespace, name))
        cluster = self._server.find(names.CLUSTERS, namespace, name)
        if cluster is None or cluster["spec"].get("paused"):
            return
        if cluster["metadata"].get("deletionTimestamp"):
            self._delete(cluster)
            return
        if FINALIZER not in (cluster["metadata"].get("finalizers") or ()):
            self._server.edit(names.CLUSTERS, namespace, name, {"metadata": {"finalizers": [FINALIZER]}})
        for _, resource, obj in self._referenced(cluster):
            self._own(cluster, resource, obj)

    def _referenced(self, cluster: Body) -> list[tuple[str, Resource, Body]]:
        found = []
        for field, resource in _REFERENCES:
            reference = cluster["spec"].get(field) or {}
            obj = self._server.find(resource, cluster["metadata"]["namespace"], reference.get("name") or "")
            if obj:
                found.append((field, resource, obj))
        return found

    def _own(self, cluster: Body, resource: Resource, obj: Body) -> None:
        reference: dict[str, Any] = {
            "apiVersion": f"{names.CORE_GROUP}/{self._server.core_version}",
            "kind": "Cluster",
            "name": cluster["metadata"]["name"],
            "uid": cluster["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        metadata = obj["metadata"]
        others = [one for one in metadata.get("ownerReferences") or () if one["kind"] != "Cluster"]
        if reference not in (metadata.get("ownerReferences") or ()):
            labels = {names.CORE_CLUSTER_NAME_LABEL: cluster["metadata"]["name"]}
            patch = {"metadata": {"ownerReferences": [*others, reference], "labels": labels}}
            self._server.edit(resource, metadata["namespace"], metadata["name"], patch)

    def _delete(self, cluster: Body) -> None:
        metadata = cluster["metadata"]
        if self._has_machines(cluster):
            return
        for _, resource, obj in self._referenced(cluster):
            owners = [one["uid"] for one in obj["metadata"].get("ownerReferences") or ()]
            if metadata["uid"] not in owners:
                continue
            if not obj["metadata"].get("deletionTimestamp"):
                self._server.delete(resource, metadata["namespace"], obj["metadata"]["name"])
            if self._server.find(resource, metadata["namespace"], obj["metadata"]["name"]):
                return
        self._server.edit(names.CLUSTERS, metadata["namespace"], metadata["name"], {"metadata": {"finalizers": []}})


def _cluster_name(machine: Body) -> str:
    return str((machine["metadata"].get("labels") or {}).get(names.CORE_CLUSTER_NAME_LABEL))
