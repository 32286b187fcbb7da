"""The certificates between the provider and engines in Pods: one authority, a server for each engine, one client.

A tenant is root in the engine and can read its key, so the uses of a key are strict: that of a server makes no
client of another engine. The key of the authority stays with the provider.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME: Final = timedelta(days=3650)
"""dockerd reads its certificate only when it starts, so a renewal would be a restart of the engine."""
BACKDATED: Final = timedelta(hours=1)
"""For clocks of nodes that are behind the provider's."""
_MOST_OF_A_NAME: Final = 64
"""X.509 allows no more in a common name."""


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, PEM."""

    certificate: str
    key: str = field(repr=False)


class BadAuthority(ValueError):
    """A stored authority cannot be used; the message does not quote it."""


class Authority:
    """A certificate authority. pair: as `new_authority` makes it. Raises BadAuthority."""

    def __init__(self, pair: Pair) -> None:
        try:
            self._certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
            key = load_pem_private_key(pair.key.encode(), None)
        except (ValueError, TypeError):
            raise BadAuthority("it is not a certificate with an unencrypted private key, in PEM") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != self._certificate.public_key():
            raise BadAuthority("the private key is not the one of the certificate")
        self._key = key
        self.certificate = _pem(self._certificate)

    def server(self, name: str, hosts: Sequence[str], *, now: datetime) -> Pair:
        """Return the certificate of an engine, which can be used for nothing else; hosts: its names and addresses."""
        names = x509.SubjectAlternativeName([_host(host) for host in dict.fromkeys(hosts)])
        return self._issue(name, ExtendedKeyUsageOID.SERVER_AUTH, names, now)

    def client(self, name: str, *, now: datetime) -> Pair:
        """Return the certificate of a client of all engines, which can be used for nothing else."""
        return self._issue(name, ExtendedKeyUsageOID.CLIENT_AUTH, None, now)

    def _issue(
        self, name: str, use: x509.ObjectIdentifier, names: x509.SubjectAlternativeName | None, now: datetime
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, self._certificate.subject, key, now, is_authority=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=True)
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return Pair(_pem(builder.sign(self._key, hashes.SHA256())), _key_pem(key))


def new_authority(name: str, *, now: datetime) -> Pair:
    """Return a new authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_MOST_OF_A_NAME])])
    builder = _builder(name, subject, key, now, is_authority=True)
    return Pair(_pem(builder.sign(key, hashes.SHA256())), _key_pem(key))


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, *, is_authority: bool
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_MOST_OF_A_NAME])])
    usage = x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(usage, critical=True)
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
