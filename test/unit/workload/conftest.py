"""A hostile API server for each test that wants one."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest_asyncio

from capkdev.certificates import Authority
from test.unit.workload.hostile import Server


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    served = Server(Authority("kubernetes"))
    served.show_certificate(served.authority)
    served.context.load_verify_locations(cadata=served.authority.certificate.decode())
    served.context.verify_mode = ssl.CERT_OPTIONAL
    listening = await asyncio.start_server(served.serve, "127.0.0.1", 0, ssl=served.context)
    served.url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield served
    listening.close()
