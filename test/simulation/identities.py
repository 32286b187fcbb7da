"""Certificate authorities, keys and tokens of the simulation; each secret is recognisable wherever it leaks.

Keys are made from a fixed text and a number, so the same number gives the same bytes in every process.
"""

import base64
import re
from datetime import timedelta
from functools import cache
from typing import Any, Final, NamedTuple

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from test.simulation.clock import EPOCH

_SECRET: Final = b"SimulatedSecret!"
TOKEN: Final = "simtok.5imulatedsecret0"
"""A bootstrap token, in kubeadm's format; kubeadm prints it."""


class Identity(NamedTuple):
    """A certificate authority with the administrator's certificate and key, PEM."""

    authority: str
    certificate: str
    key: str


@cache
def identity(number: int, *, days: int = 365) -> Identity:
    """Return the identity of that number; days: how long the client certificate is valid from the epoch on."""
    authority_key, user_key = _key(2 * number), _key(2 * number + 1)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority-{number}")])
    authority = _certificate(issuer, issuer, authority_key, authority_key, days=3650, is_authority=True)
    user = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes-admin")])
    certificate = _certificate(user, issuer, user_key, authority_key, days=days, is_authority=False)
    return Identity(authority, certificate, _pem(user_key))


def kubeconfig(
    name: str, server: str, who: Identity, *, user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None
) -> str:
    """Return a kubeconfig as kind prints it.

    user, cluster: fields that a hostile node adds.
    """
    context = f"kind-{name}"
    credentials = {"client-certificate-data": encoded(who.certificate), "client-key-data": encoded(who.key)}
    return yaml.dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [
                {
                    "name": context,
                    "cluster": {
                        "certificate-authority-data": encoded(who.authority),
                        "server": server,
                        **(cluster or {}),
                    },
                }
            ],
            "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
            "users": [{"name": context, "user": {**credentials, **(user or {})}}],
        },
        Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper),
    )


def encoded(text: str) -> str:
    """Return text in base64."""
    return base64.b64encode(text.encode()).decode()


def _key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(_SECRET + number.to_bytes(16, "big"))


def _pem(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: Ed25519PrivateKey,
    signer: Ed25519PrivateKey,
    *,
    days: int,
    is_authority: bool,
) -> str:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(1 if is_authority else 2)
        .not_valid_before(EPOCH.replace(tzinfo=None) - timedelta(days=1))
        .not_valid_after(EPOCH.replace(tzinfo=None) + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    return builder.sign(signer, None).public_bytes(serialization.Encoding.PEM).decode()


def _needles() -> list[str]:
    """Return what every secret of the simulation looks like: as it is, and in base64 at each of the three offsets."""
    body = _pem(_key(0)).splitlines()[1]
    common = body[: len(body) // 2 - 4]
    plain = [common, TOKEN]
    within_pem = base64.b64encode(f"-----BEGIN PRIVATE KEY-----\n{common}".encode()).decode()
    # The first 36 characters are the PEM header, which is no secret.
    once = within_pem[38:-6]
    return [*plain, once, *(_shifted(text, offset) for text in (once, TOKEN) for offset in range(3))]


def _shifted(text: str, offset: int) -> str:
    """Return the part of base64 that does not depend on what stands around the text."""
    whole = base64.b64encode(b"x" * offset + text.encode()).decode()
    return whole[4:-4]


_LEAK: Final = re.compile("|".join(map(re.escape, _needles())))


def leak(text: str) -> str | None:
    """Return the part of a text that is one of the simulation's secrets, or None."""
    found = _LEAK.search(text)
    return found[0] if found else None
