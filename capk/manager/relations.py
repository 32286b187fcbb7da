"""Relations between objects: which ones an event affects, which want the same name, and which has precedence.

The store keeps them up to date, so they are complete before the first decision.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from capk.api import names
from capk.api.names import Resource
from capk.api.objects import Key, KINDCluster, KINDControlPlane, KINDMachine, Object, OwnerCluster
from capk.engine.place import SHARED
from capk.manager.claimindex import ClaimIndex
from capk.manager.engineclasses import class_key, place_key
from capk.manager.machines import Machines
from capk.plan.claims import Claim, cluster_name, comes_first, holds_name, inheritance_rank, is_finished, precedes
from capk.plan.engineclass import OWN_ENGINE, is_refused
from capk.plan.repair import needed_addresses
from capk.runtime.store import Store

T = TypeVar("T")


class Relations:
    """Indexes of the objects in the store.

    core_version: the server's preferred version of Cluster API's objects; None if Cluster API is not installed.
    place_of: returns the key of the place of a KINDCluster's kind cluster. class_of: returns the KINDEngineClass of its
    engine; see `capk.manager.placement` for both. has_begun: returns whether this process, or an engine, knows of a
    kind cluster that was begun for a KINDCluster.
    """

    def __init__(
        self,
        store: Store,
        place_of: Callable[[KINDCluster], str] = lambda cluster: SHARED,
        class_of: Callable[[KINDCluster], str] = lambda cluster: OWN_ENGINE,
        has_begun: Callable[[KINDCluster], bool] = lambda cluster: False,
    ) -> None:
        self.core_version: str | None = None
        self.machines = Machines(store)
        self._store = store
        self.place_of = place_of
        self.class_of = class_of
        self._has_begun = has_begun
        self._claims = ClaimIndex(store)
        self._names: dict[Key, str] = {}
        self._places: dict[Key, str] = {}
        self._at: dict[str, set[Key]] = defaultdict(set)
        """Key of a place -> the KINDClusters whose kind clusters are there."""
        self._classes: dict[Key, str] = {}
        self._of_class: dict[str, set[Key]] = defaultdict(set)
        """KINDEngineClass -> the KINDClusters whose engines are of that class."""
        self._neighbours: dict[tuple[str, str], set[Key]] = defaultdict(set)
        """KINDEngineClass and namespace -> the same, of that namespace."""
        self._wanted_by: dict[str, set[Key]] = defaultdict(set)
        self._meanings: dict[Key, tuple[Any, ...]] = {}
        """What each KINDEngineClass means: changes of its status are many."""
        store.listen(names.KIND_CLUSTERS, self._changed)
        store.listen(names.KIND_ENGINE_CLASSES, self._class_changed)
        store.listen(names.NAMESPACES, lambda key: self._choose_again(key.name))

    def claim(self, key: Key) -> Claim | None:
        """Return the claim of a KINDCluster, if it is valid."""
        return self._claims.of(key)

    def copies_claim(self, key: Key) -> bool:
        """Return whether a KINDCluster holds the claim of another existing one, as a copied manifest does."""
        return self._claims.is_copy(key)

    def name(self, key: Key) -> str:
        """Return the name of a KINDCluster's kind cluster; empty if there is no such object."""
        return self._names.get(key, "")

    def keys_wanting(self, cluster_names: Iterable[str]) -> set[Key]:
        """Return the KINDClusters that want a kind cluster of one of these names."""
        return {key for name in cluster_names for key in self._wanted_by.get(name, ())}

    def places(self) -> set[str]:
        """Return the keys of the places where KINDClusters have, or want, their kind clusters."""
        return set(self._at)

    def count_of(self, engine_class: str) -> int:
        """Return how many KINDClusters have, or want, their kind clusters on an engine of that class."""
        return len(self._of_class.get(engine_class, ()))

    def neighbours(self, cluster: KINDCluster) -> int:
        """Return how many KINDClusters of the namespace have the class of this one, including itself."""
        return len(self._neighbours.get((self._classes.get(cluster.key, OWN_ENGINE), cluster.namespace), ()))

    def first_of_class(self, cluster: KINDCluster) -> int:
        """Return how many KINDClusters of the namespace come before this one in its class: see `comes_first`."""
        chosen = self._classes.get(cluster.key, OWN_ENGINE)
        neighbours = self._neighbours.get((chosen, cluster.namespace), set()) - {cluster.key}
        return sum(
            comes_first(
                cluster,
                self.claim(cluster.key),
                other,
                self.claim(other.key),
                other_has_begun=self._has_begun(other),
                cluster_api_installed=self.core_version is not None,
            )
            for other in self._kindclusters(neighbours)
        )

    def rival(self, cluster: KINDCluster) -> str | None:
        """Return the KINDCluster that has precedence for this one's name, as `namespace/name`."""
        own = self.claim(cluster.key)
        for key in sorted(self._competitors(cluster.key)):
            raw = self._store.get(key)
            other, claim = KINDCluster(raw), self.claim(key)
            has_owner = other.owner_cluster_reference is not None
            holds = holds_name(other, claim, has_owner=has_owner, cluster_api_installed=self.core_version is not None)
            if holds and precedes(cluster, own, other, claim):
                return f"{key.namespace}/{key.name}"
        return None

    def is_held(self, cluster: KINDCluster, ids: Collection[str]) -> bool:
        """Return whether another object created or adopted the containers with these ids or uids in marks.

        If the engine lists no ids, return whether another object has claimed the name.
        """
        wanted = set(ids) - {cluster.uid}
        if wanted & self._claims.alive:
            return True
        if ids:
            return bool(self._holders(cluster, wanted))
        others = self._competitors(cluster.key) & self._at.get(self._places.get(cluster.key, ""), set())
        return any(self.claim(other.key) and not is_finished(other) for other in self._kindclusters(others))

    def is_adopted_first(self, cluster: KINDCluster, ids: Collection[str]) -> bool:
        """Return whether another object claims the containers with these ids, and comes first: see `inheritance_rank`.

        Of objects that name the same container, only the first has a valid claim. Those that name another container of
        the same kind cluster have one each.
        """
        claim = self.claim(cluster.key)
        if claim is None or claim.uid == cluster.uid:
            return False
        holders = self._holders(cluster, set(ids) - {claim.uid})
        return any(inheritance_rank(holder) < inheritance_rank(cluster) for holder in holders)

    def _holders(self, cluster: KINDCluster, ids: Collection[str]) -> list[KINDCluster]:
        """Return the other objects with a valid claim to one of these ids.

        At whichever place they are: two classes may lead to one engine.
        """
        same_name = self._wanted_by.get(self.name(cluster.key), set()) - {cluster.key}
        keys = sorted(same_name & self._claims.with_ids(ids))
        return self._kindclusters(key for key in keys if (claim := self.claim(key)) is not None and claim.uid in ids)

    def is_claimed(self, uids: Collection[str]) -> bool:
        """Return whether an object has a claim to what was made for one of these objects."""
        return any(claim is not None and claim.uid in uids for claim in map(self.claim, self._names))

    def addresses_of_others(self, place: str, name: str) -> frozenset[str]:
        """Return the addresses that control planes of all other kind clusters at that place need."""
        others = (self._store.get(key) for key in self._at.get(place, ()) if self.name(key) != name)
        return frozenset().union(*(needed_addresses(KINDCluster(raw)) for raw in others if raw))

    def owner(self, current: Object) -> OwnerCluster | None:
        """Return the owner Cluster by name, if the store has it; Cluster API repairs a changed uid."""
        reference = current.owner_cluster_reference
        if reference is None:
            return None
        raw = self._store.get(Key(names.CLUSTERS.kind, current.namespace, reference["name"]))
        return OwnerCluster(raw) if raw else None

    def control_plane_of(self, owner: OwnerCluster | None) -> KINDControlPlane | None:
        """Return the KINDControlPlane that a Cluster names."""
        raw = self._referenced_object(owner, "controlPlaneRef", names.KIND_CONTROL_PLANES)
        return KINDControlPlane(raw) if raw else None

    def infrastructure_of(self, owner: OwnerCluster | None) -> KINDCluster | None:
        """Return the KINDCluster that a Cluster names."""
        raw = self._referenced_object(owner, "infrastructureRef", names.KIND_CLUSTERS)
        return KINDCluster(raw) if raw else None

    def siblings(self, key: Key) -> set[Key]:
        """Return KINDCluster and KINDControlPlane of the same Cluster; of a KINDMachine, its KINDCluster."""
        raw = self._store.get(key)
        if raw and key.kind == names.KIND_MACHINES.kind:
            return self.machines.keys_for_event(KINDMachine(raw)) - {key}
        owner = self.owner(Object(raw)) if raw else None
        return self._referenced(owner) - {key} if owner else set()

    def keys_for_event(self, resource: Resource, raw: Mapping[str, Any]) -> set[Key]:
        """The map function: return the keys to reconcile after an event of this object, including itself."""
        current = Object(raw)
        if resource is names.SECRETS:
            keys = self.keys_wanting([current.labels.get(names.SECRET_CLUSTER_LABEL, ""), *_cluster_in(current.name)])
            keys = {key for key in keys if key.namespace == current.namespace}
            return keys | {other for key in keys for other in self.siblings(key)}
        if resource.kind == names.CLUSTERS.kind:
            return self._referenced(OwnerCluster(raw)) | self.machines.of_cluster(current)
        if resource is names.KIND_CONFIGS:
            return {current.key}
        if resource is names.KIND_ENGINE_CLASSES:
            # Its status counts its objects: each new one would wake all the others.
            is_same = self._meanings.get(current.key) == _meaning(current)
            of_class = set() if is_same else self._of_class.get(current.name, set())
            return {current.key} | self._with_relatives(of_class)
        if resource is names.NAMESPACES:
            return {key for key in self._places if key.namespace == current.name}
        if resource is names.KIND_MACHINES:
            return self.machines.keys_for_event(KINDMachine(raw))
        rivals = self._competitors(current.key)
        related = {current.key} | self.siblings(current.key) | self._heirs(KINDCluster(raw))
        workers = {key for cluster in self._kindclusters(related, current) for key in self.workers(cluster)}
        chosen = class_key(place_key(self._classes.get(current.key, OWN_ENGINE)))
        return related | rivals | workers | ({chosen} if chosen else set())

    def _heirs(self, cluster: KINDCluster) -> set[Key]:
        """Return the KINDClusters that may get the place of one that goes, if its class allows only so many."""
        if not is_finished(cluster):
            return set()
        chosen = self._classes.get(cluster.key, OWN_ENGINE)
        neighbours = self._kindclusters(self._neighbours.get((chosen, cluster.namespace), ()))
        return {one.key for one in neighbours if is_refused(one)}

    def kindcluster_named(self, namespace: str, cluster_name: str) -> KINDCluster | None:
        """Return the KINDCluster in a namespace whose kind cluster has, or should have, that name."""
        keys = sorted(key for key in self.keys_wanting([cluster_name]) if key.namespace == namespace)
        return next(iter(self._kindclusters(keys)), None)

    def workers(self, cluster: KINDCluster) -> set[Key]:
        """Return the KINDMachines of a KINDCluster."""
        return {machine.key for machine in self.machines.of(cluster)}

    def keys_for_names(self, place: str, cluster_names: Iterable[str]) -> set[Key]:
        """Return what a change of kind clusters of these names affects: KINDClusters there, and their KINDMachines."""
        keys = {key for key in self.keys_wanting(cluster_names) if self._places[key] == place}
        return keys | {key for cluster in self._kindclusters(keys) for key in self.workers(cluster)}

    def keys_at(self, place: str) -> set[Key]:
        """Return what a change of the engine at that place affects."""
        return self._with_relatives(self._at.get(place, set()))

    def _with_relatives(self, keys: set[Key]) -> set[Key]:
        """Return these KINDClusters with their KINDMachines and KINDControlPlanes."""
        workers = {key for cluster in self._kindclusters(keys) for key in self.workers(cluster)}
        return keys | workers | {sibling for key in keys for sibling in self.siblings(key)}

    def _competitors(self, key: Key) -> set[Key]:
        """Return the other KINDClusters that cannot have their kind clusters beside this one's.

        Either the kind clusters would have one name on one engine, or their Secrets one name in a namespace.
        """
        place, name = self._places.get(key), self.name(key)
        return {
            other
            for other in self._wanted_by.get(name, set()) - {key}
            if self._places[other] == place or other.namespace == key.namespace
        }

    def _kindclusters(self, keys: Iterable[Key], current: Object | None = None) -> list[KINDCluster]:
        """Return the KINDClusters with these keys; current: an object that the store may not have any more."""
        own = {current.key: current.raw} if current else {}
        found = (own.get(key) or self._store.get(key) for key in keys if key.kind == names.KIND_CLUSTERS.kind)
        return [KINDCluster(raw) for raw in found if raw]

    def _referenced_object(self, owner: OwnerCluster | None, field: str, resource: Resource) -> Any:
        name = owner.references(field, resource.kind) if owner else None
        return self._store.get(Key(resource.kind, owner.namespace, name)) if owner and name else None

    def _referenced(self, owner: OwnerCluster) -> set[Key]:
        found = set()
        for field, resource in (
            ("infrastructureRef", names.KIND_CLUSTERS),
            ("controlPlaneRef", names.KIND_CONTROL_PLANES),
        ):
            if name := owner.references(field, resource.kind):
                found.add(Key(resource.kind, owner.namespace, name))
        return found

    def _changed(self, key: Key) -> None:
        """Update the indexes after the store has changed or removed a KINDCluster."""
        for affected in self._claims.update(key):
            self._recompute(affected)

    def _class_changed(self, key: Key) -> None:
        raw = self._store.get(key)
        before, now = self._meanings.pop(key, None), _meaning(Object(raw)) if raw else None
        if now is not None:
            self._meanings[key] = now
        if before != now:
            self._choose_again(None)

    def _choose_again(self, namespace: str | None) -> None:
        """Update the places of KINDClusters, which may depend on the classes, and on the labels of their namespaces."""
        for key in tuple(self._places):
            if namespace in (None, key.namespace):
                self.choose_again(key)

    def choose_again(self, key: Key) -> None:
        """Update the place of a KINDCluster, whose engine may have appeared or vanished."""
        raw = self._store.get(key)
        if raw is None or key not in self._places:
            return
        cluster = KINDCluster(raw)
        if (self.place_of(cluster), self.class_of(cluster)) != (self._places[key], self._classes[key]):
            self._recompute(key)

    def _recompute(self, key: Key) -> None:
        raw = self._store.get(key)
        if (name := self._names.pop(key, None)) is not None:
            _discard(self._wanted_by, name, key)
        if (place := self._places.pop(key, None)) is not None:
            _discard(self._at, place, key)
            chosen = self._classes.pop(key)
            _discard(self._of_class, chosen, key)
            _discard(self._neighbours, (chosen, key.namespace), key)
        if raw is None:
            return
        cluster = KINDCluster(raw)
        self._names[key] = name = cluster_name(cluster, self.claim(key))
        self._places[key] = place = self.place_of(cluster)
        self._at[place].add(key)
        self._classes[key] = chosen = self.class_of(cluster)
        self._of_class[chosen].add(key)
        self._neighbours[chosen, key.namespace].add(key)
        self._wanted_by[name].add(key)


def _meaning(current: Object) -> tuple[Any, ...]:
    """Return what differs between versions of an object, unless they differ in the status only."""
    return current.uid, current.generation, current.labels, current.annotations


def _discard(index: dict[T, set[Key]], value: T, key: Key) -> None:
    index[value].discard(key)
    if not index[value]:
        del index[value]


def _cluster_in(secret: str) -> list[str]:
    """Return the kind cluster in the name of a Secret, whose label may have been removed."""
    return [secret.removesuffix("-config")] if secret.endswith("-config") else []
