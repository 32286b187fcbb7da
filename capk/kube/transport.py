"""Finds the API server and logs in with the loaders of the official client.

It uses only the loaders: requests use aiohttp directly, which takes half the CPU time of the official client's
defaults (K25, docs/decisions/0008-where-the-time-goes.md).

It reads credentials again if the server no longer accepts them, or if TLS fails. That covers rotated files, rotated
authorities, short-lived tokens and exec plugins.
"""

import asyncio
import json
import logging
import os
import ssl
import tempfile
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from capk.errors import Unreachable
from capk.kube.credentials import Credentials
from capk.kube.officialclient import Configuration, RESTClientObject, config, kube_config
from capk.kube.proxy import proxy_for
from capk.kube.request import JSON, Request
from capk.redaction import redact

USER_AGENT: Final = "capk"
RELOAD_SECONDS: Final = 10.0
"""Minimum interval between two reads: credentials that were read more recently are wrong, not outdated."""

log = logging.getLogger(__name__)

# The loaders and the REST client have no type annotations.
_config: Final = cast(Any, config)
_kube_config: Final = cast(Any, kube_config)


class _Login(NamedTuple):
    """The data of a session."""

    configuration: Configuration
    ssl_context: ssl.SSLContext
    server: str
    proxy: str | None

    def session(self, pool_size: int, *middlewares: aiohttp.ClientMiddlewareType) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            middlewares=(self._name_server, *middlewares),
            connector=aiohttp.TCPConnector(limit=pool_size, ssl=self.ssl_context),
            proxy=self.proxy,
            # A line of a watch is a whole object, which may exceed aiohttp's default.
            read_bufsize=2**21,
        )

    async def _name_server(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        # A connector has no setting for the server name, and kopf's requests do not set it.
        request.server_hostname = self.configuration.tls_server_name
        return await send(request)

    async def headers(self) -> dict[str, str]:
        # The loader reads the token of a service account again every minute.
        login = await self.configuration.get_api_key_with_prefix("BearerToken")
        return {"User-Agent": USER_AGENT} | ({"Authorization": login.strip()} if login else {})


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
        self._login: _Login | None = None
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
        headers = await login.headers() | {"Accept": JSON, "Content-Type": request.content_type}
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
        session.headers.update(await login.headers())
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
            # For an unexpected file, the loaders raise any exception and quote the file.
            cause = redact(str(error)) if isinstance(error, config.ConfigException | OSError) else "it is malformed"
            raise Unreachable("get", "credentials", 0, f"{self._credentials} cannot be used: {cause}") from None
        self._login = login
        self._sessions.append(login.session(self._pool_size))
        # Requests in flight still use the previous session, which is closed one generation later.
        for session in self._sessions[:-2]:
            await session.close()
        del self._sessions[:-2]
        self.generation += 1

    async def _log_in(self) -> _Login:
        """Return the credentials; the key files for TLS exist only during this call.

        The kubeconfig loader writes them (0600) and would keep them until the process ends, or for ever if it is
        killed. It also caches their names by content.
        """
        configuration = Configuration()
        if self._credentials.use_service_account():
            _config.load_incluster_config(client_configuration=configuration)
            return _login(configuration)
        if not self._credentials.has_kubeconfig():
            raise config.ConfigException("there is no such file. Name another with --kubeconfig or KUBECONFIG")
        with tempfile.TemporaryDirectory(prefix="capk-") as private:
            try:
                await _config.load_kube_config(
                    config_file=self._credentials.kubeconfig_paths(),
                    context=self._credentials.context,
                    client_configuration=configuration,
                    persist_config=False,  # the user's kubeconfig is never written
                    temp_file_path=private,
                )
                return _login(configuration)
            finally:
                _kube_config._cleanup_temp_files()

    def _open_login(self) -> _Login:
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


def _is_plain(server: str) -> bool:
    try:
        url = URL(server)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.host) and url.user is None and url.password is None


def _login(configuration: Configuration) -> _Login:
    server = str(configuration.host).rstrip("/")
    if not _is_plain(server):
        # Requests would fail one by one, each with an error of its own. The URL itself may hold a password.
        raise config.ConfigException("its server is not an http or https URL of a host, without a user in it")
    # For every request, the official client would search proxies and netrc in two threads: 15 % of its CPU time.
    proxy = configuration.proxy or proxy_for(server, os.environ)
    if proxy and (scheme := urlsplit(proxy).scheme) not in ("http", "https"):
        # Do not quote the URL, which may hold a password.
        raise config.ConfigException(f"it needs a proxy of type {scheme!r}; only http and https proxies are supported")
    return _Login(configuration, cast(Any, RESTClientObject)(configuration).ssl_context, server, proxy)
