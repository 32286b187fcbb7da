"""The keys to a Docker engine on another machine: what a Secret holds, parsed, bounded and written again.

The administrator fills the Secret, but a mistake in it must not reach a command line, a file of ssh or a log.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from capk.errors import CapkError
from capk.kindconfig import kubeconfigfields
from capk.kindconfig.kubeconfigfields import MOST_KEY_CHARACTERS, BadKubeconfig, PrivateKey

AUTHORITY, CERTIFICATE, KEY = "ca.crt", "tls.crt", "tls.key"
IDENTITY, KNOWN_HOSTS = "ssh-privatekey", "known_hosts"
MOST_HOSTS: Final = 64
MOST_CHARACTERS: Final = 64 * 1024
_LINE: Final = re.compile(
    r"(?!#)(?:@cert-authority |@revoked )?[!-~]{1,1024} [a-z0-9@.-]{1,64} [A-Za-z0-9+/]{16,8192}={0,2}(?= |$)"
)


class BadKeys(CapkError, ValueError):
    """A Secret does not hold what is needed; the message names its keys and never quotes its values."""


def tls_files(data: Mapping[str, object]) -> dict[str, str]:
    """Return the files that DOCKER_CERT_PATH needs, by name, from a Secret's data with base64 values.

    Raises BadKeys.
    """
    authorities, chain = _certificates(data, AUTHORITY), _certificates(data, CERTIFICATE)
    try:
        key = kubeconfigfields.private_key(data, KEY, chain[0])
    except BadKubeconfig:
        raise BadKeys(f"{KEY} is not the unencrypted private key of {CERTIFICATE}, in PEM") from None
    return {
        "ca.pem": kubeconfigfields.pem(authorities),
        "cert.pem": kubeconfigfields.pem(chain),
        "key.pem": key,
    }


def ssh_files(data: Mapping[str, object]) -> dict[str, str]:
    """Return the identity and the known hosts for ssh, by file name, from a Secret's data with base64 values.

    Raises BadKeys.
    """
    key = _ssh_key(_text(data, IDENTITY, MOST_KEY_CHARACTERS).encode())
    identity = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    lines = list(_known_hosts(_text(data, KNOWN_HOSTS, MOST_CHARACTERS)))
    if not lines or len(lines) > MOST_HOSTS:
        raise BadKeys(
            f"{KNOWN_HOSTS} holds {'no' if not lines else f'more than {MOST_HOSTS}'} public keys of hosts; write the "
            "output of `ssh-keyscan HOST` there, after you have verified it"
        )
    return {"identity": identity, "known_hosts": "".join(f"{line}\n" for line in lines)}


def _certificates(data: Mapping[str, object], key: str) -> tuple[x509.Certificate, ...]:
    try:
        found = kubeconfigfields.certificates(data, key)
    except BadKubeconfig:
        found = ()
    if not found:
        raise BadKeys(f"{key} holds no certificates in PEM" if key in data else f"it has no {key}")
    return found


def _text(data: Mapping[str, object], key: str, most: int) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value:
        raise BadKeys(f"it has no {key}")
    if len(value) > 2 * most:
        raise BadKeys(f"{key} is too long")
    try:
        return base64.b64decode(value, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise BadKeys(f"{key} is not a text in ASCII") from None


def _ssh_key(text: bytes) -> PrivateKey:
    load = load_ssh_private_key if b"BEGIN OPENSSH" in text else load_pem_private_key
    try:
        key = load(text, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise BadKeys(f"{IDENTITY} is not a private key without a passphrase, in the format of OpenSSH or in PEM")
    return key


def _known_hosts(text: str) -> Iterator[str]:
    """Yield the lines that ssh needs, without comments; a line that is not one is left out.

    Source: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT.
    """
    for line in text.splitlines():
        if found := _LINE.match(" ".join(line.split())):
            yield found[0]
