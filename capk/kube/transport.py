"""Logs in to the API server, and keeps the connections to it.

It reads credentials again if the server no longer accepts them, or if TLS fails. That covers rotated files, rotated
authorities, short-lived tokens and exec plugins.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Final

import aiohttp
from yarl import URL

from capk.errors import Unreachable
from capk.kube import serviceaccount
from capk.kube.credentials import Credentials
from capk.kube.login import Login, UnusableCredentials
from capk.kube.request import JSON, Request
from capk.redaction import redact

RELOAD_SECONDS: Final = 10.0
"""Minimum interval between two reads: credentials that were read more recently are wrong, not outdated."""

log = logging.getLogger(__name__)


class Transport:
    """An HTTP connection pool with valid credentials."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        timeout_seconds: float,
        pool_size: int,
        reload_seconds: float = RELOAD_SECONDS,
    ) -> None:
        self._credentials = credentials
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._pool_size = pool_size
        self._reload_seconds = reload_seconds
        self._loading = asyncio.Lock()
        self._loaded_at = float("-inf")
        self.generation = 0
        """How often the credentials were read."""
        self._login: Login | None = None
        self._sessions: list[aiohttp.ClientSession] = []

    @property
    def server(self) -> str:
        """URL of the API server."""
        return self._open_login().server

    async def open(self) -> None:
        """Read the credentials; raises Unreachable if there are no usable ones."""
        async with self._loading:
            await self._load()

    async def renew(self, refused: int) -> bool:
        """Read the credentials again, unless they were read just now; return whether there are newer ones.

        refused: the generation that the server no longer accepts.
        """
        async with self._loading:
            if self.generation == refused:
                if asyncio.get_running_loop().time() - self._loaded_at < self._reload_seconds:
                    return False
                await self._load()
            return True

    async def send(self, request: Request) -> tuple[int, Mapping[str, str], bytes]:
        """Send one request and return status, headers and body.

        Raises aiohttp.ClientError, OSError or TimeoutError if there is no response.
        """
        login, session = self._open_login(), self._sessions[-1]
        headers = login.headers() | {"Accept": JSON, "Content-Type": request.content_type}
        async with session.request(
            request.method,
            URL(f"{login.server}{request.target}", encoded=True),
            headers=headers,
            data=None if request.body is None else json.dumps(request.body).encode(),
            timeout=self._timeout,
            allow_redirects=False,
        ) as response:
            return response.status, response.headers, await response.read()

    async def session(self) -> aiohttp.ClientSession:
        """Return a new session with the same credentials, for kopf's watches; the caller closes it.

        It closes itself if TLS fails and newer credentials were read: kopf then logs in again.
        """
        login = self._open_login()
        renewal = _Renewal(self, self.generation)
        session = renewal.session = login.session(0, renewal.send)
        session.headers.update(login.headers())
        return session

    async def close(self) -> None:
        """Close all connections."""
        sessions, self._sessions, self._login = self._sessions, [], None
        for session in sessions:
            await session.close()

    async def _load(self) -> None:
        self._loaded_at = asyncio.get_running_loop().time()
        try:
            login = await self._log_in()
        except Exception as error:
            # For an unexpected file, the loader of kubeconfigs raises any exception and quotes the file.
            cause = redact(str(error)) if isinstance(error, UnusableCredentials | OSError) else "it is malformed"
            raise Unreachable("get", "credentials", 0, f"{self._credentials} cannot be used: {cause}") from None
        self._login = login
        self._sessions.append(login.session(self._pool_size))
        # Requests in flight still use the previous session, which is closed one generation later.
        for session in self._sessions[:-2]:
            await session.close()
        del self._sessions[:-2]
        self.generation += 1

    async def _log_in(self) -> Login:
        if self._credentials.use_service_account():
            return serviceaccount.log_in()
        if not self._credentials.has_kubeconfig():
            raise UnusableCredentials("there is no such file. Name another with --kubeconfig or KUBECONFIG")
        # Only here, because it imports the official client, which a pod does not need.
        from capk.kube import kubeconfiglogin

        return await kubeconfiglogin.log_in(self._credentials)

    def _open_login(self) -> Login:
        if self._login is None:
            raise Unreachable("get", "credentials", 0, "the connection is not open")
        return self._login


class _Renewal:
    """Reads the credentials again if TLS fails in a session of kopf.

    kopf itself logs in again only after a 401, or if its session was closed.
    """

    def __init__(self, transport: Transport, generation: int) -> None:
        self._transport = transport
        self._generation = generation
        self.session: aiohttp.ClientSession | None = None

    async def send(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        try:
            return await send(request)
        except aiohttp.ClientSSLError as error:
            if self.session is None or not await self._renewed():
                raise
            await self.session.close()
            raise RuntimeError("the session is closed because newer credentials were read") from error

    async def _renewed(self) -> bool:
        try:
            return await self._transport.renew(self._generation)
        except Unreachable as error:
            log.warning("%s", error)
            return False
