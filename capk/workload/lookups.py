"""Looks up the host names of API servers in threads of its own.

The label of an image may name the host, and a name server that never answers holds a thread for up to a minute. The
loop's own threads are few, and connections to the management cluster need them too.
"""

import asyncio
import errno
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

MOST_LOOKUPS: Final = 32
"""Names that are looked up concurrently."""

Address = tuple[socket.AddressFamily, tuple[Any, ...]]


class Lookups:
    """The lookups that have not ended, one for each name: further requests for a name wait for the same one."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, int], asyncio.Future[list[Address]]] = {}

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Return the addresses of a host, in the resolver's order; a lookup goes on if its callers are cancelled.

        Raises OSError and ValueError; with ENOBUFS if too many other names are being looked up, or no thread is left.
        """
        found = self._running.get((host, port)) or self._begin(host, port)
        return await asyncio.shield(found)

    def _begin(self, host: str, port: int) -> asyncio.Future[list[Address]]:
        if len(self._running) >= MOST_LOOKUPS:
            raise OSError(errno.ENOBUFS, "too many host names are being looked up")
        loop = asyncio.get_running_loop()
        found = loop.create_future()
        try:
            # A thread of the loop's would have to end before the process can.
            threading.Thread(target=_look_up, args=(loop, found, host, port), daemon=True).start()
        except RuntimeError as error:
            # The limit of processes is reached. A lookup that has not begun must not be waited for.
            raise OSError(errno.ENOBUFS, "no thread is left to look up a host name") from error
        self._running[host, port] = found
        found.add_done_callback(partial(self._end, host, port))
        return found

    def _end(self, host: str, port: int, found: asyncio.Future[list[Address]]) -> None:
        del self._running[host, port]
        if not found.cancelled():
            # All callers may have given up; asyncio logs an exception that is never read.
            found.exception()


def _look_up(loop: asyncio.AbstractEventLoop, found: asyncio.Future[list[Address]], host: str, port: int) -> None:
    report: Callable[[], None]
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except Exception as error:
        report = partial(_unless_done, found, found.set_exception, error)
    else:
        addresses = [(family, address) for family, _, _, _, address in entries]
        report = partial(_unless_done, found, found.set_result, addresses)
    with suppress(RuntimeError):  # the loop has been closed meanwhile
        loop.call_soon_threadsafe(report)


def _unless_done(found: asyncio.Future[list[Address]], report: Callable[[Any], None], outcome: object) -> None:
    if not found.done():
        report(outcome)
