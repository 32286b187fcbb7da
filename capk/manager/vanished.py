"""Ends the work for objects that have vanished: stops what runs for them, and removes what it has left."""

import logging
from collections.abc import Callable, Mapping
from typing import Final

from capk.api.names import Reason, Resource
from capk.api.objects import Key, Object
from capk.engine.place import PODS
from capk.kube.protocol import KubeApi, uid_only
from capk.manager.enginepods import EnginePods
from capk.manager.record import Executing, Record
from capk.manager.records import Records
from capk.plan.deletion import SETTLE_SECONDS
from capk.plan.plan import AddWorker, Create, Delete, Goal, RemoveWorker
from capk.workload.health import HealthMonitor

log = logging.getLogger(__name__)

HIDDEN_SECONDS: Final = 600.0
"""Interval between checks of an object that has left the watch filter and still has a record."""

_ENDS: Final = (Goal.GONE, Goal.LEFT)
"""Goals of operations that remove what belongs to an object."""


class VanishedObjects:
    """The records of objects that no longer exist, or no longer match the watch's selector."""

    def __init__(
        self,
        client: KubeApi,
        records: Records,
        health: HealthMonitor,
        resources: Mapping[str, Resource],
        on_forgotten: Callable[[], None],
        pods: EnginePods,
    ) -> None:
        """Take the parts; resources: those that are reconciled, by kind. on_forgotten: called after each `forget`."""
        self._pods = pods
        self._client = client
        self._records = records
        self._health = health
        self._resources = resources
        self._on_forgotten = on_forgotten

    async def end_work(self, key: Key, uid: str | None) -> float | None:
        """End the work for previous objects with this key; return the seconds until the next reconcile.

        uid: of the object that has the key now; None if there is none.
        """
        if uid is not None and (back := self._records.find(uid)):
            # It had only left this provider's watch filter: its own wish counts again.
            back.vanished = False
        waits = [await self._end_work_of(record) for record in self._records.of_key(key) if record.uid != uid]
        return min((wait for wait in waits if wait is not None), default=None)

    async def _end_work_of(self, record: Record) -> float | None:
        operation = self._records.operation(record.uid)
        if operation is not None:
            if operation.request.goal in _ENDS:
                # Someone removed the finalizer before the deletion was complete: finish it.
                record.vanished = True
            elif not record.vanished:
                self._records.cancel(record.uid)
            return None
        removal = self._pending_removal(record)
        is_at_stake = removal is not None or record.made is not None
        is_hidden = is_at_stake and not record.vanished and await self._still_exists(record)
        if is_hidden and record.made is not None:
            # Only this record shows that the kind cluster is complete, until the object is back and can be written.
            self._health.forget(record.uid)
            return HIDDEN_SECONDS
        if removal is None or record.executor is None or is_hidden or self._goes_with_its_pod(removal, record.executor):
            # Nothing is left to remove, or the object only left this provider's watch filter.
            self.forget(record.uid)
            return None
        record.vanished = True
        gone = self._records.goals(record).get(removal.goal)
        if gone and (remaining := self._records.retry_delay(gone.attempts) - gone.seconds_ago) > 0:
            return remaining
        log.warning("The object vanished before its containers were complete, or removed. Removing what is left.")
        self._records.start(record, removal, record.executor)
        return None

    def _goes_with_its_pod(self, removal: Delete | RemoveWorker, executor: Executing) -> bool:
        """Return whether the engine of a removal is a Pod that goes as a whole, or has gone; a worker's may stay."""
        place = executor.place
        return place.pool == PODS and (isinstance(removal, Delete) or not self._pods.may_exist(place.key))

    def _pending_removal(self, record: Record) -> Delete | RemoveWorker | None:
        """Return the removal of what unfinished work or a failed deletion of a vanished object has left."""
        if unfinished := record.unfinished:
            name, uids = unfinished.name, frozenset({unfinished.mark.uid})
            if isinstance(unfinished, AddWorker):
                node, machine = unfinished.node, unfinished.machine
                return RemoveWorker(
                    name, node, machine, uids=uids, settle_seconds=SETTLE_SECONDS, engine=unfinished.engine
                )
            return Delete(
                name,
                Goal.GONE,
                uids=uids,
                settle_seconds=SETTLE_SECONDS,
                engine=unfinished.engine,
                is_shared=self._may_be_anothers(record, unfinished),
                takes_balancer=unfinished.makes_balancer,
            )
        goals = self._records.goals(record)
        failed = [goals[goal].request for goal in _ENDS if goal in goals and goals[goal].failure]
        return next((request for request in failed if isinstance(request, Delete | RemoveWorker)), None)

    def _may_be_anothers(self, record: Record, unfinished: Create) -> bool:
        """Return whether a kind cluster of that name may be someone else's, as far as that shows without its marks."""
        up = self._records.goals(record).get(Goal.UP)
        if up is None or up.failure is None:
            return False
        return up.failure.reason is Reason.NAME_CONFLICT or (up.left_nothing and up.request == unfinished)

    async def _still_exists(self, record: Record) -> bool:
        """Return whether the object exists: a watch with a selector also reports a lost match as deleted."""
        # The provider may list its objects, but not get one (docs/permissions.md).
        resource = self._resources[record.key.kind]
        listing = await self._client.list(resource, record.key.namespace, keep=uid_only)
        return any(Object(raw).uid == record.uid for raw in listing.items)

    def forget(self, uid: str) -> None:
        """Drop everything that is known of an object."""
        self._health.forget(uid)
        self._records.forget(uid)
        self._on_forgotten()
