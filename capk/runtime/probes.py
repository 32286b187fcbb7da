"""Answers probes and Prometheus over HTTP; its checks decide what is healthy.

Liveness means that a restart would help. It fails if a loop of this process is stuck, and never because the API server
or the container engine is unavailable: a restart would interrupt running creations and cure nothing.
"""

import asyncio
import errno
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, Protocol

from aiohttp import web

Check = Callable[[], str | None]
"""Returns a problem in words for a person, or None."""

Exposition = Callable[[], tuple[bytes, str]]
"""Returns the series and their content type."""


class WatchedQueue(Protocol):
    """The figures that a work queue reports about itself."""

    def stalled_for(self) -> float:
        """Seconds that keys have waited while no worker took one."""
        ...

    def longest_work(self) -> float:
        """Seconds that a worker has spent on its key, the longest of all."""
        ...


_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MOST_CONNECTIONS: Final = 64
"""Probes and scrapes take milliseconds, so that each of their connections is among the newest."""
SERIES_SECONDS: Final = 0.25
"""How long the same series are served. To write them takes some milliseconds, in which nothing else happens."""
_IDLE_SECONDS: Final = 75.0
"""How long a connection may be silent."""
_SHUTDOWN_SECONDS: Final = 1.0


class Heartbeat:
    """A check that a loop still runs. The loop touches it after each round, successful or not.

    limit_seconds: maximum age of the last touch. Counting starts with the first touch, so a standby replica is healthy.
    """

    def __init__(self, what: str, limit_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._limit = limit_seconds
        self._clock = clock
        self._last: float | None = None

    def touch(self) -> None:
        """Note that a round has ended."""
        self._last = self._clock()

    def __call__(self) -> str | None:
        """Return what is wrong, or None."""
        age = 0.0 if self._last is None else self._clock() - self._last
        return f"no {self._what} for {age:.0f} s; at most {self._limit:.0f} s are normal" if age > self._limit else None


class StartupCheck:
    """A check that something has happened once, without which the provider is not ready."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._is_reached = False

    def touch(self) -> None:
        """Note that it happened."""
        self._is_reached = True

    def __call__(self) -> str | None:
        """Return what is missing, or None."""
        return None if self._is_reached else f"waiting for {self._what}"


class WatchLag:
    """A check that watches are alive: an object that was written, or listed as new, must arrive as an event.

    A silent watch may be idle or dead. Waiting for an event that must arrive shows which it is.
    limit_seconds: maximum delay of an event while the API server can be reached.
    """

    def __init__(self, limit_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit_seconds
        self._clock = clock
        self._expected: dict[str, tuple[int, float]] = {}
        """Kind -> the version that an event must reach, and since when."""

    def expect(self, kind: str, version: int) -> None:
        """Note that the watch of a kind has to deliver that version, or a later one."""
        self._expected.setdefault(kind, (version, self._clock()))

    def on_event(self, kind: str, version: int) -> None:
        """Note an event. A watch keeps the order, so no older event is missing."""
        if kind in self._expected and version >= self._expected[kind][0]:
            del self._expected[kind]

    def forget(self, kind: str) -> None:
        """Expect no event any longer, because a list has shown that none was missed."""
        self._expected.pop(kind, None)

    def on_outage(self) -> None:
        """Note that the API server cannot be reached, which delays events: their time starts again."""
        self._expected = {kind: (version, self._clock()) for kind, (version, _) in self._expected.items()}

    def __call__(self) -> str | None:
        """Return what is wrong, or None."""
        late = {kind: self._clock() - since for kind, (_, since) in self._expected.items()}
        return next(
            (
                f"the watch of {kind} objects has not delivered a change for {age:.0f} s; "
                f"at most {self._limit:.0f} s are normal"
                for kind, age in late.items()
                if age > self._limit
            ),
            None,
        )


def moving_queue(queue: WatchedQueue, limit_seconds: float) -> Check:
    """Return a check that keys neither wait for a worker nor stay with one longer than the limit.

    A long queue that moves is healthy.
    """

    def check() -> str | None:
        if (stalled := queue.stalled_for()) > limit_seconds:
            return f"no worker took a waiting object for {stalled:.0f} s; at most {limit_seconds:.0f} s are normal"
        if (worked := queue.longest_work()) > limit_seconds:
            return f"a reconcile has taken {worked:.0f} s; at most {limit_seconds:.0f} s are normal"
        return None

    return check


class HealthServer:
    """Serves `/healthz` (if it fails, restart), `/readyz` (if it fails, wait) and `/metrics`.

    Each probe answers 200 with `ok`, or 503 with one line per failed check: `name: problem`.
    live, ready: the checks by name. metrics: None disables `/metrics`.
    It answers everyone who can reach it. With more than MOST_CONNECTIONS, it closes the oldest: they must neither use
    up the open files of the process nor keep it from answering probes.
    """

    def __init__(
        self,
        *,
        live: Mapping[str, Check],
        ready: Mapping[str, Check],
        metrics: Exposition | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = web.Application()
        self._app.router.add_get("/healthz", _probe(live))
        self._app.router.add_get("/readyz", _probe(ready))
        if metrics is not None:
            self._app.router.add_get("/metrics", _series(metrics, clock))
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port. Raises OSError if the port is taken.

        host: empty for all addresses of the machine. port: 0 lets the system choose one.
        """
        self._runner = runner = web.AppRunner(
            self._app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=_SHUTDOWN_SECONDS,
            keepalive_timeout=_IDLE_SECONDS,
        )
        await runner.setup()
        accept, loop = partial(_accept, runner), asyncio.get_running_loop()
        if host:
            self._listening = await loop.create_server(accept, host, port)
        else:
            self._listening = await loop.create_server(accept, sock=_on_all_addresses(port))
        return int(self._listening.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(_opened(self._runner)) if self._runner else 0

    async def stop(self) -> None:
        """Stop listening."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


def _on_all_addresses(port: int) -> socket.socket:
    """Return a socket that listens on all addresses: a pod may have an IPv6 address only. Raises OSError."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            # The machine knows IPv6, but it is switched off.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
    return socket.create_server(("", port))


def _accept(runner: web.AppRunner) -> asyncio.Protocol:
    """Return the handler of a new connection, and close the oldest ones if there are too many."""
    opened = _opened(runner)
    for oldest in opened[: max(0, len(opened) + 1 - MOST_CONNECTIONS)]:
        oldest.abort()
    assert runner.server is not None
    return runner.server()


def _opened(runner: web.AppRunner) -> list[asyncio.Transport]:
    """Return the open connections, the oldest first."""
    transports = (handler.transport for handler in (runner.server.connections if runner.server else ()))
    return [transport for transport in transports if transport is not None and not transport.is_closing()]


def _probe(checks: Mapping[str, Check]) -> _Handler:
    async def answer(_: web.Request) -> web.Response:
        problems = {name: problem for name, check in checks.items() if (problem := check())}
        if not problems:
            return web.Response(text="ok\n")
        return web.Response(status=503, text="".join(f"{name}: {problem}\n" for name, problem in problems.items()))

    return answer


def _series(metrics: Exposition, clock: Callable[[], float]) -> _Handler:
    written, series = float("-inf"), (b"", "")

    async def answer(_: web.Request) -> web.Response:
        nonlocal written, series
        if (now := clock()) - written >= SERIES_SECONDS:
            written, series = now, metrics()
        body, content_type = series
        return web.Response(body=body, headers={"Content-Type": content_type})

    return answer
