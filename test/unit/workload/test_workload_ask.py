"""A workload API server may be hostile: the answer is always quick, small and in plain words."""

import asyncio
import json
import os
import socket
import ssl
import tempfile
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from capk.kindconfig.kubeconfig import parse
from capk.manager.facts import health_facts
from capk.workload import ask as asking
from capk.workload.answer import EXPIRED, uid_in, version_in
from capk.workload.ask import KUBE_SYSTEM, ask
from capk.workload.connection import Connection, Target
from capk.workload.health import Health, judge
from capkdev.certificates import Authority
from capkdev.fakekind.kubeconfig import render as render_kubeconfig
from test.unit.workload.hostile import Server, http

UID = "0b7c4c0e-9d1c-4a73-9c3f-3f6d0a1f5a55"


async def version(server: Server) -> str | None:
    return version_in((await ask(server.target, "/version")).body)


async def kube_system_uid(server: Server, **user: str) -> str | None:
    return uid_in((await ask(server.target, KUBE_SYSTEM, login(server, **user))).body)


async def test_version_is_asked_as_anonymous_user(server: Server) -> None:
    server.reply = http('{"major": "1", "gitVersion": "v1.36.3"}')
    assert await version(server) == "v1.36.3"
    assert server.requests[0].startswith("GET /version HTTP/1.1\r\nHost: 127.0.0.1:")
    assert "Authorization" not in server.requests[0]


@pytest.mark.parametrize(
    "said", ["v1.36.3", "v1.36.3-alpha.1+k3s1", "v1.29.0-eks-a1b2c3d", "v1.36.3-gke.100+build", "v1.20.15"]
)
async def test_versions_of_all_distributions_are_known(server: Server, said: str) -> None:
    server.reply = http(json.dumps({"gitVersion": said}))
    assert await version(server) == said


@pytest.mark.parametrize(
    "body",
    [
        "[1]",
        "1",
        "null",
        '"v1.36.3"',
        "",
        "{",
        "\xff",
        "{}",
        '{"gitVersion": null}',
        '{"gitVersion": ["v1.36.3"]}',
        '{"gitVersion": "1.36.3"}',
        '{"gitVersion": "v1.36"}',
        '{"gitVersion": "v1.36.3\\nInjected: yes"}',
        '{"gitVersion": "v1.36.3 <script>"}',
        '{"gitVersion": "v1.36.3' + "a" * 33 + '"}',
        '{"gitVersion": "v1.\u0663.3"}',
        "[" * 60_000,
        "1" * 60_000,
    ],
)
async def test_answer_of_another_form_is_no_version(server: Server, body: str) -> None:
    server.reply = http(body)
    assert await version(server) is None


async def test_redirects_are_not_followed(server: Server) -> None:
    asked: list[bytes] = []

    async def inside(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(100))
        writer.close()

    internal = await asyncio.start_server(inside, "127.0.0.1", 0)
    port = internal.sockets[0].getsockname()[1]
    server.reply = http("", "302 Found", f"Location: http://127.0.0.1:{port}/latest/meta-data")
    answer = await ask(server.target, "/version")
    internal.close()
    assert (answer.status, answer.said, answer.is_alive) == (302, "HTTP 302", False)
    assert not asked
    assert len(server.requests) == 1


async def test_proxies_of_the_environment_are_not_for_kind_clusters(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server.reply = http('{"gitVersion": "v1.36.3"}')
    assert await version(server) == "v1.36.3"


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "the answer is too large"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n", "the answer is too large"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "the answer is too large"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\nshort", "cut off"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 70_000, "larger than 64 KiB"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 4000 + b"\r\n", "its head than 16 KiB"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000, "larger than 64 KiB"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/2 200\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 999 What\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "not HTTP/1.1"),
        (b"", "closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "chunks of the answer are malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n" + b"x" * 70_000, "larger than 64 KiB"),
    ],
)
async def test_answer_that_is_too_large_or_not_http_is_told_in_plain_words(
    server: Server, reply: bytes, said: str
) -> None:
    server.reply, server.is_closing = reply, True
    answer = await ask(server.target, "/readyz")
    assert said in answer.said
    assert (answer.status, answer.is_alive, answer.body) == (0, False, b"")


async def test_endless_answer_ends_at_the_bound(server: Server) -> None:
    sent = 0

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while sent < 64 * 2**20:
            writer.write(b" " * 2**16)
            sent += 2**16
            await writer.drain()

    server.reply = endless
    answer = await ask(server.target, "/version")
    assert "larger than 64 KiB" in answer.said
    assert sent < 16 * 2**20


async def test_answer_that_drips_is_given_up(server: Server) -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        for _ in range(5000):
            writer.write(b"x")
            await writer.drain()

    server.reply = drip
    assert (await ask(server.target, "/version")).said == "the answer comes in too many pieces"


async def test_silence_ends_at_the_deadline(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "TIMEOUT_SECONDS", 0.05)

    async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    server.reply = silence
    answer = await ask(server.target, "/readyz")
    assert answer.said == "no answer within 0.05 s"
    assert not answer.came


async def test_server_without_tls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def plain_text(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read(10_000)
        writer.close()

    listening = await asyncio.start_server(plain_text, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    answer = await ask(Target(f"https://127.0.0.1:{port}", Authority("x").certificate.decode()), "/version")
    listening.close()
    assert answer.said.startswith("TLS failed: ")
    assert not answer.came


async def test_certificate_of_another_authority_is_not_accepted(server: Server) -> None:
    server.reply = http("ok")
    answer = await ask(Target(server.url, Authority("kubernetes").certificate.decode()), "/readyz")
    assert answer.said.startswith("its certificate is not accepted: ")
    assert not server.requests


@pytest.mark.parametrize("host", ["x\0y", "a..b", "a" * 300, ".x", "%41", "[fe80::1%25lo]", "ä", "", "127.0.0.1:1:"])
@pytest.mark.parametrize("name", [None, "", ".", "x\0y"])
async def test_address_that_makes_no_sense_is_an_answer_and_not_the_end_of_the_provider(
    host: str, name: str | None
) -> None:
    """The label of an image may name the address, and an exception would end the watch on all API servers."""
    answer = await ask(Target(f"https://{host}:1", Authority("x").certificate.decode(), name), "/readyz")
    assert not answer.came
    assert answer.said


async def test_chain_of_many_certificates_is_not_verified(tmp_path: Path) -> None:
    """Each certificate may cost 10 ms, in which nothing else of the provider runs."""
    authority = Authority("kubernetes")
    pair = authority.issue_server("kube-apiserver", ["127.0.0.1"])
    (tmp_path / "server.pem").write_bytes(pair.certificate + authority.certificate * 40 + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    server = Server(authority, reply=http("ok"))
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
    server.url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    answer = await ask(server.target, "/readyz")
    listening.close()
    assert (answer.status, answer.said) == (0, "the server sends more in TLS than an API server needs")
    assert not server.requests


async def test_messages_of_tls_itself_end_at_a_bound() -> None:
    """Such as new keys: each costs time, none is part of an answer, and they need no end."""
    received = list[int]()

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"x" * 65536)
            await writer.drain()

    def never(*_: object) -> None:
        raise ssl.SSLWantReadError

    listening = await asyncio.start_server(flood, "127.0.0.1", 0)
    connection = Connection(Target("https://127.0.0.1:1", ""))
    connection._socket = socket.create_connection(listening.sockets[0].getsockname()[:2])
    connection._socket.setblocking(False)
    connection._tls = SimpleNamespace(read=never, write=never)
    connection._incoming = SimpleNamespace(write=lambda data: received.append(len(data)))
    connection._outgoing = ssl.MemoryBIO()
    answer = await asking.ask_on(connection, "/readyz")
    listening.close()
    assert answer.said == "the server sends more in TLS than an API server needs"
    assert sum(received) <= 128 * 1024


async def test_certificate_that_has_expired_is_recognised() -> None:
    authority, ended = trustme.CA(), datetime(2020, 1, 2, tzinfo=UTC)
    pair = authority.issue_cert("127.0.0.1", not_before=ended - timedelta(days=1), not_after=ended)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair.configure_cert(context)
    listening = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    answer = await ask(Target(f"https://127.0.0.1:{port}", authority.cert_pem.bytes().decode()), "/readyz")
    listening.close()
    assert EXPIRED in answer.said
    health = judge(Health(None, True, 0, "", 0.0), answer, 1.0)
    assert health_facts(health).has_expired


async def test_certificate_for_another_name_is_not_accepted_unless_it_is_wanted(server: Server) -> None:
    server.reply = http("ok")
    other = await ask(Target(server.url, server.target.authority, "elsewhere"), "/readyz")
    assert other.said.startswith("its certificate is not accepted: ")
    local = server.url.replace("127.0.0.1", "localhost")
    assert (await ask(Target(local, server.target.authority, "127.0.0.1"), "/readyz")).status == 200


@pytest.mark.parametrize(
    ("url", "authority", "said"),
    [
        ("https://127.0.0.1:{closed}", None, "connection refused"),
        ("http://127.0.0.1:{closed}", None, "the URL of the API server is not an https URL"),
        ("https://127.0.0.1:99999", None, ""),
        ("https://[::1", None, ""),
        ("https://127.0.0.1:{closed}", "", ""),
        ("https://127.0.0.1:{closed}", "hush", "TLS failed: "),
    ],
)
async def test_server_that_cannot_be_asked_is_told_in_plain_words(url: str, authority: str | None, said: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]
    vouching = Authority("x").certificate.decode() if authority is None else authority
    answer = await ask(Target(url.replace("{closed}", str(closed)), vouching), "/readyz")
    assert answer.said.startswith(said)
    assert answer.said
    assert (answer.status, answer.came, answer.is_our_trouble) == (0, False, False)


async def test_name_that_is_not_known_is_told_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    target = Target("https://dev-control-plane:6443", Authority("x").certificate.decode())
    assert (await ask(target, "/readyz")).said == "its host name cannot be resolved"


async def test_lack_of_descriptors_is_our_own_trouble(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: Any, **__: Any) -> None:
        raise OSError(24, os.strerror(24))

    monkeypatch.setattr(socket, "socket", none_left)
    answer = await ask(server.target, "/readyz")
    assert answer.is_our_trouble
    assert answer.said == "too many open files"


async def test_failed_checks_are_what_is_said_of_an_unready_server(server: Server) -> None:
    body = "[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\nreadyz check failed\n"
    server.reply = http(body, "500 Internal Server Error")
    answer = await ask(server.target, "/readyz")
    assert answer.said == "HTTP 500: [-]etcd failed: reason withheld"
    assert (answer.came, answer.is_alive) == (True, False)


@pytest.mark.parametrize(
    ("status", "is_alive"),
    [(200, True), (401, True), (403, True), (404, True), (429, True), (204, False), (503, False)],
)
async def test_server_that_refuses_to_answer_us_is_alive(server: Server, status: int, is_alive: bool) -> None:
    server.reply = http('{"kind": "Status", "message": "no"}', f"{status} X")
    assert (await ask(server.target, "/readyz")).is_alive is is_alive


async def test_words_of_a_server_are_one_bounded_line_without_secrets(server: Server) -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
    words = f"\x1b[31mred\x07\n\u202egnp\u200b Bearer {token} password=hunter2hunter2 " + "long " * 10_000
    server.reply = http(words, "500 Oops\x1b[0m")
    answer = await ask(server.target, "/readyz")
    assert len(answer.said) <= 200
    assert not [sign for sign in answer.said if unicodedata.category(sign)[0] == "C"]
    assert token not in answer.said
    assert "hunter2" not in answer.said
    assert answer.said.startswith("HTTP 500: [31mred gnp Bearer [removed] password=[removed] long")


def login(server: Server, **user: str) -> Any:
    pair = server.authority.issue_client("kubernetes-admin")
    text = render_kubeconfig("kind-dev", server.url, (server.authority.certificate, pair.certificate, pair.key))
    if user:
        text = text[: text.index("  user:\n")] + f"  user: {json.dumps(user)}\n"
    return parse(text)


async def test_uid_of_kube_system_is_asked_with_the_client_certificate(server: Server) -> None:
    server.reply = http(json.dumps({"kind": "Namespace", "metadata": {"name": "kube-system", "uid": UID.upper()}}))
    assert await kube_system_uid(server) == UID
    assert server.requests[0].startswith("GET /api/v1/namespaces/kube-system HTTP/1.1\r\n")
    assert "kubernetes-admin" in server.clients[0]


async def test_uid_of_kube_system_is_asked_with_the_token(server: Server) -> None:
    server.reply = http(json.dumps({"metadata": {"uid": UID}}))
    assert await kube_system_uid(server, token="abc.def") == UID
    assert "\r\nAuthorization: Bearer abc.def\r\n" in server.requests[0]
    assert server.clients == [""]


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "{}",
        '{"metadata": []}',
        '{"metadata": {"uid": 7}}',
        '{"metadata": {"uid": ""}}',
        json.dumps({"metadata": {"uid": f"{{{UID}}}"}}),
        json.dumps({"metadata": {"uid": f"{UID}\n"}}),
        json.dumps({"metadata": {"uid": UID.replace("-", "")}}),
        json.dumps({"metadata": {"uid": "../../../../../../../../etc/passwd.."}}),
    ],
)
async def test_uid_of_another_form_is_none(server: Server, body: str) -> None:
    server.reply = http(body)
    assert await kube_system_uid(server) is None


@pytest.mark.parametrize("has_memory_files", [True, False])
async def test_client_key_leaves_no_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_memory_files: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    if not has_memory_files:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    server.reply = http(json.dumps({"metadata": {"uid": UID}}))
    assert await kube_system_uid(server) == UID
    assert not list((tmp_path / "temporary").iterdir())
