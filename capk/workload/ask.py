"""Single requests to the API server of a workload cluster. They always return an answer and never raise."""

import asyncio
from typing import Final

from capk.kindconfig.kubeconfig import Kubeconfig
from capk.workload.answer import Answer, of_error, of_response, uid_in, version_in
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


async def server_version(server: str, authority: str) -> str | None:
    """Return the Kubernetes version, as in v1.36.3; None without an answer of this form.

    server: URL of the API server. authority: the certificates that its own must chain to, PEM.

    Asks without credentials: anonymous users may read the version unless this was disabled.
    """
    return version_in((await ask(Target(server, authority), "/version")).body)


async def kube_system_uid(kubeconfig: Kubeconfig, server: str) -> str | None:
    """Return the uid of the namespace kube-system; None if it cannot be read.

    It is created once in the life of an etcd, so another uid with the same certificates means that the data was lost.
    server: URL of the API server, at an address that we know.
    """
    target = Target(server, kubeconfig.authority)
    return uid_in((await ask(target, KUBE_SYSTEM, kubeconfig)).body)


async def _get(connection: Connection, path: str) -> Response:
    was_open = connection.is_open
    try:
        return await connection.get(path)
    except OSError:
        # The server may have closed a kept connection meanwhile, which shows only when it is used.
        if not was_open:
            raise
        return await connection.get(path)
