"""Recognises the certificate of an API server that was verified a short time ago.

OpenSSL keeps the context of a connection as long as the connection: 18 of 44 KiB, for each of a thousand API servers.
A context for all connections cannot verify, because each API server has an authority of its own. But TLS proves that
the server has the key of the certificate that it shows, and that certificate is compared with the verified one.
"""

import functools
import hashlib
import ssl
import time
from dataclasses import dataclass
from typing import Final

TRUST_SECONDS: Final = 24 * 3600.0
"""After this time a certificate is verified again: its authority may have expired meanwhile."""


@dataclass(frozen=True, slots=True)
class Known:
    """A certificate that OpenSSL verified: its chain, its name and its times.

    digest: SHA-256. until: when it has to be verified again, in seconds since 1970.
    """

    digest: bytes
    until: float

    def is_shown_by(self, tls: ssl.SSLObject) -> bool:
        """Return whether the server at the other end shows this certificate, which must not need verification yet."""
        return time.time() < self.until and _digest(tls) == self.digest


def known(tls: ssl.SSLObject) -> Known:
    """Return the certificate of a connection whose context verified it."""
    expiry = ssl.cert_time_to_seconds(str((tls.getpeercert() or {})["notAfter"]))
    return Known(_digest(tls), min(expiry, time.time() + TRUST_SECONDS))


def verifying_context(authority: str) -> ssl.SSLContext:
    """Return a context whose servers must show a certificate of the authority (PEM). Raises ssl.SSLError."""
    created = _context()
    created.load_verify_locations(cadata=authority)
    return created


@functools.cache
def recognising_context() -> ssl.SSLContext:
    """Return the context of all connections whose certificate is compared with a known one; it verifies nothing."""
    created = _context()
    created.check_hostname = False
    created.verify_mode = ssl.CERT_NONE
    return created


def _context() -> ssl.SSLContext:
    created = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Without finite-field Diffie-Hellman: the server may choose groups that cost us a tenth of a second each time.
    created.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    # A second handshake would be one more chain of certificates.
    created.options |= ssl.OP_NO_RENEGOTIATION
    return created


def _digest(tls: ssl.SSLObject) -> bytes:
    return hashlib.sha256(tls.getpeercert(binary_form=True) or b"").digest()
