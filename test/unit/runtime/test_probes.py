import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from capk.runtime.metrics import Metrics
from capk.runtime.probes import (
    MOST_CONNECTIONS,
    SERIES_SECONDS,
    HealthServer,
    Heartbeat,
    StartupCheck,
    WatchLag,
    moving_queue,
)


def local_addresses() -> list[str]:
    """The loopback addresses of this machine, which may have IPv6 switched off."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return ["127.0.0.1"]
    return ["127.0.0.1", "[::1]"]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeQueue:
    stalled = worked = 0.0

    def stalled_for(self) -> float:
        return self.stalled

    def longest_work(self) -> float:
        return self.worked


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_probes_tell_what_is_wrong(session: aiohttp.ClientSession) -> None:
    synced = StartupCheck("the first list of kindclusters")
    server = HealthServer(live={"resync": lambda: None}, ready={"stores": synced, "engine": StartupCheck("the engine")})
    port = await server.start("127.0.0.1", 0)
    try:
        async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
            assert (answer.status, await answer.text()) == (200, "ok\n")
        synced.touch()
        async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            assert (answer.status, await answer.text()) == (503, "engine: waiting for the engine\n")
        async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            assert answer.status == 404
    finally:
        await server.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await session.get(f"http://127.0.0.1:{port}/healthz")


async def test_connections_that_stay_neither_use_up_the_files_nor_keep_probes_out(
    session: aiohttp.ClientSession,
) -> None:
    server = HealthServer(live={}, ready={}, metrics=Metrics().exposition)
    port = await server.start("127.0.0.1", 0)
    opened = list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]()
    try:
        for _ in range(5):
            for _ in range(60):
                opened.append(await asyncio.open_connection("127.0.0.1", port))
                opened[-1][1].write(b"GET /healthz HTTP/1.1\r\n")
            async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
                assert answer.status == 200
        assert server.connections <= MOST_CONNECTIONS
        closed = asyncio.gather(*(reader.read() for reader, _ in opened[:200]), return_exceptions=True)
        assert len(await asyncio.wait_for(closed, 10)) == 200
    finally:
        for _, writer in opened:
            writer.close()
        await server.stop()


async def test_series_are_written_only_so_often_however_often_they_are_read(session: aiohttp.ClientSession) -> None:
    written = list[int]()

    def exposition() -> tuple[bytes, str]:
        written.append(1)
        return b"up 1\n", "text/plain"

    clock = Clock()
    server = HealthServer(live={}, ready={}, metrics=exposition, clock=clock)
    port = await server.start("127.0.0.1", 0)
    try:
        for _ in range(20):
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                assert await answer.text() == "up 1\n"
        assert len(written) == 1
        clock.now += SERIES_SECONDS
        async with session.get(f"http://127.0.0.1:{port}/metrics"):
            assert len(written) == 2
    finally:
        await server.stop()


async def test_metrics_are_served_in_prometheus_format(session: aiohttp.ClientSession) -> None:
    metrics = Metrics()
    metrics.requested("get", "kindclusters", "200")
    server = HealthServer(live={}, ready={}, metrics=metrics.exposition)
    port = await server.start("127.0.0.1", 0)
    try:
        async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            text = await answer.text()
            assert answer.headers["Content-Type"].startswith("text/plain")
    finally:
        await server.stop()
    assert 'capk_api_requests_total{code="200",resource="kindclusters",verb="get"} 1.0' in text


async def test_stop_without_start_does_nothing() -> None:
    await HealthServer(live={}, ready={}).stop()


@pytest.mark.parametrize("host", local_addresses())
async def test_without_a_host_it_answers_at_addresses_of_both_families(
    session: aiohttp.ClientSession, host: str
) -> None:
    """The kubelet asks at the address of the pod, which is one of IPv6 in some clusters."""
    server = HealthServer(live={}, ready={})
    port = await server.start("", 0)
    try:
        async with session.get(f"http://{host}:{port}/healthz") as answer:
            assert answer.status == 200
    finally:
        await server.stop()


@pytest.mark.parametrize("has_ipv6", [True, False])
async def test_machine_without_ipv6_is_listened_on_too(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, has_ipv6: bool
) -> None:
    """It may know IPv6, but have it switched off."""
    create = socket.create_server

    def refused(address: tuple[str, int], **options: Any) -> socket.socket:
        if options.get("family") == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return create(address, **options)

    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: has_ipv6)
    monkeypatch.setattr(socket, "create_server", refused)
    server = HealthServer(live={}, ready={})
    port = await server.start("", 0)
    try:
        async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
            assert answer.status == 200
    finally:
        await server.stop()


async def test_port_that_is_taken_on_all_addresses_is_an_error() -> None:
    first, second = HealthServer(live={}, ready={}), HealthServer(live={}, ready={})
    port = await first.start("", 0)
    try:
        with pytest.raises(OSError, match="in use"):
            await second.start("", port)
    finally:
        await second.stop()
        await first.stop()


async def test_taken_port_is_an_error() -> None:
    first, second = HealthServer(live={}, ready={}), HealthServer(live={}, ready={})
    port = await first.start("127.0.0.1", 0)
    try:
        with pytest.raises(OSError, match=str(port)):
            await second.start("127.0.0.1", port)
    finally:
        await second.stop()
        await first.stop()


@pytest.mark.rule("K44")
def test_heartbeat_notices_silence() -> None:
    clock = Clock()
    check = Heartbeat("resync", 30, clock)
    clock.now += 1000
    assert check() is None
    check.touch()
    clock.now += 30
    assert check() is None
    clock.now += 1
    assert check() == "no resync for 31 s; at most 30 s are normal"
    check.touch()
    assert check() is None


def test_start_is_reached_for_good() -> None:
    check = StartupCheck("the first list")
    assert check() == "waiting for the first list"
    check.touch()
    assert check() is None


@pytest.mark.rule("K44")
def test_queue_that_does_not_move_is_noticed() -> None:
    queue = FakeQueue()
    check = moving_queue(queue, 60)
    assert check() is None
    queue.stalled = 61
    assert "no worker took a waiting object for 61 s" in str(check())
    queue.stalled, queue.worked = 0, 90
    assert "has taken 90 s" in str(check())


def test_watch_that_does_not_deliver_a_write_is_dead():
    clock = Clock()
    check = WatchLag(60, clock)
    check.expect("KINDCluster", 7)
    clock.now += 50
    check.expect("KINDCluster", 9)
    check.on_event("KINDCluster", 6)
    check.on_event("Secret", 8)
    assert check() is None
    clock.now += 20
    assert "the watch of KINDCluster objects has not delivered a change for 70 s" in check()


def test_watch_that_delivers_a_later_change_lives():
    clock = Clock()
    check = WatchLag(60, clock)
    check.expect("KINDCluster", 7)
    check.on_event("KINDCluster", 8)
    clock.now += 1000
    assert check() is None
    check.expect("KINDCluster", 9)
    check.forget("KINDCluster")
    clock.now += 1000
    assert check() is None


def test_watch_is_not_dead_while_the_api_server_is_away():
    clock = Clock()
    check = WatchLag(60, clock)
    check.expect("KINDCluster", 7)
    for _ in range(100):
        clock.now += 50
        check.on_outage()
        assert check() is None
    clock.now += 61
    assert "has not delivered a change for 61 s" in check()
