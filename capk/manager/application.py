"""The provider process: builds everything, keeps store and inventory up to date, runs the workers, stops cleanly."""

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Self

import kopf

from capk.api import names
from capk.api.names import Resource
from capk.api.objects import Key, Object, OwnerCluster
from capk.engine.containers import Containers, engine_command
from capk.engine.failurelogs import FailureLogs
from capk.engine.inventory import Inventory, Snapshot
from capk.engine.kind import Kind
from capk.engine.operations import Lane, Operations
from capk.errors import NotFound
from capk.kube.client import KubeClient
from capk.kube.events import EventRecorder
from capk.manager.facts import project_secret, ready_reason, version_note
from capk.manager.observe import Observer
from capk.manager.reconcile import Reconciler
from capk.manager.requests import Engine
from capk.manager.work import Work
from capk.plan.observed import EndpointMode, Policy
from capk.runtime.health import Echoes, Freshness, Reached
from capk.runtime.metrics import Metrics
from capk.runtime.store import Store
from capk.runtime.workers import every, run_workers
from capk.runtime.workqueue import WorkQueue
from capk.settings import Settings

log = logging.getLogger(__name__)

RECONCILE_SECONDS = 240.0
"""A reconcile only waits for the API server, never for kind: one that takes minutes is given up and tried again."""
SETTLE_SECONDS = 0.1
"""How long a change of a known object may wait for the next one: a burst of edits costs one round."""


class Application:
    """Everything that one provider process holds; kopf's memo."""

    def __init__(self, settings: Settings, client: KubeClient, metrics: Metrics) -> None:
        loop = asyncio.get_running_loop()
        self.metrics = metrics
        self.ready = Reached("the first look at all objects and at the engine")
        self.looked = Freshness("look at the engine", 10 * settings.inventory_period_seconds + 120)
        self.resynced = Freshness("resync", 3 * settings.sync_period_seconds + 60)
        # A list repairs what a watch has missed; one that stays behind from one list to the next is dead. kopf ends
        # streams that are silent for 70 s; this is for what it does not see.
        self.echoes = Echoes(settings.sync_period_seconds + 300)
        self.settings = settings
        self.client = client
        self._kopf_has_logged_in = False
        self._is_filled = False
        self._told: Snapshot | None = None
        self._told_version: str | None = None
        self.queue: WorkQueue[Key] = WorkQueue(observer=metrics)
        self.store = Store()
        self.store.project(names.CLUSTERS, OwnerCluster.project)
        self.store.project(names.SECRETS, project_secret)
        self.store.index(names.CLUSTER_LABEL, _cluster_label)
        self.kind = Kind(
            settings.kind_command,
            work_dir=settings.work_dir,
            create_timeout_seconds=settings.create_timeout_seconds,
            delete_timeout_seconds=settings.delete_timeout_seconds,
        )
        self.containers = Containers(_engine_command(settings))
        self.inventory = Inventory(self.kind, self.containers)
        self.operations = Operations(
            {
                Lane.CREATE: settings.max_concurrent_creates,
                Lane.DELETE: 8,
                Lane.REPAIR: 4,
                Lane.READ: 8,
            },
            on_change=self._operation_changed,
            clock=loop.time,
        )
        for lane in Lane:
            metrics.watch_lane(lane.value, partial(self.operations.count, lane))
        endpoint = EndpointMode.INTERNAL if settings.gives_internal_endpoint else EndpointMode.EXTERNAL
        logs = FailureLogs(settings.log_dir)
        engine = Engine(
            self.kind, self.containers, self.inventory, logs, endpoint, float(settings.wait_for_nodes_seconds)
        )
        self.work = Work(engine, self.operations, metrics, loop.time)
        policy = Policy(
            endpoint=endpoint,
            default_image=settings.node_image,
            wait_seconds=settings.wait_for_nodes_seconds,
            allowed_host_paths=settings.host_paths,
        )
        self.observer = Observer(
            store=self.store, client=client, inventory=self.inventory, work=self.work, policy=policy
        )
        self.reconciler = Reconciler(
            client=client,
            observer=self.observer,
            work=self.work,
            recorder=EventRecorder(client, "capk"),
            metrics=metrics,
            wrote=self.wrote,
        )

    def __copy__(self) -> Self:
        """Return itself: kopf copies the memo for each object, and there is one application (K10)."""
        return self

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Fill the store, look at the engine, then let the workers work; at the end no child process is left."""
        self.looked.touch()
        self.resynced.touch()
        self.kind.remove_leftovers()
        await self._relist()
        await self._look_at_engine()
        async with AsyncExitStack() as stack:
            stack.callback(self.kind.close)
            stack.push_async_callback(self.inventory.stop)
            stack.push_async_callback(self.operations.stop)
            for work in (self._work(), self._watch_engine(), self._resync()):
                task = asyncio.create_task(work)
                stack.push_async_callback(_cancelled, task)
            stack.callback(self.queue.shutdown)
            for resource in (names.KIND_CLUSTERS, names.KIND_CONTROL_PLANES):
                for key in self.store.keys(resource):
                    self.queue.add(key)
            yield

    def seen(self, resource: Resource, type: str | None, obj: Mapping[str, Any]) -> None:
        """Take in a watch event and wake the objects that it concerns."""
        self.echoes.heard(resource.kind, _version(obj))
        if not self._serves(resource, obj):
            return
        if resource is names.CLUSTERS:
            self.observer.core_version = str(obj["apiVersion"]).rpartition("/")[2]
        known = self.store.get(_key(resource, obj)) is not None
        if not self.store.apply_event(resource, type, obj):
            return
        itself = _key(resource, obj)
        for key in self.observer.related(resource, obj):
            # Its own changes come in bursts, most of them our own writes; what others did is worth a look at once.
            self.queue.add_after(key, SETTLE_SECONDS if known and key == itself else 0.0)

    def wrote(self, resource: Resource, obj: Mapping[str, Any]) -> None:
        """Take in the answer to a write of ours: the watch tells nothing new of it, so its relatives are woken here."""
        self.store.put(resource, obj)
        self.echoes.expect(resource.kind, _version(obj))
        for key in self.observer.related(resource, obj) - {_key(resource, obj)}:
            self.queue.add(key)

    async def kopf_connection(self) -> kopf.AiohttpSession:
        """Return what kopf logs in with, at first and whenever the server refuses it: our own client's credentials."""
        session = await self.client.session(renew=self._kopf_has_logged_in)
        self._kopf_has_logged_in = True
        return kopf.AiohttpSession(server=self.client.server, aiohttp_session=session)

    def _serves(self, resource: Resource, obj: Mapping[str, Any]) -> bool:
        """Whether the object is one of those that this process is told to look after (C9)."""
        if self.settings.namespace and Object(obj).namespace != self.settings.namespace:
            return False
        wanted = self.settings.watch_filter
        is_ours = resource in (names.KIND_CLUSTERS, names.KIND_CONTROL_PLANES)
        return not (wanted and is_ours) or Object(obj).labels.get(names.WATCH_FILTER_LABEL) == wanted

    async def _work(self) -> None:
        await run_workers(
            self.queue,
            self.reconciler.reconcile,
            self.settings.workers,
            deadline_seconds=RECONCILE_SECONDS,
            observe=lambda key, outcome, seconds: self.metrics.reconciled(key.kind, outcome, seconds),
        )

    async def _watch_engine(self) -> None:
        """Ask the engine what it has, for all objects at once, and wake those for which the answer is another one."""
        async for _ in every(self.settings.inventory_period_seconds):
            await self._look_at_engine()

    async def _look_at_engine(self) -> None:
        began = time.monotonic()
        after = await self.inventory.refresh()
        # Compared with what was told last: others refresh the inventory too, and wake nobody.
        before, self._told = self._told, after
        self.looked.touch()
        outcome = "failed" if after.error else "ok"
        self.metrics.inventory_seconds.labels(outcome).observe(time.monotonic() - began)
        self.metrics.counted(Counter(ready_reason(obj) for obj in self.store.values(names.KIND_CLUSTERS)))
        self._tell_version()
        if before is None or (before.error is None) != (after.error is None):
            if after.error:
                log.warning("The container engine does not answer: %s", after.error)
            self._wake_all()
        else:
            for key in self.observer.wanting(_changed(before, after)):
                self.queue.add(key)

    def _tell_version(self) -> None:
        version = self.inventory.kind_version
        if not version or version == self._told_version:
            return
        self._told_version = version
        self.metrics.told_kind_version(version)
        log.info("kind is %s.", version)
        if note := version_note(version):
            log.warning(note)

    async def _resync(self) -> None:
        """Look at everything now and then: only a list tells of what vanished while a watch was down (K27)."""
        async for _ in every(self.settings.sync_period_seconds):
            try:
                await self._relist()
            except Exception:
                log.exception("The resync failed; it is tried again.")
                continue
            self.resynced.touch()
            self.metrics.last_resync.set_to_current_time()
            self.observer.forget_foreign_secrets()
            # It may have been replaced by another release meanwhile.
            self.inventory.kind_version = None
            self._wake_all()

    async def _relist(self) -> None:
        version = self.observer.core_version = await self.client.serves(names.CORE_GROUP)
        watched = [names.KIND_CLUSTERS, names.KIND_CONTROL_PLANES, names.SECRETS]
        for resource in [*watched, *([names.clusters(version)] if version else [])]:
            await self._relist_kind(resource)
        self._is_filled = True

    async def _relist_kind(self, resource: Resource) -> None:
        selector = names.CLUSTER_LABEL if resource is names.SECRETS else None
        try:
            listing = await self.client.list(resource, self.settings.namespace, label_selector=selector)
        except NotFound:
            # Its CRD is not installed (yet); kopf watches it as soon as it is (K49).
            return
        served = [obj for obj in listing.items if self._serves(resource, obj)]
        # First what vanished: an API server restored from a backup goes back in time, and older versions are the truth.
        drift = self.store.prune(resource, served, listing.resource_version, namespace=self.settings.namespace)
        if drift.behind:
            self.echoes.expect(resource.kind, max(_version(obj) for obj in served))
        else:
            self.echoes.forget(resource.kind)
        missed = len(drift.vanished) + len(drift.behind)
        if missed and self._is_filled:
            log.warning("The watch of %s had missed %d changes; the list has told of them.", resource.plural, missed)
        for obj in served:
            self.store.put(resource, obj)

    def _wake_all(self) -> None:
        for resource in (names.KIND_CLUSTERS, names.KIND_CONTROL_PLANES):
            for key in self.store.keys(resource):
                self.queue.add(key)

    def _operation_changed(self, uid: Any) -> None:
        key = self.work.key(uid)
        if key is None:
            return
        self.queue.add(key)
        for sibling in self.observer.siblings(key):
            self.queue.add(sibling)


def _changed(before: Snapshot, after: Snapshot) -> set[str]:
    names_of_both = before.clusters.keys() | after.clusters.keys()
    return {name for name in names_of_both if before.clusters.get(name) != after.clusters.get(name)}


def _key(resource: Resource, obj: Mapping[str, Any]) -> Key:
    metadata = obj["metadata"]
    return Key(resource.kind, metadata.get("namespace", ""), metadata["name"])


def _version(obj: Mapping[str, Any]) -> int:
    return int(obj["metadata"]["resourceVersion"])


def _cluster_label(obj: Mapping[str, Any]) -> list[str]:
    value = Object(obj).labels.get(names.CLUSTER_LABEL)
    return [value] if value and obj.get("kind") == names.SECRETS.kind else []


def _engine_command(settings: Settings) -> tuple[str, ...] | None:
    """The container engine's command: as told, or the one that kind would use itself."""
    if settings.engine_command is not None:
        return settings.engine_command or None
    return engine_command(os.environ)


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])
