"""Deletes engines in Pods whose KINDClusters are gone, as after the removal of a finalizer by hand."""

import asyncio
import logging
from typing import Final

from capk.api import names
from capk.api.objects import Object
from capk.errors import ApiError
from capk.kube.protocol import KubeApi, uid_only
from capk.manager.enginepods import EnginePods
from capk.manager.enginewriter import EngineWriter
from capk.plan.engineobjects import engine_name
from capk.plan.plan import EngineRemoval
from capk.runtime.store import Store
from capk.settings import Settings

PAUSE_SECONDS: Final = 2.0
"""How long to wait for further changes, which come in bursts."""

log = logging.getLogger(__name__)


class Orphans:
    """Looks for engines without an object when it is asked to, and deletes them.

    A provider of one namespace, or with a watch filter, deletes none: it does not know whose they are.
    """

    def __init__(self, store: Store, client: KubeApi, pods: EnginePods, settings: Settings) -> None:
        self._store = store
        self._client = client
        self._pods = pods
        self._writer = EngineWriter(client, pods)
        self._is_responsible = not settings.namespace and not settings.watch_filter
        self._due = asyncio.Event()
        self._unfinished: set[str] = set()
        """Uids of KINDClusters whose Pod is ending: then nothing may show that more of its engine is left."""

    def look(self) -> None:
        """Look for engines without an object soon."""
        if self._is_responsible and self._pods.are_known:
            self._due.set()

    async def run(self) -> None:
        """Delete engines without an object whenever there may be some, until cancelled."""
        while True:
            await self._due.wait()
            await asyncio.sleep(PAUSE_SECONDS)
            self._due.clear()
            try:
                await self._remove_all()
            except ApiError as error:
                log.warning("Engines without an object could not be deleted; the next resync tries again: %s", error)

    async def _remove_all(self) -> None:
        """Delete the engines of objects that a list of all objects, read after they were seen, does not have.

        Raises ApiError.
        """
        known = {Object(raw).uid for raw in self._store.values(names.KIND_CLUSTERS)}
        self._unfinished -= known
        suspects = (self._pods.owners().keys() | self._unfinished) - known - {""}
        if not suspects:
            return
        listing = await self._client.list(names.KIND_CLUSTERS, keep=uid_only)
        for uid in sorted(suspects - {Object(raw).uid for raw in listing.items}):
            await self._remove(EngineRemoval(self._pods.namespace, engine_name(uid), uid))

    async def _remove(self, removal: EngineRemoval) -> None:
        """Delete an engine; a refusal keeps no other engine. Raises ApiError if the API server does not answer."""
        log.warning("The KINDCluster of the engine %s is gone. Deleting the engine.", removal.name)
        self._unfinished.add(removal.cluster_uid)
        try:
            if await self._writer.remove(removal):
                self._unfinished.discard(removal.cluster_uid)
        except ApiError as error:
            if error.status == 0:
                raise
            log.warning("The engine %s could not be deleted; the next resync tries again: %s", removal.name, error)
