"""The operation `Delete`: remove a kind cluster, or what is left of one."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from capk.api.names import UNREAD
from capk.engine.containers import Containers
from capk.engine.failurelogs import FailureLogs
from capk.engine.inventory import Inventory
from capk.engine.kind import Kind
from capk.errors import UnprovenCreation
from capk.manager.operations.completion import completed_creation
from capk.manager.operations.listing import list_nodes
from capk.manager.operations.removal import (
    Removal,
    Removed,
    check_engine,
    check_engine_id,
    check_later_attempts,
    removable,
)
from capk.manager.outcome import Made
from capk.plan.marks import Mark
from capk.plan.plan import Delete, Goal

log = logging.getLogger(__name__)

KEEP_TRIES: Final = 4
KEEP_SECONDS: Final = 15.0
"""How often, and at which interval, control planes are read before what may be complete is kept."""


class Deletion:
    """Removes kind clusters: by proof with the engine, by name without it."""

    def __init__(
        self, kind: Kind, containers: Containers, inventory: Inventory, logs: FailureLogs, removal: Removal
    ) -> None:
        self._kind = kind
        self._containers = containers
        self._inventory = inventory
        self._logs = logs
        self._removal = removal

    async def run(self, request: Delete, still_wanted: Callable[[], bool]) -> Made | None:
        """Remove what the request names; return a creation that was complete instead, if the request asks for that.

        still_wanted: asked again before each removal.
        Raises CommandError; Withdrawn if the object no longer wants it.
        """
        if request.unless_complete and (made := await self._completed(request)):
            return made
        await self._remove(request, still_wanted)
        return None

    async def _completed(self, request: Delete) -> Made | None:
        """Return the creation that was complete; None if none is, by proof.

        Raises CommandMissing, UnprovenCreation. An object that is being deleted and retains its kind cluster does not
        wait for the proof for ever: what may be complete stays.
        """
        tries = KEEP_TRIES if request.goal is Goal.GONE else 1
        while True:
            nodes = removable(await list_nodes(self._containers, request.name), request)
            try:
                mark = await completed_creation(self._containers, nodes)
                break
            except UnprovenCreation as error:
                if await self._is_gone(error):
                    continue
                tries -= 1
                if tries == 0:
                    if request.goal is not Goal.GONE:
                        raise
                    log.warning("%s; it stays, because its object retains it: %s", error, error.cause)
                    mark = Mark.parse(error.mark)
                    break
            await asyncio.sleep(KEEP_SECONDS)
        return Made(UNREAD, attempt=mark.attempt) if mark else None

    async def _is_gone(self, error: UnprovenCreation) -> bool:
        nodes = await list_nodes(self._containers, error.cluster)
        return all(node.container_id != error.container_id for node in nodes)

    async def _remove(self, request: Delete, still_wanted: Callable[[], bool]) -> None:
        if self._containers.command is None and request.is_shared:
            # Only the engine could show which containers are the object's.
            self._logs.drop(request.name)
            return
        if self._containers.command is None:
            # Without the engine there is no proof by containers; the decision has compared the fingerprint if it could.
            await self._kind.delete_cluster(request.name)
            if request.settle_seconds:
                await asyncio.sleep(request.settle_seconds)
                if await self._kind.nodes(request.name) and still_wanted():
                    await self._kind.delete_cluster(request.name)
            self._inventory.deleted(request.name)
        else:
            removed = await self._removal.remove(
                request.name,
                lambda nodes: removable(nodes, request),
                settle_seconds=request.settle_seconds,
                still_wanted=still_wanted,
            )
            await self._check_absence(request, removed)
            check_later_attempts(removed.others, request)
        self._logs.drop(request.name)

    async def _check_absence(self, request: Delete, removed: Removed) -> None:
        """Raise CommandError unless the engine that has the kind cluster has listed that nothing is left of it.

        Two listings of one kind cluster prove that if only the first one had containers, and the engine has an id.
        Otherwise it takes a listing of everything, which is many times the work: the engine may not know the filter.
        """
        if request.engine and removed.has_found and not removed.others:
            check_engine_id(await self._containers.engine_id() or "", request)
            self._inventory.deleted(request.name)
        else:
            check_engine(await self._inventory.refresh(), request)
