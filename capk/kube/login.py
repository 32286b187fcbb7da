"""What a session with the API server needs, wherever it was read."""

import os
import ssl
from collections.abc import Callable
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from capk.kube.proxy import proxy_for

USER_AGENT: Final = "capk"


class UnusableCredentials(Exception):
    """No login is possible with these credentials. The text names the cause and quotes no secret."""


class Login(NamedTuple):
    """The data of a session."""

    server: str
    """URL of the API server, without a slash at its end."""
    ssl_context: ssl.SSLContext
    authorization: Callable[[], str | None]
    """Returns the current value of the header Authorization, or None for a login by certificate."""
    proxy: str | None
    server_name: str | None
    """Name in the server's certificate; None for that in the URL."""

    @classmethod
    def to(
        cls,
        server: str,
        ssl_context: ssl.SSLContext,
        authorization: Callable[[], str | None],
        *,
        proxy: str | None = None,
        server_name: str | None = None,
    ) -> Self:
        """Return a login; proxy: None for that of the environment.

        Raises UnusableCredentials if no request could go to the server or through the proxy.
        """
        server = server.rstrip("/")
        if not _is_plain(server):
            # Requests would fail one by one, each with an error of its own. The URL itself may hold a password.
            raise UnusableCredentials("its server is not an http or https URL of a host, without a user in it")
        # For every request, the official client would search proxies and netrc in two threads: 15 % of its CPU time.
        proxy = proxy or proxy_for(server, os.environ)
        if proxy and (scheme := urlsplit(proxy).scheme) not in ("http", "https"):
            # Do not quote the URL, which may hold a password.
            cause = f"it needs a proxy of type {scheme!r}; only http and https proxies are supported"
            raise UnusableCredentials(cause)
        return cls(server, ssl_context, authorization, proxy, server_name)

    def session(self, pool_size: int, *middlewares: aiohttp.ClientMiddlewareType) -> aiohttp.ClientSession:
        """Return a new session; pool_size: limit of connections, 0 for none."""
        return aiohttp.ClientSession(
            middlewares=(self._name_server, *middlewares),
            connector=aiohttp.TCPConnector(limit=pool_size, ssl=self.ssl_context),
            proxy=self.proxy,
            # A line of a watch is a whole object, which may exceed aiohttp's default.
            read_bufsize=2**21,
        )

    def headers(self) -> dict[str, str]:
        """Return the headers of the next request."""
        authorization = self.authorization()
        return {"User-Agent": USER_AGENT} | ({"Authorization": authorization} if authorization else {})

    async def _name_server(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        # A connector has no setting for the server name, and kopf's requests do not set it.
        request.server_hostname = self.server_name
        return await send(request)


def _is_plain(server: str) -> bool:
    try:
        url = URL(server)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.host) and url.user is None and url.password is None
