"""A proxy between a provider and its API server: counts requests, and injects the faults that a test chooses."""

import asyncio
import base64
import contextlib
import itertools
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import web

from capkdev.files import write_private
from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.ports import free_port
from capkdev.rest import client_context

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
QUESTIONS = "/apis/authorization.k8s.io/"
"""Posts here are answered but not stored."""
EXPIRED = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}


@dataclass(frozen=True)
class Call:
    """One request of the provider. write: its number among the writes since the last `begin`, 0 for a read."""

    method: str
    path: str
    query: Mapping[str, str]
    content: bytes
    at: float
    write: int = 0

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") in ("true", "1")

    @property
    def body(self) -> Any:
        return json.loads(self.content) if self.content else None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Fault:
    """The faults of a request, in the order of the fields; an empty one changes nothing.

    answer: status and headers that the provider gets instead of the API server's. cut: it gets none.
    """

    before: Callable[[], None] | None = None
    delay_seconds: float = 0.0
    forwarded: bool = True
    after: Callable[[], None] | None = None
    answer: tuple[int, Mapping[str, str]] | None = None
    cut: bool = False


Trouble = Callable[[Call], Fault | None]
Witness = Callable[[Call], None]
PEACE = Fault()


@dataclass(eq=False)
class _Watch:
    """An open watch. Whether it will end as expired."""

    end: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Proxy:
    """Serves a management cluster's API server over plain HTTP on this machine, to clients with `kubeconfig`.

    witness: called with every request before it is forwarded; its exceptions are kept in `objections`.
    """

    def __init__(self, management: LocalManagementCluster, directory: Path) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self._upstream, self._tls = _credentials(management, directory)
        self._address = f"http://127.0.0.1:{free_port()}"
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_text(_plain_kubeconfig(self._address))
        self.calls: list[Call] = []
        self.objections: list[str] = []
        self.witness: Witness = lambda call: None
        self._trouble: Trouble = lambda call: None
        self._numbers = itertools.count(1)
        self._watches: set[_Watch] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def writes(self) -> list[Call]:
        """The writes since the last `begin`."""
        return [call for call in self.calls if call.write]

    def begin(self, trouble: Trouble = lambda call: None) -> None:
        """Forget earlier requests, and inject this fault from now on."""
        self._trouble, self.calls, self._numbers = trouble, [], itertools.count(1)

    def break_watches(self, *, expired: bool) -> int:
        """End all watches, with a cut connection or as expired; return their number."""

        async def end() -> int:
            open_ones = [watch for watch in self._watches if not watch.end.done()]
            for watch in open_ones:
                watch.end.set_result(expired)
            return len(open_ones)

        return int(self._call(end()))

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _start(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, read_bufsize=2**21, auto_decompress=False)
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", int(self._address.rpartition(":")[2])).start()

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()
        # The session does not wait for its TLS connections to close.
        await asyncio.sleep(0.5)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        content = await request.read()
        stores = request.method in WRITES and not request.path.startswith(QUESTIONS)
        write = next(self._numbers) if stores else 0
        call = Call(request.method, request.path, dict(request.query), content, self._loop.time(), write)
        self.calls.append(call)
        try:
            self.witness(call)
        except AssertionError as objection:
            self.objections.append(f"{call}: {objection}")
        fault = self._trouble(call) or PEACE
        if fault.before:
            fault.before()
        await asyncio.sleep(fault.delay_seconds)
        if call.is_watch and fault == PEACE:
            return await self._stream(request)
        answer = await asyncio.shield(self._forward(request, content)) if fault.forwarded else None
        if fault.after:
            fault.after()
        if fault.cut or (answer is None and fault.answer is None):
            return _cut(request)
        if fault.answer:
            status, headers = fault.answer
            message = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": "trouble"}
            return web.json_response(message, status=status, headers=headers)
        assert answer is not None
        return answer

    async def _forward(self, request: web.Request, content: bytes) -> web.Response:
        async with self._send(request, content) as answer:
            return web.Response(status=answer.status, body=await answer.read(), headers=_passed_on(answer.headers))

    def _send(self, request: web.Request, content: bytes) -> Any:
        headers = {name: value for name, value in request.headers.items() if name in ("Accept", "Content-Type")}
        return self._session.request(
            request.method, self._upstream + request.path_qs, data=content or None, headers=headers
        )

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        watch = _Watch()
        self._watches.add(watch)
        try:
            timeout = aiohttp.ClientTimeout(total=None)
            async with self._session.get(
                self._upstream + request.path_qs, headers={"Accept": "application/json"}, timeout=timeout
            ) as events:
                response = web.StreamResponse(status=events.status, headers=_passed_on(events.headers))
                await response.prepare(request)
                copying = asyncio.create_task(_copy(events, response))
                await asyncio.wait([copying, watch.end], return_when=asyncio.FIRST_COMPLETED)
                copying.cancel()
                if not watch.end.done():
                    return response
                if watch.end.result():
                    await response.write(json.dumps({"type": "ERROR", "object": EXPIRED}).encode() + b"\n")
                    return response
                return _cut(request)
        finally:
            self._watches.discard(watch)


async def _copy(events: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
    with contextlib.suppress(aiohttp.ClientError, ConnectionError):
        async for piece in events.content.iter_any():
            await response.write(piece)


def _cut(request: web.Request) -> web.StreamResponse:
    if request.transport:
        request.transport.abort()
    return web.Response()


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in ("Content-Type", "Retry-After", "Content-Encoding") if name in headers}


def _credentials(management: LocalManagementCluster, directory: Path) -> tuple[str, ssl.SSLContext]:
    config = yaml.safe_load(management.kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    files = []
    for holder, name in (
        (cluster, "certificate-authority-data"),
        (user, "client-certificate-data"),
        (user, "client-key-data"),
    ):
        files.append(directory / name)
        write_private(files[-1], base64.b64decode(holder[name]))
    return cluster["server"], client_context(*files)


def _plain_kubeconfig(server: str) -> str:
    return (
        "apiVersion: v1\nkind: Config\ncurrent-context: proxy\n"
        f"clusters: [{{name: proxy, cluster: {{server: '{server}'}}}}]\n"
        "contexts: [{name: proxy, context: {cluster: proxy, user: proxy}}]\n"
        "users: [{name: proxy, user: {}}]\n"
    )
