import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from capk.engine.remotekeys import BadKeys, ssh_files, tls_files
from capkdev.certificates import Authority

PASSPHRASE = BestAvailableEncryption(b"word")
HOST = "10.0.0.7 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMXgVmPfoqBRO0sPqUFg0AbVqzSQjHPqL4JmTmLBbYYA"


def encoded(**data: str | bytes) -> dict[str, str]:
    texts = {key: value.encode() if isinstance(value, str) else value for key, value in data.items()}
    return {key.replace("__", "."): base64.b64encode(value).decode() for key, value in texts.items()}


def tls_data() -> dict[str, str]:
    authority = Authority("engines")
    pair = authority.issue_client("capk")
    return encoded(ca__crt=authority.certificate, tls__crt=pair.certificate, tls__key=pair.key)


def ssh_key(format: PrivateFormat = PrivateFormat.OpenSSH, key: Any = None, encryption: Any = None) -> bytes:
    chosen = key or ed25519.Ed25519PrivateKey.generate()
    written: bytes = chosen.private_bytes(Encoding.PEM, format, encryption or NoEncryption())
    return written


def ssh_data(key: bytes | None = None, hosts: str = HOST) -> dict[str, str]:
    return {"ssh-privatekey": base64.b64encode(key or ssh_key()).decode(), **encoded(known_hosts=hosts)}


def test_tls_secret_becomes_the_files_of_docker() -> None:
    files = tls_files(tls_data())
    assert set(files) == {"ca.pem", "cert.pem", "key.pem"}
    assert x509.load_pem_x509_certificate(files["ca.pem"].encode())
    own, key = x509.load_pem_x509_certificate(files["cert.pem"].encode()), files["key.pem"].encode()
    assert load_pem_private_key(key, None).public_key() == own.public_key()


def test_text_around_certificates_and_keys_is_not_passed_on() -> None:
    data = tls_data()
    for key, value in data.items():
        data[key] = base64.b64encode(b"Bag Attributes: SECRET\n" + base64.b64decode(value)).decode()
    assert "SECRET" not in "".join(tls_files(data).values())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ca.crt": None}, "it has no ca.crt"),
        ({"tls.crt": "eA=="}, "tls.crt holds no certificates in PEM"),
        ({"tls.crt": "?"}, "tls.crt holds no certificates in PEM"),
        ({"tls.key": None}, "tls.key is not the unencrypted private key of tls.crt"),
        ({"tls.key": tls_data()["tls.key"]}, "tls.key is not the unencrypted private key of tls.crt"),
        ({"ca.crt": base64.b64encode(b"-----BEGIN" * 17).decode()}, "ca.crt holds no"),
    ],
)
def test_tls_secret_that_cannot_be_used_is_refused_by_its_key(change: dict[str, str | None], says: str) -> None:
    data = {key: value for key, value in {**tls_data(), **change}.items() if value is not None}
    with pytest.raises(BadKeys, match=says):
        tls_files(data)


@pytest.mark.parametrize("format", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_ssh_secret_becomes_an_identity_and_known_hosts(format: PrivateFormat) -> None:
    key = rsa.generate_private_key(65537, 2048)
    files = ssh_files(ssh_data(ssh_key(format, key), f"# comment\n\n{HOST} admin@lab\n"))
    assert load_ssh_private_key(files["identity"].encode(), None).public_key() == key.public_key()
    assert files["known_hosts"] == f"{HOST}\n"


def test_known_hosts_keep_their_form_and_lose_everything_else() -> None:
    lines = [
        f"@cert-authority *.lab {HOST.partition(' ')[2]}",
        f"|1|abc=|def= {HOST.partition(' ')[2]}",
        f"[10.0.0.7]:2222,lab {HOST.partition(' ')[2]}",
    ]
    odd = ["ProxyCommand touch x", "# 10.0.0.7:22 SSH-2.0-OpenSSH_9.2", "a b c", "@other a ssh-rsa AAAA"]
    assert ssh_files(ssh_data(hosts="\r\n".join([*odd, *lines])))["known_hosts"].splitlines() == lines


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "it has no ssh-privatekey"),
        (encoded(known_hosts=HOST), "it has no ssh-privatekey"),
        (ssh_data(b"not a key"), "not a private key without a passphrase"),
        (
            ssh_data(ssh_key(PrivateFormat.PKCS8, encryption=PASSPHRASE)),
            "not a private key without a passphrase",
        ),
        (ssh_data(ssh_key(PrivateFormat.PKCS8, dsa.generate_private_key(1024))), "not a private key"),
        (ssh_data(b"A" * 40_000), "ssh-privatekey is too long"),
        (ssh_data(hosts="ä"), "known_hosts is not a text in ASCII"),
        (ssh_data(hosts="nothing"), "known_hosts holds no public keys of hosts"),
        (ssh_data(hosts=f"{HOST}\n" * 65), "known_hosts holds more than 64 public keys"),
        ({**ssh_data(), "known_hosts": "?"}, "known_hosts is not a text"),
    ],
)
def test_ssh_secret_that_cannot_be_used_is_refused_by_its_key(data: dict[str, str], says: str) -> None:
    with pytest.raises(BadKeys, match=says):
        ssh_files(data)
