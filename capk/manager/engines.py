"""All container engines that this process drives: one for each place where a KINDCluster has its kind cluster."""

import asyncio
import hashlib
import os
import weakref
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

from capk.api.endpoint import EndpointMode
from capk.api.objects import KINDCluster
from capk.engine.containers import Containers
from capk.engine.enginecli import chosen_engine
from capk.engine.inventory import Inventory, Starts
from capk.engine.kind import Kind
from capk.engine.place import PODS, SHARED, Place
from capk.engine.workdir import WorkDir
from capk.manager.enginewatch import EngineWatch, KindVersions
from capk.manager.executor import Executor
from capk.manager.facts import bears_mark
from capk.manager.placement import Placement
from capk.plan.policy import Policy
from capk.runtime import logs
from capk.runtime.metrics import Metrics
from capk.runtime.queueworkers import repeat
from capk.settings import Settings

POD_SECONDS: Final = 300.0
"""Interval between inventories of an engine in a Pod. Events of the Pod show all that ends the engine itself."""
MOST_REMEMBERED: Final = 4096
"""Dropped engines in Pods of which it is remembered when their nodes have started."""
PODS_IN_PARALLEL: Final = 16
"""How many inventories of engines in Pods run in parallel: after a restart of the provider, all are due."""
LATE_SECONDS: Final = 10.0
"""Longest inventory of an engine that holds up no other one."""
LATE_IN_PARALLEL: Final = 8
"""The same as PODS_IN_PARALLEL, for engines that were ever late: its tenant can make an engine hang at any time."""
INVENTORY_SECONDS: Final = 60.0
"""How long the engine watch waits for an inventory; a longer one continues, and the next round waits for it."""


_TARGETS: Final = ("--context", "-c", "--host", "-H")
"""Options of docker that override DOCKER_HOST."""


class Commands(NamedTuple):
    """The commands that lead to the engine at one place."""

    kind: Kind
    containers: Containers


CommandsAt = Callable[[Place], Commands]
"""Returns the commands for a place."""


ExecutorAt = Callable[[Place, Commands, Inventory], Executor]
"""Returns what carries out the operations at a place."""


@dataclass(frozen=True, eq=False)
class Engine:
    """The engine at one place. policy: the settings for decisions about its kind clusters."""

    place: Place
    kind: Kind
    containers: Containers
    inventory: Inventory
    watch: EngineWatch
    executor: Executor
    policy: Policy
    asked: asyncio.Event
    """Set to have an engine in a Pod looked at soon."""


def shared_place(settings: Settings) -> Place | None:
    """Return the place of the provider's own engine; None if it has none."""
    if not settings.shared_engine:
        return None
    endpoint = EndpointMode.INTERNAL if settings.gives_internal_endpoint else EndpointMode.EXTERNAL
    return Place(SHARED, endpoint, settings.host_paths)


def commands_at(settings: Settings, work_dir: WorkDir, place: Place) -> Commands:
    """Return the commands for a place. Settings name the engine's command only for the provider's own engine."""
    kind = Kind(
        settings.kind_command,
        work_dir=work_dir,
        environment=place.environment,
        create_timeout_seconds=settings.create_timeout_seconds,
        delete_timeout_seconds=settings.delete_timeout_seconds,
    )
    return Commands(kind, Containers(_engine_command(settings, place), environment=place.environment))


def _engine_command(settings: Settings, place: Place) -> tuple[str, ...] | None:
    """Return the command for the engine at a place.

    The settings name it for the provider's own engine. For any other, it is the same if it is one for that kind of
    engine, and if its arguments do not lead back to the provider's own.
    """
    if place.key == SHARED:
        return chosen_engine(settings.engine_command, os.environ)
    wanted, own = place.environment.get("KIND_EXPERIMENTAL_PROVIDER", ""), settings.engine_command or ()
    names_another = any(word.partition("=")[0] in _TARGETS for word in own)
    if own and Containers(own).engine == wanted and not names_another:
        return own
    return (wanted,) if wanted else chosen_engine(None, {**os.environ, **place.environment})


def policy_at(place: Place, policy: Policy) -> Policy:
    """Return the settings for decisions about kind clusters at a place."""
    return replace(
        policy,
        endpoint=place.endpoint,
        allowed_host_paths=place.host_paths,
        api_server_address=place.address,
        endpoint_host=place.endpoint_host,
        endpoint_names=place.endpoint_names,
        api_server_port=place.api_port,
        ports=place.ports,
    )


class Engines:
    """The engines by place. Each has a watch of its own, so that none waits for another."""

    def __init__(
        self,
        placement: Placement,
        *,
        commands: CommandsAt,
        executor: ExecutorAt,
        policy: Policy,
        metrics: Metrics,
        period_seconds: float,
        wake: Callable[[str, Iterable[str]], None],
        wake_all: Callable[[str], None],
        on_round: Callable[[], None],
    ) -> None:
        """Take the parts.

        period_seconds: interval between two inventories of an engine. wake: called with the key of a place and the
        names of kind clusters there that have changed. wake_all: called with the key of a place whose engine starts or
        stops answering, or is another one. on_round: called after each round of the watch on the shared engine.
        """
        self._placement = placement
        self._commands = commands
        self._executor = executor
        self._policy = policy
        self._metrics = metrics
        self._period_seconds = period_seconds
        self._wake = wake
        self._wake_all = wake_all
        self._on_round = on_round
        self._versions = KindVersions(metrics)
        self._engines: dict[str, Engine] = {}
        self._new: asyncio.Queue[Engine] = asyncio.Queue()
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._pod_room = asyncio.Semaphore(PODS_IN_PARALLEL)
        self._late_room = asyncio.Semaphore(LATE_IN_PARALLEL)
        self._late: set[str] = set()
        """Keys of the places of engines in Pods that have been late: they wait for each other only."""
        self._starts: dict[str, Starts] = {}
        """Of engines in Pods that were dropped, by key: the next Pod may have the same nodes on its volume."""
        self._inventories: weakref.WeakSet[Inventory] = weakref.WeakSet()
        """Also those of dropped engines that an operation still uses."""

    @property
    def shared(self) -> Engine | None:
        """The provider's own engine; None if it has none."""
        return self.of(self._placement.shared) if self._placement.shared else None

    def of_cluster(self, cluster: KINDCluster) -> Engine | None:
        """Return the engine of a KINDCluster's kind cluster; None if it cannot be used, see `Placement.failure`."""
        place = self._placement.of(cluster)
        return self.of(place) if place else None

    def lists_nodes_of(self, cluster: KINDCluster) -> bool:
        """Return whether the engine of a KINDCluster was last seen with containers that have its mark."""
        engine = self._engines.get(self._placement.key_of(cluster))
        latest = engine.inventory.latest if engine else None
        return latest is not None and any(bears_mark(entry, cluster.uid) for entry in latest.clusters.values())

    def policy_of(self, cluster: KINDCluster | None) -> Policy:
        """Return the settings for decisions about a KINDCluster; None: without one."""
        place = self._placement.planned(cluster) if cluster else self._placement.shared
        return policy_at(place, self._policy) if place else self._policy

    def of(self, place: Place) -> Engine:
        """Return the engine at a place, and watch it from now on.

        If the place has changed, its engine is replaced. Operations go on with the one that they began with.
        """
        engine = self._engines.get(place.key)
        if engine is None or engine.place != place:
            self.drop(place.key)
            engine = self._engines[place.key] = self._make(place)
            self._new.put_nowait(engine)
        return engine

    def drop(self, key: str) -> None:
        """Stop watching the engine at the place with that key, and forget it."""
        engine = self._engines.pop(key, None)
        if engine is not None and engine.place.pool == PODS:
            self._starts[key] = engine.inventory.starts
            while len(self._starts) > MOST_REMEMBERED:
                del self._starts[next(iter(self._starts))]
        if watch := self._watches.pop(key, None):
            watch.cancel()

    def keep(self, keys: Collection[str]) -> None:
        """Drop the engines at all places but these and the shared one."""
        for key in self._engines.keys() - keys - {SHARED}:
            self.drop(key)
        self._late &= set(keys)

    def restarted(self, key: str) -> None:
        """Take a new inventory of the engine at the place with that key, which may have lost or stopped anything."""
        if engine := self._engines.get(key):
            engine.watch.doubt()
            engine.asked.set()

    def changed(self, key: str) -> None:
        """Take a new inventory of the engine at the place with that key soon."""
        if engine := self._engines.get(key):
            engine.asked.set()

    def expire_versions(self) -> None:
        """Have each engine's next inventory ask for the version of kind, which may have been replaced."""
        for engine in self._engines.values():
            engine.inventory.kind_version = None

    async def look(self, engine: Engine) -> None:
        """Take an inventory of an engine, but wait only so long for it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(INVENTORY_SECONDS):
                await engine.watch.refresh()

    async def _look_in_turn(self, engine: Engine) -> None:
        """Take an inventory of an engine in a Pod as soon as not too many others are being taken."""
        key, clock = engine.place.key, asyncio.get_running_loop().time
        async with self._late_room if key in self._late else self._pod_room:
            began = clock()
            await self.look(engine)
        if clock() - began > LATE_SECONDS:
            self._late.add(key)

    async def run(self) -> None:
        """Watch the engines until cancelled. If the watch on one of them fails, all end. Raises an ExceptionGroup."""
        async with asyncio.TaskGroup() as group:
            while True:
                engine = await self._new.get()
                key = engine.place.key
                if self._engines.get(key) is engine:
                    watch = self._watch_pod if engine.place.pool == PODS else self._watch
                    self._watches[key] = group.create_task(watch(engine), name=f"watch on the engine {key}")

    async def stop(self) -> None:
        """End all inventories, with their processes."""
        await asyncio.gather(*(inventory.stop() for inventory in list(self._inventories)))

    def _make(self, place: Place) -> Engine:
        commands = self._commands(place)
        inventory = Inventory(commands.kind, commands.containers, self._starts.pop(place.key, None))
        self._inventories.add(inventory)
        return Engine(
            place,
            commands.kind,
            commands.containers,
            inventory,
            EngineWatch(
                inventory,
                self._metrics,
                self._versions,
                wake=partial(self._wake, place.key),
                wake_all=partial(self._wake_all, place.key),
            ),
            self._executor(place, commands, inventory),
            policy_at(place, self._policy),
            asyncio.Event(),
        )

    async def _watch(self, engine: Engine) -> None:
        is_shared = engine.place.key == SHARED
        with logs.context(**({} if is_shared else {"engine": engine.place.key})):
            if not is_shared:
                await self.look(engine)
            await repeat(
                "inventory of the container engine",
                engine.watch.refresh,
                seconds=self._period_seconds,
                deadline_seconds=INVENTORY_SECONDS,
                on_round=self._on_round if is_shared else lambda: None,
            )

    async def _watch_pod(self, engine: Engine) -> None:
        """Look at an engine in a Pod if something has happened to the Pod, and rarely without a cause.

        The first interval depends on the key, so that those of many engines do not end together.
        """
        share = int(hashlib.sha256(engine.place.key.encode()).hexdigest()[:8], 16) / 2**32
        interval = POD_SECONDS * (0.5 + share / 2)
        while True:
            engine.asked.clear()
            with logs.context(engine=engine.place.key):
                await self._look_in_turn(engine)
            latest = engine.inventory.latest
            fails = latest is None or latest.error is not None
            with suppress(TimeoutError):
                async with asyncio.timeout(self._period_seconds if fails else interval):
                    await engine.asked.wait()
            interval = POD_SECONDS
