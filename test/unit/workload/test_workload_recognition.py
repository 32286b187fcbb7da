"""A kept connection trusts a certificate that was verified a short time ago, and no other."""

import asyncio
from collections.abc import Iterator

import pytest

from capk.kindconfig.kubeconfig import parse
from capk.workload import pool as pools
from capk.workload import recognition
from capk.workload.connection import Connection, Target
from capk.workload.pool import DATA_PATH, HEALTH_PATH, ConnectionPool
from capk.workload.recognition import TRUST_SECONDS, Known
from capkdev.certificates import Authority
from capkdev.fakekind.kubeconfig import render
from test.unit.workload.hostile import Server, http


@pytest.fixture
def pool() -> Iterator[ConnectionPool]:
    pool = ConnectionPool()
    yield pool
    pool.close()


async def verified(server: Server) -> Known:
    """Return the certificate of a server, as a first connection verifies it."""
    server.reply = http("ok")
    connection = Connection(server.target)
    await connection.get(HEALTH_PATH)
    connection.close()
    assert connection.certificate
    return connection.certificate


async def test_known_certificate_needs_no_second_verification(server: Server) -> None:
    certificate = await verified(server)
    # Nothing chains to this authority, so only a comparison can accept the server.
    target = Target(server.url, Authority("another").certificate.decode())
    connection = Connection(target, certificate=certificate)
    assert (await connection.get(HEALTH_PATH)).status == 200
    assert server.connections == 2
    connection.close()


async def test_another_server_at_a_known_address_is_sent_nothing(server: Server, pool: ConnectionPool) -> None:
    server.reply, server.is_closing = http("ok"), True
    for _ in range(3):
        assert (await pool.ask(server.target, HEALTH_PATH)).is_alive
    target, requests = server.target, len(server.requests)
    server.show_certificate(Authority("kubernetes"))
    answer = await pool.ask(target, HEALTH_PATH)
    assert not answer.is_alive
    assert "certificate" in answer.said
    assert len(server.requests) == requests


async def test_renewed_certificate_of_the_same_authority_is_verified_and_then_known(
    server: Server, pool: ConnectionPool
) -> None:
    server.reply, server.is_closing = http("ok"), True
    assert (await pool.ask(server.target, HEALTH_PATH)).is_alive
    server.show_certificate(server.authority)
    opened = []
    for _ in range(2):
        before = server.connections
        assert (await pool.ask(server.target, HEALTH_PATH)).is_alive
        opened.append(server.connections - before)
    # The first one compares, sees another certificate, and connects again to verify that one.
    assert opened == [2, 1]


async def test_first_connection_carries_the_second_request_too_and_is_then_replaced(
    server: Server, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "FIRST_SECONDS", 0.0)
    server.reply = http("ok")
    for expected in (1, 2, 2):
        for path in (HEALTH_PATH, DATA_PATH):
            assert (await pool.ask(server.target, path)).is_alive
        assert server.connections == expected
        await asyncio.sleep(0.001)


async def test_servers_behind_a_load_balancer_cost_no_connection_for_each_question(
    server: Server, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "FIRST_SECONDS", 0.0)
    server.reply = http("ok")
    for _ in range(5):
        assert (await pool.ask(server.target, HEALTH_PATH)).is_alive
        server.show_certificate(server.authority)
        await asyncio.sleep(0.001)
    assert server.connections == 3


@pytest.mark.parametrize(("later", "opened"), [(TRUST_SECONDS - 60, 1), (TRUST_SECONDS + 60, 2)])
async def test_certificate_is_verified_again_after_a_day(
    server: Server, monkeypatch: pytest.MonkeyPatch, later: float, opened: int
) -> None:
    certificate = await verified(server)
    now = recognition.time.time() + later
    monkeypatch.setattr(recognition.time, "time", lambda: now)
    connection, before = Connection(server.target, certificate=certificate), server.connections
    assert (await connection.get(HEALTH_PATH)).status == 200
    assert server.connections - before == opened
    connection.close()


async def test_certificate_is_known_no_longer_than_it_is_valid(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognition, "TRUST_SECONDS", float("inf"))
    certificate = await verified(server)
    assert certificate.until < float("inf")


async def test_forgotten_api_server_is_verified_again(server: Server, pool: ConnectionPool) -> None:
    server.reply, server.is_closing = http("ok"), True
    assert (await pool.ask(server.target, HEALTH_PATH)).is_alive
    pool.drop(server.target)
    server.show_certificate(server.authority)
    assert (await pool.ask(server.target, HEALTH_PATH)).is_alive
    assert server.connections == 2


async def test_login_shows_its_certificate_to_a_known_server_too(server: Server) -> None:
    certificate = await verified(server)
    pair = server.authority.issue_client("kubernetes-admin", "system:masters")
    login = parse(render("dev", server.url, (server.authority.certificate, *pair)))
    connection = Connection(server.target, login, certificate=certificate)
    await connection.get(HEALTH_PATH)
    assert "kubernetes-admin" in server.clients[-1]
    connection.close()
