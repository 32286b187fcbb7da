"""Finds and checks free ports on this machine."""

import os
import socket

from capk.errors import CapkError

_PORTS = range(20000, 32000)
"""Below the ports that Linux and macOS assign to outgoing connections, so a stopped server finds its port free."""


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port without a listener. If another program takes it first, the caller tries again."""
    for _ in range(100):
        port = _PORTS[int.from_bytes(os.urandom(4), "big") % len(_PORTS)]
        if is_free(address, port):
            return port
    raise CapkError(f"there is no free port on {address}")


def is_free(address: str, port: int, kind: int = socket.SOCK_STREAM) -> bool:
    """Return whether a server could listen on that address and port now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
