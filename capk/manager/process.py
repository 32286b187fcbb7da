"""From settings to a running process: log in, serve probes, acquire the Lease, start kopf's watches, stop."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import kopf

from capk.api import names
from capk.api.rights import LEASE
from capk.engine.workdir import private_directory
from capk.errors import CapkError
from capk.kube.client import KubeClient
from capk.kube.lease import hold_lease
from capk.manager.application import Application
from capk.manager.engines import CommandsAt
from capk.manager.handlers import handlers, kopf_settings
from capk.runtime import logs
from capk.runtime.metrics import Metrics
from capk.runtime.nesting import allow_deep_documents
from capk.runtime.openfiles import raise_open_files
from capk.runtime.probes import Check, HealthServer, StartupCheck, moving_queue
from capk.runtime.tasks import supervised
from capk.settings import Settings, socket_address

STUCK_SECONDS = 300.0
"""Longer than the deadline of a reconcile: after that, the workers themselves hang."""


async def run_provider(settings: Settings, *, commands: CommandsAt | None = None) -> None:
    """Run the provider until SIGTERM or SIGINT.

    commands: instead of those in the settings, for measurements.
    Raises CapkError if it cannot start or one of its tasks failed, LostLease if another replica may be the leader now.
    The supervisor restarts the process whatever the cause (K29).
    """
    logs.configure(format=settings.log_format.value, level=settings.log_level)
    raise_open_files()
    allow_deep_documents()
    settings = _with_private_work_dir(settings)
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        client = await _connect(settings, metrics)
        stack.push_async_callback(client.close)
        app = Application(settings, client, metrics, commands=commands)
        await stack.enter_async_context(_probes(settings, app, metrics))
        if settings.leader_elect:
            own_client = await _connect(settings, metrics)
            stack.push_async_callback(own_client.close)
            app.ready.touch()
            await stack.enter_async_context(
                hold_lease(own_client, LEASE, settings.lease_namespace, _identity(), alarm=_end_process_after)
            )
        # kopf ends last: engine commands must not outlive a lost Lease, whereas a late event is harmless.
        watching = await stack.enter_async_context(_ending())
        await stack.enter_async_context(app.running())
        await watching(_watch(app))


def _with_private_work_dir(settings: Settings) -> Settings:
    """Return the settings with a private work directory, which holds kubeconfigs and the logs of failures.

    Raises CapkError if the directory cannot be used.
    """
    try:
        directory = private_directory(settings.work_dir, explicit=settings.names_work_dir)
    except OSError as error:
        raise CapkError(
            f"cannot use the work directory {settings.work_dir}: {error.strerror or error}. Choose another with "
            "--work-dir."
        ) from error
    return replace(settings, work_dir=directory)


async def _connect(settings: Settings, metrics: Metrics) -> KubeClient:
    return await KubeClient.connect(kubeconfig=settings.kubeconfig, context=settings.context, observe=metrics.requested)


@asynccontextmanager
async def _probes(settings: Settings, app: Application, metrics: Metrics) -> AsyncIterator[None]:
    """Serve the probes, and metrics on the same address or on another one."""
    live: dict[str, Check] = {
        "queue": moving_queue(app.queue, STUCK_SECONDS),
        "engine": app.engine_heartbeat,
        "resync": app.resync_heartbeat,
        "watch": app.lag,
    }
    apart = settings.diagnostics_address not in ("", settings.health_address)
    exposition = metrics.exposition
    servers = {settings.health_address: HealthServer(live=live, ready={"start": app.ready}, metrics=exposition)}
    if apart:
        servers[settings.diagnostics_address] = HealthServer(live={}, ready={}, metrics=exposition)
    async with AsyncExitStack() as stack:
        for address, server in servers.items():
            if not address:
                continue
            try:
                await server.start(*socket_address(address))
            except OSError as error:
                raise CapkError(
                    f"cannot listen on {address}: {error.strerror}. Another program, maybe another provider, uses it. "
                    "Choose another address with --health-addr or --diagnostics-address."
                ) from error
            stack.push_async_callback(server.stop)
        yield


@asynccontextmanager
async def _ending() -> AsyncIterator[Callable[[Coroutine[Any, Any, None]], Awaitable[None]]]:
    """Yield a function that runs a coroutine, which ends with this context even if the caller is cancelled earlier."""
    tasks: list[asyncio.Task[None]] = []

    async def run(work: Coroutine[Any, Any, None]) -> None:
        tasks.append(asyncio.create_task(work))
        await asyncio.wait(tasks)
        tasks[0].result()

    try:
        yield run
    finally:
        for task in tasks:
            task.cancel()
            await asyncio.wait([task])


def _end_process_after(seconds: float) -> None:
    """Let the kernel end this process after that time, even if it hangs, unless called again; 0 cancels.

    The guard of `capk.engine.guard` then ends the engine commands.
    """
    signal.setitimer(signal.ITIMER_REAL, seconds)


async def _watch(app: Application) -> None:
    """Run kopf's lists and watches until the process receives a signal; the provider is ready once they run."""
    namespace = app.settings.namespace
    chosen = kopf_settings(app.settings)
    # With access to only one namespace, scanning would fail for five minutes before kopf watches anything (K29, K49).
    # Without scanning, only the next resync finds CRDs that are installed later.
    chosen.scanning.disabled = namespace is not None and not await app.client.may_list(names.NAMESPACES)
    started = asyncio.Event()
    tasks = await kopf.spawn_tasks(
        identity=_identity(),  # type: ignore[arg-type]  # a NewType that kopf does not export
        ready_flag=started,
        registry=handlers(cluster_wide=namespace is None),
        settings=chosen,
        memo=app,
        standalone=True,
        clusterwide=namespace is None,
        namespaces=[namespace] if namespace else [],
    )
    async with supervised(("announcement of readiness", _touch_when(started, app.ready))):
        await kopf.run_tasks(tasks, ignored=_AllTasks())


class _AllTasks(frozenset[asyncio.Task[Any]]):
    """All current and future tasks.

    On exit kopf waits 5 s for tasks that started after it, then cancels them. Those are our workers and operations,
    which the application itself ends immediately and in order. So kopf has to ignore them.
    """

    def __contains__(self, task: object) -> bool:
        return True


async def _touch_when(started: asyncio.Event, ready: StartupCheck) -> None:
    await started.wait()
    ready.touch()


def _identity() -> str:
    """Return the name of this process among its replicas; kopf's default fails for a user without a name."""
    return f"{os.environ.get('POD_NAME') or socket.gethostname()}_{os.getpid()}"
