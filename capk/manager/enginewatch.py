"""Keeps the inventory of the container engine up to date, and queues the objects for which it has changed."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from capk.engine.inventory import Inventory, Snapshot
from capk.manager.facts import version_note
from capk.runtime.metrics import Metrics

log = logging.getLogger(__name__)


class KindVersions:
    """Announces which kind answers: one command leads to all engines."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._announced: str | None = None

    def announce(self, version: str | None) -> None:
        """Announce the version that an inventory has seen, if it is a new one; None or empty: it saw none."""
        if not version or version == self._announced:
            return
        self._announced = version
        self._metrics.show_kind_version(version)
        log.info("kind is %s.", version)
        if note := version_note(version):
            log.warning(note)


class EngineWatch:
    """Takes inventories of one engine, each for all objects whose kind clusters are there.

    wake: called with the names of the kind clusters that have changed. wake_all: called when the engine starts or
    stops answering, or is another engine.
    """

    def __init__(
        self,
        inventory: Inventory,
        metrics: Metrics,
        versions: KindVersions,
        *,
        wake: Callable[[Iterable[str]], None],
        wake_all: Callable[[], None],
    ) -> None:
        self._inventory = inventory
        self._metrics = metrics
        self._versions = versions
        self._wake = wake
        self._wake_all = wake_all
        self._announced: Snapshot | None = None

    def doubt(self) -> None:
        """Forget the inventory; the end of the next one queues all objects, which wait for it."""
        self._inventory.doubt()
        self._announced = None

    async def refresh(self) -> None:
        """Take an inventory, and queue the objects for which something has changed since the last one."""
        began = time.monotonic()
        after = await self._inventory.refresh()
        # Compare with the last announced inventory: others refresh the inventory too, without queueing objects.
        before, self._announced = self._announced, after
        # Changes in between that are over count too: an object may have been reconciled at that moment.
        passed = [*([before] if before else []), *self._inventory.take_published(), after]
        outcome = "failed" if after.error else "ok"
        self._metrics.inventory_seconds.labels(outcome).observe(time.monotonic() - began)
        self._versions.announce(self._inventory.kind_version)
        if before is None or any(map(_concerns_all, passed, passed[1:])):
            if after.error:
                log.warning("The container engine does not answer: %s", after.error)
            self._wake_all()
        else:
            self._wake(set[str]().union(*map(_changed, passed, passed[1:])))

    async def refresh_within(self, seconds: float) -> bool:
        """Take an inventory; return whether it was complete in time. A late one continues in the background."""
        try:
            async with asyncio.timeout(seconds):
                await self._inventory.refresh()
        except TimeoutError:
            return False
        return True


def _concerns_all(before: Snapshot, after: Snapshot) -> bool:
    return before.engine_id != after.engine_id or (before.error is None) != (after.error is None)


def _changed(before: Snapshot, after: Snapshot) -> set[str]:
    names_of_both = before.clusters.keys() | after.clusters.keys()
    return {name for name in names_of_both if before.clusters.get(name) != after.clusters.get(name)}
