"""One shared list of kind clusters and their nodes, with sequence numbers.

One call of kind and one listing of the container engine serve all objects. It decides nothing.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from capk.engine.containers import Containers, Node, UnreadableAnswer
from capk.engine.kind import Kind
from capk.errors import CommandError, CommandFailed, CommandMissing

RETRY_SECONDS = 0.5
"""Pause between a failed read and the second one."""
MOST_REST_SECONDS = 1.0
"""Limit of the pause between two reads, for an engine that answers slowly."""
MOST_LISTINGS = 3
"""Listings of one read, where another engine answers meanwhile."""


@dataclass(frozen=True)
class Entry:
    """A kind cluster that the engine has, complete or half made.

    nodes: None when they are not known: there is no container engine, or the cluster is newer than the last listing.
    restarted: whether a node has started anew since the cluster was last known to answer.
    """

    name: str
    nodes: tuple[Node, ...] | None
    restarted: bool = False


@dataclass(frozen=True)
class Snapshot:
    """What the engine had.

    sequence: grows with each snapshot.
    clusters: by name; with an error the last that were known.
    error: why the last read failed.
    engine_id: of the engine that has these clusters; empty where engines have none.
    """

    sequence: int
    clusters: Mapping[str, Entry]
    error: CommandError | None = None
    engine_id: str = ""


@dataclass(frozen=True)
class _Listing:
    """What one engine had.

    containers: the ids of all containers of kind clusters.
    """

    clusters: dict[str, Entry]
    containers: frozenset[str]
    engine_id: str


class Inventory:
    """The latest snapshot, and the way to a newer one.

    latest: None before the first read has ended.
    kind_version: as in v0.32.0, empty where kind does not tell; None until it is asked, which each read does then.

    The same command may lead to another engine at any time. A container is never on two engines, so a listing that has
    one in common with the listing before is of the same engine. For any other, the engine is asked for its id before
    and after it; so it is together with kind's version.
    """

    def __init__(self, kind: Kind, containers: Containers) -> None:
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
        """Name -> when an operation on it ended, and whether the cluster is there since."""
        self._starts: dict[str, Mapping[str, str]] = {}
        """Name -> when its nodes started, by name, as it was when the cluster was last known to answer."""
        self._rested_at = float("-inf")

    async def refresh(self) -> Snapshot:
        """Return a snapshot whose read began after this call; everybody who waits for the next read shares it.

        A failed read is a snapshot with an error. Cancelling a caller does not end the read. Between two reads lies as
        much time as the first one took: reads of many clusters are long, and the end of each creation asks for one.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._read_after(self._running), name="inventory")
        return await asyncio.shield(self._next)

    def take_published(self) -> list[Snapshot]:
        """Return the snapshots since the last call, oldest first: somebody may have decided by each of them."""
        taken, self._published = self._published, []
        return taken

    def created(self, name: str) -> None:
        """Enter a cluster whose creation has just ended, before anybody looks.

        A read that began earlier cannot remove it again, or a second creation would start.
        """
        self._end(name, exists=True)

    def deleted(self, name: str) -> None:
        """Remove a cluster whose deletion has just ended; a read that began earlier cannot bring it back."""
        self._end(name, exists=False)

    def answered(self, name: str) -> None:
        """Note that a cluster answers, whatever starts of its nodes have been seen so far."""
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
            # What answers next may be another kind.
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
        """Read; once more if that fails: a container that goes away meanwhile must not make the engine look broken."""
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
        raise CommandFailed([*(self._containers.command or ()), "info"], "each answer is of another engine", 0)

    def _is_same_engine(self, listing: _Listing) -> bool:
        """Whether a listing needs no more proof that it is of the engine whose id was asked before it."""
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
        # kind and the engine are asked one after the other: a name without containers has not been seen whole yet.
        clusters = {name: Entry(name, tuple(own) if own else None) for name, own in by_cluster.items()}
        return _Listing(clusters, frozenset(node.container_id for node in nodes or ()), engine_id)

    def _with_restarts(self, clusters: Mapping[str, Entry]) -> dict[str, Entry]:
        """Mark the clusters whose nodes have started anew; one that is seen for the first time is taken as it is."""
        known, self._starts = self._starts, {}
        marked = {}
        for name, entry in clusters.items():
            now = _starts(entry.nodes or ())
            self._starts[name] = {**now, **known.get(name, {})}
            running = {node.name for node in entry.nodes or () if node.running}
            marked[name] = replace(
                entry,
                restarted=any(self._starts[name][node] != start for node, start in now.items() if node in running),
            )
        return marked

    async def _version(self) -> str:
        try:
            return await self._kind.version()
        except CommandFailed:
            # It can be told another way whether this answers like kind: by all other calls.
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
    return {node.name: node.started_at for node in nodes}


def _now() -> float:
    return asyncio.get_running_loop().time()


def _set(clusters: dict[str, Entry], name: str, exists: bool) -> None:
    if exists:
        # Nodes that were seen before the creation ended may not be all, or not all running.
        clusters[name] = Entry(name, None)
    else:
        clusters.pop(name, None)
