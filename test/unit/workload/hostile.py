"""A TLS server that answers with any bytes, like a hostile node."""

import asyncio
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from capk.workload.connection import Target
from capkdev.certificates import Authority

Reply = bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """reply: sent for each request, or called instead. requests: received heads. connections: their number."""

    authority: Authority
    context: ssl.SSLContext = field(default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    url: str = ""
    reply: Reply = b""
    requests: list[str] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    connections: int = 0
    is_closing: bool = False
    """Close the connection after each reply, without announcing it in the head."""

    @property
    def target(self) -> Target:
        return Target(self.url, self.authority.certificate.decode())

    def show_certificate(self, authority: Authority) -> None:
        """Use a new certificate of this authority for new connections."""
        pair = authority.issue_server("kube-apiserver", ["127.0.0.1"])
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(pair.certificate + pair.key)
            self.context.load_cert_chain(file.name)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.clients.append(str((writer.get_extra_info("peercert") or {}).get("subject", "")))
        try:
            while True:
                self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
                if callable(self.reply):
                    await self.reply(reader, writer)
                else:
                    writer.write(self.reply)
                    await writer.drain()
                if self.is_closing:
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def http(body: bytes | str, status: str = "200 OK", *headers: str) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(content)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content
