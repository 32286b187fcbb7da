"""Parses certificates, keys and tokens of untrusted kubeconfigs, and writes them again instead of copying. Pure.

Neither an error text nor an attached cause quotes the input.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from capk.errors import CapkError

MOST_CERTIFICATES: Final = 16
MOST_KEY_CHARACTERS: Final = 16 * 1024
MOST_RSA_BITS: Final = 8192
MOST_TOKEN_CHARACTERS: Final = 8192

_TOKEN: Final = re.compile(r"[!-~]+")
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
"""The curves that Go's TLS and kubeadm support."""

_KEY_BLOCK: Final = re.compile(rb"-----BEGIN (?P<form>[^-]{0,64})PRIVATE KEY-----(?P<body>[^-]{0,16384})")
_OTHER_FORMS: Final = (b"RSA ", b"EC ", b"ENCRYPTED ")
"""The first words of the forms that are no plain PKCS #8, and which are read."""
_PKCS8: Final = re.compile(
    # version, algorithm: RSA, EC, Ed25519
    rb"\x30(?:[\x00-\x7f]|\x81.|\x82..)\x02\x01[\x00\x01]\x30[\x00-\x7f]"
    rb"(?:\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01|\x06\x07\x2a\x86\x48\xce\x3d\x02\x01|\x06\x03\x2b\x65\x70)",
    re.DOTALL,
)
"""The beginning of a key in PKCS #8. Source: RFC 5958, RFC 8017, RFC 5915, RFC 8410."""

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class BadKubeconfig(CapkError, ValueError):
    """The text is not a usable kubeconfig; the message gives the reason without quoting the text."""


def certificates(entry: Mapping[str, object], field: str) -> tuple[x509.Certificate, ...]:
    """Return the certificates that a field holds as PEM in base64; none if the field is absent or empty.

    Raises BadKubeconfig if the field holds anything else, or more than MOST_CERTIFICATES.
    """
    pem = _decoded(entry, field)
    if not pem:
        return ()
    if pem.count(b"-----BEGIN") > MOST_CERTIFICATES:
        raise BadKubeconfig(f"{field} of the kubeconfig holds more than {MOST_CERTIFICATES} certificates")
    try:
        loaded = tuple(x509.load_pem_x509_certificates(pem))
        # The dates are converted only here, and the calendar of Python has no year 0.
        _ = [(certificate.not_valid_before_utc, certificate.not_valid_after_utc) for certificate in loaded]
    except (ValueError, UnsupportedAlgorithm):
        raise BadKubeconfig(f"{field} of the kubeconfig is not a certificate in base64") from None
    return loaded


def private_key(entry: Mapping[str, object], field: str, certificate: x509.Certificate) -> str:
    """Return the private key in a field as new PEM; it must belong to the certificate.

    RSA and EC keys are written in the form that kubeadm writes, Ed25519 keys as PKCS #8. Raises BadKubeconfig.
    """
    key = _loaded_key(_decoded(entry, field), field)
    try:
        matches = _public_bytes(key.public_key()) == _public_bytes(certificate.public_key())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        matches = False
    if not matches:
        raise BadKubeconfig("the client key of the kubeconfig does not belong to its client certificate")
    # The traditional form exists only for RSA and EC keys.
    form = PrivateFormat.PKCS8 if isinstance(key, ed25519.Ed25519PrivateKey) else PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def inline_token(entry: Mapping[str, object]) -> str | None:
    """Return the bearer token of a user, or None; raises BadKubeconfig if an HTTP header cannot carry it."""
    token = entry.get("token")
    if token is None or token == "":
        return None
    if not isinstance(token, str) or len(token) > MOST_TOKEN_CHARACTERS or not _TOKEN.fullmatch(token):
        raise BadKubeconfig("the token of the kubeconfig is too long or has invalid characters")
    return token


def pem(chain: Sequence[x509.Certificate]) -> str:
    """Return certificates as PEM, one after the other."""
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in chain)


def fingerprint(chain: Sequence[x509.Certificate]) -> str:
    """Return `sha256:` and the digest of certificates, independent of the layout of their PEM."""
    digest = hashlib.sha256(b"".join(certificate.public_bytes(Encoding.DER) for certificate in chain))
    return f"sha256:{digest.hexdigest()}"


def _decoded(entry: Mapping[str, object], field: str) -> bytes:
    value = entry.get(field)
    if value is None:
        return b""
    try:
        return base64.b64decode("".join(value.split()) if isinstance(value, str) else b"?", validate=True)
    except (binascii.Error, ValueError):
        raise BadKubeconfig(f"{field} of the kubeconfig is not base64") from None


def _loaded_key(pem: bytes, field: str) -> PrivateKey:
    if len(pem) > MOST_KEY_CHARACTERS:
        raise BadKubeconfig(f"{field} of the kubeconfig is too long for a private key")
    if not all(_is_read(block["form"], block["body"]) for block in _KEY_BLOCK.finditer(pem)):
        raise BadKubeconfig(f"{field} of the kubeconfig is not an RSA, EC or Ed25519 key of a supported size")
    try:
        # A full check of an RSA key can take seconds. With a bad key that passes ours, TLS merely fails.
        key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadKubeconfig(f"{field} of the kubeconfig is not an unencrypted private key in base64") from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES):
        return key
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size <= MOST_RSA_BITS and _is_consistent(key):
        return key
    raise BadKubeconfig(f"{field} of the kubeconfig is not an RSA, EC or Ed25519 key of a supported size")


def _is_read(form: bytes, body: bytes) -> bool:
    """Return whether a private key may be loaded, by its form and its algorithm.

    Loading a key for DSA computes its public key, which takes minutes for one with large numbers.
    """
    if form:
        return form in _OTHER_FORMS
    try:
        return _PKCS8.match(base64.b64decode(b"".join(body.split()), validate=True)) is not None
    except binascii.Error:
        return False


def _is_consistent(key: rsa.RSAPrivateKey) -> bool:
    numbers = key.private_numbers()
    return numbers.p * numbers.q == numbers.public_numbers.n and numbers.d < numbers.public_numbers.n


def _public_bytes(key: object) -> bytes:
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        raise TypeError("client certificates do not have keys of this type")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
