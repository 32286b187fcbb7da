"""Logs in as the service account of the pod, from the files that the kubelet mounts.

It needs no part of the official client, which would take 11 MiB and 0.1 s (docs/decisions/0018-beside-capd.md). It
makes the checks of the client's `incluster_config.py`.
Source: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/.
"""

import os
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Final

from capk.kube import credentials
from capk.kube.credentials import SERVICE_HOST_VARIABLE
from capk.kube.login import Login, UnusableCredentials

SERVICE_PORT_VARIABLE: Final = "KUBERNETES_SERVICE_PORT"
AUTHORITY_FILE: Final = "ca.crt"
"""Name of the file beside the token."""


def log_in() -> Login:
    """Return the login of the pod's service account.

    Raises UnusableCredentials if a variable or a file is missing, empty or invalid.
    """
    host, port = _variable(SERVICE_HOST_VARIABLE), _variable(SERVICE_PORT_VARIABLE)
    token = _Token(credentials.TOKEN_FILE)
    authority = _trust(credentials.TOKEN_FILE.with_name(AUTHORITY_FILE))
    return Login.to(f"https://{_in_url(host)}:{port}", authority, token.authorization)


class _Token:
    """A token that the kubelet replaces long before it expires."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._latest = _read_token(file)

    def authorization(self) -> str:
        """Return the header with the token as the file has it now.

        The file is in memory: reading it takes 0.02 ms, and needs no clock. If it cannot be read, the previous token is
        used, as in client-go: it is valid for a while, and the server refuses it afterwards.
        """
        with suppress(UnusableCredentials):
            self._latest = _read_token(self._file)
        return f"Bearer {self._latest}"


def _read_token(file: Path) -> str:
    try:
        token = file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise _unreadable(file, error) from None
    except UnicodeDecodeError:
        token = "\n"
    if not token:
        raise UnusableCredentials(f"{file} is empty")
    if not token.isprintable():
        # It would split the header, and the error of that would quote it.
        raise UnusableCredentials(f"{file} does not contain a token")
    return token


def _trust(file: Path) -> ssl.SSLContext:
    """Return a context that trusts only the authorities in a file."""
    try:
        return ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        raise UnusableCredentials(f"{file} does not contain a certificate") from None
    except OSError as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: OSError) -> UnusableCredentials:
    return UnusableCredentials(f"{file} cannot be read: {error.strerror or error}")


def _variable(name: str) -> str:
    if value := os.environ.get(name):
        return value
    raise UnusableCredentials(f"{name} is not set")


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host or "%" in host else host
