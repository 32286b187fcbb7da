"""One reconcile of one object: observe, decide, carry out, always in this order (docs/kopf.md, "The pattern")."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

from capk.api.objects import Key
from capk.errors import LostLease
from capk.kube.protocol import KubeApi
from capk.kube.recorder import EventRecorder
from capk.manager.announcer import Announcer
from capk.manager.controllers import Controller
from capk.manager.enginepods import EnginePods
from capk.manager.engines import Engine
from capk.manager.enginewriter import EngineWriter
from capk.manager.objectwriter import ObjectWriter, Written
from capk.manager.observe import ForeignSecrets
from capk.manager.planwriter import Observation, PlanWriter
from capk.manager.record import Record
from capk.manager.records import Records
from capk.manager.secretwriter import SecretWriter
from capk.manager.troubles import Find, Troubles
from capk.manager.vanished import VanishedObjects
from capk.plan.plan import Plan
from capk.runtime import logs
from capk.runtime.metrics import Metrics
from capk.workload.health import HealthMonitor

REFRESH_SECONDS: Final = 2.0
"""How long a worker waits for the engine; if the answer is late, the object is reconciled again."""
LATE_SECONDS: Final = 120.0
"""How late an answer of the engine still counts; after that, the provider asks again."""


class Reconciler:
    """Reconciles objects: brings each closer to its spec."""

    def __init__(
        self,
        controllers: Iterable[Controller[Any]],
        *,
        client: KubeApi,
        records: Records,
        health: HealthMonitor,
        foreign: ForeignSecrets,
        pods: EnginePods,
        recorder: EventRecorder,
        metrics: Metrics,
        on_written: Written,
        on_forgotten: Callable[[], None],
        find: Find,
        clock: Callable[[], float],
    ) -> None:
        """Take the parts; controllers: one per kind. on_forgotten: called after an object has been forgotten."""
        self._controllers = {controller.resource.kind: controller for controller in controllers}
        self._records = records
        objects = ObjectWriter(client, Announcer(recorder, metrics), on_written, records.backoff.object_written)
        secrets = SecretWriter(client, foreign)
        writer = EngineWriter(client, pods)
        self._writers = {
            kind: PlanWriter(
                controller.resource,
                controller.finalizer,
                client=client,
                objects=objects,
                secrets=secrets,
                engines=writer,
                records=records,
                on_written=on_written,
            )
            for kind, controller in self._controllers.items()
        }
        resources = {kind: controller.resource for kind, controller in self._controllers.items()}
        self._vanished = VanishedObjects(client, records, health, resources, on_forgotten, pods)
        self._troubles = Troubles(resources, find=find, objects=objects, recorder=recorder, clock=clock)
        self._inventories: dict[Key, tuple[Engine, asyncio.Task[bool]]] = {}
        """Inventories that were incomplete at the end of a reconcile, each with its engine."""

    async def reconcile(self, key: Key) -> float | None:
        """Reconcile the object once; return the seconds until the next reconcile, None for the next event.

        Raises ApiError if a write failed; the next reconcile starts from the state at that time.
        """
        with logs.context(**{key.kind: f"{key.namespace}/{key.name}".lstrip("/")}):
            try:
                return await self._reconcile(key)
            except LostLease:
                raise
            except Exception as error:
                await self._troubles.failed(key, error)
                raise

    async def _reconcile(self, key: Key) -> float | None:
        observed = await self._controllers[key.kind].observe(key)
        if observed is None:
            self._inventories.pop(key, None)
            self._troubles.over(key)
        abandoned = await self._vanished.end_work(key, observed.object.uid if observed else None)
        return _soonest(abandoned, await self._round(key, observed) if observed else None)

    async def _round(self, key: Key, observed: Observation) -> float | None:
        if (pause := self._records.backoff.contest_wait(observed.object.uid)) > 0:
            return pause
        controller = self._controllers[key.kind]
        if (wait := await controller.confirm(observed)) is None:
            current, plan = observed, controller.decide(observed)
        elif wait > 0:
            return wait
        else:
            current, plan = await self._decide(key)
        if not plan.refresh:
            self._inventories.pop(key, None)
        else:
            engine = controller.engine(current)
            if engine and not await self._take_inventory(key, engine):
                return REFRESH_SECONDS
            current, plan = await self._decide(key)
        return await self._execute(key, current, plan) if current else None

    async def _decide(self, key: Key) -> tuple[Any, Plan]:
        """Observe and decide; an object that is gone has an empty plan."""
        controller = self._controllers[key.kind]
        observed = await controller.observe(key)
        return observed, controller.decide(observed) if observed else Plan()

    async def _take_inventory(self, key: Key, engine: Engine) -> bool:
        """Return whether an inventory is complete that began after the object needed it, in this reconcile or before.

        If each reconcile began another one, an engine that is slower than a worker's patience would never finish. And
        if each waited, the objects of one such engine would keep all workers busy.
        """
        is_late = any(one is engine and not task.done() for one, task in self._inventories.values())
        asked, inventory = self._inventories.pop(key, (None, None))
        if inventory is None or asked is not engine:
            inventory = asyncio.create_task(engine.watch.refresh_within(LATE_SECONDS), name=f"inventory for {key}")
        await asyncio.wait([inventory], timeout=0.0 if is_late else REFRESH_SECONDS)
        if not inventory.done():
            self._inventories[key] = engine, inventory
            return False
        return await inventory

    async def _execute(self, key: Key, observed: Observation, plan: Plan) -> float | None:
        self._controllers[key.kind].watch_health(observed)
        if plan.cancel_workers:
            self._controllers[key.kind].cancel_workers(observed)
        writer, record = self._writers[key.kind], self._records.of(observed.object)
        engine = self._controllers[key.kind].engine(observed)
        executor = engine.executor if engine else None
        raw, refusals_changed = await writer.carry_out(observed.object, observed.secrets, plan, record, executor)
        if refusals_changed:
            again, plan = await self._decide(key)
            raw = again.object.raw if again else raw
        raw = await writer.write_status(raw, observed.object, plan)
        removes_engine = plan.remove_engine is not None and not plan.remove_engine.is_partial
        if plan.delete_secrets or plan.remove_finalizer or removes_engine:
            is_gone, refusals_of_deletion_changed = await writer.finish_deletion(raw, plan, record)
            if is_gone:
                self._vanished.forget(observed.object.uid)
            elif refusals_of_deletion_changed:
                await self._update_status(key)
        if plan.status is not None:
            # A round without a status proves nothing: it may come between two whose status is refused.
            self._troubles.over(key)
        return 0.0 if refusals_changed and plan.has_work else self._next(plan, record)

    async def _update_status(self, key: Key) -> None:
        observed, plan = await self._decide(key)
        if observed:
            await self._writers[key.kind].write_status(observed.object.raw, observed.object, plan)

    def _next(self, plan: Plan, record: Record) -> float | None:
        return _soonest(plan.requeue_seconds, self._records.backoff.next_try(record))


def _soonest(*waits: float | None) -> float | None:
    return min((wait for wait in waits if wait is not None), default=None)
