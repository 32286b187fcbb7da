"""Single requests to the API server of a workload cluster. They always return an answer and never raise."""

import asyncio
from typing import Final

from capk.kindconfig.kubeconfig import Kubeconfig
from capk.workload.answer import Answer, of_error, of_response
from capk.workload.connection import Connection, Target
from capk.workload.response import Response

TIMEOUT_SECONDS: Final = 3.0
"""A new workload cluster answers in milliseconds. Longer waiting does not help if it cannot be reached."""
KUBE_SYSTEM: Final = "/api/v1/namespaces/kube-system"


async def ask(target: Target, path: str, login: Kubeconfig | None = None) -> Answer:
    """Return an API server's answer to GET, on a new connection.

    login: adds a client certificate or a token; None asks as an anonymous user.
    """
    connection = Connection(target, login)
    try:
        return await ask_on(connection, path)
    finally:
        connection.close()


async def ask_on(connection: Connection, path: str) -> Answer:
    """Return an API server's answer to GET on a connection, which stays open if it can carry another request."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return of_response(await _get(connection, path))
    except Exception as error:
        # Whatever a hostile server or address causes: an exception here would end the provider.
        return of_error(error, TIMEOUT_SECONDS)


async def _get(connection: Connection, path: str) -> Response:
    was_open = connection.is_open
    try:
        return await connection.get(path)
    except OSError:
        # The server may have closed a kept connection meanwhile, which shows only when it is used.
        if not was_open:
            raise
        return await connection.get(path)
