"""Gathers the observed state of KINDMachines and KINDConfigs. Decides nothing, writes nothing."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from capk.api import names
from capk.api.names import Resource
from capk.api.objects import Key, KINDCluster, KINDConfig, KINDMachine, Object, OwnerCluster, OwnerMachine
from capk.errors import ApiError, NotFound
from capk.kube.protocol import KubeApi
from capk.manager.engines import Engines
from capk.manager.facts import now
from capk.manager.observe import Observer
from capk.manager.records import Records
from capk.manager.relations import Relations
from capk.plan.machines import has_its_node_in, named_clusters
from capk.plan.observed import ConfigObserved, MachineObserved
from capk.runtime.store import Store

DOCKER = "docker"
"""The engine of every KINDEngineClass."""

Found = Callable[[Resource, Mapping[str, Any]], None]
"""Called with an object that was read before its watch delivered it."""


class MachineObserver:
    """Reads memory, and from the API server only what no watch delivers or has delivered yet."""

    def __init__(
        self,
        observer: Observer,
        *,
        store: Store,
        client: KubeApi,
        engines: Engines,
        relations: Relations,
        records: Records,
        found: Found,
    ) -> None:
        self._observer = observer
        self._store = store
        self._client = client
        self._engines = engines
        self._relations = relations
        self._records = records
        self._found = found

    async def kindmachine(self, key: Key) -> MachineObserved | None:
        """Return the observed state of a KINDMachine; None if it is gone."""
        raw = self._store.get(key)
        if raw is None:
            return None
        machine = KINDMachine(raw)
        owner = None if machine.is_standalone else await self._owner(machine)
        cluster = self._relations.machines.infrastructure(machine)
        unserved = ""
        if cluster is None and (machine.is_deleting or names.WATCH_FILTER_LABEL in machine.labels):
            listed = await self._list_kindclusters(machine)
            cluster = self._relations.machines.infrastructure(machine)
            unserved = listed[0].name if listed and cluster is None else ""
        record = self._records.of(machine)
        owner_machine, unreadable = await self._machine(machine)
        observed = MachineObserved(
            object=machine,
            now=now(),
            policy=self._engines.policy_of(None),
            engine_name=shared.containers.engine if (shared := self._engines.shared) else DOCKER,
            machine=owner_machine,
            unreadable=unreadable,
            owner=owner,
            unserved=unserved,
            is_copy=self._relations.machines.is_copy(machine),
            joined=record.joined,
            operation=self._records.operation(machine.uid),
            goals=self._records.goals(record),
            refusals=self._records.backoff.refusals(record),
            held_back=self._records.backoff.held_back(record),
        )
        return await self._at_its_container(await self._with(observed, cluster), cluster)

    async def _with(self, observed: MachineObserved, cluster: KINDCluster | None) -> MachineObserved:
        """Return the observation of the machine as a worker of that KINDCluster."""
        infrastructure = await self._observer.kindcluster(cluster.key) if cluster else None
        if cluster is None or infrastructure is None:
            return observed
        machine, engine = observed.object, self._engines.of_cluster(cluster)
        return replace(
            observed,
            policy=self._engines.policy_of(cluster),
            engine_name=engine.containers.engine if engine else DOCKER,
            infrastructure=infrastructure,
            owner=infrastructure.owner if machine.is_standalone else observed.owner,
            shares_node=self._relations.machines.shares_node(machine, infrastructure.cluster_name),
        )

    async def _at_its_container(self, observed: MachineObserved, cluster: KINDCluster | None) -> MachineObserved:
        """Return the observation as a worker of the KINDCluster whose kind cluster has the machine's container.

        It is another one if someone has edited the label that names the Cluster, or the Cluster's reference. Provider
        id, operations and status lead there, and the container itself has to prove the rest.
        """
        is_awaited = cluster is None and observed.object.is_deleting
        for other in [] if observed.unserved else self._elsewhere(observed, cluster):
            found = await self._with(observed, other)
            if found.infrastructure is not None and (is_awaited or has_its_node_in(found)):
                return replace(found, owner=found.infrastructure.owner)
        return observed

    def _elsewhere(self, observed: MachineObserved, cluster: KINDCluster | None) -> list[KINDCluster]:
        """Return the other KINDClusters in whose kind cluster the machine's container may be, the likeliest first."""
        machine = observed.object
        named = (self._relations.kindcluster_named(machine.namespace, name) for name in named_clusters(observed))
        others = {one.key: one for one in named if one is not None and (cluster is None or one.key != cluster.key)}
        return list(others.values())

    async def kindconfig(self, key: Key) -> ConfigObserved | None:
        """Return the observed state of a KINDConfig; None if it is gone."""
        raw = self._store.get(key)
        if raw is None:
            return None
        config = KINDConfig(raw)
        return ConfigObserved(object=config, now=now(), owner=await self._owner(config))

    async def _owner(self, current: Object) -> OwnerCluster | None:
        """Return the Cluster that the label names."""
        owner, name = self._relations.machines.owner(current), current.core_cluster_name
        if owner is not None or name is None:
            return owner
        try:
            raw = await self._client.get(names.clusters(self._core_version(current)), current.namespace, name)
        except NotFound:
            return None
        self._found(names.CLUSTERS, raw)
        return OwnerCluster(raw)

    async def _machine(self, machine: KINDMachine) -> tuple[OwnerMachine | None, str]:
        """Return the Machine of the owner reference, which may have been copied, or why the API server refuses it.

        It is read once.
        """
        reference, record = machine.owner_machine_reference, self._records.of(machine)
        if reference is None or machine.is_deleting:
            return None, ""
        if record.machine is None or record.machine.uid != reference["uid"]:
            resource = names.machines(self._core_version(machine))
            try:
                raw = await self._client.get(resource, machine.namespace, reference["name"])
            except NotFound:
                return None, ""
            except ApiError as error:
                if not error.is_refusal:
                    raise
                return None, error.message
            record.machine = OwnerMachine({"metadata": raw["metadata"], "spec": raw.get("spec") or {}})
        return (record.machine if record.machine.has_as_infrastructure(machine) else None), ""

    async def _list_kindclusters(self, machine: KINDMachine) -> list[KINDCluster]:
        """Read the KINDClusters of a KINDMachine, so that it is certain whether there is one; return them."""

        def only_own(raw: dict[str, Any]) -> dict[str, Any]:
            return raw if self._relations.machines.belong_together(machine, KINDCluster(raw)) else {}

        listing = await self._client.list(names.KIND_CLUSTERS, machine.namespace, keep=only_own)
        own = [KINDCluster(raw) for raw in listing.items if raw]
        for cluster in own:
            self._found(names.KIND_CLUSTERS, cluster.raw)
        return own

    def _core_version(self, current: Object) -> str:
        """Return the version of Cluster API's objects, which may not be discovered yet."""
        references = current.metadata.get("ownerReferences") or ()
        versions = [str(reference.get("apiVersion", "")).partition("/") for reference in references]
        named = next((version for group, _, version in versions if group == names.CORE_GROUP), names.CLUSTERS.version)
        return self._relations.core_version or named
