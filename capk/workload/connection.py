"""One HTTPS connection to a workload API server: sends one request at a time and can be kept between requests.

It uses sockets and `ssl` directly, for three reasons. First, 1,000 connections must be kept: an asyncio transport holds
256 KiB for each TLS connection, this class holds no buffer between requests. Second, everything that a hostile server
sends is bounded before it is parsed. Third, it supports no proxies, redirects, cookies or compressed bodies: a kind
cluster is on this machine or on the network of its containers, which a proxy of the environment cannot reach, and a
redirect could lead anywhere.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar
from urllib.parse import urlsplit

from capk.kindconfig.kubeconfig import Kubeconfig
from capk.workload.clientcertificate import load_login
from capk.workload.lookups import Address, Lookups
from capk.workload.recognition import Known, known, recognising_context, verifying_context
from capk.workload.response import MOST_BYTES, BadResponse, Response, read_response

_MOST_READS: Final = 256
"""64 KiB arrive in 64 pieces or fewer. A server that sends single bytes wants to waste our processor time."""
_READ_BYTES: Final = 16 * 1024
_MOST_HANDSHAKE_BYTES: Final = 16 * 1024
"""An API server of kind sends 2 KiB. Each certificate of a chain may cost us 10 ms, and a chain may have 75 of them."""
_MOST_ANSWER_BYTES: Final = 2 * MOST_BYTES
"""An answer with the frames of TLS around it."""
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Target:
    """An API server.

    server: its https URL, at an address that we know. authority: the certificates that its own must chain to, PEM.
    server_name: the name that its certificate must contain, if not the host of the URL.
    """

    server: str
    authority: str = field(repr=False)
    server_name: str | None = None


class Connection:
    """A connection to one API server, opened by the first request.

    login: adds its client certificate or token to each request; None asks as an anonymous user.
    lookups: of host names, shared with other connections.
    certificate: that the server showed to an earlier connection. If it still does, this connection takes less memory.
    """

    def __init__(
        self,
        target: Target,
        login: Kubeconfig | None = None,
        lookups: Lookups | None = None,
        certificate: Known | None = None,
    ) -> None:
        self._target = target
        self._login = login
        self._lookups = lookups or Lookups()
        self.is_first = certificate is None
        """Whether no certificate of the server was known before."""
        self.certificate = certificate
        """Of the server, verified by this connection or an earlier one; None before the first request."""
        self._socket: socket.socket | None = None
        self._reads = 0
        self._left = 0
        """How many more bytes the server may send for the current step."""

    @property
    def is_open(self) -> bool:
        """Whether the connection is open and can carry another request."""
        return self._socket is not None

    async def get(self, path: str) -> Response:
        """Return the server's answer to GET.

        Raises OSError (such as ssl.SSLError, ConnectionError, socket.gaierror) or ValueError (such as BadResponse).
        Then the connection is closed, and also if the caller cancels.
        """
        response = None
        try:
            self._reads = 0
            if self._socket is None:
                await self._open()
            response = await self._ask(path)
            return response
        finally:
            if response is None or not response.reusable:
                self.close()

    def close(self) -> None:
        """Close the connection if it is open."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    async def _ask(self, path: str) -> Response:
        self._left = _MOST_ANSWER_BYTES
        await self._step(self._tls.write, self._request(path))
        data = b""
        while True:
            piece = await self._step(self._tls.read, _READ_BYTES)
            if not piece and not data:
                raise ConnectionResetError("the server closed the connection without an answer")
            data += piece
            if response := read_response(data, ended=not piece):
                return response

    def _request(self, path: str) -> bytes:
        token = f"Authorization: Bearer {self._login.token}\r\n" if self._login and self._login.token else ""
        host = urlsplit(self._target.server).netloc
        accept = "Accept: application/json, */*\r\nAccept-Encoding: identity\r\nUser-Agent: capk\r\n"
        return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{accept}{token}\r\n".encode("ascii")

    async def _open(self) -> None:
        parts = urlsplit(self._target.server)
        host, port = parts.hostname, parts.port or 443
        if parts.scheme != "https" or not host:
            raise ValueError("the URL of the API server is not an https URL")
        addresses, name = await self._addresses(host, port), self._target.server_name or host
        if self.certificate and not self._login:
            await self._shake_hands(addresses, recognising_context(), name)
            if self.certificate.is_shown_by(self._tls):
                return
            self.close()
        context = verifying_context(self._target.authority)
        if self._login and self._login.client_key:
            load_login(context, self._login)
        await self._shake_hands(addresses, context, name)
        self.certificate = known(self._tls)

    async def _shake_hands(self, addresses: Sequence[Address], context: ssl.SSLContext, name: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._socket = await _connect(addresses)
        self._left = _MOST_HANDSHAKE_BYTES
        await self._step(self._tls.do_handshake)

    async def _addresses(self, host: str, port: int) -> list[Address]:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return await self._lookups.addresses(host, port)
        # An IP address needs no lookup.
        return [(socket.AF_INET if address.version == 4 else socket.AF_INET6, (host, port))]

    async def _step(self, action: Callable[..., _Result], *arguments: object) -> _Result:
        """Run a step of TLS, and pass bytes between it and the socket until it ends."""
        while True:
            self._reads += 1
            if self._reads > _MOST_READS:
                raise BadResponse("the answer comes in too many pieces")
            try:
                result = action(*arguments)
            except ssl.SSLWantReadError:
                await self._send()
                await self._receive()
            else:
                await self._send()
                return result

    async def _send(self) -> None:
        if (data := self._outgoing.read()) and self._socket:
            await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def _receive(self) -> None:
        if self._socket is None:
            raise ConnectionError("the connection is closed")
        data = await asyncio.get_running_loop().sock_recv(self._socket, _READ_BYTES)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._left -= len(data)
        if self._left < 0:
            raise BadResponse("the server sends more in TLS than an API server needs")
        self._incoming.write(data)


async def _connect(addresses: Sequence[Address]) -> socket.socket:
    """Return a connected socket, after trying the addresses of a host in their order."""
    loop = asyncio.get_running_loop()
    failure = OSError("the host has no address")
    for family, address in addresses:
        candidate = socket.socket(family, socket.SOCK_STREAM)
        try:
            candidate.setblocking(False)
            await loop.sock_connect(candidate, address)
            return candidate
        except OSError as error:
            candidate.close()
            failure = error
        except BaseException:
            candidate.close()
            raise
    raise failure
