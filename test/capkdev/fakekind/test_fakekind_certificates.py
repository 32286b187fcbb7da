"""Certificates as a TLS stack judges them."""

import ssl
from pathlib import Path

import pytest

from capkdev.certificates import Authority, Pair


def files(directory: Path, name: str, pair: Pair) -> tuple[Path, Path]:
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    return certificate, key


def handshake(directory: Path, authority: bytes, host: str) -> "ssl.SSLObject":
    """Shake hands in memory with a server and a client whose certificates are in `directory`."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(directory / "server.crt", directory / "server.key")
    server_side.load_verify_locations(cadata=authority.decode())
    server_side.verify_mode = ssl.CERT_REQUIRED
    client_side = ssl.create_default_context(cadata=authority.decode())
    client_side.verify_flags |= ssl.VERIFY_X509_STRICT
    client_side.load_cert_chain(directory / "client.crt", directory / "client.key")
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server, server_hostname=host)
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    for end in (client, server, client, server):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return server


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "dev-control-plane"])
def test_server_and_client_accept_each_other(tmp_path: Path, host: str) -> None:
    authority = Authority("kubernetes")
    files(tmp_path, "server", authority.issue_server("server", ["localhost", "127.0.0.1", "::1", "dev-control-plane"]))
    files(tmp_path, "client", authority.issue_client("kubernetes-admin", "system:masters"))
    peer = handshake(tmp_path, authority.certificate, host).getpeercert()
    assert peer
    subject = dict(field for fields in peer["subject"] for field in fields)
    assert (subject["organizationName"], subject["commonName"]) == ("system:masters", "kubernetes-admin")


def test_another_authority_or_host_is_refused(tmp_path: Path) -> None:
    authority = Authority("kubernetes")
    files(tmp_path, "server", authority.issue_server("server", ["localhost"]))
    files(tmp_path, "client", authority.issue_client("kubernetes-admin"))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, authority.certificate, "example.com")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, Authority("kubernetes").certificate, "localhost")
