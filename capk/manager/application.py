"""Wires the parts of the provider, runs its loops, stops cleanly. `capk.manager.process` is the process around it."""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any, Self

import kopf

from capk.api import names
from capk.api.endpoint import EndpointMode
from capk.api.objects import Key
from capk.engine.containers import Containers, chosen_engine
from capk.engine.failurelogs import FailureLogs
from capk.engine.inventory import Inventory
from capk.engine.kind import Kind
from capk.engine.lanes import Lane, Lanes
from capk.engine.place import SHARED
from capk.engine.workdir import WorkDir
from capk.errors import Unreachable
from capk.kube.client import KubeClient
from capk.kube.recorder import EventRecorder
from capk.manager.cache import Cache, new_store
from capk.manager.controllers import (
    KINDClusterController,
    KINDConfigController,
    KINDControlPlaneController,
    KINDMachineController,
)
from capk.manager.discovery import Discovery
from capk.manager.enginewatch import EngineWatch
from capk.manager.executor import Executor
from capk.manager.facts import ready_reason
from capk.manager.gate import Gate
from capk.manager.observe import ForeignSecrets, Observer
from capk.manager.observemachines import MachineObserver
from capk.manager.operations.kubesystem import Ask
from capk.manager.reconcile import Reconciler
from capk.manager.records import Records
from capk.manager.relations import Relations
from capk.plan.observed import Policy
from capk.runtime.metrics import Metrics
from capk.runtime.probes import Heartbeat, StartupCheck, WatchLag
from capk.runtime.tasks import supervised
from capk.runtime.workers import repeat, run_workers
from capk.runtime.workqueue import WorkQueue
from capk.settings import Settings
from capk.workload.ask import ask as ask_workload
from capk.workload.health import Ask as AskHealth
from capk.workload.health import HealthMonitor

log = logging.getLogger(__name__)

RECONCILE_SECONDS = 240.0
"""Deadline of a reconcile, which waits only for the API server, never for kind; after that it is retried."""
INVENTORY_SECONDS = 60.0
"""How long the engine watch waits for an inventory; a longer one continues, and the next round waits for it."""
LANES = {Lane.DELETE: 8, Lane.REPAIR: 4, Lane.READ: 8, Lane.WAIT: 256}
"""How many operations run in parallel, per lane; waiting costs only one connection attempt per second."""


class Application:
    """All parts of one provider process; kopf's memo."""

    def __init__(
        self,
        settings: Settings,
        client: KubeClient,
        metrics: Metrics,
        *,
        kind: Kind | None = None,
        containers: Containers | None = None,
        ask: Ask = ask_workload,
        ask_health: AskHealth | None = None,
    ) -> None:
        """Wire the parts. kind, containers, ask, ask_health: everything that does input and output, for tests."""
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
        self.relations = Relations(self.store)
        self.discovery = Discovery(client, self.relations)
        self.work_dir = WorkDir(settings.work_dir)
        self.kind = kind or Kind(
            settings.kind_command,
            work_dir=self.work_dir,
            create_timeout_seconds=settings.create_timeout_seconds,
            delete_timeout_seconds=settings.delete_timeout_seconds,
        )
        self.containers = containers or Containers(chosen_engine(settings.engine_command, os.environ))
        self.inventory = Inventory(self.kind, self.containers)
        self.engine_watch = EngineWatch(self.inventory, metrics, wake=self._wake_names, wake_all=self._wake_all)
        self.lanes = Lanes(
            {Lane.CREATE: settings.max_concurrent_creates, Lane.WORKER: settings.max_concurrent_workers, **LANES},
            on_change=self._operation_changed,
            clock=clock,
        )
        for lane in Lane:
            metrics.watch_lane(lane.value, partial(self.lanes.count, lane))
        endpoint = EndpointMode.INTERNAL if settings.gives_internal_endpoint else EndpointMode.EXTERNAL
        policy = Policy(
            endpoint=endpoint,
            default_image=settings.node_image,
            wait_seconds=settings.wait_for_nodes_seconds,
            allowed_host_paths=settings.host_paths,
        )
        executor = Executor(
            self.kind,
            self.containers,
            self.inventory,
            FailureLogs(settings.log_dir),
            ask,
            endpoint=endpoint,
            wait_seconds=float(settings.wait_for_nodes_seconds),
            delete_seconds=settings.delete_timeout_seconds,
            still_wanted=Gate(self.store, self.relations).still_wanted,
            needed_by_others=partial(self.relations.addresses_of_others, SHARED),
        )
        self.records = Records(executor.carry_out, self.lanes, metrics, policy, clock)
        self.health = HealthMonitor(
            period_seconds=settings.health_period_seconds,
            on_change=self._operation_changed,
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
            inventory=self.inventory,
            lists_nodes=self.containers.command is not None,
            relations=self.relations,
            discovery=self.discovery,
            records=self.records,
            health=self.health,
            policy=policy,
            foreign=foreign,
        )
        machines = MachineObserver(
            observer,
            store=self.store,
            client=client,
            engine_name=self.containers.engine,
            relations=self.relations,
            records=self.records,
            policy=policy,
            found=self.cache.on_found,
        )
        controllers = (
            KINDClusterController(observer, self.discovery, self.records, self.health),
            KINDControlPlaneController(observer),
            KINDMachineController(machines),
            KINDConfigController(machines),
        )
        self.reconciler = Reconciler(
            controllers,
            client=client,
            records=self.records,
            health=self.health,
            foreign=foreign,
            recorder=EventRecorder(client, "capk"),
            metrics=metrics,
            refresh=self.engine_watch.refresh_within,
            on_written=self.cache.on_written,
        )

    def __copy__(self) -> Self:
        """Return itself: kopf copies the memo for each object, and there is one application (K10)."""
        return self

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Fill the cache, take an inventory, then run the workers; on exit no child process is left.

        Raises CapkError with the cause if one of the loops fails.
        """
        self.engine_heartbeat.touch()
        self.resync_heartbeat.touch()
        self.work_dir.remove_leftovers()
        await self.cache.relist()
        # A hanging engine must not block the start: the liveness probe would restart the provider for ever.
        with suppress(TimeoutError):
            async with asyncio.timeout(INVENTORY_SECONDS):
                await self.engine_watch.refresh()
        async with AsyncExitStack() as stack:
            stack.callback(self.work_dir.close)
            stack.push_async_callback(self._end_commands)
            loops = supervised(
                ("workers", self._work()),
                ("watch on the container engine", self._repeat_engine()),
                ("resync", self._repeat_resync()),
                ("watch on workload API servers", self.health.run()),
            )
            await stack.enter_async_context(loops)
            stack.callback(self.queue.shutdown)
            self._wake_all()
            yield

    async def _end_commands(self) -> None:
        """End all commands concurrently: a leader that has lost its lease has only a few seconds."""
        await asyncio.gather(self.lanes.stop(), self.inventory.stop())

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

    def _repeat_engine(self) -> Coroutine[Any, Any, None]:
        return repeat(
            "inventory of the container engine",
            self._refresh_inventory,
            seconds=self.settings.inventory_period_seconds,
            deadline_seconds=INVENTORY_SECONDS,
            on_round=self.engine_heartbeat.touch,
        )

    def _repeat_resync(self) -> Coroutine[Any, Any, None]:
        return repeat(
            "resync",
            self._resync,
            seconds=self.settings.sync_period_seconds,
            deadline_seconds=RECONCILE_SECONDS,
            on_round=self.resync_heartbeat.touch,
        )

    async def _refresh_inventory(self) -> None:
        await self.engine_watch.refresh()
        self.metrics.counted(Counter(ready_reason(obj) for obj in self.store.values(names.KIND_CLUSTERS)))

    async def _resync(self) -> None:
        """List and reconcile everything: only a list shows what vanished while a watch was down (K27)."""
        try:
            await self.cache.relist()
        except Unreachable:
            self.lag.on_outage()
            raise
        self.metrics.last_resync.set_to_current_time()
        # kind may have been replaced by another release meanwhile.
        self.inventory.kind_version = None
        self.foreign.expire()
        self._wake_all()

    def _wake_names(self, cluster_names: Iterable[str]) -> None:
        for key in self.relations.keys_for_names(SHARED, cluster_names):
            self.queue.add(key)

    def _wake_all(self) -> None:
        for resource in names.RECONCILED:
            for key in self.store.keys(resource):
                self.queue.add(key)

    def _operation_changed(self, uid: Any) -> None:
        record = self.records.find(uid)
        if record is None:
            return
        self.queue.add(record.key)
        for sibling in self.relations.siblings(record.key):
            self.queue.add(sibling)
