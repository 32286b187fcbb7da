"""Passes a client certificate and its key to `ssl`, which reads only files, without leaving any behind."""

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from capk.kindconfig.kubeconfig import Kubeconfig


def load_login(context: ssl.SSLContext, login: Kubeconfig) -> None:
    """Load the client certificate of a kubeconfig into a TLS context; raises ssl.SSLError or OSError."""
    with _readable(f"{login.client_certificate}{login.client_key}".encode()) as path:
        context.load_cert_chain(path)


@contextmanager
def _readable(content: bytes) -> Iterator[str]:
    """Yield a path from which the content can be read inside the context.

    On Linux it is a file in memory, which disappears with the process, even a killed one; elsewhere a private file.
    """
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("client", os.MFD_CLOEXEC), "wb", buffering=0) as file:
            file.write(content)
            yield f"/proc/self/fd/{file.fileno()}"
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "client.pem"
        with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(content)
        yield str(path)
