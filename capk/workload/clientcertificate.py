"""Gives a client certificate and its key to `ssl`, which reads them from files only, without leaving any."""

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from capk.kindconfig.kubeconfig import Kubeconfig


def load_login(context: ssl.SSLContext, login: Kubeconfig) -> None:
    """Let a TLS context present the client certificate of a kubeconfig; raises ssl.SSLError or OSError."""
    with _readable(f"{login.client_certificate}{login.client_key}".encode()) as path:
        context.load_cert_chain(path)


@contextmanager
def _readable(content: bytes) -> Iterator[str]:
    """Yield a path under which the content can be read while inside.

    On Linux it is a file in memory, which is gone when the process is, however that ends; elsewhere a private one.
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
