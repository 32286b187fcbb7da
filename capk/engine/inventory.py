"""One shared list of kind clusters and their nodes, with sequence numbers.

One call of kind and one listing of the container engine serve all objects. It decides nothing.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from capk.engine.containers import Containers, Node
from capk.engine.enginecli import UnreadableAnswer
from capk.engine.kind import Kind
from capk.errors import CommandError, CommandFailed, CommandMissing

RETRY_SECONDS = 0.5
"""Pause between a failed read and the second one."""
MOST_REST_SECONDS = 1.0
"""Limit of the pause between two reads, for an engine that answers slowly."""
NEVER = "0001-"
"""Beginning of the time at which a container has started that never has."""
MOST_LISTINGS = 3
"""Maximum number of listings in one read, because another engine may answer meanwhile."""


@dataclass(frozen=True)
class Entry:
    """A kind cluster on the engine, complete or not.

    nodes: None if unknown: there is no container engine, or the cluster is newer than the last listing.
    restarted: whether a node has restarted since the cluster was last known to answer.
    """

    name: str
    nodes: tuple[Node, ...] | None
    restarted: bool = False


@dataclass(frozen=True)
class Snapshot:
    """The state of the engine at one moment.

    sequence: increases with each snapshot.
    clusters: by name; after an error, the last known ones.
    error: why the last read failed.
    engine_id: of the engine that has these clusters; empty if it has none.
    """

    sequence: int
    clusters: Mapping[str, Entry]
    error: CommandError | None = None
    engine_id: str = ""


@dataclass(frozen=True)
class _Listing:
    """One listing of one engine.

    containers: the ids of all containers of kind clusters.
    """

    clusters: dict[str, Entry]
    containers: frozenset[str]
    engine_id: str


Starts = dict[str, Mapping[str, str]]
"""Name of a cluster -> start times of its nodes, by container id, when the cluster was last known to answer."""


class Inventory:
    """The latest snapshot, and the means to get a newer one.

    latest: None until the first read has ended.
    kind_version: such as v0.32.0, empty if kind does not report it; None makes the next read ask for it.

    The same command may lead to another engine at any time. A container is never on two engines, so two listings that
    share one come from the same engine. For any other listing, the inventory reads the engine's id before and after it.
    It also reads the id together with kind's version.
    """

    def __init__(self, kind: Kind, containers: Containers, starts: Starts | None = None) -> None:
        """Take the commands; starts: of an earlier inventory of the same nodes, so that their restarts show."""
        self.latest: Snapshot | None = None
        self.kind_version: str | None = None
        self._kind = kind
        self._containers = containers
        self._last = _Listing({}, frozenset(), "")
        self._sequence = 0
        self._published: list[Snapshot] = []
        self._running: asyncio.Task[Snapshot] | None = None
        self._next: asyncio.Task[Snapshot] | None = None
        self._outcomes: dict[str, tuple[int, bool]] = {}
        """Name -> when its last operation ended, and whether the cluster exists since then."""
        self._starts: Starts = dict(starts or {})
        self._rested_at = float("-inf")

    @property
    def starts(self) -> Starts:
        """When nodes have started, as of the last time that their cluster was known to answer."""
        return dict(self._starts)

    async def refresh(self) -> Snapshot:
        """Return a snapshot whose read started after this call; all callers that wait for the next read share it.

        A failed read returns a snapshot with an error. Cancelling a caller does not end the read. The pause after a
        read is as long as the read: reads of many clusters are slow, and the end of each creation requests one.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._read_after(self._running), name="inventory")
        return await asyncio.shield(self._next)

    def take_published(self) -> list[Snapshot]:
        """Return the snapshots since the last call, oldest first: each may have been the base of a decision."""
        taken, self._published = self._published, []
        return taken

    def created(self, name: str) -> None:
        """Add a cluster immediately after its creation.

        A read that started earlier cannot remove it again; otherwise a second creation would start.
        """
        self._end(name, exists=True)

    def deleted(self, name: str) -> None:
        """Remove a cluster immediately after its deletion; a read that started earlier cannot add it again."""
        self._end(name, exists=False)

    def doubt(self) -> None:
        """Have nothing decided by what was listed so far, because the engine was restarted; restarts of nodes show."""
        self.latest = None

    def answered(self, name: str) -> None:
        """Record that a cluster answers after all restarts of its nodes that are known so far."""
        if self.latest and (entry := self.latest.clusters.get(name)):
            self._starts[name] = _starts(entry.nodes or ())
            self._publish({**self.latest.clusters, name: replace(entry, restarted=False)}, self.latest.error)

    async def stop(self) -> None:
        """End the reads, with their processes."""
        reads = [read for read in (self._running, self._next) if read]
        for read in reads:
            read.cancel()
        if reads:
            await asyncio.wait(reads)
        self._running = self._next = None

    async def _read_after(self, previous: asyncio.Task[Snapshot] | None) -> Snapshot:
        if previous:
            await asyncio.wait([previous])
        await asyncio.sleep(self._rested_at - _now())
        self._running, self._next = self._next, None
        began, began_at = self._tick(), _now()
        try:
            self._last = await self._read_twice()
        except CommandError as error:
            known = self.latest.clusters if self.latest else {}
            # Another kind may answer next time.
            self.kind_version = None
            return self._publish(known, error)
        finally:
            self._rested_at = _now() + min(_now() - began_at, MOST_REST_SECONDS)
        clusters = dict(self._last.clusters)
        self._outcomes = {name: outcome for name, outcome in self._outcomes.items() if outcome[0] > began}
        for name, (_, exists) in self._outcomes.items():
            _set(clusters, name, exists)
        return self._publish(self._with_restarts(clusters), None)

    async def _read_twice(self) -> _Listing:
        """Read, and retry once: a container that vanishes meanwhile must not make the engine look broken."""
        try:
            return await self._read()
        except CommandMissing:
            raise
        except CommandError:
            await asyncio.sleep(RETRY_SECONDS)
            return await self._read()

    async def _read(self) -> _Listing:
        engine_id = self._last.engine_id
        if self.kind_version is None:
            version = await self._version()
            engine_id = await self._id()
            self.kind_version = version
        for _ in range(MOST_LISTINGS):
            listing = await self._list(engine_id)
            if self._is_same_engine(listing):
                return listing
            engine_id = await self._id()
            if engine_id == listing.engine_id:
                return listing
        raise CommandFailed([*(self._containers.command or ()), "info"], "each answer came from another engine", 0)

    def _is_same_engine(self, listing: _Listing) -> bool:
        """Return whether a listing is proven to come from the engine whose id was read before it."""
        if listing.engine_id != self._last.engine_id:
            return False
        has_no_id = self.latest is not None and not listing.engine_id
        return has_no_id or not listing.containers.isdisjoint(self._last.containers)

    async def _list(self, engine_id: str) -> _Listing:
        listing = asyncio.create_task(self._containers.nodes())
        try:
            names = await self._kind.clusters()
            nodes = await listing
        finally:
            listing.cancel()
            with contextlib.suppress(asyncio.CancelledError, CommandError):
                await listing
        by_cluster: dict[str, list[Node]] = {name: [] for name in names}
        for node in nodes or []:
            by_cluster.setdefault(node.cluster, []).append(node)
        # kind and the engine list at different moments: a name without containers is not listed completely yet.
        clusters = {name: Entry(name, tuple(own) if own else None) for name, own in by_cluster.items()}
        return _Listing(clusters, frozenset(node.container_id for node in nodes or ()), engine_id)

    def _with_restarts(self, clusters: Mapping[str, Entry]) -> dict[str, Entry]:
        """Mark the clusters whose nodes have restarted; a cluster in its first listing is not marked."""
        known, self._starts = self._starts, {}
        marked = {}
        for name, entry in clusters.items():
            now, before = _starts(entry.nodes or ()), known.get(name, {})
            self._starts[name] = {container: before.get(container, start) for container, start in now.items()}
            running = {node.container_id for node in entry.nodes or () if node.running}
            marked[name] = replace(
                entry,
                restarted=any(self._starts[name][one] != start for one, start in now.items() if one in running),
            )
        return marked

    async def _version(self) -> str:
        try:
            return await self._kind.version()
        except CommandFailed:
            # All other calls show as well whether this command works like kind.
            return ""

    async def _id(self) -> str:
        try:
            return await self._containers.engine_id() or ""
        except UnreadableAnswer:
            return ""

    def _end(self, name: str, *, exists: bool) -> None:
        self._starts.pop(name, None)
        self._outcomes[name] = (self._tick(), exists)
        if self.latest:
            clusters = dict(self.latest.clusters)
            _set(clusters, name, exists)
            self._publish(clusters, self.latest.error)

    def _publish(self, clusters: Mapping[str, Entry], error: CommandError | None) -> Snapshot:
        self.latest = Snapshot(self._tick(), clusters, error, self._last.engine_id)
        self._published.append(self.latest)
        return self.latest

    def _tick(self) -> int:
        self._sequence += 1
        return self._sequence


def _starts(nodes: Iterable[Node]) -> dict[str, str]:
    """Return when containers last started, by id: a worker may come back under the name of a former one.

    A container that was created and has never started is left out, so that its first start is not a restart.
    """
    return {
        node.container_id: node.started_at
        for node in nodes
        if node.started_at and not node.started_at.startswith(NEVER)
    }


def _now() -> float:
    return asyncio.get_running_loop().time()


def _set(clusters: dict[str, Entry], name: str, exists: bool) -> None:
    if exists:
        # Nodes that were listed before the creation ended may be incomplete, or not all running.
        clusters[name] = Entry(name, None)
    else:
        clusters.pop(name, None)
