"""Provider processes: the real application with all I/O replaced, its leader election, and kills.

Only this module depends on the application's construction.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from capk.api import names
from capk.api.names import Resource
from capk.engine.place import Place
from capk.errors import LostLease, Unreachable
from capk.kube.lease import hold_lease
from capk.manager.application import Application
from capk.manager.enginepods import is_pod_place
from capk.manager.engines import Commands
from capk.runtime.metrics import Metrics
from capk.settings import Endpoint, Settings
from test.simulation.apiserver import ApiClient, Watch
from test.simulation.clock import SimulatedLoop, context_of, now, spawn
from test.simulation.doors import SimulatedContainers, SimulatedKind
from test.simulation.objects import Body
from test.simulation.world import World


class Provider:
    """One process of the provider."""

    def __init__(self, world: World, number: int) -> None:
        self.id = f"provider-{number}"
        self.world = world
        self.client: ApiClient = world.client(self.id)
        self.app: Application | None = None
        self.is_leading = False
        self.ended = asyncio.Event()
        self.crash: str | None = None
        self._task: asyncio.Task[Any] | None = None
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def is_alive(self) -> bool:
        """Return whether the process runs."""
        return not self.ended.is_set()

    def start(self) -> None:
        """Start the process."""
        self.world.note(f"{self.id} starts")
        self._task = spawn(self._main(), self.id)

    async def stop(self) -> None:
        """Stop the process in order (SIGTERM); return when it has ended."""
        if self._task and self.is_alive:
            self._task.cancel()
            await self.ended.wait()

    def kill(self, linger_seconds: float = 0.0) -> None:
        """End the process as SIGKILL does; its kind commands may continue for a moment."""
        if not self.is_alive:
            return
        self.world.note(f"{self.id} is killed")
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        loop.kill(self.id)
        for kind in (self.world.kind, *(machine.kind for machine in self.world.pods.machines())):
            kind.orphan(self.id, linger_seconds)
        self._leave()

    async def _main(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                if self.world.options.lease:
                    await stack.enter_async_context(
                        hold_lease(self.client, "capk", "capk-system", self.id, alarm=self._end_after)
                    )
                self.app = _application(self)
                await stack.enter_async_context(self.app.running())
                self.is_leading = True
                self._watch(self.app)
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.world.note(f"{self.id} has stopped")
        except LostLease as lost:
            self.world.note(f"{self.id} lost its lease: {lost}")
        except Unreachable as error:
            # It could not even start; its supervisor tries again.
            self.world.note(f"{self.id} could not start: {error}")
        except Exception as error:
            self.crash = f"{type(error).__name__}: {error}"
            self.world.note(f"{self.id} crashed: {self.crash}"[:300])
        finally:
            self._leave()

    def _end_after(self, seconds: float) -> None:
        """Act as the kernel's timer: kill the process after that time, unless called again; 0 disarms it."""
        if self._alarm:
            self._alarm.cancel()
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(seconds, self.kill, context=context_of("")) if seconds else None

    def _leave(self) -> None:
        self.is_leading = False
        self._end_after(0)
        self.world.api.unwatch(self.id)
        self.ended.set()

    def _watch(self, app: Application) -> None:
        """Watch the same kinds as kopf, with the same selectors."""
        wanted = self.world.options.watch_filter
        ours = f"{names.WATCH_FILTER_LABEL}={wanted}" if wanted else None
        selectors = {
            **dict.fromkeys(names.FILTERED, ours),
            names.NAMESPACES: None,
            names.CLUSTERS: None,
            names.SECRETS: names.SECRET_CLUSTER_LABEL,
        }
        for resource, selector in selectors.items():
            rng = self.world.stream(f"watch {self.id} {resource.plural}")
            deliver = self._deliverer(app, resource)
            self.world.api.watch(Watch(self.id, resource.plural, selector, deliver, latency=rng.uniform(0.003, 0.06)))

    def _deliverer(self, app: Application, resource: Resource) -> Any:
        def deliver(type: str | None, obj: Body) -> None:
            if self.is_alive:
                context_of(self.id).run(app.cache.on_event, resource, type, obj)

        return deliver


class Deployment:
    """Keeps a provider running: restarts it after it ends, with a delay that grows with each crash."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.providers: list[Provider] = []
        self.crashes: list[str] = []
        self._started = 0
        self._wanted = False
        self._supervisor: asyncio.Task[Any] | None = None

    @property
    def current(self) -> Provider | None:
        """Return the newest living provider process."""
        return next((one for one in reversed(self.providers) if one.is_alive), None)

    def start(self) -> None:
        """Run a provider from now on."""
        if not self._wanted:
            self._wanted = True
            self._supervisor = spawn(self._supervise())

    async def stop(self) -> None:
        """Stop all providers in order."""
        self._wanted = False
        if self._supervisor:
            self._supervisor.cancel()
        for provider in self.providers:
            await provider.stop()
        self.providers.clear()

    def kill_all(self) -> None:
        """Kill all providers for good."""
        self._wanted = False
        if self._supervisor:
            self._supervisor.cancel()
        for provider in self.providers:
            provider.kill()

    def kill(self, linger_seconds: float) -> None:
        """Kill the current provider; another one follows."""
        if provider := self.current:
            provider.kill(linger_seconds)

    def restart(self) -> None:
        """Stop the current provider in order; another one follows."""
        if provider := self.current:
            spawn(provider.stop())

    def replace(self, overlap_seconds: float, *, hard: bool) -> None:
        """Start another provider beside the current one, which continues for a while, as on a lost node."""
        old = self.current
        self._begin()
        if old:
            spawn(self._retire(old, overlap_seconds, hard=hard))

    def cut_off(self, seconds: float) -> None:
        """Interrupt the current provider's connection to the API server for a while."""
        if provider := self.current:
            client = provider.client
            client.is_cut_off = True
            asyncio.get_running_loop().call_later(seconds, setattr, client, "is_cut_off", False)

    async def _retire(self, old: Provider, seconds: float, *, hard: bool) -> None:
        await asyncio.sleep(seconds)
        if hard:
            old.kill()
        else:
            await old.stop()

    def _begin(self) -> Provider:
        self._started += 1
        provider = Provider(self.world, self._started)
        self.providers.append(provider)
        self.providers = [one for one in self.providers if one.is_alive]
        provider.start()
        return provider

    async def _supervise(self) -> None:
        failures = 0
        while self._wanted:
            provider = self.current or self._begin()
            began = now()
            await provider.ended.wait()
            if provider.crash:
                self.crashes.append(provider.crash)
            failures = failures + 1 if provider.crash and now() - began < 600 else 0
            await asyncio.sleep(min(1.0 * 2**failures, 60))


def _settings(world: World) -> Settings:
    options = world.options
    return Settings(
        work_dir=world.work_dir,
        kind_command=("kind",),
        engine_command=("docker",) if options.lists else (),
        watch_filter=options.watch_filter or None,
        endpoint=Endpoint.INTERNAL if options.internal else Endpoint.EXTERNAL,
        max_concurrent_creates=options.creates,
        workers=options.workers,
        sync_period_seconds=options.sync_period_seconds,
        inventory_period_seconds=options.inventory_period_seconds,
        create_timeout_seconds=300.0,
        delete_timeout_seconds=120.0,
    )


def _application(provider: Provider) -> Application:
    world, settings = provider.world, _settings(provider.world)
    client: Any = provider.client

    def on_call(what: str, name: str) -> None:
        world.on_call(provider.id, what, name)

    timeouts = {
        "create_timeout_seconds": settings.create_timeout_seconds,
        "delete_timeout_seconds": settings.delete_timeout_seconds,
    }
    command = ("docker",) if world.options.lists else None
    kind: Any = SimulatedKind(lambda: world.kind, provider.id, on_call, **timeouts)
    containers: Any = SimulatedContainers(lambda: world.engine, provider.id, on_call, command)

    def commands(place: Place) -> Commands:
        if not is_pod_place(place.key):
            return Commands(kind, containers)
        host = place.endpoint_host

        def on_call_there(what: str, name: str) -> None:
            world.on_call(provider.id, what, name, host)

        there: Any = SimulatedKind(lambda: world.pods.at(host).kind, provider.id, on_call_there, **timeouts)
        engine: Any = SimulatedContainers(lambda: world.pods.at(host).engine, provider.id, on_call_there, ("docker",))
        return Commands(there, engine)

    return Application(
        settings,
        client,
        Metrics(),
        commands=commands,
        ask=world.workload.ask,
        ask_health=world.workload.ask_health,
    )
