"""Connections to API servers are kept between requests, but not longer than they are usable."""

import asyncio
import resource
import socket
import threading
from dataclasses import replace
from typing import Any

import pytest

from capk.kindconfig.kubeconfig import parse
from capk.workload import ask as asking
from capk.workload.ask import KUBE_SYSTEM
from capk.workload.lookups import MOST_LOOKUPS
from capk.workload.pool import HEALTH_PATH, ConnectionPool
from capkdev.fakekind.kubeconfig import render
from test.unit.workload.hostile import Server, http


@pytest.fixture
def pool() -> ConnectionPool:
    return ConnectionPool()


def kubeconfig_of_administrator(server: Server) -> str:
    pair = server.authority.issue_client("kubernetes-admin", "system:masters")
    return render("dev", server.url, (server.authority.certificate, *pair))


async def test_one_connection_carries_all_questions(server: Server, pool: ConnectionPool) -> None:
    server.reply = http("ok")
    answers = [await pool.ask(server.target, HEALTH_PATH) for _ in range(3)]
    assert [answer.said for answer in answers] == ["HTTP 200"] * 3
    assert server.connections == 1
    assert all(request.startswith("GET /readyz?exclude=etcd-readiness HTTP/1.1\r\n") for request in server.requests)
    pool.close()


async def test_connection_that_the_server_closed_meanwhile_is_opened_again_without_a_failure(
    server: Server, pool: ConnectionPool
) -> None:
    server.reply, server.is_closing = http("ok"), True
    for _ in range(3):
        assert (await pool.ask(server.target, HEALTH_PATH)).status == 200
    assert server.connections == 3
    pool.close()


@pytest.mark.parametrize(
    "reply",
    [
        http("ok", "200 OK", "Connection: close"),
        http("ok") + b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nunasked!",
        http("x" * 70_000),
        b"garbage\r\n\r\n",
    ],
)
async def test_connection_after_an_unusual_answer_is_closed(server: Server, pool: ConnectionPool, reply: bytes) -> None:
    server.reply = reply
    for _ in range(2):
        await pool.ask(server.target, HEALTH_PATH)
    assert server.connections == 2
    pool.close()


async def test_dead_server_is_a_failure_also_on_a_kept_connection(server: Server, pool: ConnectionPool) -> None:
    server.reply = http("ok")
    assert (await pool.ask(server.target, HEALTH_PATH)).is_alive
    server.reply, server.is_closing = b"", True
    answer = await pool.ask(server.target, HEALTH_PATH)
    assert answer.said == "the server closed the connection without an answer"
    assert server.connections == 2
    pool.close()


async def test_dropped_and_cancelled_questions_leave_no_connection(server: Server, pool: ConnectionPool) -> None:
    began, gone = asyncio.Event(), asyncio.Event()

    async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        began.set()
        await reader.read()
        gone.set()

    server.reply = silence
    question = asyncio.create_task(pool.ask(server.target, HEALTH_PATH))
    await began.wait()
    question.cancel()
    await gone.wait()

    server.reply = http("ok")
    await pool.ask(server.target, HEALTH_PATH)
    pool.drop(server.target)
    await pool.ask(server.target, HEALTH_PATH)
    assert server.connections == 3
    pool.close()


async def test_no_more_connections_are_kept_than_allowed(server: Server) -> None:
    server.reply = http("ok")
    pool = ConnectionPool(most=1)
    other = replace(server.target, server_name="127.0.0.1")
    for target in (server.target, other) * 2:
        assert (await pool.ask(target, HEALTH_PATH)).is_alive
    assert server.connections == 3
    pool.close()


async def test_connection_of_a_login_carries_no_questions_of_anonymous_users(
    server: Server, pool: ConnectionPool
) -> None:
    server.reply = http("ok")
    login = parse(kubeconfig_of_administrator(server))
    for user in (login, None, login):
        assert (await pool.ask(server.target, KUBE_SYSTEM, user)).is_alive
    assert ["kubernetes-admin" in client for client in server.clients] == [True, False]
    pool.drop(server.target, login)
    await pool.ask(server.target, KUBE_SYSTEM, login)
    assert server.connections == 3
    pool.close()


@pytest.mark.parametrize(("keep_seconds", "connections"), [(0.0, 2), (600.0, 1)])
async def test_connection_is_kept_for_the_time_that_its_user_wants(
    server: Server, keep_seconds: float, connections: int
) -> None:
    server.reply = http("ok")
    pool = ConnectionPool(keep_seconds=keep_seconds)
    for _ in range(2):
        assert (await pool.ask(server.target, HEALTH_PATH)).is_alive
        await asyncio.sleep(0.001)
    assert server.connections == connections
    pool.close()


async def test_process_without_a_limit_of_open_files_keeps_connections(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    pool = ConnectionPool()
    server.reply = http("ok")
    for _ in range(2):
        await pool.ask(server.target, HEALTH_PATH)
    assert server.connections == 1
    pool.close()


async def test_name_that_is_never_looked_up_to_the_end_holds_up_no_other(
    server: Server, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The label of an image may give a host whose name server never answers, and the loop has few threads."""
    ended, looked_up, real = threading.Event(), list[str](), socket.getaddrinfo

    def look_up(host: str, port: int, *arguments: Any, **options: Any) -> Any:
        looked_up.append(host)
        if host == "silent.example":
            ended.wait(60)
        return real("127.0.0.1", port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(asking, "TIMEOUT_SECONDS", 0.05)
    silent = replace(server.target, server="https://silent.example:6443")
    port = server.url.rpartition(":")[2]
    named = replace(server.target, server=f"https://named.example:{port}", server_name="127.0.0.1")
    server.reply = http("ok")
    try:
        for _ in range(2):
            await asyncio.gather(*(pool.ask(silent, HEALTH_PATH) for _ in range(40)))
        assert looked_up == ["silent.example"]
        monkeypatch.setattr(asking, "TIMEOUT_SECONDS", 3.0)
        assert (await pool.ask(named, HEALTH_PATH)).status == 200
        async with asyncio.timeout(10):
            await asyncio.get_running_loop().getaddrinfo("management.example", 443)
    finally:
        ended.set()
        pool.close()


async def test_name_is_looked_up_as_soon_as_there_is_a_thread_for_it(
    server: Server, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    server.reply = http("ok")
    host, port = "named.example", server.url.rpartition(":")[2]
    target = replace(server.target, server=f"https://{host}:{port}", server_name="127.0.0.1")
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refused)
        assert (await pool.ask(target, HEALTH_PATH)).is_our_trouble
    known = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(port)))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: known)
    try:
        assert (await pool.ask(target, HEALTH_PATH)).status == 200
    finally:
        pool.close()


async def test_names_that_do_not_fit_beside_others_are_no_failure_of_their_servers(
    server: Server, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ended.wait(60) and [])
    monkeypatch.setattr(asking, "TIMEOUT_SECONDS", 0.05)
    try:
        silent = [replace(server.target, server=f"https://silent-{number}.example") for number in range(MOST_LOOKUPS)]
        await asyncio.gather(*(pool.ask(target, HEALTH_PATH) for target in silent))
        answer = await pool.ask(replace(server.target, server="https://other.example"), HEALTH_PATH)
        assert answer.is_our_trouble
    finally:
        ended.set()
        pool.close()
