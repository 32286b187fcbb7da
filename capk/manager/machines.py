"""Which KINDMachines and KINDConfigs belong to which Cluster and KINDCluster, by indexes of the store."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from capk.api import names
from capk.api.objects import Key, KINDCluster, KINDMachine, Object, OwnerCluster
from capk.plan.machines import node_name
from capk.runtime.store import Store

_LABELLED: Final = "core-cluster"
"""KINDMachines and KINDConfigs, by namespace and the Cluster that their label names."""
_NAMING: Final = "kindcluster"
"""Standalone KINDMachines, by namespace and the KINDCluster that they name."""
_OWNED: Final = "owner-cluster"
"""KINDClusters, by namespace and the Cluster that owns them."""
_UID: Final = "machine-uid"
_STORED_ID: Final = "machine-id"


class Machines:
    """The relations of KINDMachines and KINDConfigs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def owner(self, current: Object) -> OwnerCluster | None:
        """Return the Cluster that the label of a KINDMachine or KINDConfig names, if the store has it."""
        name = current.core_cluster_name
        raw = self._store.get(Key(names.CLUSTERS.kind, current.namespace, name)) if name else None
        return OwnerCluster(raw) if raw else None

    def infrastructure(self, machine: KINDMachine) -> KINDCluster | None:
        """Return the KINDCluster of a KINDMachine, if the store has it."""
        if machine.is_standalone or self.owner(machine):
            name = self._kindcluster_name(machine)
            keys = [Key(names.KIND_CLUSTERS.kind, machine.namespace, name)] if name else []
        else:
            keys = self._store.find(_OWNED, _place(machine.namespace, machine.core_cluster_name or ""))
        raw = next((raw for key in keys if (raw := self._store.get(key))), None)
        return KINDCluster(raw) if raw else None

    def belong_together(self, machine: KINDMachine, cluster: KINDCluster) -> bool:
        """Return whether the KINDMachine is a worker of the KINDCluster.

        The Cluster names its KINDCluster. Without the Cluster, the owner reference of the KINDCluster shows it.
        """
        if machine.namespace != cluster.namespace:
            return False
        if machine.is_standalone or self.owner(machine):
            return self._kindcluster_name(machine) == cluster.name
        reference = cluster.owner_cluster_reference
        return reference is not None and reference["name"] == machine.core_cluster_name

    def of(self, cluster: KINDCluster) -> list[KINDMachine]:
        """Return the KINDMachines of a KINDCluster."""
        reference = cluster.owner_cluster_reference
        keys = self._store.find(_NAMING, _place(cluster.namespace, cluster.name))
        if reference is not None:
            keys += self._store.find(_LABELLED, _place(cluster.namespace, reference["name"]), names.KIND_MACHINES)
        machines = (KINDMachine(self._store.get(key)) for key in dict.fromkeys(keys))
        return [machine for machine in machines if self.belong_together(machine, cluster)]

    def of_cluster(self, owner: Object) -> set[Key]:
        """Return the KINDMachines and KINDConfigs of a Cluster."""
        return set(self._store.find(_LABELLED, _place(owner.namespace, owner.name)))

    def is_copy(self, machine: KINDMachine) -> bool:
        """Return whether a KINDMachine holds the machine id of another existing one, as a copied manifest does."""
        return bool(self._originals(machine))

    def shares_node(self, machine: KINDMachine, cluster_name: str) -> bool:
        """Return whether the KINDMachine whose machine id it has copied has a node of the same name in the cluster."""
        node = node_name(cluster_name, machine.name)
        namesakes = (other for other in self._originals(machine) if other.namespace == machine.namespace)
        return any(node_name(cluster_name, other.name) == node for other in namesakes)

    def _originals(self, machine: KINDMachine) -> list[KINDMachine]:
        """Return the KINDMachines that come first for its machine id: the one with that uid, or else the older ones."""
        stored = machine.stored_machine_id
        if stored is None or stored == machine.uid:
            return []
        if keys := self._store.find(_UID, stored):
            return [KINDMachine(self._store.get(key)) for key in keys]
        others = (KINDMachine(self._store.get(key)) for key in self._store.find(_STORED_ID, stored))
        return [other for other in others if other.uid != machine.uid and _age(other) < _age(machine)]

    def has_id(self, key: Key, machine_id: str) -> bool:
        """Return whether the KINDMachine with that key has, or holds, that machine id; others may have copied it."""
        raw = self._store.get(key)
        return raw is not None and machine_id in (Object(raw).uid, KINDMachine(raw).stored_machine_id)

    def keys_for_event(self, machine: KINDMachine) -> set[Key]:
        """Return the keys to reconcile after an event of this KINDMachine, including its own."""
        cluster = self.infrastructure(machine)
        return {machine.key, *self._carriers(machine), *([cluster.key] if cluster else [])}

    def _carriers(self, machine: KINDMachine) -> set[Key]:
        """Return the KINDMachines with the same machine id, if this one comes, goes, or gets another id.

        Everyone can write one id into hundreds of objects, so that any other event must not concern them all.
        """
        raw = self._store.get(machine.key)
        stored = KINDMachine(raw) if raw else None
        ids = {(one.uid, one.stored_machine_id) for one in (machine, stored) if one}
        if stored and len(ids) == 1:
            return set()
        return {key for pair in ids for value in pair if value for key in self._store.find(_STORED_ID, value)}

    def _kindcluster_name(self, machine: KINDMachine) -> str | None:
        if machine.is_standalone:
            return machine.kindcluster_name
        owner = self.owner(machine)
        return owner.references("infrastructureRef", names.KIND_CLUSTERS.kind) if owner else None


def _place(namespace: str, name: str) -> str:
    return f"{namespace}/{name}"


def _age(machine: KINDMachine) -> tuple[datetime, str]:
    return machine.created_at, machine.uid


def _labelled(raw: Mapping[str, Any]) -> list[str]:
    current = Object(raw)
    is_concerned = raw.get("kind") in (names.KIND_MACHINES.kind, names.KIND_CONFIGS.kind)
    return [_place(current.namespace, current.core_cluster_name)] if is_concerned and current.core_cluster_name else []


def _naming(raw: Mapping[str, Any]) -> list[str]:
    machine = KINDMachine(raw)
    is_concerned = raw.get("kind") == names.KIND_MACHINES.kind and machine.is_standalone
    return [_place(machine.namespace, machine.kindcluster_name or "")] if is_concerned else []


def _owned(raw: Mapping[str, Any]) -> list[str]:
    cluster = Object(raw)
    reference = cluster.owner_cluster_reference if raw.get("kind") == names.KIND_CLUSTERS.kind else None
    return [_place(cluster.namespace, reference["name"])] if reference else []


def _uid(raw: Mapping[str, Any]) -> list[str]:
    return [Object(raw).uid] if raw.get("kind") == names.KIND_MACHINES.kind else []


def _stored_id(raw: Mapping[str, Any]) -> list[str]:
    stored = KINDMachine(raw).stored_machine_id if raw.get("kind") == names.KIND_MACHINES.kind else None
    return [stored] if stored else []


INDEXES: Final[Mapping[str, Callable[[Mapping[str, Any]], list[str]]]] = {
    _LABELLED: _labelled,
    _NAMING: _naming,
    _OWNED: _owned,
    _UID: _uid,
    _STORED_ID: _stored_id,
}
"""The indexes that a store needs for these relations."""
