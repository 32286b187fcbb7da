"""Answers of API servers in plain, bounded words. Nothing in them is trusted before its form is checked. Pure."""

import errno
import json
import os
import re
import socket
import ssl
import unicodedata
import uuid
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from capk.redaction import redact
from capk.workload.response import Response

MOST_WORDS: Final = 200
"""Characters of `Answer.said`."""
NOT_ACCEPTED: Final = "its certificate is not accepted"
"""In `Answer.said` if the server's certificate is not one of the known authority for that name."""
EXPIRED: Final = "certificate has expired"
"""In `Answer.said` if the server's certificate has: OpenSSL's words."""
_MOST_LOOKED_AT: Final = 4096
_VERSION: Final = re.compile(r"v[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}[0-9A-Za-z.+-]{0,32}")
_OUR_TROUBLE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


@dataclass(frozen=True)
class Answer:
    """The outcome of one request.

    status: HTTP status; 0 if there was no readable answer.
    said: the answer, or why the request failed; one line of at most MOST_WORDS characters, without secrets.
    body: as received, at most 64 KiB; empty unless the status is 200.
    is_our_trouble: this process could not send the request, for example because it has too many open files.
    is_tls_failure: the connection failed in TLS, because of a certificate or of the login.
    """

    status: int
    said: str
    body: bytes = field(default=b"", repr=False)
    is_our_trouble: bool = False
    is_tls_failure: bool = False

    @property
    def came(self) -> bool:
        """Whether a server with a certificate of the right authority answered, with any status."""
        return self.status != 0

    @property
    def is_alive(self) -> bool:
        """Whether the API server works: it answers, or rejects our request (401, 403, 404, 429)."""
        return self.status == HTTPStatus.OK or 400 <= self.status < 500


def of_response(response: Response) -> Answer:
    """Return the answer in a response."""
    if response.status == HTTPStatus.OK:
        return Answer(response.status, "HTTP 200", response.body)
    return Answer(response.status, plain(f"HTTP {response.status}{_reason(response.body)}"))


def of_error(error: Exception, timeout_seconds: float) -> Answer:
    """Return the answer for a request that failed, in most cases with a TimeoutError, OSError or ValueError."""
    is_ours = isinstance(error, OSError) and error.errno in _OUR_TROUBLE
    said = plain(_cause(error, timeout_seconds))
    return Answer(0, said, is_our_trouble=is_ours, is_tls_failure=isinstance(error, ssl.SSLError))


def plain(text: str) -> str:
    """Return text of unknown origin as one line of at most MOST_WORDS visible characters, without secrets."""
    start = redact(text[:_MOST_LOOKED_AT])
    visible = "".join(sign if unicodedata.category(sign)[0] not in "CZ" else " " for sign in start)
    line = " ".join(visible.split())
    return line if len(line) <= MOST_WORDS else f"{line[: MOST_WORDS - 1]}…"


def version_in(body: bytes) -> str | None:
    """Return the Kubernetes version in an answer to /version, as in v1.36.3; None if there is none."""
    version = _field(_json(body), "gitVersion")
    return version if isinstance(version, str) and _VERSION.fullmatch(version) else None


def uid_in(body: bytes) -> str | None:
    """Return the uid of the object in an answer, in lower case; None if there is none."""
    return as_uid(_field(_field(_json(body), "metadata"), "uid"))


def as_uid(uid: object) -> str | None:
    """Return an untrusted value as a uid in lower case; None if it is not a valid uid."""
    try:
        return str(uuid.UUID(uid)) if isinstance(uid, str) and len(uid) == 36 else None
    except ValueError:
        return None


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _reason(body: bytes) -> str:
    """Return the relevant part of an error's body: failed checks of /readyz, the message of a Status, or its start."""
    text = body[:_MOST_LOOKED_AT].decode(errors="replace")
    failed = [line for line in text.splitlines() if line.startswith("[-]")]
    message = _field(_json(body[:_MOST_LOOKED_AT]), "message")
    words = ", ".join(failed) or (message if isinstance(message, str) else text)
    return f": {words}" if words.strip() else ""


def _cause(error: Exception, timeout_seconds: float) -> str:
    match error:
        case TimeoutError():
            return f"no answer within {timeout_seconds:g} s"
        case ssl.SSLCertVerificationError():
            return f"{NOT_ACCEPTED}: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or 'the connection was closed'}"
        case socket.gaierror():
            return "its host name cannot be resolved"
        case OSError(errno=int() as number):
            return os.strerror(number).lower()
        case _:
            return str(error) or type(error).__name__
