"""A hostile API server for each test that wants one."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from capkdev.certificates import Authority
from test.unit.workload.hostile import Server


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    served = Server(Authority("kubernetes"))
    pair = served.authority.issue_server("kube-apiserver", ["127.0.0.1"])
    (tmp_path / "server.pem").write_bytes(pair.certificate + pair.key)
    (tmp_path / "ca.pem").write_bytes(served.authority.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    listening = await asyncio.start_server(served.serve, "127.0.0.1", 0, ssl=context)
    served.url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield served
    listening.close()
