import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from capk.engine.certificates import LIFETIME, Authority, BadAuthority, Pair, new_authority

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def stored() -> Pair:
    return new_authority("capkind engines", now=NOW)


@pytest.fixture(scope="module")
def authority(stored: Pair) -> Authority:
    return Authority(stored)


def handshake(tmp_path: Path, authority: Authority, server: Pair, client: Pair, host: str) -> None:
    """Carry out a mutual handshake in memory. Raises ssl.SSLError."""
    contexts = []
    for number, (pair, purpose) in enumerate([(server, ssl.Purpose.CLIENT_AUTH), (client, ssl.Purpose.SERVER_AUTH)]):
        context = ssl.create_default_context(purpose, cadata=authority.certificate)
        context.verify_mode = ssl.CERT_REQUIRED
        file = tmp_path / f"{number}.pem"
        file.write_text(pair.certificate + pair.key)
        context.load_cert_chain(file)
        contexts.append(context)
    wires = [ssl.MemoryBIO(), ssl.MemoryBIO()]
    ends = [
        contexts[0].wrap_bio(wires[0], wires[1], server_side=True),
        contexts[1].wrap_bio(wires[1], wires[0], server_hostname=host),
    ]
    done: set[int] = set()
    for _ in range(8):
        for number, end in enumerate(ends):
            try:
                end.do_handshake()
                done.add(number)
            except ssl.SSLWantReadError:
                pass
    assert done == {0, 1}


@pytest.mark.parametrize("host", ["kc-1.capkind-engines.svc", "10.96.0.7", "127.0.0.1"])
def test_client_and_server_accept_each_other(authority: Authority, tmp_path: Path, host: str) -> None:
    server = authority.server("kc-1", ["kc-1.capkind-engines.svc", "10.96.0.7", "localhost", "127.0.0.1"], now=NOW)
    handshake(tmp_path, authority, server, authority.client("capk", now=NOW), host)


def test_certificate_of_a_server_is_no_clients(authority: Authority, tmp_path: Path) -> None:
    server = authority.server("kc-1", ["localhost"], now=NOW)
    with pytest.raises(ssl.SSLError):
        handshake(tmp_path, authority, server, authority.server("kc-2", ["localhost"], now=NOW), "localhost")


def test_certificate_of_a_client_is_no_servers(authority: Authority, tmp_path: Path) -> None:
    client = authority.client("capk", now=NOW)
    with pytest.raises(ssl.SSLError):
        handshake(tmp_path, authority, client, client, "localhost")


def test_certificate_is_for_its_own_hosts_only(authority: Authority, tmp_path: Path) -> None:
    server = authority.server("kc-1", ["kc-1.capkind-engines.svc"], now=NOW)
    with pytest.raises(ssl.SSLError):
        handshake(tmp_path, authority, server, authority.client("capk", now=NOW), "kc-2.capkind-engines.svc")


def test_authority_that_was_stored_issues_further_certificates(stored: Pair, tmp_path: Path) -> None:
    again = Authority(stored)
    handshake(tmp_path, again, again.server("kc", ["localhost"], now=NOW), again.client("capk", now=NOW), "localhost")


def test_certificates_live_as_long_as_an_engine_and_survive_a_late_clock(authority: Authority) -> None:
    from cryptography import x509

    found = x509.load_pem_x509_certificate(authority.client("capk", now=NOW).certificate.encode())
    assert found.not_valid_before_utc <= NOW - timedelta(minutes=30)
    assert found.not_valid_after_utc >= NOW + LIFETIME - timedelta(seconds=1)


def test_pair_that_cannot_be_an_authority_is_refused_without_being_quoted(stored: Pair) -> None:
    other = new_authority("other", now=NOW)
    for pair in (Pair("SECRET", stored.key), Pair(stored.certificate, "SECRET"), Pair(stored.certificate, other.key)):
        with pytest.raises(BadAuthority) as refused:
            Authority(pair)
        assert "SECRET" not in str(refused.value)
    assert stored.key not in repr(stored)
