"""Gathers what a decision needs: from the store, the inventory and the operations. Decides nothing."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from capk.api import names
from capk.api.names import Resource
from capk.api.objects import Key, KINDCluster, KINDControlPlane, Object, OwnerCluster, SecretFacts
from capk.engine.inventory import Inventory
from capk.errors import NotFound
from capk.kube.door import Kube
from capk.manager.facts import comes_first, engine_facts, now, secret_facts
from capk.manager.work import Work
from capk.plan.observed import ControlPlaneObserved, Observed, Policy
from capk.runtime.store import Store


class Observer:
    """Reads the store, and the API server only for an owner Cluster that the store does not have (yet).

    core_version: the version of Cluster API's objects that the server prefers; None where Cluster API is not installed.
    Kept up to date by the application.
    """

    def __init__(self, *, store: Store, client: Kube, inventory: Inventory, work: Work, policy: Policy) -> None:
        self.core_version: str | None = None
        self._store = store
        self._client = client
        self._inventory = inventory
        self._work = work
        self._policy = policy
        self._wanted_names: dict[Key, str] = {}
        self._wanted_by: dict[str, set[Key]] = defaultdict(set)
        self._foreign_secrets: set[tuple[str, str]] = set()

    async def kindcluster(self, key: Key) -> Observed | None:
        """Return what there is to know about a KINDCluster; None when it is gone."""
        raw = self._store.get(key)
        if raw is None:
            self._want(key, None)
            return None
        cluster = KINDCluster(raw)
        owner = await self._owner(cluster)
        observed = Observed(
            object=cluster,
            now=now(),
            policy=self._policy,
            cluster_api_installed=self.core_version is not None,
            owner=owner,
            control_plane=self._control_plane_of(owner),
            operation=self._work.facts(cluster),
            access=self._work.access(cluster),
            recheck=not cluster.is_deleting and self._work.is_access_old(cluster),
        )
        name = observed.cluster_name
        self._want(key, name)
        return observed.with_name_facts(
            rival=self._rival(cluster, name),
            engine=engine_facts(self._inventory.latest, name),
            secrets=self._secrets(key.namespace, name),
            foreign_secrets=self._foreign(key.namespace),
        )

    async def look_again(self) -> None:
        """Ask the engine what it has now."""
        await self._inventory.refresh()

    async def control_plane(self, key: Key) -> ControlPlaneObserved | None:
        """Return what there is to know about a KINDControlPlane; None when it is gone."""
        raw = self._store.get(key)
        if raw is None:
            return None
        control_plane = KINDControlPlane(raw)
        owner = await self._owner(control_plane)
        infrastructure = self._infrastructure_of(owner)
        name = self._wanted_names.get(infrastructure.key, "") if infrastructure else ""
        return ControlPlaneObserved(
            object=control_plane,
            now=now(),
            policy=self._policy,
            owner=owner,
            infrastructure=infrastructure,
            cluster_name=name,
            access=self._work.access(infrastructure) if infrastructure else None,
            secrets=self._secrets(key.namespace, name),
            foreign_secrets=self._foreign(key.namespace),
        )

    def wanting(self, cluster_names: Iterable[str]) -> set[Key]:
        """Return the KINDClusters that want a kind cluster of one of these names."""
        return {key for name in cluster_names for key in self._wanted_by.get(name, ())}

    def related(self, resource: Resource, raw: Mapping[str, object]) -> set[Key]:
        """Return the keys of our objects that have to be looked at when this object changed, itself included."""
        seen = Object(raw)
        if resource is names.SECRETS:
            keys = self.wanting([seen.labels.get(names.CLUSTER_LABEL, "")])
            self._foreign_secrets.discard((seen.namespace, seen.name))
            keys = {key for key in keys if key.namespace == seen.namespace}
            return keys | {other for key in keys for other in self.siblings(key)}
        if resource is names.CLUSTERS:
            return self._referenced(OwnerCluster(raw))
        rivals = self.wanting([self._wanted_names.get(seen.key, "")])
        return {seen.key} | self.siblings(seen.key) | rivals

    def found_foreign_secret(self, namespace: str, name: str) -> None:
        """Remember that a Secret of that name is somebody else's."""
        self._foreign_secrets.add((namespace, name))

    def forget_foreign_secrets(self) -> None:
        """Look again whether those names are free."""
        self._foreign_secrets.clear()

    async def _owner(self, seen: Object) -> OwnerCluster | None:
        """The owner Cluster by its name; a changed uid is core's to repair."""
        reference = seen.owner_cluster_reference
        if reference is None:
            return None
        # The object may be faster than the news that Cluster API has been installed.
        version = self.core_version or str(reference["apiVersion"]).rpartition("/")[2]
        raw = self._store.get(Key(names.CLUSTERS.kind, seen.namespace, reference["name"]))
        if raw is None:
            try:
                raw = await self._client.get(names.clusters(version), seen.namespace, reference["name"])
            except NotFound:
                return None
            self.core_version = version
            self._store.put(names.CLUSTERS, raw)
        return OwnerCluster(raw)

    def _control_plane_of(self, owner: OwnerCluster | None) -> KINDControlPlane | None:
        name = owner.references("controlPlaneRef", names.KIND_CONTROL_PLANES.kind) if owner else None
        raw = self._store.get(Key(names.KIND_CONTROL_PLANES.kind, owner.namespace, name)) if owner and name else None
        return KINDControlPlane(raw) if raw else None

    def _infrastructure_of(self, owner: OwnerCluster | None) -> KINDCluster | None:
        name = owner.references("infrastructureRef", names.KIND_CLUSTERS.kind) if owner else None
        raw = self._store.get(Key(names.KIND_CLUSTERS.kind, owner.namespace, name)) if owner and name else None
        return KINDCluster(raw) if raw else None

    def siblings(self, key: Key) -> set[Key]:
        """KINDCluster and KINDControlPlane of the same Cluster."""
        raw = self._store.get(key)
        reference = Object(raw).owner_cluster_reference if raw else None
        owner = self._store.get(Key(names.CLUSTERS.kind, key.namespace, reference["name"])) if reference else None
        return self._referenced(OwnerCluster(owner)) - {key} if owner else set()

    def _referenced(self, owner: OwnerCluster) -> set[Key]:
        found = set()
        for field, resource in (
            ("infrastructureRef", names.KIND_CLUSTERS),
            ("controlPlaneRef", names.KIND_CONTROL_PLANES),
        ):
            if name := owner.references(field, resource.kind):
                found.add(Key(resource.kind, owner.namespace, name))
        return found

    def _rival(self, cluster: KINDCluster, name: str) -> str | None:
        for key in self._wanted_by[name] - {cluster.key}:
            raw = self._store.get(key)
            if raw and comes_first(cluster, KINDCluster(raw)):
                return f"{key.namespace}/{key.name}"
        return None

    def _secrets(self, namespace: str, cluster_name: str) -> dict[str, SecretFacts]:
        found = self._store.find(names.CLUSTER_LABEL, cluster_name, names.SECRETS)
        return {key.name: secret_facts(self._store.get(key)) for key in found if key.namespace == namespace}

    def _foreign(self, namespace: str) -> frozenset[str]:
        return frozenset(name for where, name in self._foreign_secrets if where == namespace)

    def _want(self, key: Key, name: str | None) -> None:
        before = self._wanted_names.pop(key, None)
        if before is not None:
            self._wanted_by[before].discard(key)
            if not self._wanted_by[before]:
                del self._wanted_by[before]
        if name is not None:
            self._wanted_names[key] = name
            self._wanted_by[name].add(key)
