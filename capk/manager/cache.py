"""The cache of the API server's objects, fed by watch events, by responses to writes, and by lists."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from capk.api import names
from capk.api.names import Resource
from capk.api.objects import Key, Object, OwnerCluster
from capk.errors import NotFound
from capk.kube.protocol import KubeApi, Listing
from capk.manager.discovery import Discovery
from capk.manager.facts import project_namespace, project_secret
from capk.manager.machines import INDEXES
from capk.manager.relations import Relations
from capk.runtime.probes import WatchLag
from capk.runtime.store import Reduced, Store
from capk.settings import Settings

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.1
"""How long a change of a known object waits for the next one, so that a burst of edits costs one reconcile."""

_SPARSE: Final = (names.CLUSTERS, names.NAMESPACES)
"""Kinds of which so little is kept that most changes change nothing here."""

Wake = Callable[[Key, float], None]
"""Queues an object for a reconcile after that many seconds."""


def new_store() -> Store:
    """Return a store that keeps only what decisions need, and never the data of a Secret."""
    store = Store()
    store.project(names.CLUSTERS, OwnerCluster.project)
    store.project(names.SECRETS, project_secret)
    store.project(names.NAMESPACES, project_namespace)
    store.index(names.SECRET_CLUSTER_LABEL, _cluster_label)
    for name, values in INDEXES.items():
        store.index(name, values)
    return store


class Cache:
    """Stores what the API server reports and queues the objects that it affects."""

    def __init__(
        self,
        settings: Settings,
        client: KubeApi,
        store: Store,
        relations: Relations,
        discovery: Discovery,
        lag: WatchLag,
        *,
        freed_secret: Callable[[str, str], None],
        wake: Wake,
    ) -> None:
        self._settings = settings
        self._client = client
        self._store = store
        self._relations = relations
        self._discovery = discovery
        self._lag = lag
        self._freed_secret = freed_secret
        self._wake = wake
        self._is_filled = False

    def on_event(self, resource: Resource, type: str | None, obj: Mapping[str, Any]) -> None:
        """Store the object of a watch event and queue the objects that it affects."""
        self._lag.on_event(resource.kind, _version(obj))
        if not self._serves(resource, obj):
            return
        if resource is names.CLUSTERS:
            self._discovery.found(str(obj["apiVersion"]).rpartition("/")[2])
        itself = _key(resource, obj)
        before = self._store.get(itself)
        # Computed before and after: an event may change which objects are related.
        concerned = self._concerned(resource, obj)
        if not self._store.apply_event(resource, type, obj):
            return
        if resource in _SPARSE and self._store.get(itself) == before:
            # Core reports progress in the status of a Cluster, of which nothing is kept.
            return
        for key in concerned | self._concerned(resource, obj):
            # An object's own changes come in bursts, mostly our own writes. Related objects are queued immediately.
            self._wake(key, SETTLE_SECONDS if before is not None and key == itself else 0.0)

    def on_written(self, resource: Resource, obj: Mapping[str, Any], writer: Key) -> None:
        """Store the response to our own write and queue related objects: the watch event will be no news.

        writer: the object that it was written for, which is being reconciled.
        """
        # The answer to the removal of a finalizer removes the object, with what it was related to.
        concerned = self._concerned(resource, obj)
        is_newer = self._store.put(resource, obj)
        self._lag.expect(resource.kind, _version(obj))
        if not is_newer:
            # The watch was faster, or the API server dropped unknown fields and changed nothing.
            return
        for key in (concerned | self._concerned(resource, obj)) - {_key(resource, obj), writer}:
            self._wake(key, 0.0)

    def on_found(self, resource: Resource, obj: Mapping[str, Any]) -> None:
        """Store an object that was read before its watch delivered it, and queue the objects that it affects."""
        if self._serves(resource, obj) and self._store.put(resource, obj):
            for key in self._concerned(resource, obj):
                self._wake(key, 0.0)

    async def relist(self) -> None:
        """List everything: only a list shows what vanished while a watch was down (K27). Raises ApiError."""
        await self._discovery.settle()
        version = self._relations.core_version
        # Classes and namespaces first: objects of the store need them.
        cluster_wide = () if self._settings.namespace else names.CLUSTER_WIDE
        watched = [*cluster_wide, *names.RECONCILED, names.SECRETS]
        for resource in [*watched, *([names.clusters(version)] if version else [])]:
            await self._relist_kind(resource)
        if version is None:
            # Cluster API was uninstalled with its Clusters: without the CRD there is no list to compare with.
            self._store.clear(names.CLUSTERS)
        self._is_filled = True

    async def _relist_kind(self, resource: Resource) -> None:
        news: list[Reduced] = []
        try:
            listing = await self._list(resource, news)
        except NotFound:
            # The CRD is not installed yet; kopf starts the watch as soon as it is (K49).
            return
        served = [obj for obj in listing.items if self._serves(resource, obj)]
        # First remove what vanished: after a restore from a backup, older resource versions are the current ones.
        drift = self._store.prune(resource, served, listing.resource_version, namespace=self._settings.namespace)
        if drift.behind:
            self._lag.expect(resource.kind, max(_version(obj) for obj in served))
        else:
            self._lag.forget(resource.kind)
        missed = len(drift.vanished) + len(drift.behind)
        if missed and self._is_filled:
            log.warning("Resync found %d changes to %s that the watch had missed.", missed, resource.plural)
        # Nothing reconciles a Secret or a Cluster; every object that may need it is reconciled after the list anyway.
        for key in drift.vanished if resource in names.RECONCILED else ():
            self._wake(key, 0.0)
        for one in news:
            self._store.take(resource, one)
        if drift.is_restored:
            # What was stored before the list was no news to it, and has been dropped.
            await self._relist_kind(resource)

    async def _list(self, resource: Resource, news: list[Reduced]) -> Listing:
        """Return a list with no more of each object than shows its version; add to `news` what the store lacks.

        A second copy of all stored objects would leave this process larger for good. Before the first list the store
        lacks everything, also the Secrets of a megabyte each that anyone may have created.
        """

        def sort_out(obj: dict[str, Any]) -> dict[str, Any]:
            if self._serves(resource, obj) and not self._store.has(resource, obj):
                news.append(self._store.reduced(resource, obj))
            return _identity(obj)

        selector = names.SECRET_CLUSTER_LABEL if resource is names.SECRETS else None
        return await self._client.list(resource, self._settings.namespace, label_selector=selector, keep=sort_out)

    def _concerned(self, resource: Resource, obj: Mapping[str, Any]) -> set[Key]:
        if resource is names.SECRETS:
            self._freed_secret(Object(obj).namespace, Object(obj).name)
        return self._relations.keys_for_event(resource, obj)

    def _serves(self, resource: Resource, obj: Mapping[str, Any]) -> bool:
        """The predicate: return whether this process is responsible for the object (C9)."""
        if self._settings.namespace and Object(obj).namespace != self._settings.namespace:
            return False
        wanted = self._settings.watch_filter
        is_ours = resource in names.FILTERED
        return not (wanted and is_ours) or Object(obj).labels.get(names.WATCH_FILTER_LABEL) == wanted


def _key(resource: Resource, obj: Mapping[str, Any]) -> Key:
    metadata = obj["metadata"]
    return Key(resource.kind, metadata.get("namespace", ""), metadata["name"])


def _identity(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return what shows that a listed object exists, in which version, and whether it is served."""
    kept = ("name", "namespace", "uid", "resourceVersion")
    metadata = {field: obj["metadata"][field] for field in kept if field in obj["metadata"]}
    chosen = Object(obj).labels.get(names.WATCH_FILTER_LABEL)
    return {"metadata": {**metadata, "labels": {names.WATCH_FILTER_LABEL: chosen}}}


def _version(obj: Mapping[str, Any]) -> int:
    return int(obj["metadata"]["resourceVersion"])


def _cluster_label(obj: Mapping[str, Any]) -> list[str]:
    value = Object(obj).labels.get(names.SECRET_CLUSTER_LABEL)
    return [value] if value and obj.get("kind") == names.SECRETS.kind else []
