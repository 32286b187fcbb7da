"""A small client of a Kubernetes API server that uses only the standard library.

The fake kind has to start in milliseconds, and the official client does not.
"""

import contextlib
import http.client
import json
import ssl
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from capk import errors

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
_ERRORS = {401: errors.Forbidden, 403: errors.Forbidden, 404: errors.NotFound, 409: errors.Conflict}


class Rest:
    """One keep-alive connection to an API server, closed at the end of a `with`. It is not thread-safe."""

    def __init__(self, server: str, context: ssl.SSLContext | None = None, timeout_seconds: float = 30) -> None:
        parts = urllib.parse.urlsplit(server)
        self.server = server
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            self._connection = http.client.HTTPSConnection(parts.netloc, context=context, timeout=timeout_seconds)
        else:
            self._connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def request(self, method: str, path: str, body: object = None, content_type: str = JSON) -> Any:
        """Send one request and return the decoded answer, or a string if it is not JSON.

        body: encoded as JSON.
        Raises NotFound, Conflict, Forbidden, Unreachable or ApiError.
        """
        payload = None if body is None else json.dumps(body).encode()
        headers = {"Accept": JSON, "Content-Type": content_type}
        try:
            status, answer = self.send(method, path, payload, headers)
        except (OSError, http.client.HTTPException) as failure:
            self.close()
            raise errors.Unreachable(method, path, 0, str(failure) or type(failure).__name__) from failure
        if status >= 400:
            known = errors.Unreachable if status == 429 or status >= 500 else _ERRORS.get(status, errors.ApiError)
            raise known(method, path, status, _message(answer))
        return _decoded(answer)

    def send(self, method: str, path: str, payload: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Send one request and return the HTTP status and the unchanged answer.

        Raises OSError and HTTPException.
        """
        reused = self._connection.sock is not None
        try:
            return self._send_once(method, path, payload, headers)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            # The server had closed the kept connection, so it never received this request.
            self.close()
            if not reused:
                raise
            return self._send_once(method, path, payload, headers)

    def apply(self, path: str, document: Mapping[str, Any], manager: str) -> Any:
        """Apply one object server-side, and take over fields that others own."""
        query = urllib.parse.urlencode({"fieldManager": manager, "force": "true"})
        return self.request("PATCH", f"{path}?{query}", document, APPLY_PATCH)

    def close(self) -> None:
        """Close the connection; the next request opens it again."""
        self._connection.close()

    def _send_once(
        self, method: str, path: str, payload: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        self._connection.request(method, path, payload, headers)
        response = self._connection.getresponse()
        return response.status, response.read()


def client_context(authority: Path, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """Return the TLS settings of a client, with its certificate and key if given; all are PEM files."""
    context = ssl.create_default_context(cafile=str(authority))
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


def _decoded(answer: bytes) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(answer)
    return answer.decode(errors="replace")


def _message(answer: bytes) -> str:
    decoded = _decoded(answer)
    return str(decoded.get("message", decoded)) if isinstance(decoded, dict) else str(decoded).strip()
