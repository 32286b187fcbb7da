"""Wires the parts of the provider, runs its loops, stops cleanly. `capk.manager.process` is the process around it."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Self

import kopf

from capk.api import names
from capk.api.engineclasses import KINDEngineClass
from capk.api.objects import Key, KINDCluster
from capk.engine.failurelogs import FailureLogs
from capk.engine.inventory import Inventory
from capk.engine.lanes import Lane, Lanes
from capk.engine.place import PODS, SHARED, Place
from capk.engine.remote import RemoteFiles
from capk.engine.workdir import WorkDir
from capk.errors import CapkError, Unreachable
from capk.kube.client import KubeClient
from capk.kube.recorder import EventRecorder
from capk.manager.cache import Cache, new_store
from capk.manager.controllers import (
    KINDClusterController,
    KINDConfigController,
    KINDControlPlaneController,
    KINDEngineClassController,
    KINDMachineController,
)
from capk.manager.discovery import Discovery
from capk.manager.engineclasses import EngineClasses, class_at, class_key
from capk.manager.enginekeys import EngineKeys
from capk.manager.enginepods import EnginePods, is_pod_place, may_have_engine, pod_place_key
from capk.manager.engines import INVENTORY_SECONDS, Commands, CommandsAt, Engines, ExecutorAt, commands_at, shared_place
from capk.manager.executor import Executor
from capk.manager.facts import now, ready_reason
from capk.manager.gate import Gate
from capk.manager.observe import ForeignSecrets, Observer
from capk.manager.observemachines import MachineObserver
from capk.manager.operations.kubesystem import Ask
from capk.manager.orphans import Orphans
from capk.manager.placement import Placement
from capk.manager.reconcile import Reconciler
from capk.manager.records import Records
from capk.manager.relations import Relations
from capk.plan.claims import is_finished
from capk.plan.enginepods import PodFacts
from capk.plan.policy import Policy
from capk.runtime.metrics import Metrics
from capk.runtime.probes import Heartbeat, StartupCheck, WatchLag
from capk.runtime.queueworkers import repeat, run_workers
from capk.runtime.tasks import supervised
from capk.runtime.workqueue import WorkQueue
from capk.settings import Settings
from capk.workload.health import Ask as AskHealth
from capk.workload.health import HealthMonitor
from capk.workload.pool import ConnectionPool

log = logging.getLogger(__name__)

RECONCILE_SECONDS = 240.0
"""Deadline of a reconcile, which waits only for the API server, never for kind; after that it is retried."""
KEPT_SECONDS = 3.0
"""How long the connection of an operation to a workload API server stays open for its next question."""
LANES = {Lane.DELETE: 8, Lane.LEAVE: 8, Lane.REPAIR: 4, Lane.ASK: 8, Lane.RENEW: 4, Lane.READ: 8, Lane.WAIT: 256}
"""How many operations run in parallel, per lane; waiting costs only one connection attempt per second."""


class Application:
    """All parts of one provider process; kopf's memo."""

    def __init__(
        self,
        settings: Settings,
        client: KubeClient,
        metrics: Metrics,
        *,
        commands: CommandsAt | None = None,
        ask: Ask | None = None,
        ask_health: AskHealth | None = None,
    ) -> None:
        """Wire the parts.

        commands, ask, ask_health: everything that does input and output, for tests.
        """
        clock = asyncio.get_running_loop().time
        self.settings, self.client, self.metrics = settings, client, metrics
        self.ready = StartupCheck("the first list of all objects and the first inventory of the engine")
        self.engine_heartbeat = Heartbeat(
            "beat of the engine watch", 10 * settings.inventory_period_seconds + INVENTORY_SECONDS + 60
        )
        self.resync_heartbeat = Heartbeat("beat of the resync", 3 * settings.sync_period_seconds + RECONCILE_SECONDS)
        # A list repairs what a watch has missed. A watch that is behind at two lists in a row is dead. kopf ends
        # streams that are silent for 70 s; this check finds the other cases.
        self.lag = WatchLag(settings.sync_period_seconds + 300)
        self.queue: WorkQueue[Key] = WorkQueue(observer=metrics)
        self._kopf_has_logged_in = False
        self.store = new_store()
        self.work_dir = WorkDir(settings.work_dir)
        self.remote_files = RemoteFiles(self.work_dir)
        self.classes = classes = EngineClasses(
            self.store,
            client,
            self.remote_files,
            namespace=settings.lease_namespace,
            managed=settings.namespace,
            watch_filter=settings.watch_filter,
            clock=clock,
            kept=self._kept_class,
            changed=self._wake_place,
        )
        self.pods = pods = EnginePods(
            client,
            EngineKeys(client, RemoteFiles(self.work_dir), namespace=settings.lease_namespace, now=now),
            namespace=settings.engine_namespace,
            changed=self._engine_changed,
            listed=self._engines_listed,
            pod_changed=self._pod_changed,
            clock=clock,
            now=now,
        )
        self.relations = Relations(
            self.store,
            lambda cluster: placement.key_of(cluster),
            lambda cluster: placement.class_of(cluster),
            self._has_begun,
        )
        placement = Placement(shared_place(settings), classes, pods, self.relations.claim, now)
        self.orphans = Orphans(self.store, client, pods, settings)
        self.store.listen(names.KIND_CLUSTERS, self._look_for_engines)
        self.store.listen(names.KIND_ENGINE_CLASSES, self._look_for_engines)
        self.discovery = Discovery(client, self.relations)
        self.lanes = Lanes(
            {Lane.CREATE: settings.max_concurrent_creates, Lane.WORKER: settings.max_concurrent_workers, **LANES},
            of_pools={(Lane.CREATE, PODS): settings.max_concurrent_pod_creates},
            on_change=self._operation_changed,
            clock=clock,
        )
        for lane in Lane:
            metrics.watch_lane(lane.value, partial(self.lanes.count, lane))
        policy = Policy(default_image=settings.node_image, wait_seconds=settings.wait_for_nodes_seconds)
        self._connections = ConnectionPool(keep_seconds=KEPT_SECONDS)
        self.engines = Engines(
            placement,
            commands=commands or partial(commands_at, settings, self.work_dir),
            executor=self._executors(placement, ask or self._connections.ask),
            policy=policy,
            metrics=metrics,
            period_seconds=settings.inventory_period_seconds,
            wake=self._wake_names,
            wake_all=self._wake_place,
            on_round=self._after_inventory,
        )
        self.records = Records(self.lanes, metrics, policy, clock)
        self.health = HealthMonitor(
            period_seconds=settings.health_period_seconds,
            on_change=self._changed,
            clock=clock,
            ask=ask_health,
        )
        self.foreign = foreign = ForeignSecrets(client, clock)
        self.cache = Cache(
            settings,
            client,
            self.store,
            self.relations,
            self.discovery,
            self.lag,
            freed_secret=foreign.freed,
            wake=self.queue.add_after,
        )
        observer = Observer(
            store=self.store,
            client=client,
            engines=self.engines,
            placement=placement,
            pods=pods,
            relations=self.relations,
            discovery=self.discovery,
            records=self.records,
            health=self.health,
            foreign=foreign,
        )
        machines = MachineObserver(
            observer,
            store=self.store,
            client=client,
            engines=self.engines,
            relations=self.relations,
            records=self.records,
            found=self.cache.on_found,
        )
        controllers = (
            KINDClusterController(observer, self.engines, placement, self.discovery, self.records, self.health),
            KINDEngineClassController(self.store, classes, pods, self.engines, self.relations),
            KINDControlPlaneController(observer),
            KINDMachineController(machines, self.engines),
            KINDConfigController(machines),
        )
        self.reconciler = Reconciler(
            controllers,
            client=client,
            records=self.records,
            health=self.health,
            foreign=foreign,
            pods=pods,
            recorder=EventRecorder(client, "capk"),
            metrics=metrics,
            on_written=self.cache.on_written,
            on_forgotten=self._forgotten,
            find=self.store.get,
            clock=clock,
        )

    def __copy__(self) -> Self:
        """Return itself: kopf copies the memo for each object, and there is one application (K10)."""
        return self

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Fill the cache, look at the shared engine, then run the workers; on exit no child process is left.

        Raises CapkError with the cause if one of the loops fails.
        """
        self.engine_heartbeat.touch()
        self.resync_heartbeat.touch()
        self.work_dir.remove_leftovers()
        await self.cache.relist()
        # A hanging engine must not block the start: the liveness probe would restart the provider for ever.
        if shared := self.engines.shared:
            await self.engines.look(shared)
        # Their class, and the last object that had one, may have gone while no provider ran.
        if not self.settings.namespace and await self.pods.keys.exist():
            self.pods.want()
        async with AsyncExitStack() as stack:
            stack.callback(self.work_dir.close)
            stack.callback(self._connections.close)
            stack.callback(self.remote_files.close)
            stack.callback(self.pods.keys.close)
            stack.push_async_callback(self._end_commands)
            loops = supervised(
                ("workers", self._work()),
                ("watch on the container engine", self.engines.run()),
                ("watch on engines in Pods", self.pods.run()),
                ("removal of engines without an object", self.orphans.run()),
                ("count of the objects", self._count_without_inventory()),
                ("resync", self._repeat_resync()),
                ("watch on workload API servers", self.health.run()),
            )
            await stack.enter_async_context(loops)
            stack.callback(self.queue.shutdown)
            self._wake_all()
            yield

    async def _end_commands(self) -> None:
        """End all commands concurrently: a leader that has lost its lease has only a few seconds."""
        await asyncio.gather(self.lanes.stop(), self.engines.stop())

    async def kopf_connection(self) -> kopf.AiohttpSession:
        """Return our client's connection for kopf, which calls this to log in and after each 401 response."""
        session = await self.client.session(renew=self._kopf_has_logged_in)
        self._kopf_has_logged_in = True
        return kopf.AiohttpSession(server=self.client.server, aiohttp_session=session)

    async def _work(self) -> None:
        await run_workers(
            self.queue,
            self.reconciler.reconcile,
            self.settings.workers,
            deadline_seconds=RECONCILE_SECONDS,
            observe=lambda key, outcome, seconds: self.metrics.reconciled(key.kind, outcome, seconds),
        )

    def _executors(self, placement: Placement, ask: Ask) -> ExecutorAt:
        """Return what makes the executors of all places, which share their logs."""
        settings, still_wanted = self.settings, Gate(self.store, self.relations, placement.allows).still_wanted
        logs = FailureLogs(settings.log_dir)

        def executor(place: Place, commands: Commands, inventory: Inventory) -> Executor:
            return Executor(
                place,
                commands.kind,
                commands.containers,
                inventory,
                logs if place.key == SHARED else logs.at(place.key),
                ask,
                wait_seconds=float(settings.wait_for_nodes_seconds),
                delete_seconds=settings.delete_timeout_seconds,
                still_wanted=still_wanted,
                needed_by_others=partial(self.relations.addresses_of_others, place.key),
            )

        return executor

    def _repeat_resync(self) -> Coroutine[Any, Any, None]:
        return repeat(
            "resync",
            self._resync,
            seconds=self.settings.sync_period_seconds,
            deadline_seconds=RECONCILE_SECONDS,
            on_round=self.resync_heartbeat.touch,
        )

    async def _count_without_inventory(self) -> None:
        """Do periodically what follows each inventory of the shared engine, if there is none."""
        if self.engines.shared is None:
            await repeat(
                "count of the objects",
                lambda: asyncio.sleep(0),
                seconds=self.settings.inventory_period_seconds,
                deadline_seconds=INVENTORY_SECONDS,
                on_round=self._after_inventory,
            )

    def _after_inventory(self) -> None:
        self.engine_heartbeat.touch()
        self.metrics.counted(Counter(ready_reason(obj) for obj in self.store.values(names.KIND_CLUSTERS)))
        self.metrics.engines_counted(Counter(pod.state for pod in self.pods.pods()))

    async def _resync(self) -> None:
        """List and reconcile everything: only a list shows what vanished while a watch was down (K27)."""
        try:
            await self.cache.relist()
        except Unreachable:
            self.lag.on_outage()
            raise
        self.metrics.last_resync.set_to_current_time()
        # kind may have been replaced by another release meanwhile.
        self.engines.expire_versions()
        self._drop_unused_engines()
        await self._keep_engine_keys()
        self.orphans.look()
        self.foreign.expire()
        self._wake_all()

    async def _keep_engine_keys(self) -> None:
        try:
            self.pods.keys.keep()
            await self.pods.keys.restore()
        except (CapkError, OSError) as error:
            log.warning("The keys of engines in Pods cannot be kept; the next resync tries again: %s", error)

    def _forgotten(self) -> None:
        self._drop_unused_engines()
        self.orphans.look()

    def _kept_class(self, uid: str) -> str | None:
        """Return the class of what this process has begun for an object, or of its engine in a Pod."""
        if engine_class := self.pods.class_of(uid):
            return engine_class
        place = self.records.kept_place(uid)
        return None if place is None or is_pod_place(place) else class_at(place)

    def _has_begun(self, cluster: KINDCluster) -> bool:
        """Return whether a kind cluster was begun for an object; its containers are searched only if it is finished."""
        is_kept = self._kept_class(cluster.uid) is not None
        return is_kept or (is_finished(cluster) and self.engines.lists_nodes_of(cluster))

    def _look_for_engines(self, key: Key) -> None:
        """Follow the engines in Pods as soon as a class offers them, or an object may have one."""
        raw = self.store.get(key)
        if raw is None or self.settings.namespace:
            return
        is_class = key.kind == names.KIND_ENGINE_CLASSES.kind
        if KINDEngineClass(raw).pods if is_class else may_have_engine(KINDCluster(raw)):
            self.pods.want()

    def _engines_listed(self) -> None:
        """Go on with all objects that may have an engine in a Pod, because it is known now."""
        for key in self.store.keys(names.KIND_CLUSTERS):
            self.relations.choose_again(key)
        for key in self.store.keys(names.KIND_ENGINE_CLASSES):
            self.queue.add(key)
        for place in self.relations.places():
            if is_pod_place(place):
                self._wake_place(place)
        self.orphans.look()

    def _engine_changed(self, key: Key, uid: str) -> None:
        raw = self.store.get(key)
        if raw is None or KINDCluster(raw).uid != uid:
            self.orphans.look()
            return
        self.relations.choose_again(key)
        for one in {key} | self.relations.keys_at(pod_place_key(uid)):
            self.queue.add(one)

    def _pod_changed(self, before: PodFacts | None, after: PodFacts | None) -> None:
        if after is None or not after.is_usable:
            return
        place = pod_place_key(after.cluster_uid)
        if before is not None and not before.is_usable and not after.restarts:
            self.metrics.engine_start_seconds.observe((now() - after.created_at).total_seconds())
        if before is None:
            self.engines.changed(place)
        elif not before.is_usable or before.life != after.life:
            self.engines.restarted(place)

    def _drop_unused_engines(self) -> None:
        running = self.records.places()
        self.engines.keep(self.relations.places() | self.classes.places() | running)
        self.classes.tidy(running)

    def _wake_names(self, place: str, cluster_names: Iterable[str]) -> None:
        for key in self.relations.keys_for_names(place, cluster_names):
            self.queue.add(key)

    def _wake_place(self, place: str) -> None:
        if place == SHARED:
            # Objects without a KINDCluster may concern it too.
            self._wake_all()
        chosen = class_key(place)
        for key in self.relations.keys_at(place) | ({chosen} if chosen else set()):
            self.queue.add(key)

    def _wake_all(self) -> None:
        for resource in names.FILTERED:
            for key in self.store.keys(resource):
                self.queue.add(key)

    def _operation_changed(self, uid: Any) -> None:
        """Reconcile an object whose operation has changed; what has ended comes before what has not begun.

        Otherwise a kubeconfig would be forgotten before it is written, if hundreds of kind clusters come together.
        """
        operation = self.lanes.get(uid)
        self._changed(uid, urgent=operation is not None and operation.done)

    def _changed(self, uid: Any, *, urgent: bool = False) -> None:
        record = self.records.find(uid)
        if record is None:
            return
        self.queue.add(record.key, urgent=urgent)
        for sibling in self.relations.siblings(record.key):
            self.queue.add(sibling)
